//! The same promises on MariaDB and MySQL.

use mysql_async::prelude::Queryable;

use super::super::*;
use super::SOON;
use crate::mysql::{Mysql, Product, shared};

fn wide() -> TableShape {
    let key = vec![
        KeyColumn::new("tenant", "int unsigned", |n| (n % 7).to_string()),
        KeyColumn::new("code", "varchar(30)", |n| format!("c\\{n}'")),
    ];
    let amount = Column::new("amount", "decimal(9,2)", |_, stamp| Some(format!("{}.50", stamp % 10_000)));
    let made = Column::new("made", "datetime(3)", |_, stamp| {
        Some(format!("2026-01-02 03:04:{:02}.{:03}", stamp % 60, stamp % 1000))
    });
    let columns = vec![Column::large_text("body"), Column::unique_text("email"), amount, made];
    TableShape::new("`wide Table`", key, columns)
}

#[tokio::test]
async fn ledger_agrees_with_table_after_all_operations() {
    for product in Product::ALL {
        for shape in [TableShape::standard("t"), wide()] {
            let database = shared(product).await.database().await;
            let mut conn = database.connect().await;
            shape.create(&mut conn).await;
            let ledger = Ledger::fill(&mut conn, shape, 300, 1).await;
            assert!(ledger.check(&mut conn, ledger.shape().table()).await.unwrap().is_empty());
            let running = Load::new(&database.url()).writers(4).seed(3).start(ledger).await.unwrap();
            running.reached(1500, SOON).await;
            let (report, ledger) = running.stop().await;
            assert!(report.is_clean(), "{report}");
            let differences = ledger.check(&mut conn, ledger.shape().table()).await.unwrap();
            assert!(differences.is_empty(), "{differences}");
            assert_eq!((differences.rows, differences.unknown), (ledger.rows(), 0));
            // A second load goes on with the same ledger, and without writing a key or a unique value twice.
            let url = database.url().replace("mysql://", "mariadb://");
            let load = Load::new(&url).writers(3).statements(500);
            let (report, ledger) = load.start(ledger).await.unwrap().finish().await;
            assert!(report.is_clean() && report.statements >= 500, "{report}");
            assert!(ledger.check(&mut conn, ledger.shape().table()).await.unwrap().is_empty());
            let adopted = Ledger::adopt(&mut conn, ledger.shape().as_ref().clone()).await;
            assert_eq!(adopted.rows(), ledger.rows());
        }
    }
}

#[tokio::test]
async fn lost_resurrected_and_stale_rows_are_found() {
    for product in Product::ALL {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        let shape = TableShape::standard("t");
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 50, 1).await;
        conn.query_drop("alter table t add column more int default 5").await.unwrap();
        assert!(ledger.check(&mut conn, "t").await.unwrap().is_empty(), "more columns are no difference");
        conn.query_drop("delete from t where id = 10").await.unwrap();
        conn.query_drop("insert into t (id, email) values (11, 'x'), (9999, 'y')").await.unwrap();
        conn.query_drop("update t set body = 'stale' where id = 12").await.unwrap();
        let all = ledger.check(&mut conn, "t").await.unwrap();
        assert_eq!((all.missing, all.extra, all.different), (1, 2, 1), "{all}");
        let load = Load::new(&database.url()).writers(1).mix(&[(Op::Read, 1)]).statements(300);
        let (report, _) = load.start(ledger).await.unwrap().finish().await;
        assert!(!report.violations.is_empty() && report.failed.is_empty(), "{report}");
    }
}

#[tokio::test]
async fn server_killed_under_load_leaves_no_false_difference() {
    for product in Product::ALL {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        let shape = TableShape::standard("t");
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 200, 1).await;
        let running = Load::new(&server.url("shop")).writers(6).start(ledger).await.unwrap();
        for _ in 0..2 {
            running.reached(300, SOON).await;
            server.kill9().await;
            server.restart().await;
        }
        running.reached(300, SOON).await;
        server.restart().await;
        running.reached(300, SOON).await;
        let (report, ledger) = running.stop().await;
        assert!(report.failures() > 0 && report.reconnects > 0, "{report}");
        assert!(report.violations.is_empty(), "{report}");
        let differences = ledger.check(&mut server.connect("shop").await, "t").await.unwrap();
        assert!(differences.is_empty(), "{differences}");
    }
}

#[tokio::test]
async fn lock_waited_for_too_long_is_no_failure_and_changes_nothing() {
    for product in Product::ALL {
        let server = Mysql::builder(product).setting("innodb_lock_wait_timeout", "1").start().await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        let shape = TableShape::standard("t");
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 20, 1).await;
        conn.query_drop("begin; select * from t for update").await.unwrap();
        let load = Load::new(&server.url("shop")).writers(3).mix(&[(Op::Batch, 1), (Op::UpdateOne, 1)]);
        let running = load.start(ledger).await.unwrap();
        let start = Instant::now();
        while running.conflicts().is_empty() {
            assert!(start.elapsed() < SOON, "no writer gave way");
            sleep(POLL).await;
        }
        conn.query_drop("rollback").await.unwrap();
        running.reached(50, SOON).await;
        let (report, ledger) = running.stop().await;
        assert!(report.is_clean(), "{report}");
        assert!(report.conflicts.keys().all(|what| what.contains("1205")), "{report}");
        let differences = ledger.check(&mut conn, "t").await.unwrap();
        assert!(differences.is_empty() && differences.unknown == 0, "{differences}");
    }
}

#[tokio::test]
async fn statement_that_fails_is_counted_and_session_goes_on() {
    for product in Product::ALL {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        let shape = TableShape::standard("t");
        let error = Load::new(&database.url()).start(Ledger::empty(shape.clone())).await.err().unwrap();
        assert!(error.contains("1146"), "{error}");
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 50, 1).await;
        let running = Load::new(&database.url()).writers(3).start(ledger).await.unwrap();
        running.reached(100, SOON).await;
        conn.query_drop("rename table t to gone").await.unwrap();
        while !running.failed().keys().any(|what| what.contains("1146")) {
            sleep(POLL).await;
        }
        conn.query_drop("rename table gone to t").await.unwrap();
        running.reached(100, SOON).await;
        let (report, ledger) = running.stop().await;
        assert!(!report.is_clean() && report.reconnects == 0, "{report}");
        let differences = ledger.check(&mut conn, "t").await.unwrap();
        assert!(differences.is_empty() && differences.unknown == 0, "{differences}");
    }
}
