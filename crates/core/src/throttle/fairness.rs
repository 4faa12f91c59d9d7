//! Whether changes come in faster than they can be applied. Pure.
//!
//! Copying waits while applying is behind, so lag never runs away because of us; and within the band copying goes on, so that applying
//! never starves it for good. What is left is a write rate that applying alone cannot follow. Then waiting is of no use: it is said, with
//! the figures, and after a while the run stops where it can be resumed.

use crate::units::{human_count, human_ms, human_rate};
use std::time::Duration;
use tokio::time::Instant;

/// It is said after this share of the time after which the run stops.
const SAY_AFTER: f64 = 0.1;
/// The lag falls if it falls by this share of the time that passes: then it is gone in twenty times itself.
const FALL: f64 = 0.05;

/// What applying is like now.
#[derive(Clone, Copy, Debug)]
pub struct Applying {
    /// How far behind.
    pub lag: Duration,
    /// Its limit.
    pub limit: Duration,
    /// Changes applied a second.
    pub rate: f64,
    /// Transactions that wait.
    pub backlog: u64,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Worth telling, once.
    Say(String),
    /// The run has to stop.
    Stop(String),
}

/// Remembers since when the lag has been over its limit without falling.
#[derive(Clone, Debug, Default)]
pub struct Fairness {
    since: Option<(Instant, Duration)>,
    said: bool,
}

impl Fairness {
    /// Looks at applying while copying waits for it. `patience`: after how long the run stops.
    pub fn observe(&mut self, now: Instant, applying: Applying, patience: Duration) -> Option<Word> {
        let Applying { lag, limit, rate, backlog } = applying;
        if lag <= limit {
            *self = Fairness::default();
            return None;
        }
        let (since, first) = *self.since.get_or_insert((now, lag));
        let passed = now.saturating_duration_since(since);
        let falls = lag + passed.mul_f64(FALL) <= first;
        if falls && passed >= patience {
            // From here on it has to fall further.
            *self = Fairness { since: Some((now, lag)), said: false };
            return None;
        }
        if falls {
            return None;
        }
        let figures = || {
            format!(
                "writes come in faster than they can be applied: in {} the lag went from {} to {} though nothing was copied, \
                 {} changes/s are applied, {} transactions wait",
                human_ms(passed.as_secs_f64() * 1e3),
                human_ms(first.as_secs_f64() * 1e3),
                human_ms(lag.as_secs_f64() * 1e3),
                human_rate(rate),
                human_count(backlog)
            )
        };
        if passed >= patience {
            return Some(Word::Stop(figures()));
        }
        if passed >= patience.mul_f64(SAY_AFTER) && !self.said {
            self.said = true;
            return Some(Word::Say(figures()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Applying {
        Applying {
            lag: Duration::from_secs(seconds),
            limit: Duration::from_secs(10),
            rate: 900.0,
            backlog: 70_000,
        }
    }

    #[test]
    fn lag_that_never_falls_is_said_and_then_stops_the_run() {
        let (mut fairness, start) = (Fairness::default(), Instant::now());
        let mut words = Vec::new();
        for second in 0..=600 {
            let word =
                fairness.observe(start + Duration::from_secs(second), at(11 + second / 2), 10 * MINUTE);
            words.extend(word);
        }
        let [Word::Say(said), Word::Stop(why)] = words.as_slice() else { panic!("{words:?}") };
        assert!(
            said.contains("in 1 min the lag went from 11 s to 41 s") && said.contains("900 changes/s"),
            "{said}"
        );
        assert!(why.contains("in 10 min") && why.contains("70,000 transactions"), "{why}");
    }

    #[test]
    fn lag_that_falls_is_waited_for() {
        let (mut fairness, start) = (Fairness::default(), Instant::now());
        for second in 0..6_000 {
            let lag = 7_000 - second;
            assert_eq!(
                fairness.observe(start + Duration::from_secs(second), at(lag), 15 * MINUTE),
                None,
                "{second}"
            );
        }
        assert_eq!(fairness.observe(start, at(5), MINUTE), None);
    }
}
