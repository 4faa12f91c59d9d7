//! Changes applied a second: the runner is stopped while it is ready, changes are made, and it has to catch up.
//!
//! The rate counts from the start of the second run's ready phase, so that connecting and the stream's own start are in it.

use crate::client::Client;
use crate::figure::Record;
use crate::server::Server;
use crate::{Setting, migration};
use shadowswap_testkit::Signal;

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("apply", server);
    let table = &server.table("apply");
    let mut client = server.connect().await;
    let rows = setting.pick(1_000_000, 10_000);
    client.create_wide(table, rows).await;
    let mut peak = 0;
    let (all, some) = (setting.pick(1_000_000, 20_000), setting.pick(300_000, 5_000));
    let other_pad = format!("pad = {}", server.other_pad());
    let other_pad = other_pad.as_str();
    for (round, (name, set, many, size, target)) in [
        ("transactions of 1,000 rows", other_pad, all, 1_000, Some(server.goals().apply)),
        ("transactions of one row", other_pad, some, 1, None),
        ("an indexed column, 1,000 rows", "account = account + 1", all, 1_000, None),
    ]
    .into_iter()
    .enumerate()
    {
        let (rate, highest, memory) =
            catch_up(server, &mut client, table, round, rows, set, many, size).await;
        peak = peak.max(memory);
        match target {
            Some(target) => record.at_least(format!("{name}, changes"), rate, "/s", target),
            None => record.note(format!("{name}, changes"), rate, "/s"),
        }
        record.note(format!("{name}, best second"), highest, "/s");
    }
    record.memory("peak memory of the process", peak);
    record
}

#[expect(clippy::too_many_arguments, reason = "called in one place, with a row of a table")]
async fn catch_up(
    server: &Server,
    client: &mut Client,
    table: &str,
    round: usize,
    rows: u64,
    set: &str,
    many: u64,
    size: u64,
) -> (f64, f64, u64) {
    let change = server.change(round);
    let start = || migration::run(server, table, &change, &["--cutover", "manual", "--no-verify"]).spawn();
    let mut run = start();
    migration::in_phase(&mut run, "ready").await;
    run.signal(Signal::SIGTERM);
    run.wait(migration::LONG).await.expect_code(1);
    client.change_rows(table, rows, set, many, size).await;
    let mut run = start();
    let begin = migration::reached(&mut run, |progress| progress["phase"] == "ready").await;
    let end =
        migration::reached(&mut run, |progress| migration::number(progress, "changes") >= many as f64).await;
    let took = migration::number(&end, "elapsed_s") - migration::number(&begin, "elapsed_s");
    let done = many as f64 - migration::number(&begin, "changes");
    let lines = run.stdout();
    let rates = lines.lines().filter_map(|line| migration::last(line, "progress"));
    let highest =
        rates.map(|progress| migration::number(&progress, "changes_per_second")).fold(0.0, f64::max);
    migration::cutover(server, table).await;
    let output = run.wait(migration::LONG).await.expect_code(0);
    (done / took.max(f64::MIN_POSITIVE), highest, output.peak_rss_bytes)
}
