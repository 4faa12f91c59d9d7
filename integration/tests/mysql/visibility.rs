//! Commits that are in the binlog, and sent to us, before anybody sees their rows.
//!
//! While a commit waits for its semi-synchronous replica, every later commit of the server waits behind it, ours too. So no new chunk can
//! be claimed then; but one that a former runner claimed and left undone begins without any commit, and that is where the trap is.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use shadowswap_testkit::mysql::{Mysql, Product};
use shadowswap_testkit::{Binary, Signal};

use super::{PRODUCTS, numbered, reached, sql, texts, traces, until_found};
use crate::operator::{LONG, SOON, run};

/// Whether the applier waits until new readers see a transaction.
#[derive(Clone, Copy, Debug)]
enum Horizon {
    Kept,
    TakenOut,
}

/// For so long the first chunk of the second run is held. The run then rests four times as long, for it may use a fifth of the time:
/// long enough for a wrong applier to do its damage before the next chunk begins.
const HELD: Duration = Duration::from_millis(800);

fn trapped_run(url: &str) -> Binary {
    // Verification would find the damage before it is done; here the rows themselves are judged.
    run(url, "t", "modify n bigint").args(["--stall-budget", "2s", "--no-verify"])
}

/// A server with the plugin, whose commits will wait for a replica that does not come; and the setting that makes them.
pub async fn server_without_replica(product: Product, settings: &[(&str, &str)]) -> (Mysql, &'static str) {
    let builder = settings.iter().fold(Mysql::builder(product), |b, (name, value)| b.setting(name, value));
    let server = builder.start().await;
    server.create_database("shop").await;
    let mut conn = server.connect("").await;
    let (prefix, no_replica) = match product {
        Product::MySql => {
            sql(&mut conn, "install plugin rpl_semi_sync_source soname 'semisync_source.so'").await;
            ("rpl_semi_sync_source", "wait_no_replica")
        }
        Product::MariaDb => ("rpl_semi_sync_master", "wait_no_slave"),
    };
    let text = format!(
        "set global {prefix}_timeout = 60000; set global {prefix}_{no_replica} = 1; set global {prefix}_wait_point = 'AFTER_SYNC'"
    );
    sql(&mut conn, &text).await;
    (server, prefix)
}

