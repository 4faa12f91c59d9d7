//! Every type, with extreme values, from the stream into another table, and compared there by the server.

use crate::setup::Setup;
use mysql_async::{Row, prelude::Queryable};
use shadowswap_core::{Change, Op};
use shadowswap_mysql::{events::Event, literal::key_expression};
use shadowswap_testkit::mysql::Product;

/// Name, type, and values.
const COLUMNS: &[(&str, &str, &[&str])] = &[
    ("ti", "tinyint", &["-128", "127", "0", "-1"]),
    ("tu", "tinyint unsigned", &["0", "255", "128"]),
    ("si", "smallint", &["-32768", "32767", "-1"]),
    ("su", "smallint unsigned", &["65535", "0"]),
    ("mi", "mediumint", &["-8388608", "8388607", "-1", "0"]),
    ("mu", "mediumint unsigned", &["16777215", "0"]),
    ("i", "int", &["-2147483648", "2147483647", "-1"]),
    ("iu", "int unsigned", &["4294967295", "0"]),
    ("bi", "bigint", &["-9223372036854775808", "9223372036854775807", "-1"]),
    ("bu", "bigint unsigned", &["18446744073709551615", "0", "9223372036854775808"]),
    ("zf", "int(5) unsigned zerofill", &["7", "4294967295", "0"]),
    ("dz", "decimal(12,4) unsigned zerofill", &["7.5", "99999999.9999"]),
    (
        "f",
        "float",
        &["0", "-0e0", "1.1", "3.4028234e38", "-1.17549435e-38", "1e-45", "16777217", "0.3333333"],
    ),
    ("fd", "float(10,3)", &["1.234", "-9999.999"]),
    ("d", "double", &["1.7976931348623157e308", "5e-324", "-0e0", "0.1", "-123456789.12345679", "1e22"]),
    (
        "dec1",
        "decimal(65,30)",
        &[
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
            "0",
            "123456789012345678901234567890.5",
        ],
    ),
    ("dec2", "decimal(10,2)", &["-1.5", "0", "99999999.99", "-0.01"]),
    ("dec3", "decimal(9,9)", &["0.123456789", "-0.000000001"]),
    ("dec4", "decimal(30,0)", &["-999999999999999999999999999999", "5"]),
    ("gv", "int generated always as (`si` + 1) virtual", &[]),
    ("y", "year", &["1901", "2155", "0", "2024"]),
    (
        "da",
        "date",
        &["'0000-00-00'", "'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'2024-00-00'", "'2023-02-31'"],
    ),
    ("tm0", "time", &["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"]),
    ("tm1", "time(1)", &["'-00:00:00.1'", "'-838:59:58.9'", "'12:34:56.7'"]),
    ("tm2", "time(2)", &["'-00:00:01.99'", "'00:00:00.01'", "'-12:00:00.00'"]),
    ("tm3", "time(3)", &["'-12:34:56.789'", "'-00:00:00.001'"]),
    ("tm4", "time(4)", &["'-01:00:00.0001'", "'838:59:58.9999'"]),
    ("tm5", "time(5)", &["'-00:00:00.00001'", "'00:00:00'"]),
    ("tm6", "time(6)", &["'-838:59:58.999999'", "'-00:00:00.000001'", "'838:59:58.999999'"]),
    ("dt0", "datetime", &["'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'", "'1000-01-01 00:00:00'"]),
    ("dt1", "datetime(1)", &["'9999-12-31 23:59:59.9'", "'0000-00-00 00:00:00'"]),
    ("dt3", "datetime(3)", &["'2024-02-29 12:34:56.789'", "'1000-01-01 00:00:00.001'"]),
    (
        "dt6",
        "datetime(6)",
        &["'9999-12-31 23:59:59.999999'", "'0000-00-00 00:00:00'", "'0001-01-01 01:01:01.000001'"],
    ),
    ("ts0", "timestamp", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"]),
    ("ts2", "timestamp(2)", &["'2024-05-05 05:05:05.12'", "'0000-00-00 00:00:00'"]),
    ("ts4", "timestamp(4)", &["'2000-02-29 23:59:59.9999'"]),
    (
        "ts6",
        "timestamp(6)",
        &["'2038-01-19 03:14:07.000000'", "'1970-01-01 00:00:01.000001'", "'0000-00-00 00:00:00'"],
    ),
    ("b1", "bit(1)", &["0", "1"]),
    ("b12", "bit(12)", &["4095", "0", "256"]),
    ("b64", "bit(64)", &["18446744073709551615", "1", "0"]),
    ("en", "enum('a','','x,y','\u{fc}')", &["1", "2", "3", "4"]),
    ("se", "set('a','b','c')", &["0", "7", "5"]),
    ("s64", SET_64, &["18446744073709551615", "9007199254740993", "0"]),
    ("gs", "varchar(40) generated always as (concat(`ti`, '-x')) stored", &[]),
    (
        "ch",
        "char(10) character set utf8mb4",
        &["''", "'a'", "'\u{1f600}\u{fc}'", "' lead'", "'it\\'s \\\\ \"'"],
    ),
    ("ch200", "char(200) character set utf8mb4", &["''", "repeat('\u{1f600}', 200)", "repeat('x', 200)"]),
    ("chl", "char(5) character set latin1", &["_latin1 x'e4f6fcdf80'", "''"]),
    ("chu", "char(5) character set utf16", &["_utf16 x'00270027d83dde00'", "_utf16 x'005c0000'"]),
    ("chg", "char(8) character set gbk", &["_gbk x'815c8d5cbf5c'", "''"]),
    ("vc", "varchar(10) character set utf8mb4", &["''", "'trail  '", "'a\\nb\\r\\tc\\Z'", "x'00'"]),
    ("vc300", "varchar(300) character set utf8mb4", &["''", "repeat('\u{fc}', 300)"]),
    ("vu3", "varchar(20) character set utf8mb3", &["'\u{20ac}'", "''"]),
    ("bn", "binary(16)", &["x'00'", "x'0102'", "x'010200000000000000000000000000ff'", "''", "x'20202020'"]),
    ("bn255", "binary(255)", &["x'ff'", "x''"]),
    ("vb", "varbinary(20)", &["x'00'", "''", "x'270d0a1a5c2200'", "x'0000'"]),
    ("vb300", "varbinary(300)", &["''", "repeat(x'ff00', 150)"]),
    ("tt", "tinytext character set utf8mb4", &["''", "repeat('y', 255)"]),
    ("tx", "text character set latin1", &["_latin1 x'e4'", "repeat('z', 65535)"]),
    ("mt", "mediumtext character set utf8mb4", &["'m'", "repeat('q', 70000)"]),
    ("lt", "longtext character set utf8mb4", &["'l'", "''"]),
    ("tb", "tinyblob", &["''", "repeat(x'00', 255)"]),
    ("bl", "blob", &[ALL_BYTES, "''"]),
    ("mb", "mediumblob", &["x'00'", "repeat(x'27', 100000)"]),
    ("lb", "longblob", &["x'5c'", "''"]),
];

const SET_64: &str = "set('1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16','17','18','19','20','21','22','23',\
    '24','25','26','27','28','29','30','31','32','33','34','35','36','37','38','39','40','41','42','43','44','45','46','47','48',\
    '49','50','51','52','53','54','55','56','57','58','59','60','61','62','63','64')";

const ALL_BYTES: &str = "x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\
    303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f\
    909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef\
    f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff'";

/// Rows until every column has had every value.
const ROWS: usize = 12;

fn is_generated(kind: &str) -> bool {
    kind.contains(" generated ")
}

fn written() -> Vec<&'static (&'static str, &'static str, &'static [&'static str])> {
    COLUMNS.iter().filter(|c| !is_generated(c.1)).collect()
}

fn create(name: &str, null: &str) -> String {
    let define = |(name, kind, _): &(&str, &str, &[&str])| {
        if is_generated(kind) { format!("`{name}` {kind}") } else { format!("`{name}` {kind} {null}") }
    };
    let columns: Vec<String> = COLUMNS.iter().map(define).collect();
    format!(
        "create table `{name}` (id int not null primary key, {}) character set utf8mb4",
        columns.join(", ")
    )
}

/// The statement that writes the nth row; with `nulls`, every third value is NULL.
fn insert(name: &str, nth: usize, nulls: bool) -> String {
    let columns: Vec<String> = written().iter().map(|c| format!("`{}`", c.0)).collect();
    let value = |(at, column): (usize, &&(&str, &str, &'static [&'static str]))| {
        if nulls && (at + nth).is_multiple_of(3) { "null" } else { column.2[nth % column.2.len()] }
    };
    let values: Vec<&str> = written().iter().enumerate().map(value).collect();
    format!("insert into `{name}` (id, {}) values ({nth}, {})", columns.join(", "), values.join(", "))
}

