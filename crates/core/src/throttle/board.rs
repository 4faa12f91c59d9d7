//! Where signals post what they read, and the judgement over all of them. Pure: the caller says what time it is.
//!
//! Fails closed: a signal that was never read, cannot be read, or has not been read for a while counts as over its limit.

use super::limit::Limit;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A reading that is older than this is none: ten of the usual intervals, twice what one reading may take.
pub const STALE_AFTER: Duration = Duration::from_secs(10);
/// A critical signal that cannot be read ends the run after this long; one that is over its limit does so at once.
pub const BLIND_AFTER: Duration = Duration::from_secs(60);

/// What a signal read: a value, nothing that could be over (no replica is attached), or why it could not be read.
pub type Read = Result<Option<f64>, String>;

/// The newest reading of each signal. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, (Instant, Read)>>>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, Read)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts a reading that was taken just now.
    pub fn post(&self, name: &str, read: Read) {
        self.lock().insert(name.to_string(), (Instant::now(), read));
    }

    /// What the signal said last, if that is not too old.
    pub(super) fn read(&self, name: &str, now: Instant) -> Read {
        match self.lock().get(name) {
            Some((at, read)) if now.saturating_duration_since(*at) <= STALE_AFTER => read.clone(),
            Some((at, _)) => {
                Err(format!("no reading for {} s", now.saturating_duration_since(*at).as_secs()))
            }
            None => Err("no reading yet".to_string()),
        }
    }
}

/// One signal as `status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The signal.
    pub name: String,
    /// Its value, for people; why there is none.
    pub value: String,
    /// Its limit, for people.
    pub limit: String,
    /// It holds the copy now.
    pub holds: bool,
}

/// What all signals come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// What holds the copy: the names of the signals, with their values and limits.
    pub held: Option<String>,
    /// How near the worst of them is to its limit: 0 at or below its recovery level, 1 at its limit, at most 2.
    pub pressure: f64,
    /// A critical signal says that the run has to stop.
    pub critical: Option<String>,
    /// Each of them.
    pub signals: Vec<Shown>,
}

/// Remembers which signals hold the copy, and since when critical ones cannot be read.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    holding: BTreeMap<String, ()>,
    blind: BTreeMap<String, Instant>,
}

impl Judge {
    /// The judgement now.
    pub fn verdict(&mut self, limits: &[Limit], criticals: &[Limit], board: &Board, now: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        let mut reasons = Vec::new();
        self.holding.retain(|name, ()| limits.iter().any(|l| l.name == *name));
        for limit in limits {
            let read = board.read(&limit.name, now);
            let was_holding = self.holding.contains_key(&limit.name);
            let holds = match &read {
                Ok(Some(value)) if was_holding => *value > limit.recovery,
                Ok(Some(value)) => *value > limit.limit,
                Ok(None) => false,
                Err(_) => true,
            };
            // Not being readable has no band: as soon as it can be read again, its value alone decides.
            match (holds, &read) {
                (true, Ok(_)) => drop(self.holding.insert(limit.name.clone(), ())),
                (true, Err(_)) => {}
                (false, _) => drop(self.holding.remove(&limit.name)),
            }
            let (value, pressure) = match &read {
                Ok(Some(value)) => (limit.show(*value), limit.pressure(*value)),
                Ok(None) => ("none".to_string(), 0.0),
                // It holds the copy; how fast that should go afterwards it does not say.
                Err(why) => (why.clone(), 0.0),
            };
            verdict.pressure = verdict.pressure.max(pressure.min(2.0));
            if holds {
                reasons.push(match &read {
                    Err(why) => format!("{} cannot be read and counts as over: {why}", limit.name),
                    Ok(_) => format!(
                        "{} is {value} (limit {}, goes on at {})",
                        limit.name,
                        limit.show(limit.limit),
                        limit.show(limit.recovery)
                    ),
                });
            }
            verdict.signals.push(Shown {
                name: limit.name.clone(),
                value,
                limit: limit.show(limit.limit),
                holds,
            });
        }
        verdict.held = (!reasons.is_empty()).then(|| reasons.join("; "));
        verdict.critical = criticals.iter().find_map(|limit| self.critical(limit, board, now));
        verdict
    }

