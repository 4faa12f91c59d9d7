//! Sessions that were sent a RENAME. Until they are gone, nobody knows what becomes of it: a RENAME that commits can be neither
//! interrupted nor seen, also where its connection is broken.

use crate::control::session_lock;
use crate::error::server;
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Result};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a session may take to end after it was told to. Whoever asks tries again.
const END_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Which sessions these are. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Swappers(Arc<Mutex<Vec<u32>>>);

impl Swappers {
    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A RENAME is about to be sent, and these sessions take part in it.
    pub fn sent(&self, sessions: impl IntoIterator<Item = u32>) {
        self.lock().extend(sessions);
    }

    /// It is known what became of it.
    pub fn known(&self) {
        self.lock().clear();
    }

    /// Ends all of them, and waits until they are gone. `name`: the control database.
    ///
    /// # Errors
    /// `Transient` if one does not end; the server's.
    pub async fn end(&self, conn: &mut Conn, name: &str) -> Result<()> {
        let sessions = self.lock().clone();
        for id in sessions {
            end(conn, name, id).await?;
        }
        self.known();
        Ok(())
    }
}

/// Ends one of our sessions, and waits until it is gone. `name`: the control database.
///
/// # Errors
/// `Transient` if it does not end; the server's.
pub async fn end(conn: &mut Conn, name: &str, id: u32) -> Result<()> {
    let deadline = tokio::time::Instant::now() + END_WITHIN;
    let text = format!("select is_used_lock('{}')", session_lock(name, id));
    loop {
        // The server lets go of a session's locks once its last statement is over, whatever became of its connection.
        let holder: Option<Option<u32>> = conn
            .query_first(&text)
            .await
            .map_err(|e| server(e, "looking whether a session that swaps is gone"))?;
        if holder.flatten() != Some(id) {
            return Ok(());
        }
        // Fails where it is gone by now.
        drop(conn.query_drop(format!("kill {id}")).await);
        if tokio::time::Instant::now() > deadline {
            return Err(Error::transient(format!(
                "connection {id}, which swaps the tables, has not ended for {} s",
                END_WITHIN.as_secs()
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
