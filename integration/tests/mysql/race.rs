//! Runs against clients that never rest.

use futures_util::FutureExt;
use mysql_async::Conn;
use shadowswap_testkit::load::{Column, KeyColumn, Ledger, Load, Op, TableShape};
use shadowswap_testkit::mysql::{Mysql, Product, shared};

use super::{PRODUCTS, sql, texts, traces};
use crate::operator::{LONG, SOON, run};

/// Clients on a busy machine with a debug build: the stall is measured elsewhere, here it only must not make us give up.
const PATIENT: [&str; 2] = ["--stall-budget", "2s"];
/// Statements between the swap and the end of the load.
const AFTERWARDS: u64 = 200;

struct Race {
    shape: TableShape,
    rows: u64,
    mix: Vec<(Op, u32)>,
    alter: &'static str,
    more: &'static [&'static str],
}

impl Race {
    fn standard(mix: &[(Op, u32)]) -> Race {
        let shape = TableShape::standard("t");
        Race { shape, rows: 10_000, mix: mix.to_vec(), alter: "modify n bigint", more: &[] }
    }

    async fn run(self, product: Product) {
        let database = shared(product).await.database().await;
        self.run_on(&database.url(), database.connect().await, &format!("{product:?}")).await;
    }

    async fn run_on(self, url: &str, mut conn: Conn, product: &str) {
        self.shape.create(&mut conn).await;
        let table = self.shape.table().to_owned();
        let ledger = Ledger::fill(&mut conn, self.shape, self.rows, 1).await;
        let load = Load::new(url).writers(8).mix(&self.mix).start(ledger).await.unwrap();
        load.reached(AFTERWARDS, SOON).await;
        let output = run(url, &table, self.alter)
            .args(PATIENT)
            .args(["--chunk-time", "20ms"])
            .args(self.more.iter().copied())
            .run(LONG)
            .await;
        let output = output.expect_code(0);
        load.reached(AFTERWARDS, SOON).await;
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "{product}: {report}\n{}", output.stderr);
        let differences = ledger.check(&mut conn, &table).await.unwrap();
        assert!(differences.is_empty(), "{product}: {differences}\n{}{}", output.stdout, output.stderr);
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    }
}

async fn on_both(race: impl Fn() -> Race) {
    for product in PRODUCTS {
        race().run(product).await;
    }
}

#[tokio::test]
async fn no_write_is_lost_under_all_operations() {
    on_both(|| Race::standard(&Op::MIX)).await;
}

#[tokio::test]
async fn unique_values_that_move_between_rows_arrive() {
    let mix = [(Op::SwapUnique, 6), (Op::UpdateOne, 2), (Op::Reinsert, 1), (Op::Delete, 1), (Op::Insert, 1)];
    on_both(|| Race { rows: 2_000, ..Race::standard(&mix) }).await;
}

#[tokio::test]
async fn no_write_is_lost_while_indexes_are_there_from_the_beginning() {
    let swaps =
        [(Op::SwapUnique, 4), (Op::UpdateOne, 2), (Op::Reinsert, 1), (Op::Delete, 1), (Op::Insert, 1)];
    for mix in [&Op::MIX as &[(Op, u32)], &swaps] {
        on_both(|| Race {
            alter: "modify n bigint, add key (n), add fulltext key (body)",
            more: &["--indexes", "early"],
            rows: 3_000,
            ..Race::standard(mix)
        })
        .await;
    }
}

#[tokio::test]
async fn rows_that_are_read_again_arrive() {
    let columns = vec![
        Column::unique_text("email"),
        Column::int("n"),
        Column::new("j", "json", |_, stamp| Some(format!("{{\"a\": {stamp}}}"))).on_mysql("json"),
    ];
    let shape = || TableShape::new("t", vec![KeyColumn::bigint("id")], columns.clone());
    on_both(|| Race { shape: shape(), rows: 3_000, ..Race::standard(&Op::MIX) }).await;
}

