//! How long clients wait around a cutover: 8 closed-loop writers, the swap told to happen while nothing else goes on. MySQL and MariaDB
//! are also measured at a fixed rate, as their peers were: those never finish under writers that are as fast as they can.
//!
//! The stall is the longest latency, as the client measured it, of the statements that were under way at any time between the first
//! lock request and the swap's commit. The same is measured before each swap over a time as long, for the machine has a noise of its
//! own; and so is the longest latency of all statements from the command to swap until the run is over, whatever it was that they met.

use crate::figure::{Record, largest, median, ms};
use crate::server::Server;
use crate::{Setting, migration, table};
use serde_json::Value;
use shadowswap_testkit::load::{Ledger, Load};
use std::time::{Duration, SystemTime};

/// Half the time that the writers are left alone before each swap.
const QUIET: Duration = Duration::from_millis(250);

/// Statements a second in open loop, and connections enough for that.
const RATE: f64 = 500.0;
const WRITERS: usize = 16;

fn swapped_at(report: &Value) -> SystemTime {
    let text = report["swapped_at"].as_str().expect("the report says when it swapped");
    text.parse::<jiff::Timestamp>().expect("it is a time").into()
}

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("stall", server);
    let table = &server.table("stall");
    let mut client = server.connect().await;
    let ledger = client.fill(table::busy(server, table), setting.pick(50_000, 5_000)).await;
    let url = server.url();
    let closed = Load::new(&url).writers(8);
    let ledger = match server {
        Server::Postgres(_) => cutovers(setting, &mut record, table, ledger, "", closed).await,
        Server::Mysql(_) => {
            let open = Load::new(&url).writers(WRITERS).rate(RATE);
            let ledger = cutovers(setting, &mut record, table, ledger, "500/s: ", open).await;
            cutovers(setting, &mut record, table, ledger, "closed loop: ", closed).await
        }
    };
    let differences = client.check(&ledger, table).await;
    assert!(differences.is_empty(), "{differences}");
    record
}

/// Swaps an even number of times under a load, so that the table is in the end as it was.
async fn cutovers(
    setting: &Setting,
    record: &mut Record,
    table: &str,
    ledger: Ledger,
    prefix: &str,
    load: Load,
) -> Ledger {
    let server = &setting.server;
    let running = load.start(ledger).await.expect("the load starts");
    let (mut stalls, mut own, mut noise, mut around, mut peak, mut attempts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0, Vec::new());
    let mut steps = [const { Vec::new() }; 3];
    for round in 0..setting.pick(20, 2) {
        let more = ["--cutover", "manual"];
        let mut run = migration::run(server, table, &server.change(round), &more).spawn();
        migration::in_phase(&mut run, "ready").await;
        running.window();
        tokio::time::sleep(QUIET).await;
        let quiet = SystemTime::now();
        tokio::time::sleep(QUIET).await;
        migration::cutover(server, table).await;
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
    let goals = server.goals();
    let name = |what: &str| format!("{prefix}{what}");
    record.at_most(name("stall as the clients felt it, p50"), median(&stalls), "ms", goals.stall.0);
    record.at_most(name("stall as the clients felt it, max"), largest(&stalls), "ms", goals.stall.1);
    record.note(name("as long a time without a swap, p50"), median(&noise), "ms");
    record.note(name("as long a time without a swap, max"), largest(&noise), "ms");
    record.note(name("slowest statement from command to end, p50"), median(&around), "ms");
    record.note(name("slowest statement from command to end, max"), largest(&around), "ms");
    record.note(name("from lock to commit as reported, p50"), median(&own), "ms");
    record.note(name("from lock to commit as reported, max"), largest(&own), "ms");
    for (step, times) in ["lock", "drain", "swap"].iter().zip(&steps) {
        record.note(format!("{prefix}of it, {step}, p50"), median(times), "ms");
    }
    record.at_most(name("failed statements"), report.failures() as f64, "", 0.0);
    setting.conflicts(record, prefix, &report);
    record.at_most(name("broken promises"), report.violations.len() as f64, "", 0.0);
    record.note(name("cutovers"), stalls.len() as f64, "");
    record.note(name("most attempts of one"), largest(&attempts), "");
    record.note(name("statements"), report.rate(), "/s");
    record.memory(name("peak memory of the process"), peak);
    ledger
}
