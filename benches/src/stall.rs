//! How long clients wait around a cutover: 8 closed-loop writers, the swap told to happen while nothing else goes on.
//!
//! The stall is the longest latency of any statement that a client was answered between the command to swap and the end of the
//! run. The same time without a swap is measured before each, for the machine has a noise of its own.

use crate::figure::{Record, largest, median, ms};
use crate::{Setting, migration, table};
use shadowswap_testkit::load::Load;
use std::time::{Duration, Instant};

const TABLE: &str = "public.stall";

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("stall", server);
    let client = server.connect("postgres").await;
    let ledger = table::create_busy(&client, TABLE, setting.pick(50_000, 5_000)).await;
    let url = server.url("postgres");
    let running = Load::new(&url).writers(8).start(ledger).await.expect("the load starts");
    let (mut stalls, mut own, mut noise, mut peak, mut attempts) =
        (Vec::new(), Vec::new(), Vec::new(), 0, Vec::new());
    let mut length = Duration::from_millis(500);
    for round in 0..setting.pick(20, 2) {
        let more = ["--cutover", "manual"];
        let mut run = migration::run(server, TABLE, &table::change(round), &more).spawn();
        migration::in_phase(&mut run, "ready").await;
        running.window();
        tokio::time::sleep(length).await;
        noise.push(ms(running.window().max()));
        let start = Instant::now();
        migration::cutover(server, TABLE).await;
        let output = run.wait(migration::LONG).await.expect_code(0);
        // A statement that still waits is answered now, and belongs to this window.
        running.reached(8, migration::LONG).await;
        stalls.push(ms(running.window().max()));
        length = start.elapsed();
        let report = migration::report(&output);
        own.push(migration::number(&report, "stall_ms"));
        attempts.push(migration::number(&report, "attempts"));
        peak = peak.max(output.peak_rss_bytes);
    }
    let (report, ledger) = running.stop().await;
    let differences = ledger.check(&client, TABLE).await.expect("the table can be read");
    assert!(differences.is_empty(), "{differences}");
    record.at_most("longest wait around a cutover, p50", median(&stalls), "ms", 10.0);
    record.at_most("longest wait around a cutover, max", largest(&stalls), "ms", 40.0);
    record.note("the same time without one, p50", median(&noise), "ms");
    record.note("the same time without one, max", largest(&noise), "ms");
    record.note("from lock to commit as reported, p50", median(&own), "ms");
    record.note("from lock to commit as reported, max", largest(&own), "ms");
    record.at_most("failed statements", report.failures() as f64, "", 0.0);
    record.at_most("broken promises", report.violations.len() as f64, "", 0.0);
    record.note("cutovers", stalls.len() as f64, "");
    record.note("most attempts of one", largest(&attempts), "");
    record.note("statements", report.rate(), "/s");
    record.memory("peak memory of the process", peak);
    record
}
