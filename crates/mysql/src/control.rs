//! The control tables in MySQL and MariaDB.

mod lock;
mod version;

pub use lock::{forget_session, lock_name, note_session, session_lock};

use crate::{MySql, Position, keeper::Keeper, sql::quote};
use mysql_async::{Conn, Params, Row, prelude::*};
use shadowswap_core::{
    Bound, Chunk, Error, Phase, Result,
    control::{self, Command, CopyState, LoggedEvent, Migration, SCHEMA_VERSION, SCHEMA_VERSION_MIN, Status},
    name::TableName,
    plan::Plan,
    progress::Progress,
};
use std::time::Duration;

/// One connection to the control tables. It holds the migration's named lock once that is taken.
pub struct Control {
    keeper: Keeper,
    /// The control database, unquoted.
    name: String,
    /// The same, quoted.
    schema: String,
    /// Of these tables; an older one is only read.
    version: i32,
}

/// Events shown by `status`.
const EVENTS_SHOWN: u32 = 10;
/// Migrations among which all that have ended are shown. Unfinished ones always are, and so is the newest of each table.
const ENDED_SHOWN: usize = 100;

impl Control {
    /// Opens the tables, making them where `create` is set.
    pub async fn open(mut conn: Conn, name: &str, create: bool) -> Result<Control> {
        let schema = quote(name);
        let mut found = version::written(&mut conn, name).await?;
        if found.is_none() {
            if !create {
                return Err(Error::refused(format!(
                    "there are no control tables in database {name}: nothing was ever run here"
                )));
            }
            version::make(&mut conn, name).await?;
            found = version::written(&mut conn, name).await?;
        }
        let is_older = found.is_some_and(|v| (SCHEMA_VERSION_MIN..SCHEMA_VERSION).contains(&v));
        if is_older && create {
            version::upgrade(&mut conn, name).await?;
            found = version::written(&mut conn, name).await?;
        }
        match found {
            Some(version) if version == SCHEMA_VERSION || is_older => {
                Ok(Control { keeper: Keeper::new(conn), name: name.to_string(), schema, version })
            }
            other => Err(Error::refused(format!(
                "the control tables in database {name} have version {other:?}; this program writes version {SCHEMA_VERSION}"
            ))
            .next("use the program that made them, or another --control-schema")),
        }
    }

