//! The whole run on an idle server beside the blocking ALTER, in turns, on twins.

use crate::figure::{Record, median};
use crate::{Setting, migration};
use std::time::Instant;

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("total", server);
    let goals = server.goals();
    let mut client = server.connect().await;
    let rows = setting.pick(1_000_000, 20_000);
    let tables = ["altered", "unverified", "verified"].map(|name| server.table(name));
    for table in &tables {
        client.create_wide(table, rows).await;
    }
    let mut seconds = [Vec::new(), Vec::new(), Vec::new()];
    let mut phases = Vec::new();
    let mut peak = 0;
    for round in 0..setting.pick(3, 1) {
        let change = server.change(round);
        for (which, table) in tables.iter().enumerate() {
            client.settle(table).await;
            let start = Instant::now();
            if which == 0 {
                client.batch(&server.blocking(table, &change)).await;
            } else {
                let more: &[&str] = if which == 1 { &["--no-verify"] } else { &[] };
                let output = migration::run(server, table, &change, more).run(migration::LONG).await;
                let output = output.expect_code(0);
                peak = peak.max(output.peak_rss_bytes);
                phases.push(migration::report(&output)["phases"].clone());
            }
            seconds[which].push(start.elapsed().as_secs_f64());
        }
    }
    let ratio = |which: usize| {
        let ratios: Vec<f64> =
            seconds[which].iter().zip(&seconds[0]).map(|(ours, alter)| ours / alter).collect();
        median(&ratios)
    };
    record.at_most("run without verify, in blocking ALTERs", ratio(1), "", goals.total.0);
    match goals.total.1 {
        Some(goal) => record.at_most("run with verify, in blocking ALTERs", ratio(2), "", goal),
        None => record.note("run with verify, in blocking ALTERs", ratio(2), ""),
    }
    for (name, seconds) in ["blocking ALTER", "run without verify", "run with verify"].iter().zip(&seconds) {
        for (round, seconds) in seconds.iter().enumerate() {
            record.note(format!("{name}, pair {}", round + 1), *seconds, "s");
        }
    }
    for phase in phases.last().and_then(|phases| phases.as_array()).into_iter().flatten() {
        let name = phase[0].as_str().unwrap_or_default();
        record.note(format!("last run, {name}"), phase[1].as_f64().unwrap_or_default(), "s");
    }
    record.memory("peak memory of the process", peak);
    record
}
