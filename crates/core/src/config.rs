//! What the operator can choose for a run.

use crate::window::Windows;
use std::{path::PathBuf, time::Duration};

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
    /// How long clients may wait in one cutover attempt. Default 50 ms.
    pub stall_budget: Duration,
    /// Attempts at the lock before giving up with exit code 5. Default 60 (with backoff about ten minutes).
    pub cutover_attempts: u32,
    /// Copying waits while applying is further behind than this. Default 10 s.
    pub max_lag: Duration,
    /// Copying waits while a replica is further behind than this.
    pub max_replica_lag: Option<Duration>,
    /// What load they may put on.
    pub max_load: Option<MaxLoad>,
    /// The time that a chunk should take. Default 200 ms.
    pub chunk_time: Duration,
    /// Sessions that copy. Default 2.
    pub copy_workers: usize,
    /// Drop the old table at the end.
    pub drop_old: bool,
    /// How long the old table is kept in step after the swap; none: as the plan says.
    pub guard: Option<Duration>,
    /// The guard ends when the server keeps more bytes of the change stream for it than this. Default 16 GiB.
    pub guard_retention: u64,
    /// Swap back now.
    pub rollback: bool,
    /// Compare every row before the swap. Default true.
    pub verify: bool,
    /// The change log's folder.
    pub log_directory: PathBuf,
    /// The change log's memory in bytes. Default 8 MiB.
    pub log_memory: usize,
    /// The change log's disk in bytes. Default 64 GiB.
    pub log_disk: u64,
    /// Who runs this, for the control tables: `host:pid`.
    pub who: String,
}

impl Config {
    /// How long a copier or comparer rests after work that took so long.
    pub fn pace(&self) -> Pace {
        match self.max_load {
            Some(MaxLoad::Share(share)) => Pace { rest: (self.copy_workers as f64 / share - 1.0).max(0.0) },
            Some(MaxLoad::Sessions(_)) | None => Pace { rest: 0.0 },
        }
    }

    /// Whether clients are to feel as little as possible of it, at the price of time.
    pub fn is_gentle(&self) -> bool {
        matches!(self.max_load, Some(MaxLoad::Share(_)))
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
            stall_budget: Duration::from_millis(50),
            cutover_attempts: 60,
            max_lag: Duration::from_secs(10),
            max_replica_lag: None,
            max_load: None,
            chunk_time: Duration::from_millis(200),
            copy_workers: 2,
            drop_old: false,
            guard: None,
            guard_retention: 16 << 30,
            rollback: false,
            verify: true,
            log_directory: std::env::temp_dir(),
            log_memory: 8 << 20,
            log_disk: 64 << 30,
            who: String::new(),
        }
    }
}
