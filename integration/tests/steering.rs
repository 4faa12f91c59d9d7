//! Steering, on every product alike: what holds a run, what changes it, what is told of it. Everything is seen as an operator sees it, by
//! `status --json` from another process.

mod commands;
mod guard;
mod signals;
mod watches;
mod windows;

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use serde_json::Value;
use shadowswap_testkit::binary::Run;
use shadowswap_testkit::mysql::{Mysql, Product};
use shadowswap_testkit::{Binary, Postgres, Version};
use tokio::time::sleep;

use crate::faults::{Db, Server};
use crate::operator::{LONG, SOON, run, shadowswap, status};

/// Between two looks through a process of its own.
const LOOK: Duration = Duration::from_millis(50);

/// A server of its own, with the table `t` in the database `shop`.
pub struct Site {
    server: Server,
    url: String,
}

/// Each product, one after the other.
pub const EACH: [Option<Product>; 3] = [None, Some(Product::MariaDb), Some(Product::MySql)];

impl Site {
    /// `None` is PostgreSQL.
    pub async fn new(product: Option<Product>, rows: u64) -> Site {
        let server = match product {
            None => Server::Postgres(Postgres::start(Version::Apt).await),
            Some(product) => Server::Mysql(Mysql::start(product).await),
        };
        Site::on(server, rows).await
    }

    pub async fn on(server: Server, rows: u64) -> Site {
        server.create_database("shop").await;
        let url = server.url("shop");
        let site = Site { server, url };
        site.sql("create table t (id int primary key, n int, body varchar(100) default 'some text that takes a little room')").await;
        site.sql("insert into t (id, n) values (1, 1)").await;
        let mut there = 1;
        while there < rows {
            let more = rows - there;
            site.sql(&format!("insert into t (id, n) select id + {there}, n from t where id <= {more}"))
                .await;
            there *= 2;
        }
        site.sql("create table knob (name varchar(20) primary key, value int)").await;
        site
    }

    /// A statement in a session of its own.
    pub async fn sql(&self, text: &str) {
        match &self.server {
            Server::Postgres(server) => crate::operator::sql(&server.connect("shop").await, text).await,
            Server::Mysql(server) => {
                let mut conn = server.connect("shop").await;
                crate::mysql::sql(&mut conn, text).await;
                conn.disconnect().await.unwrap();
            }
        }
    }

    /// A session that stays.
    async fn session(&self) -> Db {
        self.server.connect("shop").await
    }

    /// The first column of a query's rows, as text.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        match &self.server {
            Server::Postgres(server) => crate::operator::texts(&server.connect("shop").await, query).await,
            Server::Mysql(server) => server.connect("shop").await.query(query).await.unwrap(),
        }
    }

    /// Sets what a signal of the tests' own reads.
    pub async fn turn(&self, name: &str, value: i64) {
        self.sql(&format!("delete from knob where name = '{name}'")).await;
        self.sql(&format!("insert into knob values ('{name}', {value})")).await;
    }

    pub fn postgres(&self) -> &Postgres {
        match &self.server {
            Server::Postgres(server) => server,
            Server::Mysql(_) => panic!("this is not PostgreSQL"),
        }
    }

    pub fn alter(&self) -> &'static str {
        match self.server {
            Server::Postgres(_) => "alter column n type bigint",
            Server::Mysql(_) => "modify n bigint",
        }
    }

    /// A run that takes a while at the least.
    pub fn run(&self) -> Binary {
        run(&self.url, "t", self.alter()).args(["--chunk-time", "5ms", "--stall-budget", "1s"])
    }

    pub async fn command(&self, words: &[&str]) -> String {
        let call = shadowswap(&self.url).args(words.iter().copied());
        call.run(SOON).await.expect_code(0).stdout
    }

    pub async fn throttle(&self, setting: &str) {
        self.command(&["throttle", "--table", "t", setting]).await;
    }

    pub async fn status(&self) -> Value {
        status(&self.url).await
    }

    /// Waits until `status` says something of a running migration.
    pub async fn shows(&self, run: &mut Run, what: &str, look: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let known = shadowswap(&self.url).args(["status", "--json"]).run(SOON).await;
            let now = crate::operator::line(&known, "status").get(0).cloned().unwrap_or_default();
            if look(&now) {
                return now;
            }
            let is_lost = run.is_over() || start.elapsed() > SOON;
            assert!(!is_lost, "never shown: {what}\n{now:#}\n{}{}", run.stdout(), run.stderr());
            sleep(LOOK).await;
        }
    }

    /// Waits until the copy is held, and its reason contains all of these.
    pub async fn held(&self, run: &mut Run, parts: &[&str]) -> String {
        let what = format!("held by {parts:?}");
        let now = self.shows(run, &what, |s| s["phase"] == "copy" && has(s, parts)).await;
        now["progress"]["throttled"].as_str().unwrap_or_default().to_string()
    }

    /// The run ends well, the column has its new type, and every row is there.
    pub async fn is_changed(&self, run: Run, rows: u64) {
        run.wait(LONG).await.expect_code(0);
        let column = "select data_type from information_schema.columns where table_name = 't' and column_name = 'n'\n\
                      and table_schema in ('public', 'shop')";
        assert_eq!(self.texts(column).await, ["bigint"]);
        let count = match self.server {
            Server::Postgres(_) => "select count(*)::text from t",
            Server::Mysql(_) => "select cast(count(*) as char) from t",
        };
        assert_eq!(self.texts(count).await, [rows.to_string()]);
    }
}

pub fn has(status: &Value, parts: &[&str]) -> bool {
    let held = status["progress"]["throttled"].as_str().unwrap_or_default();
    !held.is_empty() && parts.iter().all(|part| held.contains(part))
}
