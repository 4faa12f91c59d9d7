//! What the operator can choose for a run.

use crate::{
    throttle::{
        limit::{FLAG_FILE, Limit, Unit},
        signal::Custom,
    },
    window::{Blackouts, Windows},
};
use std::{path::PathBuf, time::Duration};
use tokio::sync::watch;

/// When to cut over.
#[derive(Clone, Debug, PartialEq)]
pub enum CutoverWhen {
    /// As soon as everything is in step.
    Auto,
    /// When the operator says so (`shadowswap cutover`).
    Manual,
    /// Within these windows.
    Window(Windows),
}

/// What load copying and comparing may put on, or add to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxLoad {
    /// As much as other people hardly feel, which is measured: all that an idle server can do, and on a busy one so much of the time
    /// that the 99th percentile of commits stays within a fifth of what it is without.
    Auto,
    /// As much as the server can do.
    Off,
    /// They wait while more of other people's sessions than this are at work.
    Sessions(u64),
    /// Together they are at work for this share of the time, above 0 and below 1, and rest in between; indexes are built one at a time.
    Share(f64),
}

/// Choices for a run, with their defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// When to cut over. Default: auto.
    pub cutover: CutoverWhen,
    /// Copy only within these windows; empty: always.
    pub copy_windows: Windows,
    /// Neither copy nor cut over on these days.
    pub blackouts: Blackouts,
    /// How long clients may wait in one cutover attempt. Default 50 ms.
    pub stall_budget: Duration,
    /// Attempts at the lock before giving up with exit code 5. Default 60 (with backoff about ten minutes).
    pub cutover_attempts: u32,
    /// Copying waits while applying is further behind than this. Default 10 s.
    pub max_lag: Duration,
    /// Copying waits while a replica is further behind than this.
    pub max_replica_lag: Option<Duration>,
    /// What load they may put on. Default: auto.
    pub max_load: MaxLoad,
    /// Limits of signals beyond those above; they go before them.
    pub limits: Vec<Limit>,
    /// Limits at which the run stops, resumable.
    pub criticals: Vec<Limit>,
    /// Signals of the operator's own. Without a limit, anything above 0 holds the copy.
    pub signals: Vec<Custom>,
    /// What is watched during the guard, and its limits.
    pub watches: Vec<Custom>,
    /// Limits of what is watched during the guard. Without one, anything above 0 is too much.
    pub watch_limits: Vec<Limit>,
    /// How long a limit must be broken before it counts. Default 1 min.
    pub watch_for: Duration,
    /// Swap back when it is; else only warn.
    pub rolls_back: bool,
    /// Copying waits while this file is there.
    pub flag_file: Option<PathBuf>,
    /// Stop, resumable, when changes have come in faster than they can be applied for this long. Default 10 min.
    pub overload_after: Duration,
    /// Commands and URLs that are told what happens.
    pub hooks: Vec<String>,
    /// The time that a chunk should take. Default 200 ms.
    pub chunk_time: Duration,
    /// Sessions that copy. Default 2.
    pub copy_workers: usize,
    /// Drop the old table at the end.
    pub drop_old: bool,
    /// How long the old table is kept in step after the swap; none: as the plan says.
    pub guard: Option<Duration>,
    /// The same, said while it ran: counted from the guard's beginning, also where that is long ago.
    pub guard_set: Option<Duration>,
    /// The guard ends when the server keeps more bytes of the change stream for it than this. Default 16 GiB.
    pub guard_retention: u64,
    /// Swap back now.
    pub rollback: bool,
    /// Go on with this unfinished migration. Where it has come to its end meanwhile, nothing is begun.
    pub resumes: Option<i64>,
    /// Compare every row before the swap. Default true.
    pub verify: bool,
    /// The change log's folder.
    pub log_directory: PathBuf,
    /// The change log's memory in bytes. Default 8 MiB.
    pub log_memory: usize,
    /// Changes are kept on this machine's disk as soon as they are read, so that the server may forget them before they are applied.
    pub is_durable: bool,
    /// The change log's disk in bytes. Default 64 GiB.
    pub log_disk: u64,
    /// Who runs this, for the control tables: `host:pid`.
    pub who: String,
}

