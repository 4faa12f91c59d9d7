//! What clients feel while a table is changed under them: as fast as they can, and at a fixed rate.

use crate::felt::felt;
use crate::figure::Record;
use crate::{Setting, migration, table};
use shadowswap_testkit::load::{Ledger, Load};
use std::time::Duration;

/// Statements a second in open loop.
const RATE: f64 = 2_000.0;

/// What keeps clients' latency low on a small machine: one session that rests most of the time. What a chunk costs without any row is
/// felt as well, so chunks are not as short as they could be (measured on MySQL: of 5 ms, a tenth of the rows at a higher price).
const GENTLE: [&str; 6] = ["--copy-workers", "1", "--chunk-time", "50ms", "--max-load", "5%"];

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
    let run = migration::run(&setting.server, table, &setting.server.change(round), more);
    let (felt, ledger) = felt(load, ledger, run, calm).await;
    felt.note(record, name);
    felt.ratio(record, format!("{name}: p99 during / before"), &felt.before, target);
    record.at_most(format!("{name}: failed statements"), felt.report.failures() as f64, "", 0.0);
    setting.conflicts(record, &format!("{name}: "), &felt.report);
    record.memory(format!("{name}: peak memory"), felt.output.peak_rss_bytes);
    ledger
}