    /// How many swaps took place, for a migration `m`. What wrote an older version's tables knew of one at most.
    fn turn_text(&self) -> &'static str {
        if self.version < 2 {
            "case when m.phase in ('guard', 'done') then 1 else 0 end"
        } else {
            "case when m.turn = 0 and m.phase in ('guard', 'done') then 1 else m.turn end"
        }
    }

    /// Seconds left of the guard, for a migration `m`.
    fn guard_left_text(&self) -> &'static str {
        if self.version < 2 {
            "null"
        } else {
            "timestampdiff(microsecond, utc_timestamp(3), m.guard_until) / 1000000e0"
        }
    }

    async fn rows(&self, text: String, params: impl Into<Params> + Send, what: &str) -> Result<Vec<Row>> {
        let params = params.into();
        self.keeper.ask(move |conn| Box::pin(async move { conn.exec(text, params).await }), what).await
    }

    async fn run(&self, text: String, params: impl Into<Params> + Send, what: &str) -> Result<u64> {
        let params = params.into();
        self.keeper.ask(move |conn| Box::pin(changed(conn, text, params)), what).await
    }

    async fn load(&self, id: i64, resumed: bool) -> Result<Migration<MySql>> {
        let text = format!(
            "select m.epoch, m.phase, m.plan, c.position, m.copy_begun, m.copy_last,\n\
             (select coalesce(max(k.id), 0) from {0}.chunk k where k.migration = m.id),\n\
             (select k.upper_key from {0}.chunk k where k.migration = m.id order by k.id desc limit 1),\n\
             (select cast(coalesce(sum(k.copied), 0) as signed) from {0}.chunk k where k.migration = m.id and k.done), {1}\n\
             from {0}.migration m join {0}.checkpoint c on c.migration = m.id where m.id = ?",
            self.schema,
            self.turn_text()
        );
        let rows = self.rows(text, (id,), "reading the migration").await?;
        let row = rows.first().ok_or_else(|| Error::corrupt(format!("migration {id} has no checkpoint")))?;
        let text = format!(
            "select id, lower_key, upper_key, attempt from {}.chunk where migration = ? and not done order by id desc",
            self.schema
        );
        let undone = self.rows(text, (id,), "reading the chunks that are left").await?;
        let undone = undone.iter().map(|r| {
            Ok(Chunk {
                id: get(r, 0)?,
                lower: get::<Option<String>>(r, 1)?.map(Bound),
                upper: get::<Option<String>>(r, 2)?.map(Bound),
                attempt: get(r, 3)?,
            })
        });
        let position: Option<String> = get(row, 3)?;
        let applied = position.map(|p| p.parse::<Position>()).transpose();
        let turn = get(row, 9)?;
        Ok(Migration {
            id,
            epoch: get(row, 0)?,
            phase: control::stored_phase(&get::<String>(row, 1)?)?,
            turn,
            plan: Plan { turn, ..control::stored_plan(&get::<String>(row, 2)?)? },
            applied: applied
                .map_err(|e| Error::corrupt(format!("the checkpoint's position cannot be read: {e}")))?,
            copy: CopyState {
                begun: get(row, 4)?,
                last: get::<Option<String>>(row, 5)?.map(Bound),
                chunk: get(row, 6)?,
                cursor: get::<Option<String>>(row, 7)?.map(Bound),
                rows: get::<i64>(row, 8)?.max(0) as u64,
                undone: undone.collect::<Result<_>>()?,
            },
            resumed,
        })
    }

    async fn events(&self, migration: i64) -> Result<Vec<LoggedEvent>> {
        let text = format!(
            "select {}, who, what from {}.event where migration = ? order by id desc limit {EVENTS_SHOWN}",
            at("at"),
            self.schema
        );
        let rows = self.rows(text, (migration,), "reading events").await?;
        let events =
            rows.iter().rev().map(|r| Ok(LoggedEvent { at: get(r, 0)?, who: get(r, 1)?, what: get(r, 2)? }));
        events.collect()
    }
}

/// Runs a statement, and counts the rows that it changed.
async fn changed(conn: &mut Conn, text: String, params: Params) -> mysql_async::Result<u64> {
    conn.exec_drop(text, params).await?;
    Ok(conn.affected_rows())
}

/// Notes a new migration, in one transaction; gives its number. `plan`: its id and its text.
async fn begin(
    conn: &mut Conn,
    schema: &str,
    source: &TableName,
    plan: (&str, &str),
    who: &str,
) -> mysql_async::Result<i64> {
    let mut tx = conn.start_transaction(mysql_async::TxOpts::default()).await?;
    let text = format!(
        "insert into {schema}.migration (table_schema, table_name, phase, epoch, plan_id, plan, runner, started_at, updated_at)\n\
         values (?, ?, 'prepare', 1, ?, ?, ?, utc_timestamp(3), utc_timestamp(3))"
    );
    tx.exec_drop(text, (&source.schema, &source.name, plan.0, plan.1, who)).await?;
    let id = tx.last_insert_id().and_then(|id| i64::try_from(id).ok()).unwrap_or_default();
    let text = format!("insert into {schema}.checkpoint (migration, epoch) values (?, 1)");
    tx.exec_drop(text, (id,)).await?;
    let text =
        format!("insert into {schema}.event (migration, at, who, what) values (?, utc_timestamp(3), ?, ?)");
    tx.exec_drop(text, (id, who, format!("began: plan {}", plan.0))).await?;
    tx.commit().await?;
    Ok(id)
}

/// A value of a row of ours.
fn get<T: FromValue>(row: &Row, place: usize) -> Result<T> {
    match row.get_opt(place) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) | None => Err(Error::corrupt(format!(
            "the control tables gave a value that cannot be read (column {place})"
        ))),
    }
}