#[tokio::test]
async fn computed_values_are_applied_through_the_projection() {
    on_both(|| Race {
        alter: "add column tripled bigint, add key (tripled)",
        more: &["--set", "tripled=n * 3"],
        rows: 3_000,
        ..Race::standard(&Op::MIX)
    })
    .await;
}

/// Servers that are set up in another way than most.
#[tokio::test]
async fn no_write_is_lost_whatever_the_binlog_is_like() {
    let kinds: [(Product, &[(&str, &str)]); 4] = [
        // No floor is to be had: chunks lock what they read.
        (Product::MySql, &[("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")]),
        (Product::MySql, &[("binlog_transaction_compression", "ON"), ("binlog_row_metadata", "FULL")]),
        (Product::MySql, &[("binlog_checksum", "NONE")]),
        (
            Product::MariaDb,
            // The last is the default from 11.6 on.
            &[
                ("log_bin_compress", "ON"),
                ("binlog_checksum", "NONE"),
                ("binlog_row_metadata", "FULL"),
                ("innodb_snapshot_isolation", "ON"),
            ],
        ),
    ];
    for (product, settings) in kinds {
        let builder =
            settings.iter().fold(Mysql::builder(product), |b, (name, value)| b.setting(name, value));
        let server = builder.start().await;
        server.create_database("shop").await;
        let race = Race { rows: 5_000, ..Race::standard(&Op::MIX) };
        race.run_on(&server.url("shop"), server.connect("shop").await, &format!("{product:?} {settings:?}"))
            .await;
    }
}

/// With a replica that is absent, a commit is in the binlog, and sent to us, before anybody sees its rows. A row that is deleted by such
/// a commit must not come back with a chunk that still saw it.
#[tokio::test]
async fn rows_deleted_by_commits_that_wait_for_a_replica_do_not_come_back() {
    let kinds = [
        (Product::MariaDb, "rpl_semi_sync_master", None),
        (
            Product::MySql,
            "rpl_semi_sync_source",
            Some("install plugin rpl_semi_sync_source soname 'semisync_source.so'"),
        ),
    ];
    for (product, prefix, install) in kinds {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        if let Some(text) = install {
            sql(&mut conn, text).await;
        }
        let no_replica = if product == Product::MySql { "_wait_no_replica" } else { "_wait_no_slave" };
        // MariaDB's default lets everybody see the rows before the replica has them.
        let text = format!(
            "set global {prefix}_timeout = 60; set global {prefix}{no_replica} = 1; set global {prefix}_wait_point = 'AFTER_SYNC'"
        );
        sql(&mut conn, &text).await;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let prefix = prefix.to_string();
        // The server gives up after the timeout, until it is told again.
        let arming = tokio::spawn(async move {
            let mut waits = 0;
            tokio::pin!(stopped);
            while (&mut stopped).now_or_never().is_none() {
                sql(&mut conn, &format!("set global {prefix}_enabled = 0; set global {prefix}_enabled = 1"))
                    .await;
                tokio::time::sleep(std::time::Duration::from_millis(80)).await;
                waits += 1;
            }
            sql(&mut conn, &format!("set global {prefix}_enabled = 0")).await;
            let name = format!("{}_no_tx", prefix.replace("rpl_s", "Rpl_s"));
            (waits, texts(&mut conn, &format!("show global status like '{name}'")).await)
        });
        let mix = [(Op::Delete, 6), (Op::Insert, 4), (Op::UpdateOne, 2), (Op::Reinsert, 2)];
        let race = Race { rows: 5_000, ..Race::standard(&mix) };
        race.run_on(
            &server.url("shop"),
            server.connect("shop").await,
            &format!("{product:?} semi-synchronous"),
        )
        .await;
        stop.send(()).unwrap();
        let (armed, unacknowledged) = arming.await.unwrap();
        assert!(armed > 10, "armed {armed} times");
        let many = unacknowledged.first().and_then(|t| t.split('|').nth(1)?.parse::<u64>().ok());
        assert!(many.is_some_and(|n| n > 10), "commits that waited in vain: {unacknowledged:?}");
    }
}
