//! How long clients wait around a roll back: 8 closed-loop writers, a guarded swap, and the way back.
//!
//! Of each roll back the server's own account is taken, from the first lock request to the commit; and the longest latency of all
//! statements from the command until the tables are swapped, whatever it was that they met: comparing every row goes before it.

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
    let (mut there, mut back, mut slowest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.pick(20, 2) {
        let more = ["--guard", "1h"];
        let run = migration::run(server, table, &server.change(0), &more).spawn();
        let is = |phase: &'static str, turn: u64| {
            move |status: &Value| status["phase"] == phase && status["turn"] == turn
        };
        let swapped = migration::status(server, table, is("guard", 1)).await;
        there.push(migration::number(&swapped, "stall_ms"));
        tokio::time::sleep(QUIET).await;
        running.window();
        migration::command(server, table, &["rollback", "--yes"]).await;
        let returned = migration::status(server, table, is("ready", 2)).await;
        slowest.push(ms(running.window().max()));
        back.push(migration::number(&returned, "stall_ms"));
        migration::command(server, table, &["finish", "--yes"]).await;
        run.wait(migration::LONG).await.expect_code(6);
        client.batch(&format!("drop table {}", server.table("_back_shadow"))).await;
    }
    let (report, ledger) = running.stop().await;
    let goals = server.goals();
    record.at_most("roll back, from lock to commit, p50", median(&back), "ms", goals.stall.0);
    record.at_most("roll back, from lock to commit, max", largest(&back), "ms", goals.stall.1);
    record.note("the swap before it, p50", median(&there), "ms");
    record.note("the swap before it, max", largest(&there), "ms");
    record.note("slowest statement from the command to the swap, p50", median(&slowest), "ms");
    record.note("slowest statement from the command to the swap, max", largest(&slowest), "ms");
    record.at_most("failed statements", report.failures() as f64, "", 0.0);
    setting.conflicts(&mut record, "", &report);
    record.at_most("broken promises", report.violations.len() as f64, "", 0.0);
    record.note("roll backs", back.len() as f64, "");
    let differences = client.check(&ledger, table).await;
    assert!(differences.is_empty(), "{differences}");
    record
}
