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
    /// Copying waits while more sessions than this are active.
    pub max_load: Option<u64>,
    /// The time that a chunk should take. Default 200 ms.
    pub chunk_time: Duration,
    /// Sessions that copy. Default 2.
    pub copy_workers: usize,
    /// Drop the old table at the end.
    pub drop_old: bool,
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
            verify: true,
            log_directory: std::env::temp_dir(),
            log_memory: 8 << 20,
            log_disk: 64 << 30,
            who: String::new(),
        }
    }
}
