//! Runs the folders of `cases-mysql/` on MariaDB and MySQL. What a case is: [`crate::case`].

use std::collections::BTreeSet;

use mysql_async::{Conn, Row, Value, prelude::Queryable};
use shadowswap_testkit::binary::Run;
use shadowswap_testkit::mysql::{Database, Product, shared};

use super::{catalog, reached, sql, traces};
use crate::case::{Home, Session, every_case};

/// The same for everybody who speaks to the tables: the twin's values must not depend on a server's defaults.
const SETUP: &str = "set names utf8mb4, time_zone = '+00:00', \
    sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'";

impl Home for Database {
    type Session = Conn;

    /// Cases ask whether rows are right, not for how long clients wait: on a busy machine, the default of 50 ms is missed many times.
    const ARGS: &'static [&'static str] = &["--stall-budget", "2s"];

    fn address(&self) -> String {
        self.url()
    }

    async fn session(&self) -> Conn {
        let mut conn = self.connect().await;
        sql(&mut conn, SETUP).await;
        conn
    }
}

impl Session for Conn {
    async fn run(&mut self, text: &str) -> Result<(), String> {
        self.query_drop(text).await.map_err(|e| format!("{text}: {e}"))
    }

    async fn query(&mut self, text: &str) -> Result<Vec<Vec<String>>, String> {
        let rows: Vec<Row> = Queryable::query(self, text).await.map_err(|e| format!("{text}: {e}"))?;
        let cell = |value: Value| match value {
            Value::NULL => "NULL".to_string(),
            Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true),
        };
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(cell).collect()).collect())
    }

    async fn facts(&mut self, table: &str) -> BTreeSet<String> {
        catalog::facts(self, table).await
    }

    async fn rows(&mut self, table: &str, without: &[String]) -> Vec<String> {
        catalog::rows(self, table, without).await
    }

    async fn next_values(&mut self, table: &str) -> Vec<(String, i64)> {
        catalog::next_values(self, table).await
    }

    async fn whole(&mut self) -> BTreeSet<String> {
        catalog::whole(self).await
    }

    /// Without what is in the control database: other cases are at work there. See the end of [`on`].
    async fn traces(&mut self) -> Vec<String> {
        let mut found = traces(self).await;
        found.retain(|trace| !trace.starts_with("shadowswap."));
        found
    }

    async fn reached(&mut self, run: &mut Run, phases: &[&str]) {
        reached(self, run, phases).await;
    }
}

async fn on(product: Product, name: &'static str) {
    println!("{product} {}", shared(product).await.version());
    every_case("cases-mysql", name, move || async move { shared(product).await.database().await }).await;
    assert_eq!(traces(&mut shared(product).await.connect("shadowswap").await).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_every_case_ends_as_expected() {
    on(Product::MariaDb, "mariadb").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_every_case_ends_as_expected() {
    on(Product::MySql, "mysql").await;
}