/// A time as RFC 3339 text.
fn at(column: &str) -> String {
    format!("date_format({column}, '%Y-%m-%dT%H:%i:%s.%fZ')")
}

impl control::Control<MySql> for Control {
    async fn find(&self, table: &TableName) -> Result<Option<(i64, Phase, Plan)>> {
        let text = format!(
            "select id, phase, plan from {}.migration where table_schema = ? and table_name = ? and unfinished = 1",
            self.schema
        );
        let rows =
            self.rows(text, (&table.schema, &table.name), "looking for an unfinished migration").await?;
        let read = |r: &Row| {
            Ok((
                get(r, 0)?,
                control::stored_phase(&get::<String>(r, 1)?)?,
                control::stored_plan(&get::<String>(r, 2)?)?,
            ))
        };
        rows.first().map(read).transpose()
    }

    async fn finished(&self, table: &TableName) -> Result<Option<(i64, Plan, String)>> {
        let text = format!(
            "select id, plan, {} from {}.migration where table_schema = ? and table_name = ? and phase = 'done' order by id desc limit 1",
            at("ended_at"),
            self.schema
        );
        let rows = self.rows(text, (&table.schema, &table.name), "looking for a finished migration").await?;
        rows.first()
            .map(|r| Ok((get(r, 0)?, control::stored_plan(&get::<String>(r, 1)?)?, get(r, 2)?)))
            .transpose()
    }

    async fn resume(&self, table: &TableName, who: &str) -> Result<Option<Migration<MySql>>> {
        self.lock(table).await?;
        match self.take_over(table, who).await? {
            Some(id) => self.load(id, true).await.map(Some),
            None => Ok(None),
        }
    }

    async fn begin(&self, plan: &Plan, who: &str) -> Result<Migration<MySql>> {
        let text =
            serde_json::to_string(plan).map_err(|e| Error::corrupt("a plan cannot be stored").because(e))?;
        let (schema, source, plan, who) =
            (self.schema.clone(), plan.source.clone(), plan.id.clone(), who.to_string());
        let id = self.keeper.ask(
            move |conn| Box::pin(async move { begin(conn, &schema, &source, (&plan, &text), &who).await }),
            "noting a new migration",
        );
        self.load(id.await?, false).await
    }

    async fn is_ours(&self, migration: i64, epoch: i64) -> Result<bool> {
        let text = format!("select 1 from {}.migration where id = ? and epoch = ?", self.schema);
        let rows = self.rows(text, (migration, epoch), "looking who runs the migration").await?;
        Ok(!rows.is_empty())
    }

