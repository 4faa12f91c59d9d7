//! Markers that are places in the binlog: no row is written for them, so nobody waits for a commit.
//!
//! A session that holds the lock asks where the binlog ends; whatever was written to the source on that server lies before that. The
//! stream of the same process gives the marker back when it has come by there. Should the stream be of another server (names move from
//! one to another), it never does: GTIDs, or the server's UUID where there are none, are part of the position.

use crate::Position;
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::Notify;

/// A marker that the stream is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose stream.
    pub migration: i64,
    /// Where the binlog ends.
    pub upto: Position,
    /// What the stream gives when everything before that has come.
    pub token: u64,
}

/// The markers that are asked for and not yet given.
#[derive(Debug, Default)]
pub struct Marks {
    asked: Mutex<Vec<Mark>>,
    news: Notify,
    missed: AtomicBool,
}

impl Marks {
    fn lock(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the stream for a marker.
    pub fn ask(&self, mark: Mark) {
        self.lock().push(mark);
        self.news.notify_one();
    }

    /// Nobody waits for this migration's markers any more. Some that had not come make [`Marks::may_ask`] false: a stream that has not
    /// passed a place may have nothing left to pass it with.
    pub fn withdraw(&self, migration: i64) {
        let mut asked = self.lock();
        let before = asked.len();
        asked.retain(|m| m.migration != migration);
        if asked.len() < before {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether markers came back so far.
    pub fn may_ask(&self) -> bool {
        !self.missed.load(Ordering::Relaxed)
    }

    /// Hands this migration's markers to `give`, and forgets those that it took.
    pub fn give(&self, migration: i64, mut give: impl FnMut(&Mark) -> bool) {
        self.lock().retain(|m| m.migration != migration || !give(m));
    }

    /// Waits for a marker to be asked for. Cancel-safe; may wake without cause.
    pub async fn news(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(migration: i64, offset: u64) -> Mark {
        Mark { migration, upto: Position { offset, ..Position::default() }, token: offset }
    }

    #[test]
    fn what_is_not_reached_stays_and_is_missed_when_withdrawn() {
        let marks = Marks::default();
        marks.ask(mark(1, 10));
        marks.ask(mark(1, 20));
        marks.ask(mark(2, 10));
        let mut given = Vec::new();
        marks.give(1, |m| {
            given.push(m.token);
            m.upto.offset <= 10
        });
        assert_eq!((given, marks.lock().len()), (vec![10, 20], 2));
        marks.give(1, |_| true);
        marks.withdraw(1);
        assert!(marks.may_ask());
        marks.withdraw(2);
        assert!(!marks.may_ask() && marks.lock().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_also_by_what_was_asked_before() {
        let marks = Marks::default();
        marks.ask(mark(1, 10));
        tokio::time::timeout(std::time::Duration::from_secs(5), marks.news()).await.expect("woken");
    }
}
