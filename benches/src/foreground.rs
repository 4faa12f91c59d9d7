//! What clients feel of a run at its defaults, and of one that takes all that the server has: 2,000 statements a second.

use crate::felt::felt;
use crate::figure::Record;
use crate::{Setting, migration, table};
use shadowswap_testkit::load::Load;
use std::time::Duration;

/// Statements a second.
const RATE: f64 = 2_000.0;
/// Connections enough for that.
const WRITERS: usize = 32;
/// The 99th percentile may become so much larger.
const TARGET: f64 = 1.2;

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
        let run = migration::plain(server, table, &server.change(round), more);
        let (felt, back) = felt(load, ledger, run, calm).await;
        ledger = back;
        felt.note(&mut record, name);
        let name = |what: &str| format!("{name}: {what}");
        if let Some(share) = share(&felt.output.stdout) {
            record.note(name("share of full speed in the end of the copy"), share, "");
        }
        let without = felt.before.clone().and(&felt.after);
        felt.ratio(&mut record, name("p99 during the run / before and after it"), &without, target);
        let report = migration::report(&felt.output);
        for phase in report["phases"].as_array().into_iter().flatten() {
            if let (Some(phase), Some(seconds)) = (phase[0].as_str(), phase[1].as_f64()) {
                record.note(name(&format!("{phase} took")), seconds, "s");
            }
        }
        record.at_most(name("failed statements"), felt.report.failures() as f64, "", 0.0);
        setting.conflicts(&mut record, &name(""), &felt.report);
        record.memory(name("peak memory"), felt.output.peak_rss_bytes);
    }
    let differences = client.check(&ledger, table).await;
    assert!(differences.is_empty(), "{differences}");
    record.note("rows compared with what clients were told", differences.rows as f64, "");
    record
}