    async fn save_phase(&self, migration: i64, epoch: i64, phase: Phase) -> Result<()> {
        let ended = if phase.is_over() { "utc_timestamp(3)" } else { "null" };
        let text = format!(
            "update {}.migration set phase = ?, updated_at = utc_timestamp(3), ended_at = {ended} where id = ? and epoch = ?",
            self.schema
        );
        match self.run(text, (phase.name(), migration, epoch), "saving the phase").await? {
            1 => self.note(migration, "runner", &format!("phase {phase}")).await,
            _ => {
                // Nothing changed within the same millisecond, or nothing was found.
                let text = format!("select phase from {}.migration where id = ? and epoch = ?", self.schema);
                let rows = self.rows(text, (migration, epoch), "looking at the phase").await?;
                match rows.first() {
                    Some(row) if get::<String>(row, 0)? == phase.name() => Ok(()),
                    Some(_) | None => Err(Error::superseded()),
                }
            }
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
        // Assignments see what the ones before them have set.
        let text = format!(
            "update {}.migration set guard_until = case when turn < ? and ? % 2 = 1 then null else guard_until end, turn = ?, phase = ?,\n\
             stall_ms = coalesce(?, stall_ms), updated_at = utc_timestamp(3) where id = ? and epoch = ?",
            self.schema
        );
        let params = (turn, turn, turn, phase.name(), stall_ms, migration, epoch);
        self.run(text, params, "noting the swap").await?;
        let text = format!("select turn from {}.migration where id = ? and epoch = ?", self.schema);
        let rows = self.rows(text, (migration, epoch), "looking at the swap's note").await?;
        match rows.first() {
            Some(row) if get::<i64>(row, 0)? == turn => {
                self.note(migration, "runner", &format!("phase {phase}")).await
            }
            Some(_) | None => Err(Error::superseded()),
        }
    }

    async fn guard_left(
        &self,
        migration: i64,
        epoch: i64,
        length: Duration,
        is_set: bool,
    ) -> Result<Duration> {
        let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let look = || {
            format!(
                "select {}, coalesce(? and guard_until <> guard_from + interval ? microsecond, 0) from {}.migration m where id = ?",
                self.guard_left_text(),
                self.schema
            )
        };
        let what = "looking what is left of the guard";
        let rows = self.rows(look(), (is_set, length, migration), what).await?;
        let left = |rows: &[Row]| rows.first().map_or(Ok(None), |r| get::<Option<f64>>(r, 0));
        let is_other = rows.first().map_or(Ok(false), |r| get::<bool>(r, 1))?;
        let found = match left(&rows)? {
            Some(found) if !is_other => Some(found),
            Some(_) | None => {
                // Assignments see what the ones before them have set.
                let text = format!(
                    "update {}.migration set guard_from = case when guard_until is null then utc_timestamp(3) else guard_from end,\n\
                     guard_until = guard_from + interval ? microsecond where id = ? and epoch = ?",
                    self.schema
                );
                self.run(text, (length, migration, epoch), "giving the guard its length").await?;
                left(&self.rows(look(), (is_set, length, migration), what).await?)?
            }
        };
        let found = found.ok_or_else(Error::superseded)?;
        Ok(Duration::try_from_secs_f64(found.max(0.0)).unwrap_or(Duration::MAX))
    }

    async fn end_guard(&self, migration: i64, epoch: i64) -> Result<()> {
        let text = format!(
            "update {}.migration set guard_from = null, guard_until = least(coalesce(guard_until, utc_timestamp(3)), utc_timestamp(3))\n\
             where id = ? and epoch = ?",
            self.schema
        );
        self.run(text, (migration, epoch), "ending the guard").await?;
        if self.is_ours(migration, epoch).await? { Ok(()) } else { Err(Error::superseded()) }
    }

    async fn begin_copy(&self, migration: i64, epoch: i64, last: Option<&Bound>) -> Result<()> {
        let text = format!(
            "update {}.migration set copy_begun = true, copy_last = ? where id = ? and epoch = ?",
            self.schema
        );
        match self
            .run(text, (last.map(|b| b.0.as_str()), migration, epoch), "saving where the copy ends")
            .await?
        {
            1 => Ok(()),
            _ => Err(Error::superseded()),
        }
    }

    async fn claim(&self, migration: i64, epoch: i64, chunk: &Chunk) -> Result<()> {
        let text = format!(
            "insert into {0}.chunk (migration, id, epoch, attempt, lower_key, upper_key)\n\
             select id, ?, epoch, ?, ?, ? from {0}.migration where id = ? and epoch = ?",
            self.schema
        );
        let (lower, upper) =
            (chunk.lower.as_ref().map(|b| b.0.as_str()), chunk.upper.as_ref().map(|b| b.0.as_str()));
        let params = (chunk.id, chunk.attempt, lower, upper, migration, epoch);
        match self.run(text, params, "claiming a chunk").await? {
            1 => Ok(()),
            _ => Err(Error::superseded()),
        }
    }

    async fn copied(&self, migration: i64) -> Result<(u64, u64)> {
        let text = format!(
            "select cast(coalesce(sum(copied), 0) as signed), count(*) from {}.chunk where migration = ? and done",
            self.schema
        );
        let rows = self.rows(text, (migration,), "counting what is copied").await?;
        let row = rows.first().ok_or_else(|| Error::corrupt("a count gave no row"))?;
        Ok((get::<i64>(row, 0)?.max(0) as u64, get::<i64>(row, 1)?.max(0) as u64))
    }

    async fn report(&self, migration: i64, epoch: i64, progress: &Progress) -> Result<(Vec<Command>, bool)> {
        let text = serde_json::to_string(progress)
            .map_err(|e| Error::corrupt("progress cannot be stored").because(e))?;
        let update = format!(
            "update {}.migration set progress = ?, updated_at = utc_timestamp(3) where id = ? and epoch = ?",
            self.schema
        );
        self.run(update, (&text, migration, epoch), "reporting progress").await?;
        let look = format!("select paused from {}.migration where id = ? and epoch = ?", self.schema);
        let rows = self.rows(look, (migration, epoch), "reporting progress").await?;
        let paused = get(rows.first().ok_or_else(Error::superseded)?, 0)?;
        let look = format!(
            "select id, command from {}.command where migration = ? and taken_at is null order by id",
            self.schema
        );
        let rows = self.rows(look, (migration,), "reading commands").await?;
        let mut commands = Vec::with_capacity(rows.len());
        for row in &rows {
            let taken =
                format!("update {}.command set taken_at = utc_timestamp(3) where id = ?", self.schema);
            self.run(taken, (get::<i64>(row, 0)?,), "taking a command").await?;
            commands.extend(Command::parse(&get::<String>(row, 1)?));
        }
        Ok((commands, paused))
    }

    async fn note(&self, migration: i64, who: &str, what: &str) -> Result<()> {
        let text = format!(
            "insert into {}.event (migration, at, who, what) values (?, utc_timestamp(3), ?, ?)",
            self.schema
        );
        self.run(text, (migration, who, what), "noting an event").await.map(drop)
    }

    async fn close(&self, migration: i64, error: Option<&str>, stall_ms: Option<f64>) -> Result<()> {
        let text = format!(
            "update {}.migration set error = ?, stall_ms = coalesce(?, stall_ms), runner = null, updated_at = utc_timestamp(3) where id = ?",
            self.schema
        );
        self.run(text, (error, stall_ms, migration), "noting how the run ended").await?;
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
            let text = format!("update {}.migration set paused = ? where id = ?", self.schema);
            self.run(text, (paused, migration), "pausing or resuming").await?;
        } else {
            let text = format!(
                "insert into {}.command (migration, at, who, command) values (?, utc_timestamp(3), ?, ?)",
                self.schema
            );
            self.run(text, (migration, who, command.name()), "giving a command").await?;
        }
        self.note(migration, who, command.name()).await?;
        self.is_run(migration).await
    }

