//! Numbers for operators.

use crate::{phase::Phase, throttle::board::Shown};
use serde::{Deserialize, Serialize};

/// The state of a run at one moment. Published by the runner; shown by the bar, the plain lines, JSON and `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Where the run stands.
    pub phase: Phase,
    /// What is being done within the phase, for people (an index's name, a cutover attempt).
    pub detail: Option<String>,
    /// Rows copied.
    pub rows_copied: u64,
    /// Rows of the source, estimated when planned; never less than `rows_copied`.
    pub rows_total: u64,
    /// Rows copied a second, over the last seconds.
    pub rows_per_second: f64,
    /// Rows compared in verify.
    pub rows_verified: u64,
    /// Chunks copied.
    pub chunks: u64,
    /// The time that the last chunk took, in milliseconds.
    pub chunk_ms: f64,
    /// The rows of a chunk at present.
    pub chunk_rows: u64,
    /// Changes applied.
    pub changes: u64,
    /// Changes applied a second, over the last seconds.
    pub changes_per_second: f64,
    /// Time from a commit on the source to its application on the shadow, in milliseconds.
    pub lag_ms: f64,
    /// Records that wait in the change log.
    pub backlog: u64,
    /// Bytes of the change log on disk.
    pub backlog_disk_bytes: u64,
    /// Bytes of the change stream that the server keeps for us.
    pub retained_bytes: u64,
    /// What holds the copy now, if anything does.
    pub throttled: Option<String>,
    /// The share of full speed at which it goes: 1 unless a signal is between its recovery level and its limit.
    #[serde(default = "whole")]
    pub ease: f64,
    /// Each signal that has a limit.
    #[serde(default)]
    pub signals: Vec<Shown>,
    /// When it will be done, at the rates measured.
    #[serde(default)]
    pub forecast: Option<String>,
    /// What would break before.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Cutover attempts so far.
    pub attempts: u32,
    /// Seconds left of the guard.
    #[serde(default)]
    pub guard_left_s: Option<f64>,
    /// Seconds since this process began.
    pub elapsed_s: f64,
    /// Seconds left in this phase, estimated.
    pub eta_s: Option<f64>,
}

impl Progress {
    /// Nothing done yet.
    pub fn new(phase: Phase) -> Progress {
        Progress {
            phase,
            detail: None,
            rows_copied: 0,
            rows_total: 0,
            rows_per_second: 0.0,
            rows_verified: 0,
            chunks: 0,
            chunk_ms: 0.0,
            chunk_rows: 0,
            changes: 0,
            changes_per_second: 0.0,
            lag_ms: 0.0,
            backlog: 0,
            backlog_disk_bytes: 0,
            retained_bytes: 0,
            throttled: None,
            ease: 1.0,
            signals: Vec::new(),
            forecast: None,
            warnings: Vec::new(),
            attempts: 0,
            guard_left_s: None,
            elapsed_s: 0.0,
            eta_s: None,
        }
    }
}

fn whole() -> f64 {
    1.0
}

/// What a finished run amounted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The migration's number.
    pub migration: i64,
    /// The plan's id.
    pub plan_id: String,
    /// The table.
    pub table: String,
    /// `shadow` or `direct`.
    pub strategy: String,
    /// The name of the old table, if it was kept.
    pub old_table: Option<String>,
    /// The shadow's name before the swap.
    pub shadow_table: String,
    /// Rows copied, by all runs of this migration.
    pub rows_copied: u64,
    /// Changes applied, by this process.
    pub changes_applied: u64,
    /// Rows compared, by this process; zero where verification was switched off.
    pub rows_verified: u64,
    /// Chunks compared.
    pub chunks_verified: u64,
    /// From the first lock request of the successful attempt to its commit, in milliseconds.
    pub stall_ms: f64,
    /// What it was made of, in order: `lock`, `halt` (only where the last changes go through the lock's own session), `drain`, `swap`, in milliseconds.
    /// Empty where the change was made in place, or where the answer to the swap was lost.
    pub stall_steps: Vec<(String, f64)>,
    /// When the stall ended, by this machine's clock: RFC 3339, in UTC.
    pub swapped_at: String,
    /// Cutover attempts.
    pub attempts: u32,
    /// How the guard ended, if there was one: `ended after 24 h; 1,204 changes were carried back`.
    #[serde(default)]
    pub guard: Option<String>,
    /// Seconds that this process took.
    pub elapsed_s: f64,
    /// Seconds of each phase, in order.
    pub phases: Vec<(String, f64)>,
}
