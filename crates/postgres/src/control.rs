//! The control tables in PostgreSQL.

mod lock;
mod version;

use crate::{Lsn, Postgres, connect::Connection, error::server};
use shadowswap_core::{
    Bound, Chunk, Error, Phase, Result,
    control::{self, Command, CopyState, LoggedEvent, Migration, Status},
    name::TableName,
    patience,
    plan::Plan,
    progress::Progress,
};
use std::time::Duration;
use tokio_postgres::{Client, Row, types::ToSql};

/// One connection to the control tables. It holds the migration's advisory lock once that is taken.
pub struct Control {
    connection: Connection,
    /// The control schema, quoted.
    schema: String,
    /// What it adds to names.
    scope: String,
    /// Of these tables; an older one is only read.
    version: i32,
}

/// Events shown by `status`.
const EVENTS_SHOWN: i64 = 10;
/// Migrations among which all that have ended are shown. Unfinished ones always are, and so is the newest of each table.
const ENDED_SHOWN: usize = 100;
/// Phases of migrations with which nothing is left to do.
const OVER: &str = "('done', 'aborted', 'rolledback')";

impl Control {
    fn client(&self) -> &Client {
        self.connection.client()
    }

    async fn one(&self, text: &str, params: &[&(dyn ToSql + Sync)], what: &str) -> Result<Row> {
        let asked = async { self.client().query_one(text, params).await.map_err(|e| server(e, what)) };
        patience::answer(what, asked).await
    }

    async fn all(&self, text: &str, params: &[&(dyn ToSql + Sync)], what: &str) -> Result<Vec<Row>> {
        let asked = async { self.client().query(text, params).await.map_err(|e| server(e, what)) };
        patience::answer(what, asked).await
    }

    async fn run(&self, text: &str, params: &[&(dyn ToSql + Sync)], what: &str) -> Result<u64> {
        let asked = async { self.client().execute(text, params).await.map_err(|e| server(e, what)) };
        patience::answer(what, asked).await
    }

    /// Says so to everybody, and reads it.
    async fn held(&self, id: i64, resumed: bool) -> Result<Migration<Postgres>> {
        // From here on the name tells everybody which migration this connection holds.
        self.run(
            "select set_config('application_name', $1, false)",
            &[&format!("shadowswap/control #{}{id}", self.scope)],
            "naming the session",
        )
        .await?;
        let listen = format!("listen {}", self.channel(id));
        self.client().batch_execute(&listen).await.map_err(|e| server(e, "listening for commands"))?;
        self.load(id, resumed).await
    }

    async fn load(&self, id: i64, resumed: bool) -> Result<Migration<Postgres>> {
        let row = self
            .one(
                &format!(
                    "select m.epoch, m.phase, m.plan, c.position, m.copy_begun, m.copy_last,\n\
                     (select coalesce(max(k.id), 0) from {0}.chunk k where k.migration = m.id),\n\
                     (select k.upper_key from {0}.chunk k where k.migration = m.id order by k.id desc limit 1),\n\
                     (select coalesce(sum(k.rows), 0)::bigint from {0}.chunk k where k.migration = m.id and k.done), {1}\n\
                     from {0}.migration m join {0}.checkpoint c on c.migration = m.id where m.id = $1",
                    self.schema,
                    self.turn_text()
                ),
                &[&id],
                "reading the migration",
            )
            .await?;
        let undone = self
            .all(
                &format!(
                    "select id, lower_key, upper_key, attempt from {}.chunk where migration = $1 and not done order by id desc",
                    self.schema
                ),
                &[&id],
                "reading the chunks that are left",
            )
            .await?;
        let undone = undone.iter().map(|r| Chunk {
            id: r.get(0),
            lower: r.get::<_, Option<String>>(1).map(Bound),
            upper: r.get::<_, Option<String>>(2).map(Bound),
            attempt: r.get(3),
        });
        let position: Option<String> = row.get(3);
        let applied = position.map(|p| p.parse::<Lsn>()).transpose();
        let turn: i64 = row.get(9);
        Ok(Migration {
            id,
            epoch: row.get(0),
            phase: control::stored_phase(row.get(1))?,
            turn,
            plan: Plan { turn, ..control::stored_plan(row.get(2))? },
            applied: applied
                .map_err(|e| Error::corrupt(format!("the checkpoint's position cannot be read: {e}")))?,
            copy: CopyState {
                begun: row.get(4),
                last: row.get::<_, Option<String>>(5).map(Bound),
                chunk: row.get(6),
                cursor: row.get::<_, Option<String>>(7).map(Bound),
                rows: row.get::<_, i64>(8) as u64,
                undone: undone.collect(),
            },
            resumed,
        })
    }

