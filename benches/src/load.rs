//! What clients feel while a table is changed under them: as fast as they can, and at a fixed rate.

use crate::figure::{Record, ms};
use crate::{Setting, migration, table};
use shadowswap_testkit::load::{Ledger, Load};
use std::time::{Duration, Instant};

/// Statements a second in open loop.
const RATE: f64 = 2_000.0;

/// What keeps clients' latency low on a small machine: one session that rests most of the time. What a chunk costs without any row is
/// felt as well, so chunks are not as short as they could be (measured on MySQL: of 5 ms, a tenth of the rows at a higher price).
const GENTLE: [&str; 6] = ["--copy-workers", "1", "--chunk-time", "50ms", "--max-load", "5%"];

/// Phases whose latencies are shown apart.
const PHASES: [&str; 3] = ["copy", "index", "verify"];
/// What comes after them.
const LATER: [&str; 4] = ["ready", "cutover", "guard", "done"];

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("load", server);
    let table = &server.table("loaded");
    let rows = setting.pick(setting.rows.unwrap_or(1_000_000), 20_000);
    record.note("rows", rows as f64, "");
    let mut client = server.connect().await;
    let mut ledger = client.fill(table::busy(server, table), rows).await;
    let open = |url: &str| Load::new(url).writers(32).rate(RATE);
    let url = server.url();
    let kinds: [(&str, Load, &[&str], Option<f64>); 3] = [
        ("8 closed-loop writers", Load::new(&url).writers(8), &[], None),
        ("2,000/s, defaults", open(&url), &["--max-load", "auto"], Some(1.3)),
        ("2,000/s, gentle", open(&url), &GENTLE, Some(1.3)),
    ];
    let only = setting.only.as_deref().unwrap_or_default();
    let chosen = kinds.into_iter().filter(|(name, ..)| name.contains(only));
    for (round, (name, load, more, target)) in chosen.enumerate() {
        ledger = one(setting, &mut record, table, ledger, round, name, load, more, target).await;
    }
    let differences = client.check(&ledger, table).await;
    assert!(differences.is_empty(), "{differences}");
    record.note("rows compared with what clients were told", differences.rows as f64, "");
    record
}

#[expect(clippy::too_many_arguments, reason = "called in one place, with a row of a table")]
async fn one(
    setting: &Setting,
    record: &mut Record,
    table: &str,
    ledger: Ledger,
    round: usize,
    name: &str,
    load: Load,
    more: &[&str],
    target: Option<f64>,
) -> Ledger {
    let calm = setting.pick(Duration::from_secs(10), Duration::from_secs(1));
    let running = load.start(ledger).await.expect("the load starts");
    // Caches fill and plans are made first.
    tokio::time::sleep(calm / 2).await;
    running.window();
    tokio::time::sleep(calm).await;
    let before = running.window();
    let start = Instant::now();
    let mut run = migration::run(&setting.server, table, &setting.server.change(round), more).spawn();
    let mut parts = Vec::new();
    for (place, name) in PHASES.iter().enumerate() {
        let later: Vec<&str> = PHASES.iter().skip(place + 1).chain(&LATER).copied().collect();
        migration::in_phases_or_over(&mut run, &later).await;
        parts.push((*name, running.window()));
    }
    let output = run.wait(migration::LONG).await.expect_code(0);
    let took = start.elapsed();
    let during = parts.iter().fold(running.window(), |all, (_, part)| all.and(part));
    tokio::time::sleep(calm).await;
    let after = running.window();
    let (report, ledger) = running.stop().await;
    record.note(format!("{name}: run took"), took.as_secs_f64(), "s");
    for (when, latency) in [("before", &before), ("during", &during), ("after", &after)] {
        record.note(format!("{name}: p50 {when}"), ms(latency.p50()), "ms");
        record.note(format!("{name}: p99 {when}"), ms(latency.p99()), "ms");
        record.note(format!("{name}: longest {when}"), ms(latency.max()), "ms");
    }
    for (phase, latency) in &parts {
        record.note(format!("{name}: p99 until the end of {phase}"), ms(latency.p99()), "ms");
    }
    let ratio = during.p99().as_secs_f64() / before.p99().as_secs_f64();
    match target {
        Some(target) => record.at_most(format!("{name}: p99 during / before"), ratio, "", target),
        None => record.note(format!("{name}: p99 during / before"), ratio, ""),
    }
    record.at_most(format!("{name}: failed statements"), report.failures() as f64, "", 0.0);
    setting.conflicts(record, &format!("{name}: "), &report);
    record.memory(format!("{name}: peak memory"), output.peak_rss_bytes);
    ledger
}
