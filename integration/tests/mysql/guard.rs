//! Going back: the old table is kept in step after the swap, and swapped to again with every write since.

mod ends;

use std::time::Instant;

use mysql_async::{Conn, prelude::Queryable};
use rand::Rng;
use shadowswap_testkit::Signal;
use shadowswap_testkit::binary::Run;
use shadowswap_testkit::load::{Column, KeyColumn, Ledger, Load, Op, TableShape};
use shadowswap_testkit::mysql::{Database, Product, shared};

use super::{PRODUCTS, reached, sql, texts, traces, until_found};
use crate::operator::{LONG, POLL, SOON, run, tell};

/// Statements of clients between two steps.
const MEANWHILE: u64 = 250;
/// Clients on a busy machine with a debug build: how long they wait is measured elsewhere.
const PATIENT: [&str; 6] = ["--stall-budget", "2s", "--chunk-time", "20ms", "--guard", "1h"];

/// Waits until the newest migration has made so many swaps and changes are followed again.
async fn turned(conn: &mut Conn, run: &mut Run, turn: u32) {
    let phase = if turn.is_multiple_of(2) { "ready" } else { "guard" };
    reached(conn, run, &[phase]).await;
    let there = format!(
        "select 1 from shadowswap.migration where table_schema = database() and turn = {turn} and phase = '{phase}' having max(id)"
    );
    until_found(conn, &there, LONG).await;
}

/// The name under which the old table is kept in step.
fn guarded(product: Product) -> &'static str {
    if product == Product::MySql { "_t_old" } else { "t_guarded" }
}

/// A change, the table it is made on, and what clients write meanwhile.
struct Change {
    shape: TableShape,
    create: &'static str,
    alter: &'static str,
    more: &'static [&'static str],
}

fn email() -> Column {
    Column::unique_text("email")
}

fn word() -> Column {
    Column::new("word", "varchar(20)", |rng, _| Some(format!("w{}", rng.random_range(0..1000))))
}

fn bigint() -> Vec<KeyColumn> {
    vec![KeyColumn::bigint("id")]
}

/// Every kind of change that can be undone.
fn changes() -> Vec<Change> {
    let standard = "create table t (id bigint primary key, email varchar(100) unique, n int, word varchar(20), extra int default 5, key (n))";
    let shape = || TableShape::new("t", bigint(), vec![email(), Column::int("n"), word()]);
    let small = || TableShape::new("t", bigint(), vec![Column::int("n"), word()]);
    let counted = || {
        TableShape::new(
            "t",
            vec![KeyColumn::new("id", "int", |n| n.to_string())],
            vec![email(), Column::int("n")],
        )
    };
    let status = Column::new("status", "enum('new','paid')", |rng, _| {
        Some(if rng.random_bool(0.5) { "new" } else { "paid" }.to_string())
    });
    let change = |alter, more| Change { shape: shape(), create: standard, alter, more };
    vec![
        change("add column added varchar(10) not null default 'x', add key (added)", &[]),
        change("drop column extra", &[]),
        change("drop column extra", &["--set-back", "extra=n + 1"]),
        change("rename column extra to other", &[]),
        change("modify n bigint, modify word varchar(40), modify extra decimal(12,2)", &[]),
        change("modify n int after word, modify email varchar(100) first", &[]),
        change("add column tripled bigint", &["--set", "tripled=n * 3"]),
        Change {
            shape: counted(),
            create: "create table t (id int auto_increment primary key, email varchar(100) unique, n int)",
            alter: "modify id bigint auto_increment",
            more: &[],
        },
        Change {
            shape: shape(),
            create: "create table t (id bigint primary key, email varchar(100) unique, n int, word varchar(20)) character set latin1",
            alter: "convert to character set utf8mb4",
            more: &[],
        },
        Change {
            shape: TableShape::new("t", bigint(), vec![Column::int("n"), status]),
            create: "create table t (id bigint primary key, n int, status enum('new','paid'))",
            alter: "modify status enum('paid','new','lost')",
            more: &[],
        },
        Change {
            shape: small(),
            create: "create table t (id bigint primary key, n int, word varchar(20))",
            alter: "partition by hash (id) partitions 4",
            more: &[],
        },
        Change {
            shape: small(),
            create: "create table t (id bigint primary key, n int, word varchar(20), doc json) partition by hash (id) partitions 4",
            alter: "add column more json",
            more: &[],
        },
    ]
}

