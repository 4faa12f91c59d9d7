//! Change streams that have a gap, or are of another server: the shadow cannot be trusted any more, and that is said.

use shadowswap_testkit::binary::{Output, Run};
use shadowswap_testkit::mysql::{Mysql, Product};
use shadowswap_testkit::{Postgres, Signal, Version};

use super::{Clients, Host, Kind, Server, Table};
use crate::operator::{LONG, POLL, SOON, printed, shadowswap};

/// Clients that write little: what they write between two steps must not be in the stream.
const QUIET: Clients = Clients { rows: 200, writers: 1, rate: Some(30.0), seed: 1 };

async fn ready(table: &Table, more: &[&str]) -> Run {
    let mut run = table.run().args(["--cutover", "manual"]).args(more.iter().copied()).spawn();
    assert!(table.until(&mut run, |phase, _| phase == "ready").await, "{}", run.stderr());
    table.load.as_ref().unwrap().reached(20, SOON).await;
    run
}

async fn stopped(mut run: Run) {
    assert!(!run.is_over());
    run.signal(Signal::SIGKILL);
    run.wait(SOON).await;
}

/// It ends with 1, says why and what to do, and has swapped nothing; a new run after an abort goes through.
async fn is_refused(table: &mut Table, output: Output, what: &str, says: &[&str]) {
    let text = printed(&output);
    assert_eq!(output.code(), Some(1), "{what}: {text}");
    for part in says.iter().chain(&["abort"]) {
        assert!(text.contains(part), "{what}: {part:?} is not said:\n{text}");
    }
    assert!(!table.has_new_type().await, "{what}");
    table.call(&["abort", "--yes"]).run(SOON).await.expect_code(0);
    table.run().args(["--drop-old"]).run(LONG).await.expect_code(0);
    table.is_changed(what, true).await;
}

async fn postgres(name: &str) -> (Host, Table) {
    let host = Host::start(Kind::Postgres(Version::Apt)).await;
    let table = Table::new(&host, name, QUIET, false).await;
    (host, table)
}

const FREE: &str = "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where active";

#[tokio::test]
async fn slot_that_was_made_anew_or_moved_is_found_out() {
    let anew = "do $$ declare name text; begin select slot_name into name from pg_replication_slots;
        perform pg_drop_replication_slot(name); perform pg_create_logical_replication_slot(name, 'pgoutput'); end $$";
    let moved =
        "select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from pg_replication_slots";
    for (name, change) in [("anew", anew), ("moved", moved)] {
        let (_host, mut table) = postgres(name).await;
        stopped(ready(&table, &[]).await).await;
        table.db.sql(FREE).await;
        table.load.as_ref().unwrap().reached(20, SOON).await;
        table.db.sql(change).await;
        let output = table.run().run(LONG).await;
        is_refused(&mut table, output, name, &["slot", "cannot be trusted"]).await;
    }
}

/// Control tables that came to another server with a dump, and a server whose WAL has not come so far: positions mean nothing there.
#[tokio::test]
async fn server_that_is_another_one_is_found_out() {
    let another = "update shadowswap.migration set plan = regexp_replace(plan, '\"cluster\": ?\"[0-9]+\"', '\"cluster\":\"7\"')";
    let behind = "update shadowswap.checkpoint set position = 'FFFF/0'";
    for (name, change, says) in
        [("another", another, "system identifier"), ("behind", behind, "has not come to FFFF/0")]
    {
        let (_host, mut table) = postgres(name).await;
        stopped(ready(&table, &[]).await).await;
        table.db.sql(FREE).await;
        table.db.sql(change).await;
        let output = table.run().run(LONG).await;
        is_refused(&mut table, output, name, &[says, "cannot be trusted"]).await;
    }
}

/// Also under the eyes of a run that is at work.
#[tokio::test]
async fn slot_that_is_dropped_during_a_run_ends_it() {
    let (_host, mut table) = postgres("dropped").await;
    let mut run = ready(&table, &[]).await;
    let drop = "do $$ begin
        perform pg_terminate_backend(active_pid, 5000) from pg_replication_slots where active;
        perform pg_drop_replication_slot(slot_name) from pg_replication_slots;
        exception when object_in_use then null; end $$";
    while !run.is_over()
        && !table.db.texts("select slot_name::text from pg_replication_slots").await.is_empty()
    {
        table.db.sql(drop).await;
    }
    let output = run.wait(LONG).await;
    is_refused(&mut table, output, "dropped while it ran", &["slot", "cannot be trusted"]).await;
}

/// The server throws away what the slot needs, before it is read or while a reader lags.
#[tokio::test]
async fn slot_that_lost_its_wal_stops_the_run_for_good() {
    for version in Version::ALL {
        let server = Postgres::builder(version)
            .setting("max_slot_wal_keep_size", "1MB")
            .setting("max_wal_size", "32MB")
            .setting("min_wal_size", "32MB")
            .start()
            .await;
        let host = Host::of_postgres(Kind::Postgres(version), server);
        let mut table = Table::new(&host, "lost", QUIET, false).await;
        stopped(ready(&table, &[]).await).await;
        table.db.sql(FREE).await;
        let more = "create table if not exists filler (t text); insert into filler select repeat('x', 1000) from generate_series(1, 20000)";
        let lost = "select slot_name::text from pg_replication_slots where wal_status = 'lost'";
        for _ in 0..20 {
            if !table.db.texts(lost).await.is_empty() {
                break;
            }
            table.db.sql(more).await;
            table.db.sql("select pg_switch_wal()").await;
            table.db.sql("checkpoint").await;
        }
        let output = table.run().run(LONG).await;
        is_refused(&mut table, output, "lost its WAL", &["slot", "lost the WAL", "cannot be trusted"]).await;
    }
}