    /// On which a runner is told that there are commands.
    fn channel(&self, migration: i64) -> String {
        format!("shadowswap_{}{migration}", self.scope)
    }

    /// Tells the runner of a migration that there is something to read. Gives whether there is one.
    async fn is_run(&self, migration: i64) -> Result<bool> {
        let row = self
            .one(
                "select exists (select from pg_stat_activity where application_name like $1 and datname = current_database()),\n\
                 pg_notify($2, '') is null",
                &[&format!("shadowswap/% #{}{migration}", self.scope), &self.channel(migration)],
                "looking for a runner",
            )
            .await?;
        Ok(row.get(0))
    }

    async fn events(&self, migration: i64) -> Result<Vec<LoggedEvent>> {
        let rows = self
            .all(
                &format!(
                    "select * from (select id, {AT}, who, what from {}.event where migration = $1 order by id desc limit $2) e order by id",
                    self.schema
                ),
                &[&migration, &EVENTS_SHOWN],
                "reading events",
            )
            .await?;
        Ok(rows.iter().map(|r| LoggedEvent { at: r.get(1), who: r.get(2), what: r.get(3) }).collect())
    }
}

/// A time as RFC 3339 text.
const AT: &str = "to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";

impl control::Control<Postgres> for Control {
    async fn find(&self, table: &TableName) -> Result<Option<(i64, Phase, Plan)>> {
        let rows = self
            .all(
                &format!(
                    "select id, phase, plan from {}.migration\nwhere table_schema = $1 and table_name = $2 and phase not in {OVER}",
                    self.schema
                ),
                &[&table.schema, &table.name],
                "looking for an unfinished migration",
            )
            .await?;
        rows.first()
            .map(|r| Ok((r.get(0), control::stored_phase(r.get(1))?, control::stored_plan(r.get(2))?)))
            .transpose()
    }

    async fn finished(&self, table: &TableName) -> Result<Option<(i64, Plan, String)>> {
        let rows = self
            .all(
                &format!(
                    "select id, plan, {} from {}.migration\nwhere table_schema = $1 and table_name = $2 and phase = 'done' order by id desc limit 1",
                    AT.replace("at at", "ended_at at"),
                    self.schema
                ),
                &[&table.schema, &table.name],
                "looking for a finished migration",
            )
            .await?;
        rows.first().map(|r| Ok((r.get(0), control::stored_plan(r.get(1))?, r.get(2)))).transpose()
    }

    async fn resume(&self, table: &TableName, who: &str) -> Result<Option<Migration<Postgres>>> {
        self.lock(table).await?;
        match self.take_over(table, who).await? {
            Some(id) => self.held(id, true).await.map(Some),
            None => Ok(None),
        }
    }

    async fn begin(&self, plan: &Plan, who: &str) -> Result<Migration<Postgres>> {
        let text =
            serde_json::to_string(plan).map_err(|e| Error::corrupt("a plan cannot be stored").because(e))?;
        let row = self
            .one(
                &format!(
                    "with made as (insert into {0}.migration (table_schema, table_name, phase, epoch, plan_id, plan, runner)\n\
                     values ($1, $2, 'prepare', 1, $3, $4, $5) returning id, epoch),\n\
                     noted as (insert into {0}.event (migration, who, what) select id, $5, 'began: plan ' || $3 from made)\n\
                     insert into {0}.checkpoint (migration, epoch) select id, epoch from made returning migration",
                    self.schema
                ),
                &[&plan.source.schema, &plan.source.name, &plan.id, &text, &who],
                "noting a new migration",
            )
            .await?;
        self.held(row.get(0), false).await
    }

