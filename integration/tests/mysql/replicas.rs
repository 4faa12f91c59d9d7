//! Replicas: what is built early because of them, and how far they may be behind.

use std::path::Path;
use std::time::Instant;

use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_testkit::mysql::{Mysql, Product, shared};

use super::{PRODUCTS, phase, reached, sql, texts, until_found};
use crate::operator::{LONG, POLL, SOON, run, shadowswap};

const TABLE: &str =
    "create table t (id int primary key, n int, email varchar(40), key n (n), unique email (email))";
const CHANGE: [&str; 5] = ["--table", "t", "--strategy", "shadow", "--alter"];

/// A replica that has the primary's table `shop.t`. `reports`: it tells the primary where it is.
async fn replica_of(primary: &Mysql, reports: bool) -> Mysql {
    let product = primary.product();
    let builder = Mysql::builder(product);
    let builder = if reports { builder.setting("report_host", "127.0.0.1") } else { builder };
    let replica = builder.start().await;
    if product == Product::MySql {
        // Both were copied from one folder, and would have one name.
        replica.stop().await;
        std::fs::remove_file(replica.data_dir().join("auto.cnf")).unwrap();
        replica.restart().await;
    }
    let mut conn = replica.connect("").await;
    let port = primary.port();
    let text = match product {
        Product::MariaDb => format!(
            "change master to master_host = '127.0.0.1', master_port = {port}, master_user = 'root', master_use_gtid = slave_pos; start slave"
        ),
        Product::MySql => format!(
            "change replication source to source_host = '127.0.0.1', source_port = {port}, source_user = 'root', source_auto_position = 1;\n\
             start replica"
        ),
    };
    sql(&mut conn, &text).await;
    let table = "select 1 from information_schema.tables where table_schema = 'shop' and table_name = 't'";
    until_found(&mut conn, table, SOON).await;
    replica
}

/// Seconds that a replica is behind by its own account.
async fn behind(conn: &mut Conn) -> Option<u64> {
    let rows: Vec<Row> = conn.query("show replica status").await.unwrap();
    let of = |row: &Row, name: &str| row.get_opt::<Option<u64>, _>(name)?.ok()?;
    let row = rows.first()?;
    of(row, "Seconds_Behind_Source").or_else(|| of(row, "Seconds_Behind_Master"))
}

async fn primary(product: Product) -> (Mysql, Conn) {
    let server = Mysql::start(product).await;
    server.create_database("shop").await;
    let mut conn = server.connect("shop").await;
    sql(&mut conn, TABLE).await;
    sql(&mut conn, "insert into t values (1, 10, 'a'), (2, 20, 'b'), (3, null, null)").await;
    (server, conn)
}

async fn planned(url: &str, more: &[&str]) -> String {
    let plan = shadowswap(url).arg("plan").args(CHANGE).arg("modify n bigint").args(more.iter().copied());
    plan.run(SOON).await.expect_code(0).stdout
}

#[tokio::test]
async fn indexes_are_built_when_the_operator_says_and_the_plan_says_why() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, TABLE).await;
        sql(&mut conn, "insert into t values (1, 10, 'a'), (2, 20, 'b')").await;
        let early = planned(&database.url(), &["--indexes", "early"]).await;
        assert!(early.contains("n (there while copying)") && early.contains("--indexes early"), "{early}");
        assert!(early.contains("email (built after the copy)"), "{early}");
        for words in [&["--indexes", "late"] as &[&str], &[]] {
            let late = planned(&database.url(), words).await;
            assert!(late.contains("n (new, built after the copy)"), "{late}");
            assert!(
                late.contains(if words.is_empty() { "no replica is attached" } else { "--indexes late" }),
                "{late}"
            );
        }
        let all = "select index_name, non_unique, column_name from information_schema.statistics\n\
                   where table_schema = database() and table_name = 't' order by 1";
        let before = texts(&mut conn, all).await;
        run(&database.url(), "t", "modify n bigint")
            .args(["--indexes", "early"])
            .run(LONG)
            .await
            .expect_code(0);
        assert_eq!(texts(&mut conn, all).await, before, "{product:?}");
    }
}

