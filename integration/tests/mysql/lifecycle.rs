//! Kills, stops and aborts in each phase.

use mysql_async::Conn;
use shadowswap_testkit::binary::Run;
use shadowswap_testkit::load::{Ledger, Load, TableShape};
use shadowswap_testkit::mysql::{Database, Mysql, Product, shared};

use super::{PRODUCTS, phase, reached, sql, texts, traces, until_found};
use crate::operator::{LONG, SOON, run, tell};

/// Slow enough to be met in each phase.
const SLOW: [&str; 6] = ["--chunk-time", "5ms", "--copy-workers", "1", "--stall-budget", "2s"];

/// A run that waits to be told to swap, of a table of two rows.
async fn ready(product: Product, args: &[&str]) -> (Database, Conn, Run) {
    let database = shared(product).await.database().await;
    let mut conn = database.connect().await;
    sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    let run =
        run(&database.url(), "t", "modify n bigint").args(["--cutover", "manual"]).args(args.iter().copied());
    let mut run = run.spawn();
    reached(&mut conn, &mut run, &["ready"]).await;
    (database, conn, run)
}

async fn killed_in(product: Product, at: &str) {
    let database = shared(product).await.database().await;
    let mut conn = database.connect().await;
    let shape = TableShape::standard("t");
    shape.create(&mut conn).await;
    let ledger = Ledger::fill(&mut conn, shape, 5_000, 1).await;
    let load = Load::new(&database.url()).writers(4).rate(400.0).start(ledger).await.unwrap();
    let more: &[&str] = if at == "ready" { &["--cutover", "manual"] } else { &[] };
    let mut first =
        run(&database.url(), "t", "modify n bigint").args(SLOW).args(more.iter().copied()).spawn();
    reached(&mut conn, &mut first, &[at]).await;
    first.signal(shadowswap_testkit::Signal::SIGKILL);
    drop(first.wait(SOON).await);
    let before = phase(&mut conn).await;
    let output = run(&database.url(), "t", "modify n bigint").args(SLOW).run(LONG).await.expect_code(0);
    assert!(output.stderr.contains("going on with migration"), "{before:?} {}", output.stderr);
    load.reached(50, SOON).await;
    let (report, ledger) = load.stop().await;
    assert!(report.is_clean(), "{product:?} {at}: {report}");
    let differences = ledger.check(&mut conn, "t").await.unwrap();
    assert!(differences.is_empty(), "{product:?} {at}: {differences}\n{}", output.stdout);
    assert_eq!(traces(&mut conn).await, Vec::<String>::new());
}

#[tokio::test]
async fn killed_runs_go_on_from_the_checkpoint() {
    for product in PRODUCTS {
        for at in ["copy", "index", "verify", "ready"] {
            killed_in(product, at).await;
        }
    }
}

#[tokio::test]
async fn abort_removes_everything() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(
            &mut conn,
            "create table t (id int primary key, n int, key (n)); insert into t values (1, 1), (2, 2)",
        )
        .await;
        let before = texts(&mut conn, "show create table t").await;
        let mut first = run(&database.url(), "t", "modify n bigint").args(["--cutover", "manual"]).spawn();
        reached(&mut conn, &mut first, &["ready"]).await;
        tell(&database.url(), "abort", "t").await.expect_code(0);
        first.wait(LONG).await.expect_code(6);
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
        assert_eq!(texts(&mut conn, "show create table t").await, before);
    }
}

#[tokio::test]
async fn ddl_and_truncate_on_the_source_end_the_run() {
    for product in PRODUCTS {
        for change in ["truncate table t", "alter table t add column z int", "create index z on t (n)"] {
            let (_database, mut conn, first) = ready(product, &[]).await;
            sql(&mut conn, change).await;
            let output = first.wait(LONG).await.expect_code(3);
            assert!(output.stderr.contains("nothing was swapped"), "{change}: {}", output.stderr);
            assert_eq!(traces(&mut conn).await, Vec::<String>::new(), "{product:?} {change}");
        }
    }
}

#[tokio::test]
async fn second_runner_is_turned_away() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 1)").await;
        let mut first = run(&database.url(), "t", "modify n bigint").args(["--cutover", "manual"]).spawn();
        reached(&mut conn, &mut first, &["ready"]).await;
        run(&database.url(), "t", "modify n bigint").run(LONG).await.expect_code(7);
        tell(&database.url(), "cutover", "t").await.expect_code(0);
        first.wait(LONG).await.expect_code(0);
        assert_eq!(texts(&mut conn, "select data_type from information_schema.columns where table_schema = database() and table_name = 't' and column_name = 'n'").await, ["bigint"]);
        assert_eq!(texts(&mut conn, "select count(*) from _t_old").await, ["1"]);
    }
}