/// Swaps forward, back, and forward again under clients that never rest; what they were told is in the table each time.
async fn there_and_back(product: Product, change: Change) {
    let database = shared(product).await.database().await;
    let mut conn = database.connect().await;
    sql(&mut conn, change.create).await;
    let ledger = Ledger::fill(&mut conn, change.shape, 2_000, 1).await;
    let before = texts(&mut conn, "show create table t").await;
    let load = Load::new(&database.url()).writers(4).mix(&Op::MIX).start(ledger).await.unwrap();
    let mut run =
        run(&database.url(), "t", change.alter).args(PATIENT).args(change.more.iter().copied()).spawn();
    let what = format!("{product:?} {}", change.alter);
    turned(&mut conn, &mut run, 1).await;
    load.reached(MEANWHILE, SOON).await;
    tell(&database.url(), "rollback", "t").await.expect_code(0);
    turned(&mut conn, &mut run, 2).await;
    load.reached(MEANWHILE, SOON).await;
    tell(&database.url(), "cutover", "t").await.expect_code(0);
    turned(&mut conn, &mut run, 3).await;
    load.reached(MEANWHILE, SOON).await;
    tell(&database.url(), "rollback", "t").await.expect_code(0);
    turned(&mut conn, &mut run, 4).await;
    load.reached(MEANWHILE, SOON).await;
    let (report, ledger) = load.stop().await;
    tell(&database.url(), "finish", "t").await.expect_code(0);
    let output = run.wait(LONG).await.expect_code(6);
    assert!(report.is_clean(), "{what}: {report}\n{}", output.stderr);
    let differences = ledger.check(&mut conn, "t").await.unwrap();
    assert!(differences.is_empty(), "{what}: {differences}\n{}{}", output.stdout, output.stderr);
    let counter = |text: Vec<String>| {
        text.iter()
            .map(|t| {
                t.split_whitespace()
                    .filter(|w| !w.starts_with("AUTO_INCREMENT="))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(counter(texts(&mut conn, "show create table t").await), counter(before), "{what}");
    let mut left = traces(&mut conn).await;
    left.retain(|t| !t.ends_with("_t_shadow"));
    assert_eq!(left, Vec::<String>::new(), "{what}");
}

#[tokio::test]
async fn mysql_no_write_is_lost_there_and_back() {
    for change in changes() {
        println!("{}", change.alter);
        there_and_back(Product::MySql, change).await;
    }
}

#[tokio::test]
async fn mariadb_no_write_is_lost_there_and_back() {
    for change in changes() {
        println!("{}", change.alter);
        there_and_back(Product::MariaDb, change).await;
    }
}

/// A run in its guard, of a table with this definition.
async fn in_guard(product: Product, create: &str, alter: &str, more: &[&str]) -> (Database, Conn, Run) {
    let database = shared(product).await.database().await;
    let mut conn = database.connect().await;
    sql(&mut conn, create).await;
    let mut run = run(&database.url(), "t", alter).args(PATIENT).args(more.iter().copied()).spawn();
    turned(&mut conn, &mut run, 1).await;
    (database, conn, run)
}

const TWO: &str = "create table t (id int primary key, n int, kept int default 7); insert into t values (1, 1, 10), (2, 2, 20), (3, 3, 30)";

/// Waits until the table that is kept in step has these rows. It may not have its name yet.
async fn follows(conn: &mut Conn, run: &mut Run, table: &str, condition: &str) {
    let start = Instant::now();
    let look = format!("select 1 from {table} where {condition}");
    while !conn.query::<u8, _>(&look).await.is_ok_and(|found| !found.is_empty()) {
        let is_lost = run.is_over() || start.elapsed() > SOON;
        assert!(!is_lost, "waited in vain for {look}\n{}{}", run.stdout(), run.stderr());
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until a run has gone on with the newest migration, for the time that is counted here.
async fn resumed(conn: &mut Conn, times: u32) {
    let text = format!(
        "select 1 from shadowswap.event where what like 'resumed in%' and migration = (select max(id) from shadowswap.migration where table_schema = database())\n\
         having count(*) >= {times}"
    );
    until_found(conn, &text, SOON).await;
}

/// Neither an update, nor unique values that move, nor rows that are read again take away what only the old table has.
#[tokio::test]
async fn values_that_only_the_old_table_has_are_kept() {
    for product in PRODUCTS {
        for extra in ["", ", doc json"] {
            let create = format!(
                "create table t (id int primary key, u int unique, kept int default 7, n int{extra});\n\
                 insert into t (id, u, kept) values (1, 10, 100), (2, 20, 200), (3, 30, 300), (4, 40, 400)"
            );
            let (database, mut conn, mut run) = in_guard(product, &create, "drop column kept", &[]).await;
            sql(&mut conn, "start transaction; update t set u = null where id = 1; update t set u = 10 where id = 2; update t set u = 20 where id = 1; commit").await;
            sql(&mut conn, "update t set u = 31 where id = 3; delete from t where id = 4; insert into t (id, u) values (5, 40)").await;
            follows(&mut conn, &mut run, guarded(product), "id = 5").await;
            tell(&database.url(), "rollback", "t").await.expect_code(0);
            turned(&mut conn, &mut run, 2).await;
            let rows = texts(&mut conn, "select id, u, kept from t order by id").await;
            assert_eq!(rows, ["1|20|100", "2|10|200", "3|31|300", "5|40|7"], "{product:?} {extra}");
            tell(&database.url(), "finish", "t").await.expect_code(0);
            run.wait(LONG).await.expect_code(6);
        }
    }
}

/// Putting kept values back is an update, in which the server would set such columns to the present time.
#[tokio::test]
async fn times_that_the_server_sets_are_those_of_the_application() {
    for product in PRODUCTS {
        let create = "create table t (id int primary key, u int unique, kept int default 7, at datetime(3) default current_timestamp(3) on update current_timestamp(3));\n\
                      insert into t values (1, 10, 100, '2020-01-01'), (2, 20, 200, '2020-01-02'), (3, 30, 300, '2020-01-03')";
        let (database, mut conn, mut run) = in_guard(product, create, "drop column kept", &[]).await;
        sql(&mut conn, "start transaction; update t set u = null, at = '2021-01-01' where id = 1; update t set u = 10, at = '2021-01-02' where id = 2; update t set u = 20, at = '2021-01-01' where id = 1; commit").await;
        sql(&mut conn, "update t set u = 31, at = '2021-01-03' where id = 3").await;
        follows(&mut conn, &mut run, guarded(product), "id = 3 and u = 31").await;
        tell(&database.url(), "rollback", "t").await.expect_code(0);
        turned(&mut conn, &mut run, 2).await;
        let rows = texts(&mut conn, "select id, u, kept, date(at) from t order by id").await;
        let expected = ["1|20|100|2021-01-01", "2|10|200|2021-01-02", "3|31|300|2021-01-03"];
        assert_eq!(rows, expected, "{product:?}");
        tell(&database.url(), "finish", "t").await.expect_code(0);
        run.wait(LONG).await.expect_code(6);
    }
}

/// What the application wrote to a new column while it used the new table is there when it uses it again.
#[tokio::test]
async fn values_that_only_the_new_table_has_are_kept() {
    for product in PRODUCTS {
        let (database, mut conn, mut run) =
            in_guard(product, TWO, "add column added int not null, add column more int default 3", &[]).await;
        sql(&mut conn, "update t set added = 5, more = 6 where id = 1").await;
        tell(&database.url(), "rollback", "t").await.expect_code(0);
        turned(&mut conn, &mut run, 2).await;
        sql(&mut conn, "update t set n = 100 where id in (1, 2); insert into t values (4, 4, 40)").await;
        tell(&database.url(), "cutover", "t").await.expect_code(0);
        turned(&mut conn, &mut run, 3).await;
        let rows = texts(&mut conn, "select id, n, kept, added, more from t order by id").await;
        assert_eq!(rows, ["1|100|10|5|6", "2|100|20|0|3", "3|3|30|0|3", "4|4|40|0|3"], "{product:?}");
        tell(&database.url(), "finish", "t").await.expect_code(0);
        run.wait(LONG).await.expect_code(0);
        assert_eq!(texts(&mut conn, "show tables").await, ["_t_old", "t"], "{product:?}");
    }
}

/// The row is named, the application goes on, and a row that was mended is carried over.
#[tokio::test]
async fn row_that_cannot_be_carried_back_ends_the_guard_by_its_key() {
    let cases = [
        ("n int", "modify n bigint", "5000000000", ["1", "2"]),
        ("n varchar(3)", "modify n varchar(9)", "'12345'", ["1", "2"]),
        ("n enum('a','b')", "modify n enum('a','b','c')", "'c'", ["'a'", "'b'"]),
        (
            "n varchar(9) character set latin1",
            "modify n varchar(9) character set utf8mb4",
            "'\u{20a9}'",
            ["'ä'", "'b'"],
        ),
        ("n int not null default 1", "modify n int", "null", ["1", "2"]),
        ("n int", "modify n decimal(10,2)", "2.5", ["1", "2"]),
        ("n datetime", "modify n datetime(6)", "'2020-01-01 00:00:00.25'", ["'2020-01-01'", "'2020-01-02'"]),
        ("n char(5)", "modify n varchar(5)", "'a '", ["'a'", "'b'"]),
        ("n int, unique key (n)", "drop key n", "1", ["1", "2"]),
    ];
    for product in PRODUCTS {
        for (column, alter, bad, [first, second]) in cases {
            let create =
                format!("create table t (id int primary key, {column}); insert into t values (1, {first})");
            let (database, mut conn, run) = in_guard(product, &create, alter, &[]).await;
            sql(&mut conn, &format!("insert into t values (7, {bad})")).await;
            let what = format!("{product:?} {alter}");
            let output = run.wait(LONG).await.expect_code(1);
            assert!(output.stderr.contains("(7)"), "{what}: {}", output.stderr);
            assert_eq!(texts(&mut conn, "select count(*) from t").await, ["2"]);
            // The same again does not help, nor does it harm.
            let again = |more: &'static [&'static str]| {
                crate::operator::run(&database.url(), "t", alter).args(PATIENT).args(more.iter().copied())
            };
            let output = again(&[]).run(LONG).await.expect_code(1);
            assert!(output.stderr.contains("(7)"), "{what}: {}", output.stderr);
            sql(&mut conn, &format!("delete from t where id = 7; insert into t values (8, {second})")).await;
            let mut run = again(&[]).spawn();
            resumed(&mut conn, 2).await;
            follows(&mut conn, &mut run, guarded(product), "id = 8").await;
            tell(&database.url(), "rollback", "t").await.expect_code(0);
            turned(&mut conn, &mut run, 2).await;
            assert_eq!(texts(&mut conn, "select id from t order by id").await, ["1", "8"], "{what}");
            tell(&database.url(), "finish", "t").await.expect_code(0);
            run.wait(LONG).await.expect_code(6);
        }
    }
}

#[tokio::test]
async fn numbers_that_were_given_out_are_not_given_again() {
    for product in PRODUCTS {
        let create =
            "create table t (id int auto_increment primary key, n int); insert into t (n) values (1), (2)";
        let (database, mut conn, mut run) =
            in_guard(product, create, "modify id bigint auto_increment", &[]).await;
        sql(&mut conn, "insert into t (n) values (3), (4); delete from t where id > 2").await;
        tell(&database.url(), "rollback", "t").await.expect_code(0);
        turned(&mut conn, &mut run, 2).await;
        sql(&mut conn, "insert into t (n) values (5); delete from t where n = 5").await;
        tell(&database.url(), "cutover", "t").await.expect_code(0);
        turned(&mut conn, &mut run, 3).await;
        sql(&mut conn, "insert into t (n) values (6)").await;
        assert_eq!(
            texts(&mut conn, "select id, n from t order by id").await,
            ["1|1", "2|2", "6|6"],
            "{product:?}"
        );
        tell(&database.url(), "finish", "t").await.expect_code(0);
        run.wait(LONG).await.expect_code(0);
    }
}

#[tokio::test]
async fn triggers_and_keys_on_the_new_table_stand_in_the_way_of_going_back_alone() {
    for product in PRODUCTS {
        for (made, undone) in [
            ("create trigger tr before insert on t for each row set new.n = new.n + 1", "drop trigger tr"),
            ("create table child (t int, foreign key (t) references t (id))", "drop table child"),
        ] {
            let (database, mut conn, mut run) = in_guard(product, TWO, "modify n bigint", &[]).await;
            sql(&mut conn, made).await;
            sql(&mut conn, "insert into t values (4, 4, 40)").await;
            follows(&mut conn, &mut run, guarded(product), "id = 4").await;
            let output = tell(&database.url(), "rollback", "t").await;
            assert!(
                output.status.code() != Some(0) && output.stderr.contains("made on"),
                "{}",
                output.stderr
            );
            assert!(!run.is_over());
            sql(&mut conn, undone).await;
            tell(&database.url(), "rollback", "t").await.expect_code(0);
            turned(&mut conn, &mut run, 2).await;
            let n = if made.contains("trigger") { "5" } else { "4" };
            assert_eq!(texts(&mut conn, "select n from t where id = 4").await, [n], "{product:?} {made}");
            tell(&database.url(), "finish", "t").await.expect_code(0);
            run.wait(LONG).await.expect_code(6);
        }
    }
}

/// A runner that dies in the guard, before it has noted the swap, or in the middle of swapping back: the next one goes on.
#[tokio::test]
async fn killed_runs_go_on_guarding() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        let shape = TableShape::standard("t");
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 2_000, 1).await;
        let load = Load::new(&database.url()).writers(4).start(ledger).await.unwrap();
        let start = || run(&database.url(), "t", "modify n bigint").args(PATIENT).spawn();
        let mut first = start();
        turned(&mut conn, &mut first, 1).await;
        for times in 1..=3 {
            load.reached(MEANWHILE, SOON).await;
            first.signal(Signal::SIGKILL);
            drop(first.wait(SOON).await);
            load.reached(MEANWHILE, SOON).await;
            first = start();
            resumed(&mut conn, times).await;
        }
        tell(&database.url(), "rollback", "t").await.expect_code(0);
        turned(&mut conn, &mut first, 2).await;
        first.signal(Signal::SIGKILL);
        drop(first.wait(SOON).await);
        load.reached(MEANWHILE, SOON).await;
        let mut second = start();
        resumed(&mut conn, 4).await;
        load.reached(MEANWHILE, SOON).await;
        let (report, ledger) = load.stop().await;
        tell(&database.url(), "cutover", "t").await.expect_code(0);
        turned(&mut conn, &mut second, 3).await;
        tell(&database.url(), "finish", "t").await.expect_code(0);
        let output = second.wait(LONG).await.expect_code(0);
        assert!(report.is_clean(), "{product:?}: {report}");
        let differences = ledger.check(&mut conn, "t").await.unwrap();
        assert!(differences.is_empty(), "{product:?}: {differences}\n{}", output.stderr);
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    }
}

/// The swap took place and nothing is noted of it, at each turn: what the control tables say is set back by hand.
#[tokio::test]
async fn swaps_that_were_not_noted_are_found_out() {
    for product in PRODUCTS {
        let (database, mut conn, mut first) = in_guard(product, TWO, "modify n bigint", &[]).await;
        let start = || run(&database.url(), "t", "modify n bigint").args(PATIENT).spawn();
        for turn in 1..=4 {
            if turn > 1 {
                tell(&database.url(), if turn % 2 == 0 { "rollback" } else { "cutover" }, "t")
                    .await
                    .expect_code(0);
            }
            turned(&mut conn, &mut first, turn).await;
            first.signal(Signal::SIGKILL);
            drop(first.wait(SOON).await);
            let before = turn - 1;
            let forget = format!(
                "update shadowswap.migration set turn = {before}, phase = 'cutover' where table_schema = database();\n\
                 update shadowswap.checkpoint set turn = {before} where migration = (select max(id) from shadowswap.migration where table_schema = database());\n\
                 delete from shadowswap.event where what like 'after swap {turn},%' and migration = (select max(id) from shadowswap.migration where table_schema = database())"
            );
            sql(&mut conn, &forget).await;
            // As the swap leaves them where two sessions make it.
            if product == Product::MariaDb {
                let follower = if turn % 2 == 1 { "t_guarded" } else { "t_shadow" };
                let text = format!("rename table if exists {follower} to t_swapped /* shadowswap */");
                sql(&mut conn, &text).await;
            }
            sql(&mut conn, &format!("insert into t values ({}, 0, 0)", 10 + turn)).await;
            first = start();
            resumed(&mut conn, turn).await;
            turned(&mut conn, &mut first, turn).await;
            let follower = match (product, turn % 2) {
                (Product::MySql, 0) => "_t_shadow",
                (Product::MariaDb, 0) => "t_shadow",
                _ => guarded(product),
            };
            follows(&mut conn, &mut first, follower, &format!("id = {}", 10 + turn)).await;
        }
        tell(&database.url(), "finish", "t").await.expect_code(0);
        first.wait(LONG).await.expect_code(6);
        assert_eq!(
            texts(&mut conn, "select id from t order by id").await,
            ["1", "2", "3", "11", "12", "13", "14"]
        );
    }
}