impl Config {
    /// Every limit that holds the copy, each signal once.
    pub fn all_limits(&self) -> Vec<Limit> {
        let mut all = self.limits.clone();
        let mut add = |limit: Limit| {
            if all.iter().all(|l| l.name != limit.name) {
                all.push(limit);
            }
        };
        add(Limit::new("lag", self.max_lag.as_secs_f64(), Unit::Time));
        if let Some(lag) = self.max_replica_lag {
            add(Limit::new("replica-lag", lag.as_secs_f64(), Unit::Time));
        }
        if let MaxLoad::Sessions(sessions) = self.max_load {
            add(Limit::new("sessions", sessions as f64, Unit::Count));
        }
        if self.flag_file.is_some() {
            add(Limit::new(FLAG_FILE, 0.0, Unit::Count));
        }
        for custom in &self.signals {
            add(Limit::new(&custom.name, 0.0, Unit::Count));
        }
        all
    }

    /// The limits of everything that is watched during the guard.
    pub fn all_watches(&self) -> Vec<Limit> {
        let mut all = self.watch_limits.clone();
        for watch in &self.watches {
            if all.iter().all(|l| l.name != watch.name) {
                all.push(Limit::new(&watch.name, 0.0, Unit::Count));
            }
        }
        all
    }

    /// Whether a signal of this name is to be read.
    pub fn wants(&self, name: &str) -> bool {
        let is_it = |limit: &Limit| limit.name == name;
        self.all_limits().iter().any(is_it)
            || self.criticals.iter().any(is_it)
            || self.watches.iter().any(|w| w.name == name)
            || self.watch_limits.iter().any(is_it)
    }

    /// How long a copier or comparer rests after work that took so long.
    pub fn pace(&self) -> Pace {
        match self.max_load {
            MaxLoad::Share(share) => Pace { rest: (self.copy_workers as f64 / share - 1.0).max(0.0) },
            MaxLoad::Auto | MaxLoad::Off | MaxLoad::Sessions(_) => Pace { rest: 0.0 },
        }
    }

    /// Whether clients are to feel as little as possible of it, at the price of time.
    pub fn is_gentle(&self) -> bool {
        matches!(self.max_load, MaxLoad::Auto | MaxLoad::Share(_))
    }
}

/// A configuration that can be changed while the run goes on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live(watch::Sender<Config>);

impl Live {
    /// Begins with these choices.
    pub fn new(config: Config) -> Live {
        Live(watch::Sender::new(config))
    }

    /// Looks at the present choices.
    pub fn with<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        look(&self.0.borrow())
    }

    /// The present choices.
    pub fn now(&self) -> Config {
        self.0.borrow().clone()
    }

    /// From now on these.
    pub fn change(&self, config: Config) {
        self.0.send_replace(config);
    }
}

/// How much rest work is followed by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    rest: f64,
}

impl Pace {
    /// The rest that follows work which took so long.
    pub fn after(&self, took: Duration) -> Duration {
        took.mul_f64(self.rest)
    }

    /// Rests after work that took so long. Cancel-safe.
    pub async fn rest(&self, took: Duration) {
        if self.rest > 0.0 {
            tokio::time::sleep(self.after(took)).await;
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cutover: CutoverWhen::Auto,
            copy_windows: Windows::default(),
            blackouts: Blackouts::default(),
            stall_budget: Duration::from_millis(50),
            cutover_attempts: 60,
            max_lag: Duration::from_secs(10),
            max_replica_lag: None,
            max_load: MaxLoad::Auto,
            limits: Vec::new(),
            criticals: Vec::new(),
            signals: Vec::new(),
            watches: Vec::new(),
            watch_limits: Vec::new(),
            watch_for: Duration::from_secs(60),
            rolls_back: false,
            flag_file: None,
            overload_after: Duration::from_secs(600),
            hooks: Vec::new(),
            chunk_time: Duration::from_millis(200),
            copy_workers: 2,
            drop_old: false,
            guard: None,
            guard_set: None,
            guard_retention: 16 << 30,
            rollback: false,
            resumes: None,
            verify: true,
            log_directory: std::env::temp_dir(),
            log_memory: 8 << 20,
            log_disk: 64 << 30,
            is_durable: false,
            who: String::new(),
        }
    }
}
