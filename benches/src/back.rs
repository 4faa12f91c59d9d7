//! How long clients wait around a roll back: 8 closed-loop writers, a guarded swap, and the way back.
//!
//! The stall is the longest latency, as the client measured it, of the statements that were under way at any time from the first lock
//! request until the roll back was seen in the control tables, which is a little after its commit.

use crate::figure::{Record, largest, median, ms};
use crate::{Setting, migration, table};
use serde_json::Value;
use shadowswap_testkit::load::Load;
use std::time::{Duration, SystemTime};

/// The writers are left alone for so long before each command.
const QUIET: Duration = Duration::from_millis(500);
/// What looking at the control tables takes at most.
const SEEN_WITHIN: Duration = Duration::from_millis(100);

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("rollback-stall", server);
    let table = &server.table("back");
    let mut client = server.connect().await;
    let ledger = client.fill(table::busy(server, table), setting.pick(50_000, 5_000)).await;
    let running = Load::new(&server.url()).writers(8).start(ledger).await.expect("the load starts");
    let (mut there, mut own, mut stalls, mut noise, mut slowest) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.pick(20, 2) {
        let run = migration::run(server, table, &server.change(0), &["--guard", "1h"]).spawn();
        let is_guarding = |status: &Value| status["phase"] == "guard" && status["turn"] == 1;
        let swapped = migration::status(server, table, is_guarding).await;
        let swap = migration::number(&swapped, "stall_ms");
        running.window();
        tokio::time::sleep(QUIET).await;
        let quiet = SystemTime::now();
        let before = running.window().max();
        migration::command(server, table, &["rollback", "--yes"]).await;
        // Its own stall is noted when all that belongs to the swap is.
        let is_back = |status: &Value| {
            status["turn"] == 2 && status["stall_ms"].as_f64().is_some_and(|stall| stall != swap)
        };
        let back = migration::status(server, table, is_back).await;
        let seen = SystemTime::now();
        let stall = migration::number(&back, "stall_ms");
        let felt = seen - SEEN_WITHIN - Duration::from_secs_f64(stall / 1e3);
        stalls.push(ms(running.longest_across(felt.max(quiet), seen)));
        slowest.push(ms(running.window().max()));
        noise.push(ms(before));
        there.push(swap);
        own.push(stall);
        migration::command(server, table, &["finish", "--yes"]).await;
        run.wait(migration::LONG).await.expect_code(6);
        for kept in ["_back_shadow", "back_shadow"] {
            client.batch(&format!("drop table if exists {}", server.table(kept))).await;
        }
    }
    let (report, ledger) = running.stop().await;
    let goals = server.goals();
    record.at_most("stall as the clients felt it, p50", median(&stalls), "ms", goals.stall.0);
    record.at_most("stall as the clients felt it, max", largest(&stalls), "ms", goals.stall.1);
    record.note("half a second without a swap, p50", median(&noise), "ms");
    record.note("half a second without a swap, max", largest(&noise), "ms");
    record.note("slowest statement from the command to the swap, p50", median(&slowest), "ms");
    record.note("slowest statement from the command to the swap, max", largest(&slowest), "ms");
    record.note("from lock to commit as reported, p50", median(&own), "ms");
    record.note("from lock to commit as reported, max", largest(&own), "ms");
    record.note("the swap before it, p50", median(&there), "ms");
    record.note("the swap before it, max", largest(&there), "ms");
    record.at_most("failed statements", report.failures() as f64, "", 0.0);
    setting.conflicts(&mut record, "", &report);
    record.at_most("broken promises", report.violations.len() as f64, "", 0.0);
    record.note("roll backs", own.len() as f64, "");
    record.note("statements", report.rate(), "/s");
    let differences = client.check(&ledger, table).await;
    assert!(differences.is_empty(), "{differences}");
    record
}
