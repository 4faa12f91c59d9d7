//! What a load measured: latencies, counts, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies from a microsecond to ten minutes, to three digits.
const LOWEST_US: u64 = 1;
const HIGHEST_US: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// Slowest statements that are kept.
const SLOWEST: usize = 10;

/// Statements of one writer and window that are remembered one by one.
const RECENT: usize = 1_000_000;

/// Broken promises that are kept in words.
const VIOLATIONS: usize = 20;

/// How long statements took.
#[derive(Clone)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// Both windows as one.
    #[must_use]
    pub fn and(mut self, other: &Latency) -> Latency {
        self.0.add(&other.0).expect("histograms of one kind can be added");
        self
    }

    fn new() -> Latency {
        Latency(Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS).expect("the bounds are legal"))
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_micros() as u64);
    }

    /// Statements measured.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of the statements stayed below: 0.99 for p99.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// The median.
    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// What one in a hundred exceeded.
    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// The histogram itself, in microseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let (p50, p99, max) = (ms(self.p50()), ms(self.p99()), ms(self.max()));
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")
    }
}

/// One of the slowest statements.
#[derive(Clone, Debug)]
pub struct Slow {
    /// How long it took; in open loop, from when it was due.
    pub latency: Duration,
    /// When it was answered, from the load's start.
    pub answered_at: Duration,
    /// What it was.
    pub sql: String,
}

/// One writer's latencies: since the start, and since the last look.
struct Meters {
    total: Latency,
    window: Latency,
    /// The statements of the window: when they were answered, from the load's start, and their latencies.
    recent: Vec<(Duration, Duration)>,
}

/// What writers tell while they run.
pub(super) struct Shared {
    pub(super) statements: AtomicU64,
    pub(super) failed: Mutex<BTreeMap<String, u64>>,
    pub(super) conflicts: Mutex<BTreeMap<String, u64>>,
    reconnects: AtomicU64,
    violations: Mutex<Vec<String>>,
    slowest: Mutex<Vec<Slow>>,
    /// One for each writer, so that they do not wait for each other.
    meters: Vec<Mutex<Meters>>,
}

/// A writer's own access to what is shared.
pub(super) struct Meter {
    pub(super) shared: std::sync::Arc<Shared>,
    pub(super) index: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    pub(super) fn answered(&self, slow: impl FnOnce() -> String, latency: Duration, answered_at: Duration) {
        let mut meters = lock(&self.shared.meters[self.index]);
        let is_new_maximum = latency > meters.total.max();
        meters.total.record(latency);
        meters.window.record(latency);
        if meters.recent.len() < RECENT {
            meters.recent.push((answered_at, latency));
        }
        drop(meters);
        self.shared.statements.fetch_add(1, Ordering::Relaxed);
        let mut slowest = lock(&self.shared.slowest);
        let is_among = is_new_maximum || slowest.last().is_none_or(|last| latency > last.latency);
        if is_among || slowest.len() < SLOWEST {
            slowest.push(Slow { latency, answered_at, sql: slow() });
            slowest.sort_by_key(|slow| std::cmp::Reverse(slow.latency));
            slowest.truncate(SLOWEST);
        }
    }

    pub(super) fn failed(&self, what: String) {
        *lock(&self.shared.failed).entry(what).or_default() += 1;
    }

    pub(super) fn conflicted(&self, what: String) {
        *lock(&self.shared.conflicts).entry(what).or_default() += 1;
    }

    pub(super) fn reconnected(&self) {
        self.shared.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn violated(&self, what: String) {
        let mut violations = lock(&self.shared.violations);
        if violations.len() < VIOLATIONS {
            violations.push(what);
        }
    }
}

impl Shared {
    pub(super) fn new(writers: usize) -> Shared {
        let meters =
            || Mutex::new(Meters { total: Latency::new(), window: Latency::new(), recent: Vec::new() });
        Shared {
            statements: AtomicU64::new(0),
            failed: Mutex::new(BTreeMap::new()),
            conflicts: Mutex::new(BTreeMap::new()),
            reconnects: AtomicU64::new(0),
            violations: Mutex::new(Vec::new()),
            slowest: Mutex::new(Vec::new()),
            meters: (0..writers).map(|_| meters()).collect(),
        }
    }

    pub(super) fn window(&self) -> Latency {
        let mut sum = Latency::new();
        for meters in &self.meters {
            let mut meters = lock(meters);
            meters.recent.clear();
            let taken = std::mem::replace(&mut meters.window, Latency::new());
            sum.0.add(&taken.0).expect("all have the same bounds");
        }
        sum
    }

    pub(super) fn longest_across(&self, from: Duration, to: Duration) -> Duration {
        let longest = |meters: &Mutex<Meters>| {
            let meters = lock(meters);
            let across =
                meters.recent.iter().filter(|(at, took)| at.saturating_sub(*took) <= to && *at >= from);
            across.map(|(_, took)| *took).max()
        };
        self.meters.iter().filter_map(longest).max().unwrap_or_default()
    }

    pub(super) fn report(&self, elapsed: Duration) -> Report {
        let mut latency = Latency::new();
        for meters in &self.meters {
            latency.0.add(&lock(meters).total.0).expect("all have the same bounds");
        }
        Report {
            statements: self.statements.load(Ordering::Relaxed),
            failed: lock(&self.failed).clone(),
            conflicts: lock(&self.conflicts).clone(),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            violations: lock(&self.violations).clone(),
            slowest: lock(&self.slowest).clone(),
            latency,
            elapsed,
        }
    }
}

/// What a load measured from its start to its end.
pub struct Report {
    /// Statements answered with success.
    pub statements: u64,
    /// Statements that failed or whose answer was lost, by SQLSTATE and message.
    pub failed: BTreeMap<String, u64>,
    /// Statements of MySQL and MariaDB refused because of a deadlock or a lock waited for too long, their transaction certainly rolled
    /// back: clients must expect these of the server, so they are no failures.
    pub conflicts: BTreeMap<String, u64>,
    /// Connections that had to be made anew.
    pub reconnects: u64,
    /// Promises seen broken while running: a row acknowledged but not found, or read with other values. The first few.
    pub violations: Vec<String>,
    /// The slowest statements, slowest first.
    pub slowest: Vec<Slow>,
    /// Latencies of the statements answered with success.
    pub latency: Latency,
    /// From the first statement to the last.
    pub elapsed: Duration,
}

impl Report {
    /// Failed statements of all kinds.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Statements a second.
    pub fn rate(&self) -> f64 {
        self.statements as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Whether no statement failed and no promise was broken: a migration that nobody noticed.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (statements, rate, latency, failures) =
            (self.statements, self.rate(), &self.latency, self.failures());
        write!(
            f,
            "{statements} statements, {rate:.0}/s, {latency}, {failures} failed, {} reconnects",
            self.reconnects
        )?;
        self.failed.iter().try_for_each(|(what, count)| write!(f, "\n  failed {count} times: {what}"))?;
        self.conflicts
            .iter()
            .try_for_each(|(what, count)| write!(f, "\n  gave way {count} times: {what}"))?;
        self.violations.iter().try_for_each(|what| write!(f, "\n  violation: {what}"))
    }
}