    async fn set(&self, migration: i64, who: &str, name: &str, value: &str) -> Result<bool> {
        if self.version < 2 {
            return Err(control::too_old_for_settings(self.version));
        }
        let text = format!(
            "insert into {}.setting (migration, name, value, who, at) values (?, ?, ?, ?, utc_timestamp(6))\n\
             on duplicate key update value = values(value), who = values(who), at = values(at)",
            self.schema
        );
        self.run(text, (migration, name, value, who), "storing a setting").await?;
        self.note(migration, who, &format!("throttle {name}={value}")).await?;
        let text = format!(
            "insert into {}.command (migration, at, who, command) values (?, utc_timestamp(3), ?, 'throttle')",
            self.schema
        );
        self.run(text, (migration, who), "giving a command").await?;
        self.is_run(migration).await
    }

    async fn settings(&self, migration: i64) -> Result<Vec<(String, String)>> {
        if self.version < 2 {
            return Ok(Vec::new());
        }
        let text = format!("select name, value from {}.setting where migration = ? order by at", self.schema);
        let rows = self.rows(text, (migration,), "reading the settings").await?;
        rows.iter().map(|r| Ok((get(r, 0)?, get(r, 1)?))).collect()
    }

    async fn keep(&self, migration: i64, report: &str) -> Result<()> {
        let text = format!("replace into {}.report (migration, report) values (?, ?)", self.schema);
        self.run(text, (migration, report), "keeping the report").await.map(drop)
    }

