//! One transaction far larger than everything that is kept in memory, and rows of many megabytes.

use shadowswap_testkit::mysql::Mysql;

use super::{PRODUCTS, numbered, reached, sql, texts, traces, until_found};
use crate::operator::{LONG, SOON, run, tell};

/// The process's memory, whatever the transaction: what the design promises, and what a debug build needs more.
const MEMORY_MAX: u64 = 96 << 20;

#[tokio::test]
async fn a_transaction_over_all_rows_arrives() {
    // A million takes half a minute on each, most of it the server's own.
    const ROWS: u64 = 200_000;
    for product in PRODUCTS {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        sql(&mut conn, "create table t (id int primary key, n int not null default 7)").await;
        numbered(&mut conn, "t", ROWS).await;
        let args = ["--stall-budget", "2s", "--chunk-time", "50ms", "--copy-workers", "1"];
        let mut migration = run(&server.url("shop"), "t", "modify n bigint not null").args(args).spawn();
        reached(&mut conn, &mut migration, &["copy"]).await;
        let begun = "select 1 from shadowswap.chunk where done having count(*) > 1";
        until_found(&mut conn, begun, SOON).await;
        sql(&mut conn, "update t set n = id % 1000").await;
        let output = migration.wait(2 * LONG).await.expect_code(0);
        assert!(output.peak_rss_bytes < MEMORY_MAX, "{product}: {} bytes", output.peak_rss_bytes);
        let right = "select count(*) from t where n = id % 1000";
        assert_eq!(texts(&mut conn, right).await, [ROWS.to_string()], "{product}");
        assert_eq!(texts(&mut conn, "select count(*) from t").await, [ROWS.to_string()], "{product}");
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn rows_of_many_megabytes_arrive() {
    for product in PRODUCTS {
        let server = Mysql::builder(product).setting("max_allowed_packet", "64M").start().await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        sql(
            &mut conn,
            "create table t (id int primary key, body longblob, n int);
             insert into t values (1, repeat('a', 20000000), 1), (2, repeat('b', 20000000), 2), (3, 'small', 3), (4, null, 4)",
        )
        .await;
        let url = server.url("shop");
        let args = ["--cutover", "manual", "--stall-budget", "2s"];
        let mut migration = run(&url, "t", "modify n bigint").args(args).spawn();
        reached(&mut conn, &mut migration, &["ready"]).await;
        for text in [
            "update t set body = repeat('c', 20000000) where id = 1",
            // Twice as large when it is escaped.
            "update t set body = repeat('\\'', 20000000), n = 33 where id = 3",
            "update t set body = repeat(char(0), 20000000) where id = 4",
            "update t set n = n + 1 where id = 2",
            // Longer than a packet when it is escaped.
            "insert into t values (5, repeat('\\\\', 35000000), 5)",
        ] {
            sql(&mut conn, text).await;
        }
        tell(&url, "cutover", "t").await.expect_code(0);
        migration.wait(LONG).await.expect_code(0);
        let rows = "select id, length(body), sha2(body, 256), n from {} order by id";
        let expected = texts(&mut conn, &rows.replace("{}", "_t_old")).await;
        assert_eq!(expected.len(), 5);
        assert_eq!(texts(&mut conn, &rows.replace("{}", "t")).await, expected, "{product}");
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    }
}
