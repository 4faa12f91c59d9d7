//! How much of the time copying may take where others are at work (`--max-load auto`). Pure.
//!
//! What a chunk costs clients depends on the server: on one with cores and disks to spare nothing, on a small one each statement that
//! meets a chunk waits for it. So it is measured. Small commits of our own are timed all the while, some while a chunk is at work, some
//! while none is. From the latter comes what is *slow* here: a fifth more than the 99th percentile. The share of the time that copying
//! gets is as large as it can be while no more than [`EXCESS`] of all commits become slow because of it. With that, the 99th percentile
//! of what clients see stays within that fifth.

use crate::units::human_ms;
use std::{collections::VecDeque, time::Duration};

/// Commits that may become slow because of us, of all.
const EXCESS: f64 = 0.002;
/// Slow is what takes so many times the 99th percentile of commits that meet no chunk.
const SLOW: f64 = 1.2;
/// Nobody feels less than this, in seconds.
const FELT: f64 = 0.0003;
/// Commits remembered of each kind.
const MEMORY: usize = 1_000;
/// Commits that are waited for, of those that meet no chunk, before the first chunk.
const ENOUGH: usize = 20;
/// Looks that tell whether anybody is there: five seconds' worth.
const LOOKS: usize = 5;
/// Other people's statements a second that count as somebody.
const SOMEBODY: f64 = 100.0;
/// The share to begin with, and the least. Sessions at work on the average: 1 is one of them all the time.
const FIRST: f64 = 0.02;
const LEAST: f64 = 0.005;
/// The share at most doubles in so many seconds; it falls at once.
const DOUBLES_IN: f64 = 4.0;

/// What was seen, and the share that follows from it.
#[derive(Clone, Debug)]
pub struct Courtesy {
    /// Seconds of commits that met a chunk.
    during: VecDeque<f64>,
    /// Seconds of those that met none.
    between: VecDeque<f64>,
    /// Whether somebody else was there, at each look.
    looks: VecDeque<bool>,
    share: f64,
}

impl Default for Courtesy {
    fn default() -> Courtesy {
        let (during, between, looks) = Default::default();
        Courtesy { during, between, looks, share: FIRST }
    }
}

fn remember<T>(memory: &mut VecDeque<T>, value: T, most: usize) {
    if memory.len() >= most {
        memory.pop_front();
    }
    memory.push_back(value);
}

impl Courtesy {
    /// A commit took so long, and met a chunk or did not.
    pub fn commit(&mut self, took: Duration, met_chunk: bool) {
        let memory = if met_chunk { &mut self.during } else { &mut self.between };
        remember(memory, took.as_secs_f64(), MEMORY);
    }

    /// So many of other people's sessions were at work when looked at, and so many of their statements ended a second.
    pub fn look(&mut self, sessions: u64, per_second: f64) {
        remember(&mut self.looks, sessions > 0 || per_second > SOMEBODY, LOOKS);
    }

    /// Whether other people are at work. Until somebody has looked, they are.
    pub fn is_busy(&self) -> bool {
        self.looks.is_empty() || self.looks.contains(&true)
    }

    /// Whether commits that meet no chunk have to be seen before another chunk is copied.
    pub fn is_blind(&self) -> bool {
        self.is_busy() && self.between.len() < ENOUGH
    }

