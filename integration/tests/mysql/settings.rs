//! Servers whose global settings are none of the usual ones: what our sessions rely on, they set themselves.

use mysql_async::Conn;
use rand::Rng;
use shadowswap_testkit::load::{Column, KeyColumn, Ledger, Load, Op, TableShape};
use shadowswap_testkit::mysql::{Mysql, Product};

use super::{PRODUCTS, reached, sql, texts, traces};
use crate::operator::{LONG, SOON, run, tell};

/// Odd, and none hides another.
const ODD: [(&str, &str); 12] = [
    ("lower_case_table_names", "1"),
    ("character_set_server", "latin1"),
    ("default_time_zone", "+05:45"),
    ("sql_mode", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,NO_AUTO_VALUE_ON_ZERO"),
    ("autocommit", "0"),
    ("transaction_isolation", "SERIALIZABLE"),
    ("lock_wait_timeout", "1"),
    ("innodb_lock_wait_timeout", "1"),
    ("max_allowed_packet", "1M"),
    ("binlog_row_metadata", "FULL"),
    ("binlog_checksum", "NONE"),
    ("default_storage_engine", "MyISAM"),
];

/// Longer than anything that our suffixes could be put behind.
const NAME: &str = "`Orders ``of\" 日本 in Üñi-code that are as long as names can ever be`";

async fn odd_server(product: Product) -> Mysql {
    let demands_key = match product {
        Product::MySql => ("sql_require_primary_key", "ON"),
        Product::MariaDb => ("innodb_force_primary_key", "ON"),
    };
    let settings = ODD.iter().chain([&demands_key]);
    let builder = settings.fold(Mysql::builder(product), |b, (name, value)| b.setting(name, value));
    builder.start().await
}

/// A connection of somebody who sets what a test relies on.
async fn usual(server: &Mysql, database: &str) -> Conn {
    let mut conn = server.connect(database).await;
    let text = "set autocommit = 1, sql_mode = '', default_storage_engine = InnoDB, lock_wait_timeout = 30, innodb_lock_wait_timeout = 30; \
        set session transaction isolation level repeatable read";
    sql(&mut conn, text).await;
    conn
}

fn shape() -> TableShape {
    let columns = vec![
        Column::unique_text("`e \"Mail\"`"),
        Column::text("body"),
        Column::int("n"),
        // As long as it can be: its readers here get it padded.
        Column::new("code", "char(12)", |rng, _| Some(format!("c{:011}", rng.random_range(0..9999)))),
        Column::new("seen", "timestamp null", |rng, _| {
            Some(format!("2021-03-{:02} 0{}:30:00", rng.random_range(1..29), rng.random_range(0..10)))
        }),
    ];
    TableShape::new(NAME, vec![KeyColumn::bigint("`the Key`")], columns)
}

#[tokio::test]
async fn no_write_is_lost_whatever_the_server_defaults_to() {
    for product in PRODUCTS {
        let server = odd_server(product).await;
        let mut conn = usual(&server, "").await;
        sql(&mut conn, "create database Shop character set utf8mb4; use Shop").await;
        let url = server.url("Shop");
        let shape = shape();
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 3_000, 1).await;
        let load = Load::new(&url).writers(4).mix(&Op::MIX).start(ledger).await.unwrap();
        load.reached(100, SOON).await;
        let args = ["--stall-budget", "2s", "--chunk-time", "20ms"];
        let output = run(&url, NAME, "modify n bigint, add key (n)").args(args).run(LONG).await;
        let output = output.expect_code(0);
        load.reached(100, SOON).await;
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "{product}: {report}\n{}", output.stderr);
        let differences = ledger.check(&mut conn, NAME).await.unwrap();
        assert!(differences.is_empty(), "{product}: {differences}\n{}{}", output.stdout, output.stderr);
        assert_eq!(traces(&mut conn).await, Vec::<String>::new());
        rows_larger_than_a_packet_arrive(&server, &url, &mut conn).await;
        large_values_are_compared(&url, &mut conn).await;
    }
}

/// What is too long for the server to put together is compared all the same.
async fn large_values_are_compared(url: &str, conn: &mut Conn) {
    sql(
        conn,
        "create table sound (id int primary key, a mediumblob, b mediumtext, n int);
         insert into sound values (1, repeat('x', 900000), null, 1), (2, null, repeat('x', 900000), 2), (3, 'a', 'b', 3)",
    )
    .await;
    for damage in [
        "a = insert(a, 5, 1, 'y') where id = 1",
        "b = insert(b, 5, 1, 'y') where id = 2",
        "a = null where id = 1",
    ] {
        let mut migration = run(url, "sound", "modify n bigint").args(["--cutover", "manual"]).spawn();
        reached(conn, &mut migration, &["ready"]).await;
        let name = "select table_name from information_schema.tables where table_schema = database() and table_name like '%sound\\_shadow'";
        let name = texts(conn, name).await.remove(0);
        sql(conn, &format!("update `{name}` set {damage}")).await;
        let output = tell(url, "verify", "sound").await.expect_code(4);
        drop(migration.wait(LONG).await.expect_code(4));
        assert!(output.stderr.contains("differ"), "{damage}: {}", output.stderr);
        tell(url, "abort", "sound").await.expect_code(0);
    }
}

/// What the server can hold in a row need not fit into a statement that it takes.
async fn rows_larger_than_a_packet_arrive(server: &Mysql, url: &str, conn: &mut Conn) {
    sql(
        conn,
        "create table Big (id int primary key, a mediumblob, b mediumblob, c mediumblob, n int);
         insert into Big values (1, 'a', 'b', 'c', 1), (2, repeat('x', 1000000), null, null, 2), (3, repeat(char(0), 900000), null, 'c', 3),
            (4, repeat('''', 900000), repeat('y', 900000), repeat('z', 900000), 4), (5, 'v', null, null, 5)",
    )
    .await;
    let mut migration = run(url, "Big", "modify n bigint").args(["--cutover", "manual"]).spawn();
    reached(conn, &mut migration, &["ready"]).await;
    let mut client = usual(server, "Shop").await;
    for text in [
        "update Big set b = repeat('\\'', 900000), n = 20 where id <= 2",
        "update Big set n = n + 1",
        "insert into Big values (6, repeat(char(0), 1000000), repeat('\\\\', 1000000), repeat('w', 1000000), 6)",
        "start transaction; update Big set c = repeat('c', 999999) where id = 3; update Big set id = 30 where id = 3; commit",
        "insert into Big values (7, repeat('1', 700000), null, null, 7), (8, repeat('2', 700000), null, null, 8), (9, 'x', null, null, 9)",
        "delete from Big where id = 7",
        "start transaction; update Big set a = repeat('d', 900000), b = repeat('d', 900000) where id = 5; delete from Big where id = 5; commit",
    ] {
        sql(&mut client, text).await;
    }
    tell(url, "cutover", "Big").await.expect_code(0);
    migration.wait(LONG).await.expect_code(0);
    let rows = "select id, sha2(a, 256), sha2(b, 256), sha2(c, 256), n from {} order by id";
    let expected = texts(conn, &rows.replace("{}", "_Big_old")).await;
    assert_eq!(expected.len(), 7);
    assert_eq!(texts(conn, &rows.replace("{}", "Big")).await, expected);
}