#[tokio::test]
async fn counter_of_a_table_goes_on_where_it_was() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, "create table t (id int auto_increment primary key, n int); insert into t (n) values (1), (2), (3); delete from t where id > 1")
            .await;
        run(&database.url(), "t", "modify id bigint auto_increment").run(LONG).await.expect_code(0);
        sql(&mut conn, "insert into t (n) values (9)").await;
        assert_eq!(texts(&mut conn, "select id, n from t order by id").await, ["1|1", "4|9"], "{product:?}");
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_are_named() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 1), (7, 300), (8, 4), (9, -1)").await;
        let output = run(&database.url(), "t", "modify n tinyint unsigned").run(LONG).await.expect_code(3);
        assert!(
            output.stderr.contains("(7)") && output.stderr.contains("(9)") && !output.stderr.contains("(8)"),
            "{}",
            output.stderr
        );
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
        let output = run(&database.url(), "t", "add unique key (n)").run(LONG).await.expect_code(0);
        drop(output);
        sql(
            &mut conn,
            "create table u (id int primary key, n int); insert into u values (1, 5), (2, 5), (3, 6)",
        )
        .await;
        let output = run(&database.url(), "u", "add unique key (n)").run(LONG).await.expect_code(3);
        assert!(output.stderr.contains("1 and 2"), "{}", output.stderr);
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn values_that_would_be_rounded_are_named() {
    let changes = [
        ("n decimal(10,2)", "1.00", "2.50", "modify n int"),
        ("n decimal(10,2)", "1.10", "2.55", "modify n decimal(10,1)"),
        ("n datetime(6)", "'2020-01-01 00:00:00'", "'2020-01-01 00:00:00.25'", "modify n datetime"),
        ("n datetime", "'2020-01-01'", "'2020-01-01 01:00:00'", "modify n date"),
        ("n varchar(20)", "'12'", "' 12'", "modify n int"),
    ];
    for product in PRODUCTS {
        for (column, kept, rounded, change) in changes {
            let database = shared(product).await.database().await;
            let mut conn = database.connect().await;
            let make = format!(
                "create table t (id int primary key, {column}); insert into t values (1, {kept}), (2, {rounded}), (3, null)"
            );
            sql(&mut conn, &make).await;
            let output = run(&database.url(), "t", change).run(LONG).await.expect_code(3);
            assert!(
                output.stderr.contains("(2)") && !output.stderr.contains("(1)"),
                "{change}: {}",
                output.stderr
            );
            assert_eq!(traces(&mut conn).await, Vec::<String>::new());
            sql(&mut conn, "delete from t where id = 2").await;
            run(&database.url(), "t", change).run(LONG).await.expect_code(0);
            assert_eq!(texts(&mut conn, "select count(*) from t").await, ["2"]);
        }
    }
}

#[tokio::test]
async fn server_that_restarts_during_the_copy_is_waited_for() {
    for product in PRODUCTS {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let url = server.url("shop");
        let mut conn = server.connect("shop").await;
        let shape = TableShape::standard("t");
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 20_000, 1).await;
        let mut migration = run(&url, "t", "modify n bigint").args(SLOW).spawn();
        reached(&mut conn, &mut migration, &["copy"]).await;
        let copied = "select 1 from shadowswap.chunk where done having count(*) > 3";
        until_found(&mut conn, copied, SOON).await;
        drop(conn);
        server.restart().await;
        let output = migration.wait(LONG).await.expect_code(0);
        let mut conn = server.connect("shop").await;
        let differences = ledger.check(&mut conn, "t").await.unwrap();
        assert!(differences.is_empty(), "{product:?}: {differences}\n{}{}", output.stdout, output.stderr);
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn triggers_and_keys_made_during_the_run_end_it() {
    for product in PRODUCTS {
        for made in [
            "create trigger tr before insert on t for each row set new.n = 1",
            "create table child (t int, foreign key (t) references t (id))",
        ] {
            let (database, mut conn, first) = ready(product, &[]).await;
            sql(&mut conn, made).await;
            tell(&database.url(), "cutover", "t").await;
            let output = first.wait(LONG).await.expect_code(3);
            assert!(output.stderr.contains("nothing was swapped"), "{made}: {}", output.stderr);
            assert_eq!(traces(&mut conn).await, Vec::<String>::new(), "{product:?} {made}");
        }
    }
}

#[tokio::test]
async fn clients_that_hold_the_table_are_waited_for_and_named() {
    for product in PRODUCTS {
        let (database, mut conn, migration) = ready(product, &["--cutover-attempts", "3"]).await;
        let mut holder = database.connect().await;
        sql(&mut holder, "start transaction").await;
        sql(&mut holder, "update t set n = 5 where id = 1").await;
        tell(&database.url(), "cutover", "t").await.expect_code(0);
        let output = migration.wait(LONG).await.expect_code(5);
        assert!(output.stderr.contains("could not cut over"), "{}", output.stderr);
        // Nobody waits any more, and nothing is locked.
        sql(&mut conn, "update t set n = 7 where id = 2").await;
        sql(&mut holder, "commit").await;
        run(&database.url(), "t", "modify n bigint").run(LONG).await.expect_code(0);
        assert_eq!(texts(&mut conn, "select id, n from t order by id").await, ["1|5", "2|7"]);
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
    }
}

/// A value passes from one row to another while changes are applied over the finished index. Which of both is written first is left to
/// chance, so there are many. (A guard that relied on NULL for the key once made 0 of it where the key is AUTO_INCREMENT.)
#[tokio::test]
async fn unique_values_that_pass_on_in_a_counted_table_arrive() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, "create table t (id bigint auto_increment primary key, u int, v int, unique key (u)); insert into t values (1, 10, 0), (2, 20, 0)")
            .await;
        let mut migration =
            run(&database.url(), "t", "modify v bigint").args(["--cutover", "manual"]).spawn();
        reached(&mut conn, &mut migration, &["ready"]).await;
        for n in 0..150 {
            let (owner, next) = (if n == 0 { 1 } else { n + 2 }, n + 3);
            let text = format!(
                "start transaction; update t set u = {} where id = {owner}; insert into t values ({next}, 10, {n}); commit",
                1000 + n
            );
            sql(&mut conn, &text).await;
        }
        tell(&database.url(), "cutover", "t").await.expect_code(0);
        migration.wait(LONG).await.expect_code(0);
        let rows = "select id, u, v from {} order by id";
        let expected = texts(&mut conn, &rows.replace("{}", "_t_old")).await;
        assert_eq!(expected.len(), 152);
        assert_eq!(texts(&mut conn, &rows.replace("{}", "t")).await, expected, "{product:?}");
    }
}

