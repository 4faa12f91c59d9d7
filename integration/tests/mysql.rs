//! MySQL and MariaDB: the same promises, on both products.

mod cases;
mod catalog;
mod connect;
mod cutover;
mod guard;
mod large;
mod lifecycle;
mod race;
mod replicas;
mod settings;
mod visibility;

use mysql_async::{Conn, prelude::Queryable};
use shadowswap_testkit::binary::Run;
use shadowswap_testkit::mysql::Product;
use std::time::{Duration, Instant};

use crate::operator::{POLL, SOON};

/// Both products.
pub const PRODUCTS: [Product; 2] = [Product::MariaDb, Product::MySql];

/// Runs statements that must not fail.
pub async fn sql(conn: &mut Conn, text: &str) {
    conn.query_drop(text).await.unwrap_or_else(|e| panic!("{text}: {e}"));
}

/// All rows of a query as text; NULL is `~`.
pub async fn texts(conn: &mut Conn, text: &str) -> Vec<String> {
    let rows: Vec<mysql_async::Row> = conn.query(text).await.unwrap_or_else(|e| panic!("{text}: {e}"));
    let show = |row: &mysql_async::Row| {
        let cell = |n| match row.as_ref(n) {
            None | Some(mysql_async::Value::NULL) => "~".to_string(),
            Some(_) => row.get::<String, _>(n).unwrap_or_else(|| "?".to_string()),
        };
        (0..row.len()).map(cell).collect::<Vec<_>>().join("|")
    };
    rows.iter().map(show).collect()
}

/// Tables of ours that are left in a database, and rows of the control tables that should not outlive a run.
pub async fn traces(conn: &mut Conn) -> Vec<String> {
    let tables = "select concat(table_schema, '.', table_name) from information_schema.tables where table_schema in (database(), 'shadowswap')\n\
        and (table_name like '\\_%\\_shadow' or table_name like '%\\_swapped' or table_name like '\\_twin%')";
    let mut found = texts(conn, tables).await;
    // Their version is written once all of them are there.
    let version = "select version from shadowswap.version";
    if !conn.query::<i32, _>(version).await.is_ok_and(|found| !found.is_empty()) {
        return found;
    }
    for table in ["marker", "session"] {
        let text = format!(
            "select concat('{table} ', x.migration) from shadowswap.{table} x join shadowswap.migration m on m.id = x.migration\n\
             where m.table_schema = database()"
        );
        found.extend(texts(conn, &text).await);
    }
    found
}

/// The phase of the newest migration in this database.
pub async fn phase(conn: &mut Conn) -> Option<String> {
    let text =
        "select phase from shadowswap.migration where table_schema = database() order by id desc limit 1";
    conn.query_first(text).await.ok().flatten()
}

/// Waits until the newest migration is in one of these phases, while a run goes on.
pub async fn reached(conn: &mut Conn, run: &mut Run, phases: &[&str]) {
    let start = Instant::now();
    loop {
        let now = phase(conn).await;
        if now.as_deref().is_some_and(|now| phases.contains(&now)) {
            return;
        }
        assert!(!run.is_over(), "the run ended before {phases:?}\n{}{}", run.stdout(), run.stderr());
        assert!(
            start.elapsed() < SOON,
            "{phases:?} not reached, but {now:?}\n{}{}",
            run.stdout(),
            run.stderr()
        );
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until a query gives a row.
pub async fn until_found(conn: &mut Conn, text: &str, deadline: Duration) {
    let start = Instant::now();
    while texts(conn, text).await.is_empty() {
        assert!(start.elapsed() < deadline, "waited in vain for {text}");
        tokio::time::sleep(POLL).await;
    }
}

/// Fills a table with rows 1 to `rows`; its other columns must have defaults.
pub async fn numbered(conn: &mut Conn, table: &str, rows: u64) {
    sql(conn, &format!("insert into {table} (id) values (1)")).await;
    let mut there = 1;
    while there < rows {
        let more =
            format!("insert into {table} (id) select id + {there} from {table} where id <= {}", rows - there);
        sql(conn, &more).await;
        there *= 2;
    }
}