/// A standby that took over has the tables and no slot.
#[tokio::test]
async fn promoted_standby_has_no_slot() {
    let (host, mut table) = postgres("primary").await;
    let Server::Postgres(primary) = &*host.server else { unreachable!() };
    let standby = primary.replica("standby").await;
    stopped(ready(&table, &[]).await).await;
    let end = table.db.texts("select pg_current_wal_insert_lsn()::text").await.remove(0);
    let client = standby.connect(&table.name).await;
    let caught_up = format!("pg_last_wal_replay_lsn() >= '{end}'");
    crate::operator::until_true(&client, &caught_up, SOON).await;
    crate::operator::sql(&client, "select pg_promote()").await;
    let url = standby.url(&table.name);
    let output = table.run_at(&url).run(LONG).await;
    let text = printed(&output);
    assert_eq!(output.code(), Some(1), "{text}");
    assert!(
        text.contains("is gone") && text.contains("cannot be trusted") && text.contains("abort"),
        "{text}"
    );
    shadowswap(&url).args(["abort", "--yes"]).run(SOON).await.expect_code(0);
    // The old primary is not affected, and goes on.
    table.run().args(["--drop-old"]).run(LONG).await.expect_code(0);
    table.is_changed("the old primary", false).await;
}

/// In the guard the application is not affected; only going back is not possible any more.
#[tokio::test]
async fn slot_that_is_lost_in_the_guard_ends_the_guard() {
    let (_host, mut table) = postgres("guard").await;
    let call = || table.run().args(["--guard", "1h"]);
    let mut run = call().spawn();
    assert!(table.until(&mut run, |phase, turn| phase == "guard" && turn == 1).await);
    stopped(run).await;
    table.db.sql(FREE).await;
    table.db.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots").await;
    let output = call().run(LONG).await.expect_code(1);
    let text = printed(&output);
    assert!(text.contains("slot") && text.contains("finish"), "{text}");
    let back = table.call(&["rollback", "--yes", "--progress", "none"]).run(LONG).await;
    assert_ne!(back.code(), Some(0), "{}", printed(&back));
    assert!(table.has_new_type().await, "it is not swapped back");
    table.call(&["finish", "--drop-old"]).run(SOON).await.expect_code(0);
    table.is_changed("guard without a slot", false).await;
}

/// The binlog that is still needed is gone while nobody reads it.
#[tokio::test]
async fn binlog_that_was_purged_stops_the_run_for_good() {
    for product in Product::ALL {
        let host = Host::start(Kind::Mysql(product)).await;
        let mut table = Table::new(&host, "purged", QUIET, false).await;
        stopped(ready(&table, &[]).await).await;
        table.load.as_ref().unwrap().reached(20, SOON).await;
        table.db.sql("flush binary logs").await;
        let last = table.db.texts("show binary logs").await.pop().unwrap();
        let start = std::time::Instant::now();
        // Its reader's session may take a moment to end, and keeps what it reads.
        while table.db.texts("show binary logs").await[0] != last {
            assert!(start.elapsed() < SOON, "{product:?}: not purged");
            table.db.sql(&format!("purge binary logs to '{last}'")).await;
            tokio::time::sleep(POLL).await;
        }
        let output = table.run().run(LONG).await;
        is_refused(&mut table, output, &format!("{product:?} purged"), &["purged"]).await;
    }
}

/// A server that was restored begins its binlog, and its GTIDs, anew.
#[tokio::test]
async fn binlog_that_was_begun_anew_stops_the_run_for_good() {
    for product in Product::ALL {
        let server = Mysql::start(product).await;
        let host = Host::of(Kind::Mysql(product), Server::Mysql(server));
        let mut table = Table::new(&host, "anew", QUIET, false).await;
        stopped(ready(&table, &[]).await).await;
        table.load.as_ref().unwrap().reached(20, SOON).await;
        let reset = if product == Product::MySql { "reset binary logs and gtids" } else { "reset master" };
        let start = std::time::Instant::now();
        while let Db::Mysql(conn) = &table.db {
            use mysql_async::prelude::Queryable;
            // MariaDB does not reset what somebody still reads.
            if conn.lock().await.query_drop(reset).await.is_ok() {
                break;
            }
            assert!(start.elapsed() < SOON, "{product:?}: not reset");
            tokio::time::sleep(POLL).await;
        }
        let output = table.run().env("SHADOWSWAP_TEST_PATIENCE", "10").run(LONG).await;
        is_refused(&mut table, output, &format!("{product:?} reset"), &[]).await;
    }
}

use super::Db;