    async fn is_ours(&self, migration: i64, epoch: i64) -> Result<bool> {
        let text = format!("select 1 from {}.migration where id = $1 and epoch = $2", self.schema);
        let rows = self.all(&text, &[&migration, &epoch], "looking who runs the migration").await?;
        Ok(!rows.is_empty())
    }

    async fn save_phase(&self, migration: i64, epoch: i64, phase: Phase) -> Result<()> {
        let text = format!(
            "update {}.migration set phase = $3, updated_at = clock_timestamp(),\n\
             ended_at = case when $3 in {OVER} then clock_timestamp() end\nwhere id = $1 and epoch = $2",
            self.schema
        );
        match self.run(&text, &[&migration, &epoch, &phase.name()], "saving the phase").await? {
            1 => self.note(migration, "runner", &format!("phase {phase}")).await,
            _ => Err(Error::superseded()),
        }
    }

    async fn turn(
        &self,
        migration: i64,
        epoch: i64,
        turn: i64,
        phase: Phase,
        stall_ms: Option<f64>,
    ) -> Result<()> {
        let text = format!(
            "update {}.migration set phase = $4, guard_until = case when turn < $3 and $3 % 2 = 1 then null else guard_until end, turn = $3,\n\
             stall_ms = coalesce($5, stall_ms), updated_at = clock_timestamp() where id = $1 and epoch = $2",
            self.schema
        );
        let params: &[&(dyn ToSql + Sync)] = &[&migration, &epoch, &turn, &phase.name(), &stall_ms];
        match self.run(&text, params, "noting the swap").await? {
            1 => self.note(migration, "runner", &format!("phase {phase}")).await,
            _ => Err(Error::superseded()),
        }
    }