    /// Seconds above which a commit is slow.
    fn slow(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.between.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() as f64 * 0.99).ceil() as usize;
        let p99 = sorted.get(place.saturating_sub(1))?;
        Some((p99 * SLOW).max(p99 + FELT))
    }

    /// The part of commits that meet a chunk which is slow because of it; never quite nothing, the less the more were seen.
    fn harm(&self) -> Option<f64> {
        let slow = self.slow()?;
        let part = |memory: &VecDeque<f64>| {
            memory.iter().filter(|took| **took > slow).count() as f64 / memory.len().max(1) as f64
        };
        if self.during.is_empty() {
            return None;
        }
        let excess = (part(&self.during) - part(&self.between)).max(0.0);
        Some(excess + 0.5 / self.during.len() as f64)
    }

    /// Time passes. The share that copying gets now: sessions at work on the average, at most `workers`.
    pub fn share(&mut self, workers: usize, passed: Duration) -> f64 {
        let most = workers.max(1) as f64;
        if !self.is_busy() {
            return most;
        }
        if let Some(harm) = self.harm() {
            let allowed = (EXCESS / harm).clamp(LEAST, most);
            let rise = (passed.as_secs_f64() / DOUBLES_IN).min(1.0).exp2();
            self.share = allowed.min(self.share * rise).max(LEAST);
        }
        self.share.min(most)
    }

    /// What was seen, for people: `12 of 1000 commits slower than 2.1 ms while copying, 3 of 1000 otherwise`.
    pub fn seen(&self) -> String {
        let Some(slow) = self.slow() else { return "commits are being measured".to_string() };
        let part = |memory: &VecDeque<f64>| {
            format!("{} of {}", memory.iter().filter(|took| **took > slow).count(), memory.len())
        };
        format!(
            "{} commits slower than {} while copying, {} otherwise",
            part(&self.during),
            human_ms(slow * 1e3),
            part(&self.between)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    /// A server: of 1,000 commits, so many are slow while a chunk is at work.
    fn settled(slow: u64) -> (Courtesy, f64) {
        let mut courtesy = Courtesy::default();
        courtesy.look(3, 0.0);
        let mut share = 0.0;
        for n in 0..4_000_u64 {
            // Spread evenly, and the same on each run of the test.
            let place = n * 7_919 % 1_000;
            courtesy.commit(Duration::from_micros(1_000 + place / 10), false);
            let took = if place < slow { 9_000 } else { 1_000 + place / 10 };
            courtesy.commit(Duration::from_micros(took), true);
            share = courtesy.share(2, TICK);
        }
        (courtesy, share)
    }

    #[test]
    fn chunks_that_nobody_feels_get_all_of_the_time_and_others_what_clients_can_bear() {
        let (_, free) = settled(0);
        assert_eq!(free, 2.0);
        let (courtesy, small) = settled(300);
        assert!((0.005..0.008).contains(&small), "three tenths of the commits that meet a chunk: {small}");
        assert!(courtesy.seen().contains("of 1000 commits slower than 1.4"), "{}", courtesy.seen());
        let (_, less) = settled(1_000);
        assert_eq!(less, LEAST);
        let (_, middle) = settled(20);
        assert!(middle > small && middle < free, "{middle}");
    }

    #[test]
    fn idle_server_is_used_and_one_that_nobody_looked_at_is_not() {
        let mut courtesy = Courtesy::default();
        assert!(courtesy.is_busy() && courtesy.is_blind());
        assert_eq!(courtesy.share(2, TICK), FIRST);
        courtesy.look(0, 50.0);
        assert!(!courtesy.is_busy() && !courtesy.is_blind());
        assert_eq!(courtesy.share(2, TICK), 2.0);
        courtesy.look(0, 900.0);
        assert_eq!(courtesy.share(2, TICK), FIRST, "somebody came");
        for _ in 0..LOOKS {
            courtesy.look(0, 50.0);
        }
        assert_eq!(courtesy.share(2, TICK), 2.0, "and left");
    }

    #[test]
    fn share_rises_slowly_and_falls_at_once() {
        let (mut courtesy, _) = settled(1_000);
        for _ in 0..MEMORY {
            courtesy.commit(Duration::from_micros(1_000), true);
        }
        assert!(courtesy.share(2, TICK) < LEAST * 1.1);
        for _ in 0..400 {
            courtesy.share(2, TICK);
        }
        assert_eq!(courtesy.share(2, TICK), 2.0);
        for _ in 0..MEMORY {
            courtesy.commit(Duration::from_millis(9), true);
        }
        assert_eq!(courtesy.share(2, TICK), LEAST);
    }

    #[test]
    fn what_nobody_can_feel_is_not_slow() {
        let mut courtesy = Courtesy::default();
        courtesy.look(1, 0.0);
        for _ in 0..MEMORY {
            courtesy.commit(Duration::from_micros(300), false);
            courtesy.commit(Duration::from_micros(550), true);
        }
        for _ in 0..100 {
            courtesy.share(1, TICK);
        }
        assert_eq!(courtesy.share(1, TICK), 1.0);
    }
}
