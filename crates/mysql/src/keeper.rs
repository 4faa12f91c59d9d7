//! One connection that outlives whoever asks it something.
//!
//! The core drops what it waits for at any await, and the driver cannot use a connection again on which an answer was left unread. The
//! control tables' connection cannot be replaced, for the migration's lock hangs on it: a task owns it, and carries out one thing after
//! the other to its end, whether anybody still waits for the answer or not. The task ends with its handle, and the connection with it.

use crate::error::server;
use futures_util::future::BoxFuture;
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Result, patience};
use std::{fmt::Display, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Longer than everything a statement may wait for on the server: a row's lock 20 s, a table's 50 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Those who ask wait for the answer; more than a few never ask at once.
const WAITING: usize = 16;

type Work = Box<dyn for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, ()> + Send>;

fn greet(conn: &mut Conn) -> BoxFuture<'_, ()> {
    // What is lost is found out by whoever asks next.
    Box::pin(async { drop(conn.ping().await) })
}

/// The handle. Dropping it closes the connection.
pub struct Keeper {
    queue: mpsc::Sender<Work>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    /// Takes the connection over.
    pub fn new(mut conn: Conn) -> Keeper {
        let (queue, mut waiting) = mpsc::channel::<Work>(WAITING);
        let task = tokio::spawn(async move {
            let silence = patience::scaled(patience::LOCK_SILENCE);
            loop {
                // While nobody asks anything, the server is told that we are there.
                let work: Work = match tokio::time::timeout(silence / 4, waiting.recv()).await {
                    Ok(Some(work)) => work,
                    Ok(None) => return,
                    Err(_elapsed) => Box::new(greet),
                };
                if tokio::time::timeout(patience::scaled(ANSWER_WITHIN), work(&mut conn)).await.is_err() {
                    return;
                }
            }
        });
        Keeper { queue, task }
    }

    /// Carries this out once all that was asked before is done. Dropping the future drops the answer; what has begun goes on to its end.
    ///
    /// # Errors
    /// The server's; `Transient` if it did not answer in time, now or before.
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, mysql_async::Result<T>> + Send + 'static,
        what: impl Display,
    ) -> Result<T> {
        let lost = || {
            let seconds = ANSWER_WITHIN.as_secs();
            Error::transient(format!(
                "{what}: the server did not answer within {seconds} s, and its connection was closed"
            ))
        };
        let (tell, answer) = oneshot::channel();
        let work: Work = Box::new(move |conn| {
            Box::pin(async move {
                // Who is gone before it begins wants it no more.
                if !tell.is_closed() {
                    drop(tell.send(work(conn).await));
                }
            })
        });
        self.queue.send(work).await.map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?.map_err(|e| server(e, &what))
    }
}