    async fn guard_left(
        &self,
        migration: i64,
        epoch: i64,
        length: Duration,
        is_set: bool,
    ) -> Result<Duration> {
        let look = format!(
            "select {}, $2 and guard_until is distinct from guard_from + $3 * interval '1 second' and guard_from is not null\n\
             from {}.migration m where id = $1",
            self.guard_left_text(),
            self.schema
        );
        let seconds = length.as_secs_f64();
        let row =
            self.one(&look, &[&migration, &is_set, &seconds], "looking what is left of the guard").await?;
        let left = match (row.get::<_, Option<f64>>(0), row.get::<_, bool>(1)) {
            (Some(left), false) => left,
            (None, _) | (Some(_), true) => {
                let begin = format!(
                    "update {0}.migration m set guard_from = case when guard_until is null then now() else guard_from end,\n\
                     guard_until = case when guard_until is null then now() else guard_from end + $3 * interval '1 second'\n\
                     where id = $1 and epoch = $2\nreturning {1}",
                    self.schema,
                    self.guard_left_text()
                );
                let params: &[&(dyn ToSql + Sync)] = &[&migration, &epoch, &seconds];
                let rows = self.all(&begin, params, "giving the guard its length").await?;
                rows.first().ok_or_else(Error::superseded)?.get(0)
            }
        };
        Ok(Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX))
    }

    async fn end_guard(&self, migration: i64, epoch: i64) -> Result<()> {
        let text = format!(
            "update {}.migration set guard_from = null, guard_until = least(guard_until, clock_timestamp()) where id = $1 and epoch = $2",
            self.schema
        );
        let ended = self.run(&text, &[&migration, &epoch], "ending the guard").await?;
        if ended == 1 { Ok(()) } else { Err(Error::superseded()) }
    }

    async fn begin_copy(&self, migration: i64, epoch: i64, last: Option<&Bound>) -> Result<()> {
        let text = format!(
            "update {}.migration set copy_begun = true, copy_last = $3 where id = $1 and epoch = $2",
            self.schema
        );
        let last = last.map(|b| b.0.as_str());
        match self.run(&text, &[&migration, &epoch, &last], "saving where the copy ends").await? {
            1 => Ok(()),
            _ => Err(Error::superseded()),
        }
    }

    async fn claim(&self, migration: i64, epoch: i64, chunk: &Chunk) -> Result<()> {
        let text = format!(
            "insert into {0}.chunk (migration, id, epoch, attempt, lower_key, upper_key)\n\
             select id, $3, epoch, $4, $5, $6 from {0}.migration where id = $1 and epoch = $2",
            self.schema
        );
        let (lower, upper) =
            (chunk.lower.as_ref().map(|b| b.0.as_str()), chunk.upper.as_ref().map(|b| b.0.as_str()));
        let params: &[&(dyn ToSql + Sync)] = &[&migration, &epoch, &chunk.id, &chunk.attempt, &lower, &upper];
        match self.run(&text, params, "claiming a chunk").await? {
            1 => Ok(()),
            _ => Err(Error::superseded()),
        }
    }

    async fn copied(&self, migration: i64) -> Result<(u64, u64)> {
        let row = self
            .one(
                &format!("select coalesce(sum(rows), 0)::bigint, count(*) from {}.chunk where migration = $1 and done", self.schema),
                &[&migration],
                "counting what is copied",
            )
            .await?;
        Ok((row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64))
    }

    async fn report(&self, migration: i64, epoch: i64, progress: &Progress) -> Result<(Vec<Command>, bool)> {
        let text = serde_json::to_string(progress)
            .map_err(|e| Error::corrupt("progress cannot be stored").because(e))?;
        let rows = self
            .all(
                &format!(
                    "update {}.migration set progress = $3, updated_at = clock_timestamp() where id = $1 and epoch = $2 returning paused",
                    self.schema
                ),
                &[&migration, &epoch, &text],
                "reporting progress",
            )
            .await?;
        let paused = rows.first().ok_or_else(Error::superseded)?.get(0);
        let rows = self
            .all(
                &format!(
                    "with taken as (update {}.command set taken_at = clock_timestamp()\n\
                     where migration = $1 and taken_at is null returning id, command)\nselect command from taken order by id",
                    self.schema
                ),
                &[&migration],
                "reading commands",
            )
            .await?;
        Ok((rows.iter().filter_map(|r| Command::parse(r.get(0))).collect(), paused))
    }

    async fn note(&self, migration: i64, who: &str, what: &str) -> Result<()> {
        let text = format!("insert into {}.event (migration, who, what) values ($1, $2, $3)", self.schema);
        self.run(&text, &[&migration, &who, &what], "noting an event").await.map(drop)
    }

    async fn close(&self, migration: i64, error: Option<&str>, stall_ms: Option<f64>) -> Result<()> {
        let text = format!(
            "update {}.migration set error = $2, stall_ms = coalesce($3, stall_ms), runner = null, updated_at = clock_timestamp() where id = $1",
            self.schema
        );
        self.run(&text, &[&migration, &error, &stall_ms], "noting how the run ended").await?;
        let what = error.map_or_else(|| "done".to_string(), |e| format!("stopped: {e}"));
        self.note(migration, "runner", &what).await
    }

    async fn command(&self, migration: i64, who: &str, command: &Command) -> Result<bool> {
        let paused = match command {
            Command::Pause => Some(true),
            Command::Resume => Some(false),
            Command::Cutover
            | Command::Verify
            | Command::Abort
            | Command::Rollback
            | Command::Finish { .. }
            | Command::Throttle => None,
        };
        if let Some(paused) = paused {
            let text = format!("update {}.migration set paused = $2 where id = $1", self.schema);
            self.run(&text, &[&migration, &paused], "pausing or resuming").await?;
        } else {
            let text =
                format!("insert into {}.command (migration, who, command) values ($1, $2, $3)", self.schema);
            self.run(&text, &[&migration, &who, &command.name()], "giving a command").await?;
        }
        self.note(migration, who, command.name()).await?;
        self.is_run(migration).await
    }

    async fn set(&self, migration: i64, who: &str, name: &str, value: &str) -> Result<bool> {
        if self.version < 2 {
            return Err(control::too_old_for_settings(self.version));
        }
        let text = format!(
            "with stored as (insert into {0}.setting (migration, name, value, who) values ($1, $2, $3, $4)\n\
             on conflict (migration, name) do update set value = excluded.value, who = excluded.who, at = excluded.at),\n\
             noted as (insert into {0}.event (migration, who, what) values ($1, $4, 'throttle ' || $2 || '=' || $3))\n\
             insert into {0}.command (migration, who, command) values ($1, $4, 'throttle')",
            self.schema
        );
        self.run(&text, &[&migration, &name, &value, &who], "storing a setting").await?;
        self.is_run(migration).await
    }

    async fn settings(&self, migration: i64) -> Result<Vec<(String, String)>> {
        if self.version < 2 {
            return Ok(Vec::new());
        }
        let text =
            format!("select name, value from {}.setting where migration = $1 order by at", self.schema);
        let rows = self.all(&text, &[&migration], "reading the settings").await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect())
    }

    async fn keep(&self, migration: i64, report: &str) -> Result<()> {
        let text = format!(
            "insert into {}.report (migration, report) values ($1, $2) on conflict (migration) do update set report = excluded.report",
            self.schema
        );
        self.run(&text, &[&migration, &report], "keeping the report").await.map(drop)
    }

    async fn reports(&self) -> Result<Vec<(i64, String)>> {
        if self.version < 2 {
            return Ok(Vec::new());
        }
        let text =
            format!("select migration, report from {}.report order by migration desc limit 100", self.schema);
        let rows = self.all(&text, &[], "reading reports").await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect())
    }

    async fn nudged(&self) {
        self.connection.nudged().await;
    }

    async fn status(&self, table: Option<&TableName>) -> Result<Vec<Status>> {
        let (schema, name) = (table.map(|t| t.schema.as_str()), table.map(|t| t.name.as_str()));
        let which = "($1::text is null or table_schema = $1) and ($2::text is null or table_name = $2)";
        let rows = self
            .all(
                &format!(
                    "select id, table_schema, table_name, phase, plan_id, plan, paused, {}, {}, runner, progress, error, stall_ms,\n\
                     exists (select from pg_stat_activity where application_name like 'shadowswap/% #{}' || id and datname = current_database()), {}, {}, {}\n\
                     from {6}.migration m where {which} and (phase not in {OVER} or id >= (select coalesce(min(id), 0)\n\
                     from (select id from {6}.migration where {which} order by id desc limit {ENDED_SHOWN}) newest)\n\
                     or id in (select max(id) from {6}.migration group by table_schema, table_name))\norder by id desc",
                    AT.replace("at at", "started_at at"),
                    AT.replace("at at", "updated_at at"),
                    self.scope,
                    self.turn_text(),
                    self.guard_left_text(),
                    AT.replace("at at", "ended_at at"),
                    self.schema
                ),
                &[&schema, &name],
                "reading the migrations",
            )
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for (n, r) in rows.iter().enumerate() {
            let is_held: bool = r.get(13);
            let progress: Option<String> = r.get(10);
            let (id, phase) = (r.get(0), control::stored_phase(r.get(3))?);
            found.push(Status {
                id,
                table: TableName::new(r.get::<_, String>(1), r.get::<_, String>(2)),
                phase,
                turn: r.get(14),
                guard_left_s: r.get::<_, Option<f64>>(15).filter(|_| !phase.is_over()),
                plan_id: r.get(4),
                alters: control::stored_plan(r.get(5))?.request.alters,
                paused: r.get(6),
                started_at: r.get(7),
                updated_at: r.get(8),
                ended_at: r.get(16),
                runner: r.get::<_, Option<String>>(9).filter(|_| is_held),
                progress: progress.and_then(|p| serde_json::from_str(&p).ok()),
                error: r.get(11),
                stall_ms: r.get(12),
                // Of what is long over, nobody wants to know them.
                events: if n < ENDED_SHOWN || !phase.is_over() { self.events(id).await? } else { Vec::new() },
            });
        }
        Ok(found)
    }
}
