//! Who runs a migration, and what an earlier runner left running.

use super::{Control, get};
use crate::error::server;
use mysql_async::{Conn, prelude::Queryable};
use sha2::{Digest, Sha256};
use shadowswap_core::{
    Error, Result,
    control::held,
    failpoint::{self, Place},
    name::TableName,
};
use std::time::Duration;

/// How long another runner's connection may take to end, in seconds.
const LOCK_SECONDS: u32 = 1;
/// How long the sessions of a dead runner may take to end after they were told to.
const ORPHANS_END_WITHIN: Duration = Duration::from_secs(30);

/// The name of the lock that a runner of this table holds; the server allows 64 characters.
pub fn lock_name(control: &str, table: &TableName) -> String {
    format!("shadowswap:{}", digest(&format!("{control}\0{}\0{}", table.schema, table.name)))
}

/// The name of the lock that one of our sessions holds as a sign of life.
pub fn session_lock(control: &str, connection: u32) -> String {
    format!("shadowswap:{}:{connection}", &digest(control)[..16])
}

/// Notes a session, so that whoever takes over can end it: of this epoch, or of whoever asks next whether the migration is his (none).
/// `control` is the quoted name of the control database.
///
/// # Errors
/// The server's; `Superseded` if the epoch is over: nobody would end the session, nor forget it.
pub async fn note_session(
    conn: &mut Conn,
    name: &str,
    control: &str,
    migration: i64,
    epoch: Option<i64>,
) -> Result<()> {
    let id = conn.id();
    let lock = session_lock(name, id);
    let of = epoch.map_or_else(String::new, |epoch| format!(" and epoch = {epoch}"));
    // With the lock, it is seen by whoever raises the epoch, or sees that it is raised.
    let text = format!(
        "do get_lock('{lock}', 0);\nreplace into {control}.session (connection, migration)\n\
         select {id}, id from {control}.migration where id = {migration}{of} lock in share mode"
    );
    conn.query_drop(text).await.map_err(|e| server(e, "noting a session"))?;
    if conn.affected_rows() == 0 { Err(Error::superseded()) } else { Ok(()) }
}

/// Forgets a session that was noted: itself.
///
/// # Errors
/// The server's.
pub async fn forget_session(conn: &mut Conn, control: &str) -> Result<()> {
    let text = format!("delete from {control}.session where connection = {}", conn.id());
    conn.query_drop(text).await.map_err(|e| server(e, "forgetting a session"))
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(20).map(|b| format!("{b:02x}")).collect()
}

impl Control {
    /// Takes the named lock, or says who has it.
    pub(super) async fn lock(&self, table: &TableName) -> Result<()> {
        let name = lock_name(&self.name, table);
        let got = self
            .rows("select get_lock(?, ?)".into(), (&name, LOCK_SECONDS), "taking the migration's lock")
            .await?;
        if got.first().and_then(|r| r.get::<Option<i64>, _>(0)).flatten() == Some(1) {
            return Ok(());
        }
        let holder = self
            .rows("select is_used_lock(?)".into(), (&name,), "finding out who holds the migration")
            .await?;
        let holder = holder.first().and_then(|r| r.get::<Option<u64>, _>(0)).flatten();
        let text = format!(
            "select runner from {}.migration where table_schema = ? and table_name = ? order by id desc limit 1",
            self.schema
        );
        let runner =
            self.rows(text, (&table.schema, &table.name), "finding out who runs the migration").await?;
        let runner = runner.first().and_then(|r| r.get::<Option<String>, _>(0)).flatten();
        let who = holder.map_or_else(String::new, |id| format!(", connection {id}"));
        Err(held(table, runner, &who))
    }

    /// Takes over what is unfinished.
    pub(super) async fn take_over(&self, source: &TableName, who: &str) -> Result<Option<i64>> {
        let text = format!(
            "select id from {}.migration where table_schema = ? and table_name = ? and unfinished = 1",
            self.schema
        );
        let found =
            self.rows(text, (&source.schema, &source.name), "looking for an unfinished migration").await?;
        let Some(row) = found.first() else { return Ok(None) };
        let id: i64 = get(row, 0)?;
        self.end_orphans(id).await?;
        let text = format!(
            "update {}.migration set epoch = epoch + 1, runner = ?, error = null, updated_at = utc_timestamp(3) where id = ?",
            self.schema
        );
        self.run(text, (who, id), "taking the migration over").await?;
        failpoint::at(Place::EpochRaised).await;
        // Of the former epoch, noted just before it was over.
        self.end_orphans(id).await?;
        // These wait for whatever an orphan still writes; once they return, it has committed or is gone.
        for text in [
            format!(
                "update {0}.checkpoint c join {0}.migration m on m.id = c.migration set c.epoch = m.epoch where m.id = ?",
                self.schema
            ),
            format!(
                "update {0}.chunk k join {0}.migration m on m.id = k.migration set k.epoch = m.epoch, k.attempt = k.attempt + 1\n\
                     where m.id = ? and not k.done",
                self.schema
            ),
        ] {
            self.run(text, (id,), "raising the epoch").await?;
        }
        Ok(Some(id))
    }

    /// Ends the sessions that a former runner of this migration left behind, and waits until they are gone.
    pub(super) async fn end_orphans(&self, migration: i64) -> Result<()> {
        let text = format!("select connection from {}.session where migration = ?", self.schema);
        let left = self.rows(text, (migration,), "looking for sessions of a former runner").await?;
        let deadline = tokio::time::Instant::now() + ORPHANS_END_WITHIN;
        for row in left {
            let id: u32 = get(&row, 0)?;
            let name = session_lock(&self.name, id);
            loop {
                let used =
                    self.rows("select is_used_lock(?)".into(), (&name,), "looking for orphans").await?;
                if used.first().and_then(|r| r.get::<Option<u32>, _>(0)).flatten() != Some(id) {
                    break;
                }
                // Fails where it is gone by now.
                drop(self.run(format!("kill {id}"), (), "ending an orphan").await);
                if tokio::time::Instant::now() > deadline {
                    return Err(Error::transient("sessions of a former runner did not end within 30 s"));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let text = format!("delete from {}.session where connection = ?", self.schema);
            self.run(text, (id,), "forgetting an orphan").await?;
        }
        Ok(())
    }
}
