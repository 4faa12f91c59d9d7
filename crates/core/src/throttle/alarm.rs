//! Watching during the guard: a limit that is broken for long enough. Pure.
//!
//! The other way round than for the throttle: what cannot be read is no reason for an alarm. A monitoring system that is down must not
//! roll a change back.

use super::{board::Board, limit::Limit};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Remembers since when each limit is broken.
#[derive(Clone, Debug, Default)]
pub struct Alarm {
    since: BTreeMap<String, Instant>,
}

impl Alarm {
    /// The first of the limits that has been broken for so long without a break, in a sentence.
    pub fn observe(
        &mut self,
        limits: &[Limit],
        board: &Board,
        now: Instant,
        long: Duration,
    ) -> Option<String> {
        let mut alarm = None;
        for limit in limits {
            let Ok(Some(value)) = board.read(&limit.name, now) else {
                self.since.remove(&limit.name);
                continue;
            };
            // Once over the limit, it is broken until it is back at its recovery level.
            let well = if self.since.contains_key(&limit.name) { limit.recovery } else { limit.limit };
            if value <= well {
                self.since.remove(&limit.name);
                continue;
            }
            let since = *self.since.entry(limit.name.clone()).or_insert(now);
            let broken = now.saturating_duration_since(since);
            if broken >= long && alarm.is_none() {
                alarm = Some(format!(
                    "{} is {} and has been over its limit of {} for {} s",
                    limit.name,
                    limit.show(value),
                    limit.show(limit.limit),
                    broken.as_secs()
                ));
            }
        }
        alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_must_be_broken_for_long_enough_and_without_a_break() {
        let (board, mut alarm, start) = (Board::default(), Alarm::default(), Instant::now());
        let limits = [Limit::parse("p99=20ms..15ms").unwrap()];
        // What was posted just now is never too old; the alarm's own clock is ahead of it by less than that.
        let mut at = |seconds: u64, read: Result<Option<f64>, String>| {
            board.post("p99", read);
            alarm.observe(&limits, &board, start + Duration::from_secs(seconds), Duration::from_secs(3))
        };
        assert_eq!(at(0, Ok(Some(0.03))), None);
        assert_eq!(at(2, Ok(Some(0.016))), None, "still above its recovery level");
        let why = at(3, Ok(Some(0.016))).unwrap();
        assert!(why.contains("p99 is 16 ms and has been over its limit of 20 ms for 3 s"), "{why}");
        assert_eq!(at(4, Ok(Some(0.01))), None);
        assert_eq!(at(5, Ok(Some(0.03))), None, "it begins anew");
        assert_eq!(at(6, Err("down".into())), None);
        assert_eq!(at(8, Ok(Some(0.03))), None, "what could not be read is a break, not an alarm");
    }
}