    fn critical(&mut self, limit: &Limit, board: &Board, now: Instant) -> Option<String> {
        match board.read(&limit.name, now) {
            Ok(value) => {
                self.blind.remove(&limit.name);
                let value = value.filter(|value| *value > limit.limit)?;
                Some(format!(
                    "{} is {} (critical above {})",
                    limit.name,
                    limit.show(value),
                    limit.show(limit.limit)
                ))
            }
            Err(why) => {
                let since = *self.blind.entry(limit.name.clone()).or_insert(now);
                let blind = now.saturating_duration_since(since);
                (blind > BLIND_AFTER).then(|| {
                    format!(
                        "the critical signal {} could not be read for {} s: {why}",
                        limit.name,
                        blind.as_secs()
                    )
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Vec<Limit> {
        text.split_whitespace().map(|t| Limit::parse(t).unwrap()).collect()
    }

    #[test]
    fn signal_holds_from_its_limit_to_its_recovery_level() {
        let (board, mut judge) = (Board::default(), Judge::default());
        let limits = limits("undo=200..100");
        let mut held = |value: f64| {
            board.post("undo", Ok(Some(value)));
            judge.verdict(&limits, &[], &board, Instant::now()).held
        };
        assert_eq!(held(150.0), None, "in the band, and not held before");
        let why = held(201.0).unwrap();
        assert!(why.contains("undo is 201 (limit 200, goes on at 100)"), "{why}");
        assert!(held(150.0).is_some(), "in the band, and held before");
        assert_eq!(held(100.0), None);
        assert_eq!(held(150.0), None);
    }

    #[test]
    fn signal_that_fails_or_is_stale_or_was_never_read_counts_as_over() {
        let (board, mut judge) = (Board::default(), Judge::default());
        let limits = limits("undo=200 queue=5");
        board.post("queue", Ok(Some(1.0)));
        let verdict = judge.verdict(&limits, &[], &board, Instant::now());
        assert!(verdict.held.unwrap().contains("undo cannot be read and counts as over: no reading yet"));
        board.post("undo", Err("no privilege".into()));
        let verdict = judge.verdict(&limits, &[], &board, Instant::now());
        assert!(verdict.held.unwrap().contains("no privilege"));
        board.post("undo", Ok(Some(150.0)));
        let now = Instant::now();
        assert_eq!(judge.verdict(&limits, &[], &board, now).held, None, "what it read decides again");
        let later = now + STALE_AFTER + Duration::from_secs(1);
        let held = judge.verdict(&limits, &[], &board, later).held.unwrap();
        assert!(
            held.contains("undo") && held.contains("queue") && held.contains("no reading for 11 s"),
            "{held}"
        );
    }

    #[test]
    fn nothing_to_be_over_is_not_over() {
        let (board, mut judge) = (Board::default(), Judge::default());
        board.post("replica-lag", Ok(None));
        let verdict = judge.verdict(&limits("replica-lag=1s"), &[], &board, Instant::now());
        assert_eq!((verdict.held, verdict.pressure), (None, 0.0));
    }

    #[test]
    fn critical_signal_stops_at_once_when_over_and_later_when_blind() {
        let (board, mut judge) = (Board::default(), Judge::default());
        let criticals = limits("queue=10");
        let now = Instant::now();
        assert_eq!(judge.verdict(&[], &criticals, &board, now).critical, None, "not read yet");
        let blind = judge.verdict(&[], &criticals, &board, now + BLIND_AFTER + Duration::from_secs(1));
        assert!(blind.critical.unwrap().contains("could not be read for 61 s"));
        board.post("queue", Ok(Some(11.0)));
        let over = judge.verdict(&[], &criticals, &board, Instant::now()).critical.unwrap();
        assert_eq!(over, "queue is 11 (critical above 10)");
        board.post("queue", Ok(Some(10.0)));
        assert_eq!(judge.verdict(&[], &criticals, &board, Instant::now()).critical, None);
    }
}