#[tokio::test]
async fn replica_has_indexes_built_early_and_its_lag_holds_the_copy() {
    for product in PRODUCTS {
        let (primary, mut conn) = primary(product).await;
        // Enough rows to be still copying when the lag is first read.
        let many =
            "insert into t select 3 + a.id * 4096 + b.id * 64 + c.id, c.id, null from n a join n b join n c";
        sql(&mut conn, "create table n (id int primary key)").await;
        let ids = (0..64).map(|n| format!("({n})")).collect::<Vec<_>>().join(", ");
        sql(&mut conn, &format!("insert into n values {ids}")).await;
        sql(&mut conn, &format!("{many} where a.id between 1 and 10")).await;
        let replica = replica_of(&primary, true).await;
        let url = primary.url("shop");
        let plan = planned(&url, &["--max-replica-lag", "5s"]).await;
        assert!(plan.contains("a replica is attached") && plan.contains("n (there while copying)"), "{plan}");
        assert!(plan.contains(&format!("127.0.0.1:{}", replica.port())), "{plan}");
        let mut there = replica.connect("shop").await;
        let (stop, start) = match product {
            Product::MariaDb => ("stop slave sql_thread", "start slave sql_thread"),
            Product::MySql => ("stop replica sql_thread", "start replica sql_thread"),
        };
        let change = run(&url, "t", "modify n bigint").args(["--max-replica-lag", "1s"]);
        let change = change.args(["--chunk-time", "5ms", "--copy-workers", "1"]);
        sql(&mut there, stop).await;
        let refused = change.clone().run(LONG).await.expect_code(3);
        assert!(refused.stderr.contains("does not replicate now"), "{}", refused.stderr);
        sql(&mut there, start).await;
        sql(&mut there, "flush tables with read lock").await;
        sql(&mut conn, "update t set n = n + 1").await;
        let start = Instant::now();
        while behind(&mut there).await.is_none_or(|seconds| seconds < 3) {
            assert!(start.elapsed() < SOON, "{product:?}: the replica keeps up");
            tokio::time::sleep(POLL).await;
        }
        let mut migration = change.spawn();
        let held = "select 1 from shadowswap.migration where progress like '%replica-lag is % s (limit%'";
        reached(&mut conn, &mut migration, &["copy"]).await;
        until_found(&mut conn, held, SOON).await;
        assert_eq!(phase(&mut conn).await.as_deref(), Some("copy"), "{product:?}");
        sql(&mut there, "unlock tables").await;
        migration.wait(LONG).await.expect_code(0);
        let changed = "select 1 from information_schema.columns where table_schema = 'shop' and table_name = 't'\n\
                       and column_name = 'n' and data_type = 'bigint'";
        until_found(&mut there, changed, SOON).await;
        let rows = "select * from t order by id";
        assert_eq!(texts(&mut there, rows).await, texts(&mut conn, rows).await, "{product:?}");
    }
}

/// Clients go on, and so does applying; only the copy waits, until somebody says that the replica need not be looked at, or it is back.
#[tokio::test]
async fn replica_that_goes_away_holds_the_copy_until_it_is_back() {
    for product in PRODUCTS {
        let (primary, mut conn) = primary(product).await;
        sql(&mut conn, "create table gate (shut int)").await;
        sql(&mut conn, "insert into gate values (1)").await;
        let replica = replica_of(&primary, true).await;
        let mut migration = run(&primary.url("shop"), "t", "modify n bigint")
            .args(["--max-replica-lag", "5s", "--signal", "gate=select shut from gate", "--replica"])
            .arg(format!("127.0.0.1:{}", replica.port()))
            .spawn();
        let held = |why: &str| format!("select 1 from shadowswap.migration where progress like '%{why}%'");
        reached(&mut conn, &mut migration, &["copy"]).await;
        until_found(&mut conn, &held("gate is 1"), SOON).await;
        replica.kill9().await;
        until_found(&mut conn, &held("replica-lag cannot be read and counts as over"), SOON).await;
        sql(&mut conn, "update gate set shut = 0").await;
        sql(&mut conn, "insert into t values (4, 40, 'd')").await;
        let applied = "select 1 from shadowswap.migration where json_extract(progress, '$.changes') > 0";
        until_found(&mut conn, applied, SOON).await;
        assert_eq!(phase(&mut conn).await.as_deref(), Some("copy"), "{product:?}");
        replica.restart().await;
        migration.wait(LONG).await.expect_code(0);
        let rows = "select count(*), sum(n) from t";
        assert_eq!(texts(&mut conn, rows).await, ["4|70"], "{product:?}");
    }
}

#[tokio::test]
async fn replica_whose_lag_cannot_be_read_is_refused_until_it_is_named() {
    for product in PRODUCTS {
        let (primary, _conn) = primary(product).await;
        let replica = replica_of(&primary, false).await;
        let url = primary.url("shop");
        let with = |more: &[&str]| {
            shadowswap(&url)
                .arg("plan")
                .args(CHANGE)
                .args(["modify n bigint", "--max-replica-lag", "5s"])
                .args(more.iter().copied())
        };
        // MariaDB notes where the replica's connection comes from.
        if product == Product::MySql {
            let refused = with(&[]).run(SOON).await.expect_code(3);
            let says = |part| refused.stdout.contains(part);
            assert!(says("report_host") && says("--replica HOST:PORT"), "{}", refused.stdout);
        }
        let address = format!("127.0.0.1:{}", replica.port());
        let plan = with(&["--replica", &address]).run(SOON).await.expect_code(0);
        assert!(plan.stdout.contains(&format!("behind the primary: {address} (")), "{}", plan.stdout);
        let itself = format!("127.0.0.1:{}", primary.port());
        let refused = with(&["--replica", &itself]).run(SOON).await.expect_code(3);
        assert!(refused.stdout.contains("it is no replica"), "{}", refused.stdout);
        with(&["--replica", "mysql://root@x"]).run(SOON).await.expect_code(2);
    }
}

#[tokio::test]
async fn option_file_can_be_named_on_the_command_line() {
    for product in PRODUCTS {
        let (primary, _conn) = primary(product).await;
        primary.create_user("filed", "geheim", &["all on *.*"]).await;
        let file = primary.dir().join("client.cnf");
        let text =
            format!("[client]\nhost=127.0.0.1\nport={}\nuser=filed\npassword=geheim\n", primary.port());
        std::fs::write(&file, text).unwrap();
        let plan = |url: &str, file: &Path| {
            shadowswap(url)
                .args(["plan", "--table", "shop.t", "--alter", "modify n bigint", "--defaults-file"])
                .arg(file.display().to_string())
        };
        plan("", &file).run(SOON).await.expect_code(0);
        plan("mysql:///shop", &file).run(SOON).await.expect_code(0);
        let output = plan("mysql:///shop", &primary.dir().join("none.cnf")).run(SOON).await.expect_code(2);
        assert!(output.stderr.contains("none.cnf"), "{}", output.stderr);
    }
}
