//! How long clients wait around a roll back: 8 closed-loop writers, a guarded swap, and the way back.
//!
//! The stall is the server's own account: from the first lock request, since when clients may wait, to the commit. When that was a client
//! cannot tell; the longest latency of all statements from the command until the roll back is seen is given beside it, whatever it was that
//! they met: every row is compared before.

use crate::figure::{Record, largest, median, ms};
use crate::{Setting, migration, table};
use serde_json::Value;
use shadowswap_testkit::load::Load;
use std::time::Duration;

/// The writers are left alone for so long before each command.
const QUIET: Duration = Duration::from_millis(500);

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("rollback-stall", server);
    let table = &server.table("back");
    let mut client = server.connect().await;
    let ledger = client.fill(table::busy(server, table), setting.pick(50_000, 5_000)).await;
    let running = Load::new(&server.url()).writers(8).start(ledger).await.expect("the load starts");
    let (mut there, mut own, mut noise, mut slowest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.pick(20, 2) {
        let run = migration::run(server, table, &server.change(0), &["--guard", "1h"]).spawn();
        let is_guarding = |status: &Value| {
            status["phase"] == "guard" && status["turn"] == 1 && status["stall_ms"].is_number()
        };
        let swapped = migration::status(server, table, is_guarding).await;
        let swap = migration::number(&swapped, "stall_ms");
        running.window();
        tokio::time::sleep(QUIET).await;
        let before = running.window().max();
        migration::command(server, table, &["rollback", "--yes"]).await;
        // Its own stall is noted when all that belongs to the swap is.
        let is_back = |status: &Value| {
            status["turn"] == 2 && status["stall_ms"].as_f64().is_some_and(|stall| stall != swap)
        };
        let back = migration::status(server, table, is_back).await;
        let stall = migration::number(&back, "stall_ms");
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
    record.at_most("from lock to commit, p50", median(&own), "ms", goals.stall.0);
    record.at_most("from lock to commit, max", largest(&own), "ms", goals.stall.1);
    record.note("half a second without a swap, p50", median(&noise), "ms");
    record.note("half a second without a swap, max", largest(&noise), "ms");
    record.note("slowest statement from the command to the swap, p50", median(&slowest), "ms");
    record.note("slowest statement from the command to the swap, max", largest(&slowest), "ms");
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