/// Waits until a query of InnoDB's transactions gives a row. The server shows them as they were until nobody has asked for 100 ms.
async fn until_seen(conn: &mut Conn, text: &str) {
    let start = Instant::now();
    while texts(conn, text).await.is_empty() {
        assert!(start.elapsed() < SOON, "waited in vain for {text}");
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
}

/// Rows that were deleted and are there all the same after a run. `began`: what the chunk that reads meanwhile is seen to do.
async fn come_back(
    product: Product,
    settings: &[(&str, &str)],
    horizon: Horizon,
    began: &str,
) -> Vec<String> {
    let (server, prefix) = server_without_replica(product, settings).await;
    let url = server.url("shop");
    let mut conn = server.connect("shop").await;
    sql(&mut conn, "create table t (id int primary key, n int default 1)").await;
    numbered(&mut conn, "t", 2_500).await;
    // Makes the control tables.
    sql(&mut conn, "create table warm (id int primary key, n int)").await;
    run(&url, "warm", "modify n bigint").run(LONG).await.expect_code(0);

    // Two chunks are claimed and not copied.
    let mut claims = server.connect("shop").await;
    sql(&mut claims, "start transaction; select id from shadowswap.chunk for update").await;
    let mut first = trapped_run(&url).spawn();
    reached(&mut conn, &mut first, &["copy"]).await;
    let mut shadow = server.connect("shop").await;
    let name = "select table_name from information_schema.tables where table_schema = 'shop' and table_name like '%shadow'";
    let name = texts(&mut conn, name).await.remove(0);
    sql(&mut shadow, &format!("start transaction; select id from {name} for update")).await;
    sql(&mut claims, "rollback").await;
    let both = "select 1 from shadowswap.chunk where migration = 2 and not done having count(*) = 2";
    until_found(&mut conn, both, SOON).await;
    first.signal(Signal::SIGKILL);
    drop(first.wait(SOON).await);
    let chunks = "select lower_key, upper_key from shadowswap.chunk where migration = 2 and id = 2";
    assert_eq!(texts(&mut conn, chunks).await, ["[\"1000\"]|[\"2000\"]"]);

    // The next run copies the first of them, and rests.
    let mut second = trapped_run(&url).args(["--copy-workers", "1", "--max-load", "20%"]);
    if let Horizon::TakenOut = horizon {
        second = second.env("SHADOWSWAP_TEST_NO_HORIZON", "1");
    }
    let second = second.spawn();
    until_found(&mut conn, "select 1 from shadowswap.chunk where migration = 2 and epoch = 2", SOON).await;
    let copies = "select 1 from information_schema.processlist where info like 'insert into %shadow%'";
    until_found(&mut conn, copies, SOON).await;
    tokio::time::sleep(HELD).await;
    sql(&mut shadow, "rollback").await;
    until_found(&mut conn, "select 1 from shadowswap.chunk where migration = 2 and id = 1 and done", SOON)
        .await;

    // Meanwhile rows of the second one are deleted, by a commit that nobody sees yet. The numbers for people would wait before it.
    let mut numbers = server.connect("shop").await;
    sql(&mut numbers, "start transaction; select id from shadowswap.migration where id = 2 for update").await;
    let mut client = server.connect("shop").await;
    let delete = format!("set global {prefix}_enabled = 1; delete from t where id between 1501 and 1510");
    let deleted = tokio::spawn(async move { sql(&mut client, &delete).await });
    let waits = "select 1 from information_schema.processlist where state like '%semi-sync ACK%' and info like 'delete%'";
    until_found(&mut conn, waits, SOON).await;
    assert_eq!(texts(&mut conn, "select count(*) from t where id between 1501 and 1510").await, ["10"]);
    until_seen(&mut conn, began).await;
    assert!(!deleted.is_finished(), "the commit did not wait long enough");
    sql(&mut conn, &format!("set global {prefix}_enabled = 0")).await;
    deleted.await.unwrap();
    sql(&mut numbers, "rollback").await;
    second.wait(LONG).await.expect_code(0);
    assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    assert_eq!(texts(&mut conn, "select count(*) from _t_old").await, ["2490"]);
    texts(&mut conn, "select id from t where id not in (select id from _t_old)").await
}

/// The chunk has read and written, and waits behind that commit with its own.
const READ: &str =
    "select 1 from information_schema.innodb_trx where trx_query = 'commit' and trx_rows_modified > 500";

/// The chunk waits for the row locks that the commit still holds.
const WAITS: &str = "select 1 from information_schema.innodb_trx where trx_state = 'LOCK WAIT' and trx_query like 'insert into %shadow%'";

#[tokio::test]
async fn rows_deleted_by_a_commit_that_waits_for_its_replica_do_not_come_back() {
    for product in PRODUCTS {
        let back = come_back(product, &[], Horizon::Kept, READ).await;
        assert_eq!(back, Vec::<String>::new(), "on {product}");
    }
    let no_gtids = [("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")];
    let back = come_back(Product::MySql, &no_gtids, Horizon::Kept, WAITS).await;
    assert_eq!(back, Vec::<String>::new(), "without GTIDs");
}

/// The scenario must bite: without the horizon, rows do come back. Needs the binary with its mutation switches, as `scripts/test`
/// builds it.
#[tokio::test]
async fn without_the_horizon_deleted_rows_come_back() {
    for product in PRODUCTS {
        let back = come_back(product, &[], Horizon::TakenOut, READ).await;
        assert_eq!(back.len(), 10, "the trap does not bite on {product}: {back:?}");
    }
}
