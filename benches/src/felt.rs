//! What clients feel around a run and while it goes on, phase by phase.

use crate::figure::{Record, ms};
use crate::migration;
use shadowswap_testkit::binary::{Binary, Output};
use shadowswap_testkit::load::{Latency, Ledger, Load, Report};
use std::time::{Duration, Instant};

/// Phases whose latencies are shown apart.
const PHASES: [&str; 3] = ["copy", "index", "verify"];
/// What comes after them.
const LATER: [&str; 4] = ["ready", "cutover", "guard", "done"];

/// A run under a load, with a calm before it and one after it.
pub struct Felt {
    pub before: Latency,
    pub during: Latency,
    pub after: Latency,
    parts: Vec<(&'static str, Latency)>,
    took: Duration,
    pub output: Output,
    pub report: Report,
}

/// Has the load go on for `calm` before and after the run.
pub async fn felt(load: Load, ledger: Ledger, run: Binary, calm: Duration) -> (Felt, Ledger) {
    let running = load.start(ledger).await.expect("the load starts");
    // Caches fill and plans are made first.
    tokio::time::sleep(calm / 2).await;
    running.window();
    tokio::time::sleep(calm).await;
    let before = running.window();
    let start = Instant::now();
    let mut run = run.spawn();
    let mut parts = Vec::new();
    for (place, phase) in PHASES.iter().enumerate() {
        let later: Vec<&str> = PHASES.iter().skip(place + 1).chain(&LATER).copied().collect();
        migration::in_phases_or_over(&mut run, &later).await;
        parts.push((*phase, running.window()));
    }
    let output = run.wait(migration::LONG).await.expect_code(0);
    let took = start.elapsed();
    let during = parts.iter().fold(running.window(), |all, (_, part)| all.and(part));
    tokio::time::sleep(calm).await;
    let after = running.window();
    let (report, ledger) = running.stop().await;
    (Felt { before, during, after, parts, took, output, report }, ledger)
}

impl Felt {
    /// How long it took, and what was felt when.
    pub fn note(&self, record: &mut Record, name: &str) {
        record.note(format!("{name}: run took"), self.took.as_secs_f64(), "s");
        for (when, latency) in [("before", &self.before), ("during", &self.during), ("after", &self.after)] {
            record.note(format!("{name}: p50 {when}"), ms(latency.p50()), "ms");
            record.note(format!("{name}: p99 {when}"), ms(latency.p99()), "ms");
            record.note(format!("{name}: longest {when}"), ms(latency.max()), "ms");
        }
        for (phase, latency) in &self.parts {
            record.note(format!("{name}: p99 until the end of {phase}"), ms(latency.p99()), "ms");
        }
    }

    /// The 99th percentile during the run, in those of `without` it.
    pub fn ratio(&self, record: &mut Record, what: String, without: &Latency, target: Option<f64>) {
        let ratio = self.during.p99().as_secs_f64() / without.p99().as_secs_f64();
        match target {
            Some(target) => record.at_most(what, ratio, "", target),
            None => record.note(what, ratio, ""),
        }
    }
}
