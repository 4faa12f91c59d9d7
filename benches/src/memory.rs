//! Memory of the process where it is asked for most: a transaction that changes every row, a backlog of millions of changes, rows of
//! many megabytes; always with eight copiers.
//!
//! Its bound: 64 MiB and the largest row.

use crate::client::Client;
use crate::figure::Record;
use crate::server::Server;
use crate::{Setting, migration};
use shadowswap_testkit::Signal;
use std::time::Duration;

/// Many sessions, so that what each costs is seen.
const WORKERS: &[&str] = &["--copy-workers", "8"];

pub async fn measure(setting: &Setting) -> Record {
    let mut record = Record::new("memory", &setting.server);
    let wants = |name: &str| setting.only.as_deref().is_none_or(|only| name.contains(only));
    if wants("transaction") {
        transaction(setting, &mut record).await;
    }
    if wants("backlog") {
        backlog(setting, &mut record).await;
    }
    if wants("rows") {
        rows(setting, &mut record).await;
    }
    record
}

/// One transaction changes every row during the copy.
async fn transaction(setting: &Setting, record: &mut Record) {
    let server = &setting.server;
    let table = &server.table("memory");
    let mut client = server.connect().await;
    // Enough in a smoke run too for the copy to be met.
    let rows = setting.pick(1_000_000, 200_000);
    client.create_wide(table, rows).await;
    let mut run = migration::run(server, table, &server.change(0), WORKERS).spawn();
    migration::in_phase(&mut run, "copy").await;
    let changed = client.execute(&format!("update {table} set account = account + 1")).await;
    let output = run.wait(migration::LONG).await.expect_code(0);
    let report = migration::report(&output);
    record.note("transaction: rows changed by it", changed as f64, "");
    record.note("transaction: changes applied", migration::number(&report, "changes_applied"), "");
    record.note("transaction: run took", migration::number(&report, "elapsed_s"), "s");
    record.memory("transaction: peak memory of the process", output.peak_rss_bytes);
}

/// Millions of changes wait when the run goes on.
async fn backlog(setting: &Setting, record: &mut Record) {
    let server = &setting.server;
    let table = &server.table("backlog");
    let mut client = server.connect().await;
    let rows = setting.pick(500_000, 20_000);
    client.create_wide(table, rows).await;
    let args = [WORKERS, &["--cutover", "manual"]].concat();
    let mut run = migration::run(server, table, &server.change(0), &args).spawn();
    migration::in_phase(&mut run, "ready").await;
    run.signal(Signal::SIGTERM);
    run.wait(migration::LONG).await.expect_code(1);
    let mut changed = 0;
    for round in 0..10 {
        // Ten transactions a round: the server keeps what is not committed in memory or temporary files of its own.
        for part in 0..10 {
            let set = format!("pad = {}", server.other_pad());
            let of = format!("id > {} and id <= {}", rows / 10 * part, rows / 10 * (part + 1));
            changed += client.execute(&format!("update {table} set {set} where {of}")).await;
        }
        println!("  backlog: round {round}, {changed} changes");
    }
    let mut run = migration::run(server, table, &server.change(0), &args).spawn();
    migration::in_phase(&mut run, "ready").await;
    let start = std::time::Instant::now();
    let (mut most, mut disk) = (0.0_f64, 0.0_f64);
    let caught_up = |progress: &serde_json::Value| {
        most = most.max(migration::number(progress, "backlog"));
        disk = disk.max(migration::number(progress, "backlog_disk_bytes"));
        migration::number(progress, "changes") >= changed as f64
    };
    migration::watched(&mut run, caught_up).await;
    let took = start.elapsed();
    migration::cutover(server, table).await;
    let output = run.wait(migration::LONG).await.expect_code(0);
    record.note("backlog: changes that waited", changed as f64, "");
    record.note("backlog: caught up after", took.as_secs_f64(), "s");
    record.note("backlog: records in the change log at most", most, "");
    record.note("backlog: the change log on disk at most", disk / f64::from(1 << 20), "MiB");
    record.memory("backlog: peak memory of the process", output.peak_rss_bytes);
}

/// Rows of many megabytes, copied by eight sessions, and changed meanwhile.
async fn rows(setting: &Setting, record: &mut Record) {
    const ROWS: u64 = 12;
    let server = &setting.server;
    let table = &server.table("large");
    let mut client = server.connect().await;
    let row: u64 = setting.pick(50 << 20, 4 << 20);
    let fill = match server {
        Server::Postgres(_) => "bytea",
        Server::Mysql(_) => "longblob",
    };
    if let Server::Mysql(_) = server {
        client.batch("set global max_allowed_packet = 1073741824").await;
        // For this session it is what it was when it began.
        client = server.connect().await;
    }
    client.batch(&format!("create table {table} (id bigint primary key, n int, body {fill})")).await;
    for id in 1..=ROWS {
        client.batch(&format!("insert into {table} values ({id}, 0, {})", body(&client, id, row))).await;
    }
    let change = match server {
        Server::Postgres(_) => "alter column n type bigint",
        Server::Mysql(_) => "modify n bigint",
    };
    let args = [WORKERS, &["--cutover", "manual"]].concat();
    let mut run = migration::run(server, table, change, &args).spawn();
    // The copy of so few rows may be over before anybody looks.
    migration::in_phase(&mut run, "ready").await;
    let idle = run.peak_rss_bytes();
    for id in 1..=ROWS {
        let body = body(&client, id + 1, row);
        client.batch(&format!("update {table} set body = {body} where id = {id}")).await;
    }
    migration::reached(&mut run, |p| migration::number(p, "changes") >= ROWS as f64).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    migration::cutover(server, table).await;
    let output = run.wait(migration::LONG).await.expect_code(0);
    let mib = row as f64 / f64::from(1 << 20);
    let peak = output.peak_rss_bytes as f64 / f64::from(1 << 20);
    record.note("rows: of", mib, "MiB");
    record.note("rows: peak memory before any was changed", idle as f64 / f64::from(1 << 20), "MiB");
    record.note("rows: peak memory beyond 64 MiB, in rows", ((peak - 64.0) / mib).max(0.0), "");
    record.at_most("rows: peak memory of the process", peak, "MiB", 64.0 + mib);
}

/// The value of a row of this size.
fn body(client: &Client, id: u64, bytes: u64) -> String {
    let letter = char::from(b'a' + (id % 26) as u8);
    match client {
        Client::Postgres(_) => format!("convert_to(repeat('{letter}', {bytes}), 'UTF8')"),
        Client::Mysql(..) => format!("repeat('{letter}', {bytes})"),
    }
}
