mod mysql;

use std::time::Duration;

use super::*;
use crate::{Postgres, Version, shared};

const SOON: Duration = Duration::from_secs(20);

fn wide() -> TableShape {
    let key = vec![
        KeyColumn::new("tenant", "integer", |n| (n % 7).to_string()),
        KeyColumn::new("code", "text", |n| format!("c\\{n}")),
    ];
    let amount = Column::new("amount", "numeric(9,2)", |_, stamp| Some(format!("{}.50", stamp % 10_000)));
    let columns = vec![Column::large_text("body"), Column::unique_text("email"), amount];
    TableShape::new("public.\"wide Table\"", key, columns)
}

#[tokio::test]
async fn ledger_agrees_with_table_after_all_operations() {
    for version in Version::ALL {
        for shape in [TableShape::standard("public.t"), wide()] {
            let database = shared(version).await.database().await;
            let client = database.connect().await;
            shape.create(&client).await;
            let ledger = Ledger::fill(&client, shape, 300, 1).await;
            assert!(ledger.check(&client, ledger.shape().table()).await.unwrap().is_empty());
            let running = Load::new(&database.url()).writers(4).seed(3).start(ledger).await.unwrap();
            running.reached(1500, SOON).await;
            assert!(running.window().count() >= 1500);
            let (report, ledger) = running.stop().await;
            assert!(report.is_clean(), "{report}");
            assert!(report.latency.max() >= report.latency.p99());
            assert!(!report.slowest.is_empty());
            let differences = ledger.check(&client, ledger.shape().table()).await.unwrap();
            assert!(differences.is_empty(), "{differences}");
            assert_eq!(differences.rows, ledger.rows());
            // A second load goes on with the same ledger, and without writing a key or a unique value twice.
            let load = Load::new(&database.url()).writers(3).statements(500);
            let (report, ledger) = load.start(ledger).await.unwrap().finish().await;
            assert!(report.is_clean() && report.statements >= 500, "{report}");
            assert!(ledger.check(&client, ledger.shape().table()).await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn check_finds_lost_resurrected_and_stale_rows() {
    let database = shared(Version::Apt).await.database().await;
    let client = database.connect().await;
    let shape = TableShape::standard("t");
    shape.create(&client).await;
    let ledger = Ledger::fill(&client, shape, 50, 1).await;
    client.batch_execute("alter table t add column more int default 5").await.unwrap();
    assert!(ledger.check(&client, "t").await.unwrap().is_empty(), "more columns are no difference");
    client.batch_execute("delete from t where id = 10").await.unwrap();
    let lost = ledger.check(&client, "t").await.unwrap();
    assert_eq!((lost.missing, lost.extra, lost.different), (1, 0, 0));
    assert!(lost.to_string().contains("missing: key 10"), "{lost}");
    client.batch_execute("insert into t (id, email) values (11, 'x'), (9999, 'y')").await.unwrap();
    client.batch_execute("update t set body = 'stale' where id = 12").await.unwrap();
    let all = ledger.check(&client, "t").await.unwrap();
    assert_eq!((all.missing, all.extra, all.different), (1, 2, 1), "{all}");
    assert!(!all.is_empty());
}

#[tokio::test]
async fn lost_row_is_seen_while_load_runs() {
    let database = shared(Version::Pip).await.database().await;
    let client = database.connect().await;
    let shape = TableShape::standard("t");
    shape.create(&client).await;
    let ledger = Ledger::fill(&client, shape, 5, 1).await;
    client.batch_execute("delete from t where id = 4").await.unwrap();
    let load = Load::new(&database.url()).writers(1).mix(&[(Op::Read, 1)]).statements(100);
    let (report, _) = load.start(ledger).await.unwrap().finish().await;
    assert!(!report.violations.is_empty() && !report.is_clean());
}

#[tokio::test]
async fn adopted_table_is_gone_on_with() {
    let database = shared(Version::Apt).await.database().await;
    let client = database.connect().await;
    let shape = TableShape::standard("t");
    shape.create(&client).await;
    client
        .batch_execute("insert into t select i, 'mail' || i, E'a\\tb', i from generate_series(1, 100) i")
        .await
        .unwrap();
    let ledger = Ledger::adopt(&client, shape).await;
    assert_eq!(ledger.rows(), 100);
    let (report, ledger) =
        Load::new(&database.url()).statements(400).start(ledger).await.unwrap().finish().await;
    assert!(report.is_clean(), "{report}");
    assert!(ledger.check(&client, "t").await.unwrap().is_empty());
}

#[tokio::test]
async fn server_killed_under_load_leaves_no_false_difference() {
    for version in Version::ALL {
        let server = Postgres::start(version).await;
        let client = server.connect("postgres").await;
        let shape = TableShape::standard("t");
        shape.create(&client).await;
        let ledger = Ledger::fill(&client, shape, 200, 1).await;
        let running = Load::new(&server.url("postgres")).writers(6).start(ledger).await.unwrap();
        for _ in 0..3 {
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
        let differences = ledger.check(&server.connect("postgres").await, "t").await.unwrap();
        assert!(differences.is_empty(), "{differences}");
    }
}

#[tokio::test]
async fn open_loop_keeps_rate_and_charges_stall_to_all_that_were_due() {
    let database = shared(Version::Apt).await.database().await;
    let client = database.connect().await;
    let shape = TableShape::standard("t");
    shape.create(&client).await;
    let ledger = Ledger::fill(&client, shape, 200, 1).await;
    let load = Load::new(&database.url()).writers(4).rate(400.0).mix(&[(Op::UpdateOne, 1)]);
    let running = load.start(ledger).await.unwrap();
    running.reached(200, SOON).await;
    running.window();
    let stall = Duration::from_millis(400);
    client.batch_execute("begin; lock table t in exclusive mode").await.unwrap();
    tokio::time::sleep(stall).await;
    client.batch_execute("commit").await.unwrap();
    running.reached(200, SOON).await;
    let window = running.window();
    let (report, _) = running.stop().await;
    assert!(report.is_clean(), "{report}");
    assert!(report.rate() <= 480.0, "{report}");
    // 160 statements were due while the table was locked; only four of them were in flight.
    let late = window.histogram().count_between(100_000, 600_000_000);
    assert!(late >= 60, "{late} late of {}: {window}", window.count());
    // The first to be late was due at most one interval of its writer, 10 ms, after the lock was taken.
    assert!(window.max() >= stall - Duration::from_millis(50), "{window}");
}

#[tokio::test]
async fn load_on_missing_table_is_an_error() {
    let database = shared(Version::Apt).await.database().await;
    let started = Load::new(&database.url()).start(Ledger::empty(TableShape::standard("absent"))).await;
    let error = started.err().unwrap();
    assert!(error.contains("42P01"), "{error}");
}