/// Replays the changes on a table, one by one, as the engine would.
async fn replay(setup: &mut Setup, name: &str, events: &[Event]) -> usize {
    let columns: Vec<String> = written().iter().map(|c| format!("`{}`", c.0)).collect();
    let mut count = 0;
    for event in events {
        let Event::Change(Change { key, op }) = event else { continue };
        count += 1;
        let id = String::from_utf8(key.0.clone()).unwrap();
        setup.run(&[&format!("delete from `{name}` where id = {id}")]).await;
        match op {
            Op::Upsert(row) => {
                let mut sql =
                    format!("insert into `{name}` (id, {}) values (", columns.join(", ")).into_bytes();
                sql.extend_from_slice(row);
                sql.push(b')');
                let done = setup.conn.query_drop(sql).await;
                done.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(row)));
            }
            Op::Delete => {}
            Op::Reread => panic!("no image"),
        }
    }
    count
}

/// Both tables hold the same rows, bit for bit.
async fn assert_same(setup: &mut Setup, source: &str, copy: &str) {
    let count = |name: &str| format!("select count(*) from `{name}`");
    let rows: u64 = setup.conn.query_first(count(source)).await.unwrap().unwrap();
    let rows_copy: u64 = setup.conn.query_first(count(copy)).await.unwrap().unwrap();
    assert_eq!(rows, rows_copy);
    for (name, kind, _) in COLUMNS {
        let is_number = ["float", "double", "bit"].iter().any(|t| kind.starts_with(t));
        let of = |t: &str| if is_number { format!("{t}.`{name}` + 0") } else { format!("hex({t}.`{name}`)") };
        // The text of a floating point number also has the sign of its zero.
        let text = |t: &str| format!("hex(cast({t}.`{name}` as char))");
        let sql = format!(
            "select a.id, {a}, {b} from `{source}` a left join `{copy}` b using (id) \
             where not ({a} <=> {b}) or not ({ta} <=> {tb}) or not (a.`{name}` <=> b.`{name}`) or b.id is null",
            a = of("a"),
            b = of("b"),
            ta = text("a"),
            tb = text("b"),
        );
        let rows: Vec<Row> = setup.conn.query(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(rows.is_empty(), "{name} {kind} differs: {:?}", &rows[..rows.len().min(3)]);
    }
}

async fn round_trip(product: Product, settings: &[(&str, &str)], null: &str) {
    let mut setup = Setup::new(product, settings).await;
    let nulls = null == "null";
    setup.run(&[&create("t", null), &create("copy", null)]).await;
    let mut stream = setup.stream("t", &["id"]).await;
    for nth in 0..ROWS {
        setup.run(&[&insert("t", nth, nulls)]).await;
    }
    let events = setup.drain(&mut stream).await;
    assert_eq!(replay(&mut setup, "copy", &events).await, ROWS);
    assert_same(&mut setup, "t", "copy").await;
    // Each row takes the values of the next, one row its key only, one goes, and one moves.
    let set: Vec<String> = written().iter().map(|c| format!("a.`{0}` = b.`{0}`", c.0)).collect();
    let update = format!("update t a join copy b on b.id = (a.id + 1) % {ROWS} set {}", set.join(", "));
    setup.run(&[&update, "delete from t where id = 3", "update t set id = 1000 where id = 4"]).await;
    let events = setup.drain(&mut stream).await;
    assert_eq!(replay(&mut setup, "copy", &events).await, ROWS + 3);
    assert_same(&mut setup, "t", "copy").await;
}

/// The keys of the stream are what the server's expressions give.
async fn keys(product: Product) {
    let mut setup = Setup::new(product, &[]).await;
    setup.run(&[&create("t", "not null")]).await;
    let table = setup.table("t").await;
    let may_be_key = |kind: &str| !["float", "double"].contains(&kind);
    let key: Vec<_> = table.columns.iter().filter(|c| may_be_key(&c.data_type)).collect();
    let names: Vec<&str> = key.iter().map(|c| c.name.as_str()).collect();
    let mut stream = setup.open(&table, &names, false, None).await;
    for nth in 0..ROWS {
        setup.run(&[&insert("t", nth, false)]).await;
    }
    let events = setup.drain(&mut stream).await;
    let expressions: Vec<String> = key.iter().map(|c| key_expression(c)).collect();
    let sql = format!("select {} from t order by id", expressions.join(", "));
    let rows: Vec<Row> = setup.conn.query(sql).await.unwrap();
    let expected: Vec<Vec<Vec<u8>>> =
        rows.into_iter().map(|r| r.unwrap().into_iter().map(mysql_async::from_value).collect()).collect();
    let got: Vec<Vec<u8>> = events
        .iter()
        .filter_map(|e| if let Event::Change(c) = e { Some(c.key.0.clone()) } else { None })
        .collect();
    assert_eq!(got.len(), ROWS);
    for (row, key) in expected.iter().zip(&got) {
        let mut rest = key.as_slice();
        for (nth, (part, column)) in row.iter().zip(&names).enumerate() {
            rest = if nth > 0 { rest.strip_prefix(b",").expect("a comma") } else { rest };
            rest = rest.strip_prefix(part.as_slice()).unwrap_or_else(|| {
                let shown = |b: &[u8]| String::from_utf8_lossy(&b[..b.len().min(80)]).into_owned();
                panic!("{column}: the server says {}, the stream {}", shown(part), shown(rest))
            });
        }
        assert!(rest.is_empty());
    }
    // As one statement, the way bounds are asked for.
    let sql = format!("select concat({}) from t order by id limit 1", expressions.join(", ',', "));
    let whole: Vec<u8> = setup.conn.query_first(sql).await.unwrap().unwrap();
    assert_eq!(whole, got[0]);
}

#[tokio::test]
async fn every_type_survives_on_mariadb() {
    round_trip(Product::MariaDb, &[("binlog_row_metadata", "FULL")], "not null").await;
}

#[tokio::test]
async fn every_type_survives_on_mysql() {
    round_trip(Product::MySql, &[("binlog_row_metadata", "FULL")], "not null").await;
}

#[tokio::test]
async fn nulls_survive_on_mariadb_compressed() {
    round_trip(Product::MariaDb, &[("log_bin_compress", "ON"), ("log_bin_compress_min_len", "10")], "null")
        .await;
}

#[tokio::test]
async fn nulls_survive_on_mysql_compressed() {
    round_trip(Product::MySql, &[("binlog_transaction_compression", "ON")], "null").await;
}

#[tokio::test]
async fn keys_are_what_mariadb_says() {
    keys(Product::MariaDb).await;
}

#[tokio::test]
async fn keys_are_what_mysql_says() {
    keys(Product::MySql).await;
}