    async fn reports(&self) -> Result<Vec<(i64, String)>> {
        if self.version < 2 {
            return Ok(Vec::new());
        }
        let text =
            format!("select migration, report from {}.report order by migration desc limit 100", self.schema);
        let rows = self.rows(text, (), "reading reports").await?;
        rows.iter().map(|r| Ok((get(r, 0)?, get(r, 1)?))).collect()
    }

    async fn ignores_case(&self) -> Result<bool> {
        let rows =
            self.rows("select @@lower_case_table_names".into(), (), "asking how names are compared").await?;
        rows.first().map_or(Ok(false), |row| get::<u8>(row, 0).map(|how| how != 0))
    }

    async fn status(&self, table: Option<&TableName>) -> Result<Vec<Status>> {
        let (schema, name) = (table.map(|t| t.schema.as_str()), table.map(|t| t.name.as_str()));
        let which = "(? is null or table_schema = ?) and (? is null or table_name = ?)";
        let text = format!(
            "select id, table_schema, table_name, phase, plan_id, plan, paused, {}, {}, runner, progress, error, stall_ms, {}, {}, {}\n\
             from {5}.migration m where {which} and (unfinished = 1 or id >= (select coalesce(min(id), 0)\n\
             from (select id from {5}.migration where {which} order by id desc limit {ENDED_SHOWN}) newest)\n\
             or id in (select max(id) from {5}.migration group by table_schema, table_name)) order by id desc",
            at("started_at"),
            at("updated_at"),
            self.turn_text(),
            self.guard_left_text(),
            at("ended_at"),
            self.schema
        );
        let rows = self
            .rows(text, (schema, schema, name, name, schema, schema, name, name), "reading the migrations")
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for (n, r) in rows.iter().enumerate() {
            let table = TableName::new(get::<String>(r, 1)?, get::<String>(r, 2)?);
            let phase = control::stored_phase(&get::<String>(r, 3)?)?;
            let is_held = !phase.is_over() && self.is_held(&table).await?;
            let id = get(r, 0)?;
            found.push(Status {
                id,
                table,
                phase,
                turn: get(r, 13)?,
                guard_left_s: get::<Option<f64>>(r, 14)?.filter(|_| !phase.is_over()),
                plan_id: get(r, 4)?,
                alters: control::stored_plan(&get::<String>(r, 5)?)?.request.alters,
                paused: get(r, 6)?,
                started_at: get(r, 7)?,
                updated_at: get(r, 8)?,
                ended_at: get(r, 15)?,
                runner: get::<Option<String>>(r, 9)?.filter(|_| is_held),
                progress: get::<Option<String>>(r, 10)?.and_then(|p| serde_json::from_str(&p).ok()),
                error: get(r, 11)?,
                stall_ms: get(r, 12)?,
                // Of what is long over, nobody wants to know them.
                events: if n < ENDED_SHOWN || !phase.is_over() { self.events(id).await? } else { Vec::new() },
            });
        }
        Ok(found)
    }
}

impl Control {
    /// Whether a runner holds the migration now.
    async fn is_run(&self, migration: i64) -> Result<bool> {
        let text = format!("select table_schema, table_name from {}.migration where id = ?", self.schema);
        let rows = self.rows(text, (migration,), "looking for a runner").await?;
        match rows.first() {
            Some(row) => self.is_held(&TableName::new(get::<String>(row, 0)?, get::<String>(row, 1)?)).await,
            None => Ok(false),
        }
    }

    async fn is_held(&self, table: &TableName) -> Result<bool> {
        let name = lock_name(&self.name, table);
        let rows = self.rows("select is_used_lock(?)".into(), (name,), "looking for a runner").await?;
        Ok(rows.first().and_then(|r| r.get::<Option<u64>, _>(0)).flatten().is_some())
    }
}
