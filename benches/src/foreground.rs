//! What clients feel of a run at its defaults, and of one that takes all that the server has: 2,000 statements a second.

use crate::figure::{Record, ms};
use crate::{Setting, migration, table};
use shadowswap_testkit::load::Load;
use std::time::{Duration, Instant};

/// Statements a second.
const RATE: f64 = 2_000.0;
/// Connections enough for that.
const WRITERS: usize = 32;
/// The 99th percentile may become so much larger.
const TARGET: f64 = 1.2;

/// Phases whose latencies are shown apart.
const PHASES: [&str; 3] = ["copy", "index", "verify"];
/// What comes after them.
const LATER: [&str; 4] = ["ready", "cutover", "guard", "done"];

/// The share of full speed at which the last chunks were copied.
fn share(stdout: &str) -> Option<f64> {
    let lines = stdout.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut copying = lines.map(|line| line["progress"].clone()).filter(|p| p["phase"] == "copy");
    copying.next()?["ease"].as_f64()
}

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("foreground", server);
    let table = &server.table("foreground");
    let rows = setting.pick(setting.rows.unwrap_or(200_000), 20_000);
    record.note("rows", rows as f64, "");
    let mut client = server.connect().await;
    let mut ledger = client.fill(table::busy(server, table), rows).await;
    let calm = setting.pick(Duration::from_secs(20), Duration::from_secs(1));
    let kinds: [(&str, &[&str], Option<f64>); 2] =
        [("defaults", &[], Some(TARGET)), ("--max-load off", &["--max-load", "off"], None)];
    let only = setting.only.as_deref().unwrap_or_default();
    for (round, (name, more, target)) in
        kinds.into_iter().filter(|(name, ..)| name.contains(only)).enumerate()
    {
        let load = Load::new(&server.url()).writers(WRITERS).rate(RATE);
        let running = load.start(ledger).await.expect("the load starts");
        // Caches fill and plans are made first.
        tokio::time::sleep(calm / 2).await;
        running.window();
        tokio::time::sleep(calm).await;
        let before = running.window();
        let start = Instant::now();
        let mut run = migration::plain(server, table, &server.change(round), more).spawn();
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
        let (report, back) = running.stop().await;
        ledger = back;
        let name = |what: &str| format!("{name}: {what}");
        record.note(name("run took"), took.as_secs_f64(), "s");
        for (when, latency) in [("before", &before), ("during", &during), ("after", &after)] {
            record.note(name(&format!("p50 {when}")), ms(latency.p50()), "ms");
            record.note(name(&format!("p99 {when}")), ms(latency.p99()), "ms");
            record.note(name(&format!("longest {when}")), ms(latency.max()), "ms");
        }
        for (phase, latency) in &parts {
            record.note(name(&format!("p99 until the end of {phase}")), ms(latency.p99()), "ms");
        }
        if let Some(share) = share(&output.stdout) {
            record.note(name("share of full speed in the end of the copy"), share, "");
        }
        let without = before.and(&after);
        let ratio = during.p99().as_secs_f64() / without.p99().as_secs_f64();
        let what = name("p99 during the run / before and after it");
        match target {
            Some(target) => record.at_most(what, ratio, "", target),
            None => record.note(what, ratio, ""),
        }
        let report_of = migration::report(&output);
        for phase in report_of["phases"].as_array().into_iter().flatten() {
            if let (Some(phase), Some(seconds)) = (phase[0].as_str(), phase[1].as_f64()) {
                record.note(name(&format!("{phase} took")), seconds, "s");
            }
        }
        record.at_most(name("failed statements"), report.failures() as f64, "", 0.0);
        setting.conflicts(&mut record, &name(""), &report);
        record.memory(name("peak memory"), output.peak_rss_bytes);
    }
    let differences = client.check(&ledger, table).await;
    assert!(differences.is_empty(), "{differences}");
    record.note("rows compared with what clients were told", differences.rows as f64, "");
    record
}
