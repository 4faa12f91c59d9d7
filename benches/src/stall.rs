//! How long clients wait around a cutover: 8 closed-loop writers, the swap told to happen while nothing else goes on.
//!
//! The stall is the longest latency, as the client measured it, of the statements that were under way at any time between the first
//! lock request and the swap's commit. The same is measured before each swap over a time as long, for the machine has a noise of its
//! own; and so is the longest latency of all statements from the command to swap until the run is over, whatever it was that they met.

use crate::figure::{Record, largest, median, ms};
use crate::{Setting, migration, table};
use serde_json::Value;
use shadowswap_testkit::load::Load;
use std::time::{Duration, SystemTime};

const TABLE: &str = "public.stall";

/// Half the time that the writers are left alone before each swap.
const QUIET: Duration = Duration::from_millis(250);

fn swapped_at(report: &Value) -> SystemTime {
    let text = report["swapped_at"].as_str().expect("the report says when it swapped");
    text.parse::<jiff::Timestamp>().expect("it is a time").into()
}

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("stall", server);
    let client = server.connect("postgres").await;
    let ledger = table::create_busy(&client, TABLE, setting.pick(50_000, 5_000)).await;
    let url = server.url("postgres");
    let running = Load::new(&url).writers(8).start(ledger).await.expect("the load starts");
    let (mut stalls, mut own, mut noise, mut around, mut peak, mut attempts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0, Vec::new());
    let mut steps = [const { Vec::new() }; 3];
    for round in 0..setting.pick(20, 2) {
        let more = ["--cutover", "manual"];
        let mut run = migration::run(server, TABLE, &table::change(round), &more).spawn();
        migration::in_phase(&mut run, "ready").await;
        running.window();
        tokio::time::sleep(QUIET).await;
        let quiet = SystemTime::now();
        tokio::time::sleep(QUIET).await;
        migration::cutover(server, TABLE).await;
        let output = run.wait(migration::LONG).await.expect_code(0);
        // A statement that still waits is answered now, and belongs to this window.
        running.reached(8, migration::LONG).await;
        let report = migration::report(&output);
        own.push(migration::number(&report, "stall_ms"));
        let length = Duration::from_secs_f64(own[round] / 1e3);
        let swapped = swapped_at(&report);
        noise.push(ms(running.longest_across(quiet - length, quiet)));
        stalls.push(ms(running.longest_across(swapped - length, swapped)));
        around.push(ms(running.window().max()));
        attempts.push(migration::number(&report, "attempts"));
        for (step, times) in report["stall_steps"].as_array().into_iter().flatten().zip(&mut steps) {
            times.push(step[1].as_f64().expect("milliseconds"));
        }
        peak = peak.max(output.peak_rss_bytes);
    }
    let (report, ledger) = running.stop().await;
    let differences = ledger.check(&client, TABLE).await.expect("the table can be read");
    assert!(differences.is_empty(), "{differences}");
    record.at_most("stall as the clients felt it, p50", median(&stalls), "ms", 10.0);
    record.at_most("stall as the clients felt it, max", largest(&stalls), "ms", 40.0);
    record.note("as long a time without a swap, p50", median(&noise), "ms");
    record.note("as long a time without a swap, max", largest(&noise), "ms");
    record.note("slowest statement from command to end, p50", median(&around), "ms");
    record.note("slowest statement from command to end, max", largest(&around), "ms");
    record.note("from lock to commit as reported, p50", median(&own), "ms");
    record.note("from lock to commit as reported, max", largest(&own), "ms");
    for (name, times) in ["lock", "drain", "swap"].iter().zip(&steps) {
        record.note(format!("of it, {name}, p50"), median(times), "ms");
    }
    record.at_most("failed statements", report.failures() as f64, "", 0.0);
    record.at_most("broken promises", report.violations.len() as f64, "", 0.0);
    record.note("cutovers", stalls.len() as f64, "");
    record.note("most attempts of one", largest(&attempts), "");
    record.note("statements", report.rate(), "/s");
    record.memory("peak memory of the process", peak);
    record
}
