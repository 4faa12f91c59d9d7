//! Who runs a migration, and what an earlier runner left running.

use super::{Control, OVER};
use shadowswap_core::{
    Error, Result,
    control::held,
    failpoint::{self, Place},
    name::TableName,
};
use std::time::Duration;

/// Looks at a lock that another runner holds, and the pause between them.
const LOCK_LOOKS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// How long the sessions of a dead runner may take to end after they were told to.
const ORPHANS_END_WITHIN: Duration = Duration::from_secs(30);

impl Control {
    /// Takes the advisory lock, or says who has it.
    pub(super) async fn lock(&self, table: &TableName) -> Result<()> {
        let name = format!("shadowswap:{}:{table}", self.schema);
        // The backend of a runner that was just killed needs a moment to notice.
        for _ in 0..LOCK_LOOKS {
            let row = self
                .one(
                    "select pg_try_advisory_lock(hashtextextended($1, 0))",
                    &[&name],
                    "taking the migration's lock",
                )
                .await?;
            if row.get(0) {
                return Ok(());
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        let holder = self
            .all(
                "select a.pid, coalesce(host(a.client_addr), 'local'), a.backend_start::text\n\
                 from pg_locks l join pg_stat_activity a using (pid)\n\
                 where l.locktype = 'advisory' and l.granted and l.objsubid = 1\n\
                 and ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended($1, 0)\n\
                 and l.database = (select oid from pg_database where datname = current_database())",
                &[&name],
                "finding out who holds the migration",
            )
            .await?;
        let runner = self
            .all(
                &format!(
                    "select runner from {}.migration where table_schema = $1 and table_name = $2 order by id desc limit 1",
                    self.schema
                ),
                &[&table.schema, &table.name],
                "finding out who runs the migration",
            )
            .await?;
        let runner: Option<String> = runner.first().and_then(|r| r.get(0));
        let who = holder.first().map_or_else(String::new, |r| {
            format!(
                ", backend {} from {} since {}",
                r.get::<_, i32>(0),
                r.get::<_, String>(1),
                r.get::<_, String>(2)
            )
        });
        Err(held(table, runner, &who))
    }

    /// Takes over what is unfinished.
    pub(super) async fn take_over(&self, table: &TableName, who: &str) -> Result<Option<i64>> {
        let found = self
            .all(
                &format!(
                    "select id from {}.migration where table_schema = $1 and table_name = $2 and phase not in {OVER}",
                    self.schema
                ),
                &[&table.schema, &table.name],
                "looking for an unfinished migration",
            )
            .await?;
        let Some(id) = found.first().map(|row| row.get::<_, i64>(0)) else { return Ok(None) };
        self.end_orphans(id).await?;
        let row = self
            .one(
                &format!(
                    "update {}.migration set epoch = epoch + 1, runner = $2, error = null, updated_at = clock_timestamp()\n\
                     where id = $1 returning epoch",
                    self.schema
                ),
                &[&id, &who],
                "taking the migration over",
            )
            .await?;
        let epoch: i64 = row.get(0);
        failpoint::at(Place::EpochRaised).await;
        // These wait for whatever an orphan still writes; once they return, it has committed or is gone.
        self.run(
            &format!("update {}.checkpoint set epoch = $2 where migration = $1", self.schema),
            &[&id, &epoch],
            "raising the epoch",
        )
        .await?;
        self.run(
            &format!(
                "update {}.chunk set epoch = $2, attempt = attempt + 1 where migration = $1 and not done",
                self.schema
            ),
            &[&id, &epoch],
            "raising the epoch of the chunks",
        )
        .await?;
        Ok(Some(id))
    }

    /// Ends the sessions that a former runner of this migration left behind, and waits until they are gone.
    pub(super) async fn end_orphans(&self, migration: i64) -> Result<()> {
        let pattern = format!("shadowswap/% #{}{migration}", self.scope);
        let text = "select pg_terminate_backend(pid) from pg_stat_activity\n\
                    where application_name like $1 and pid <> pg_backend_pid() and datname = current_database()";
        let deadline = tokio::time::Instant::now() + ORPHANS_END_WITHIN;
        while !self.all(text, &[&pattern], "ending sessions of a former runner").await?.is_empty() {
            if tokio::time::Instant::now() > deadline {
                return Err(Error::transient("sessions of a former runner did not end within 30 s"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
