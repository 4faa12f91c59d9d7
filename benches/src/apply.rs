//! Changes applied a second: the runner is stopped while it is ready, changes are made, and it has to catch up.
//!
//! The rate counts from the start of the second run's ready phase, so that connecting and the slot's own start are in it.

use crate::figure::Record;
use crate::{Setting, migration, table};
use shadowswap_testkit::{Postgres, Signal};
use tokio_postgres::Client;

const TABLE: &str = "public.apply";

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("apply", server);
    let client = server.connect("postgres").await;
    let rows = setting.pick(1_000_000, 10_000);
    table::create_wide(&client, TABLE, rows).await;
    let mut peak = 0;
    let (all, some) = (setting.pick(1_000_000, 20_000), setting.pick(300_000, 5_000));
    for (round, (name, set, many, size, target)) in [
        ("transactions of 1,000 rows", "pad = md5(pad)", all, 1_000, Some(50_000.0)),
        ("transactions of one row", "pad = md5(pad)", some, 1, None),
        ("an indexed column, 1,000 rows", "account = account + 1", all, 1_000, None),
    ]
    .into_iter()
    .enumerate()
    {
        let (rate, highest, memory) = catch_up(server, &client, round, rows, set, many, size).await;
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

async fn catch_up(
    server: &Postgres,
    client: &Client,
    round: usize,
    rows: u64,
    set: &str,
    many: u64,
    size: u64,
) -> (f64, f64, u64) {
    let change = table::change(round);
    let start = || migration::run(server, TABLE, &change, &["--cutover", "manual", "--no-verify"]).spawn();
    let mut run = start();
    migration::in_phase(&mut run, "ready").await;
    run.signal(Signal::SIGTERM);
    run.wait(migration::LONG).await.expect_code(1);
    make_changes(client, rows, set, many, size).await;
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
    migration::cutover(server, TABLE).await;
    let output = run.wait(migration::LONG).await.expect_code(0);
    (done / took.max(f64::MIN_POSITIVE), highest, output.peak_rss_bytes)
}

/// Changes rows all over the table. A prime step visits each row once before any comes again.
async fn make_changes(client: &Client, rows: u64, set: &str, many: u64, size: u64) {
    let sql = format!(
        "set synchronous_commit = off;
         do $$ begin
             for base in 0..{last} by {size} loop
                 update {TABLE} set {set}
                 where id in (select 1 + i * 7919 % {rows} from generate_series(base::bigint, base + {size} - 1) i);
                 commit;
             end loop;
         end $$;",
        last = many - 1,
    );
    // One at a time: a block that commits may not be part of a larger transaction.
    for statement in sql.splitn(2, ";\n") {
        table::execute(client, statement).await;
    }
}