/// Functions that give text give the same text in our sessions as in an operator's.
#[tokio::test]
async fn expressions_mean_what_they_mean_to_the_operator() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 43981)").await;
        let mut migration = run(&database.url(), "t", "add column h varchar(20)")
            .args(["--set", "h=lower(hex(n))", "--cutover", "manual"])
            .spawn();
        reached(&mut conn, &mut migration, &["ready"]).await;
        sql(&mut conn, "insert into t values (2, 48879)").await;
        tell(&database.url(), "cutover", "t").await.expect_code(0);
        migration.wait(LONG).await.expect_code(0);
        assert_eq!(
            texts(&mut conn, "select id, h from t order by id").await,
            ["1|abcd", "2|beef"],
            "{product:?}"
        );
    }
}

/// A replica that took over behind the same name has files of the same names.
#[tokio::test]
async fn run_without_gtids_does_not_go_on_in_the_binlog_of_another_server() {
    let off = [("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")];
    let builder = off.iter().fold(Mysql::builder(Product::MySql), |b, (name, value)| b.setting(name, value));
    let server = builder.start().await;
    server.create_database("shop").await;
    let (url, mut conn) = (server.url("shop"), server.connect("shop").await);
    sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    let mut first = run(&url, "t", "modify n bigint").args(["--cutover", "manual"]).spawn();
    reached(&mut conn, &mut first, &["ready"]).await;
    // What is applied meanwhile keeps the server's name in the checkpoint.
    sql(&mut conn, "insert into t values (3, 3)").await;
    until_found(&mut conn, "select 1 from _t_shadow where id = 3", SOON).await;
    first.signal(shadowswap_testkit::Signal::SIGKILL);
    drop(first.wait(SOON).await);
    let is_named = "select position like concat('@', @@server_uuid, '|%') from shadowswap.checkpoint";
    assert_eq!(texts(&mut conn, is_named).await, ["1"]);
    sql(&mut conn, "update shadowswap.checkpoint set position = replace(position, @@server_uuid, 'another')")
        .await;
    let output = run(&url, "t", "modify n bigint").run(LONG).await.expect_code(3);
    assert!(output.stderr.contains("another server"), "{}", output.stderr);
    assert_eq!(texts(&mut conn, "show tables").await, ["_t_shadow", "t"]);
    // One that was noted by an older version goes on.
    sql(&mut conn, "update shadowswap.checkpoint set position = replace(position, '@another', '')").await;
    run(&url, "t", "modify n bigint").run(LONG).await.expect_code(0);
    assert_eq!(texts(&mut conn, "select id from t order by id").await, ["1", "2", "3"]);
}

/// Who may not see which XA transactions are prepared must not overlook one: its rows are in neither the copy nor the stream.
#[tokio::test]
async fn commit_of_an_xa_transaction_that_could_not_be_seen_ends_the_run() {
    let server = Mysql::start(Product::MySql).await;
    server.create_database("shop").await;
    let mut conn = server.connect("shop").await;
    let grants =
        ["all on shop.*", "all on shadowswap.*", "replication slave, replication client, process on *.*"];
    server.create_user("app", "secret1", &grants).await;
    let url = server.url_as("app", "secret1", "shop");
    sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    let mut client = server.connect("shop").await;
    sql(&mut client, "xa start 'x'; insert into t values (3, 3); xa end 'x'; xa prepare 'x'").await;
    let mut migration = run(&url, "t", "modify n bigint").args(["--cutover", "manual"]).spawn();
    reached(&mut conn, &mut migration, &["ready"]).await;
    sql(&mut client, "xa commit 'x'").await;
    let output = migration.wait(LONG).await.expect_code(3);
    assert!(output.stderr.contains("XA_RECOVER_ADMIN"), "{}", output.stderr);
    assert_eq!(texts(&mut conn, "show tables").await, ["t"]);
}
