//! How long the server may take to answer, and what is said meanwhile.
//!
//! A connection that is lost is found by the kernel, within a minute or a few. What it cannot find is a peer that is there and says
//! nothing: a proxy that hangs, a server that is stopped. Every wait for an answer therefore has a limit, and is told of while it lasts.
//! What may rightly take hours (an index, a table compared in one piece) is told of, and given up once the server has long had nothing to do
//! for the session that we wait for.

use crate::{
    engine::Engine,
    error::{Error, Result},
};
use std::{future::Future, time::Duration};
use tokio::time::{Instant, interval_at, sleep, timeout};
use tracing::warn;

/// For what takes milliseconds. Longer than everything that a statement may wait for on the server: a row's lock 20 s, a table's 50 s.
const ANSWER: Duration = Duration::from_secs(120);
/// For what has much to do, or may wait for locks of other sessions.
const WORK: Duration = Duration::from_secs(600);
/// A session that holds the migration's lock and says nothing for so long is ended by the server: its process, or the way to it, is gone.
/// Reports come several times a second.
pub const LOCK_SILENCE: Duration = Duration::from_secs(120);
/// A session that had nothing to do for so long, while its answer is waited for, has lost it on the way.
const SILENCE: Duration = Duration::from_secs(60);
/// So many looks in a row must find it silent.
const LOOKS: u32 = 2;
/// What takes longer is told of, and again after so long.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// Waits for an answer to something small.
///
/// # Errors
/// Its own; `Transient` if it takes too long: the connection is of no more use then.
pub async fn answer<T>(what: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    within(ANSWER, what, asked).await
}

/// Waits for something that has much to do.
///
/// # Errors
/// Its own; `Transient` if it takes too long: the connection is of no more use then.
pub async fn work<T>(what: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    within(WORK, what, asked).await
}

/// Waits for something that the server ends by itself after `at_most`.
///
/// # Errors
/// Its own; `Transient` if no answer has come long after that: the connection is of no more use then.
pub async fn beyond<T>(at_most: Duration, what: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    limited(at_most + scaled(SILENCE), what, asked).await
}

/// Waits for as long as it takes, and tells of it.
pub async fn told<T>(what: &str, asked: impl Future<Output = T>) -> T {
    let mut asked = std::pin::pin!(asked);
    let begun = Instant::now();
    let mut tick = interval_at(begun + TELL_EVERY, TELL_EVERY);
    loop {
        tokio::select! {
            biased;
            done = &mut asked => return done,
            _ = tick.tick() => warn!(seconds = begun.elapsed().as_secs(), "still waiting: {what}"),
        }
    }
}

/// Waits for what may rightly take hours, and tells of it. `role`: whose sessions are at work on it.
///
/// # Errors
/// Its own; `Transient` if the server has nothing to do for these sessions and no answer has come: something on the way holds it back.
pub async fn attended<E: Engine, T>(
    engine: &E,
    (migration, role): (i64, &str),
    what: &str,
    asked: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut asked = std::pin::pin!(told(what, asked));
    let silence = scaled(SILENCE).max(Duration::from_secs(1));
    let (mut silent, mut was_listed) = (0, false);
    // Not at once: what is over soon need not be looked at.
    let mut pause = silence / 8;
    while silent < LOOKS {
        let looked = async {
            sleep(std::mem::replace(&mut pause, silence)).await;
            timeout(silence, engine.is_silent(migration, role, silence)).await
        };
        tokio::select! {
            biased;
            done = &mut asked => return done,
            looked = looked => {
                // Where it cannot be asked, or was never listed, nothing is known.
                let is_silent = match looked {
                    Ok(Ok(Some(is_silent))) => {
                        was_listed = true;
                        is_silent
                    }
                    Ok(Ok(None)) => was_listed,
                    Ok(Err(_)) | Err(_) => false,
                };
                silent = if is_silent { silent + 1 } else { 0 };
            }
        }
    }
    Err(Error::transient(format!(
        "{what}: no answer, though the server has had nothing to do for this session ({role}) for {silence:?}; the connection is given up, \
         and what was sent may have taken effect"
    )))
}

async fn within<T>(limit: Duration, what: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    limited(scaled(limit), what, asked).await
}

async fn limited<T>(limit: Duration, what: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(limit, told(what, asked)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Error::transient(format!(
            "{what}: no answer within {limit:?}; the connection is given up, and what was sent may have taken effect"
        ))),
    }
}

/// A limit as it counts. With the feature `mutations`, `SHADOWSWAP_TEST_PATIENCE` says how many hundredths of each limit count.
pub fn scaled(limit: Duration) -> Duration {
    if !cfg!(feature = "mutations") {
        return limit;
    }
    let percent = std::env::var("SHADOWSWAP_TEST_PATIENCE").ok().and_then(|text| text.parse::<u32>().ok());
    percent.map_or(limit, |percent| limit * percent / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_has_an_end() {
        let never = std::future::pending::<Result<()>>();
        let e = within(Duration::from_millis(20), "asking", never).await.unwrap_err();
        assert!(e.is_transient() && e.message.starts_with("asking: no answer within 20ms"), "{}", e.message);
        assert_eq!(answer("asking", async { Ok(5) }).await.unwrap(), 5);
    }
}
