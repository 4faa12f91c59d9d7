//! A server, a table of its own, and a change stream over it.

use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{Change, Kind, Op};
use shadowswap_mysql::{
    ConnectOptions,
    catalog::{Column, Table},
    events::Event,
    flavor::Server,
    position::Position,
    stream::Changes,
};
use shadowswap_testkit::mysql::{Mysql, Product};
use std::time::Duration;

pub const DATABASE: &str = "shop";
pub const CONTROL: &str = "shadowswap";
pub const MIGRATION: i64 = 7;
const DEADLINE: Duration = Duration::from_secs(20);

/// What every session of the engine is told.
const SESSION: [&str; 3] = [
    "SET NAMES binary",
    "SET time_zone = '+00:00'",
    "SET sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'",
];

pub struct Setup {
    pub mysql: Mysql,
    pub server: Server,
    pub conn: Conn,
    next_id: u32,
    token: u64,
}

impl Setup {
    pub async fn new(product: Product, settings: &[(&str, &str)]) -> Setup {
        let mut builder = Mysql::builder(product);
        for (name, value) in settings {
            builder = builder.setting(name, value);
        }
        let mysql = builder.start().await;
        mysql.create_database(DATABASE).await;
        mysql.create_database(CONTROL).await;
        let mut conn = session(&mysql).await;
        let marker = format!(
            "create table {CONTROL}.marker (migration bigint not null, token bigint unsigned not null, \
             primary key (migration, token))"
        );
        run(&mut conn, &[&marker]).await;
        let version: String = conn.query_first("select @@version").await.unwrap().unwrap();
        let gtids: Option<Row> = conn.query_first("show variables like 'gtid_mode'").await.unwrap();
        let gtids = gtids.is_some_and(|row| row.get::<String, _>(1).unwrap() == "ON");
        let case: u8 = conn.query_first("select @@lower_case_table_names").await.unwrap().unwrap();
        let server = Server::parse(&version, gtids, case).expect("a version");
        Setup { mysql, server, conn, next_id: 1000, token: 0 }
    }

    pub async fn run(&mut self, statements: &[&str]) {
        run(&mut self.conn, statements).await;
    }

    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::gather(&self.mysql.url(DATABASE), None, &|_| None).expect("a URL")
    }

    pub async fn position(&mut self) -> Position {
        Changes::start_position(&mut self.conn, &self.server).await.expect("a position")
    }

    pub async fn stream(&mut self, table: &str, key: &[&str]) -> Changes {
        let table = self.table(table).await;
        self.open(&table, key, false, None).await
    }

    pub async fn open(
        &mut self,
        table: &Table,
        key: &[&str],
        rereads: bool,
        from: Option<&Position>,
    ) -> Changes {
        self.next_id += 1;
        let key: Vec<String> = key.iter().map(|k| (*k).to_owned()).collect();
        let (options, id) = (self.options(), self.next_id);
        Changes::open(&options, &self.server, table, &key, rereads, CONTROL, MIGRATION, (0, false), id, from)
            .await
            .expect("a stream")
    }

    /// The next stream has the number of the last one.
    pub fn reuse_server_id(&mut self) {
        self.next_id -= 1;
    }

    /// What the catalog says of a table.
    pub async fn table(&mut self, name: &str) -> Table {
        let sql = format!(
            "select column_name, data_type, column_type, character_set_name, collation_name, is_nullable, extra, \
             generation_expression from information_schema.columns \
             where table_schema = '{DATABASE}' and table_name = '{name}' order by ordinal_position"
        );
        let rows: Vec<Row> = self.conn.query(sql).await.unwrap();
        let text = |row: &Row, at: usize| -> Option<String> {
            row.get::<Option<Vec<u8>>, _>(at).unwrap().map(|b| String::from_utf8(b).unwrap())
        };
        let columns = rows.iter().map(|row| Column {
            name: text(row, 0).unwrap(),
            data_type: text(row, 1).unwrap().to_lowercase(),
            column_type: text(row, 2).unwrap(),
            charset: text(row, 3),
            collation: text(row, 4),
            nullable: text(row, 5).unwrap() == "YES",
            default: None,
            extra: text(row, 6).unwrap_or_default(),
            generated: text(row, 7).is_some_and(|e| !e.is_empty()),
            invisible: false,
        });
        Table {
            schema: DATABASE.into(),
            name: name.into(),
            engine: "InnoDB".into(),
            create: String::new(),
            columns: columns.collect(),
            indexes: Vec::new(),
        }
    }

    /// Puts a marker into the binlog, and gives everything that comes before it.
    pub async fn drain(&mut self, changes: &mut Changes) -> Vec<Event> {
        self.token += 1;
        let token = self.token;
        let mark =
            format!("insert into {CONTROL}.marker values ({}, 99), ({MIGRATION}, {token})", MIGRATION + 1);
        let unmark = format!("delete from {CONTROL}.marker");
        self.run(&[&mark, &unmark]).await;
        let mut seen = Vec::new();
        let read = async {
            loop {
                match changes.next().await.unwrap_or_else(|e| panic!("{e}; before it {seen:?}")) {
                    Event::Marker(found) if found == token => break,
                    event => seen.push(event),
                }
            }
            assert!(matches!(seen.pop(), Some(Event::Begin { .. })), "a marker without its transaction");
            let end = changes.next().await.unwrap();
            assert!(matches!(end, Event::Commit(_)), "{end:?} behind the marker");
        };
        tokio::time::timeout(DEADLINE, read).await.expect("the marker did not come back");
        seen
    }

    /// Reads until an error.
    pub async fn error(&mut self, changes: &mut Changes) -> (Kind, String) {
        let read = async {
            loop {
                if let Err(e) = changes.next().await {
                    return (e.kind, e.to_string());
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("no error came")
    }
}

pub async fn session(mysql: &Mysql) -> Conn {
    let mut conn = mysql.connect(DATABASE).await;
    run(&mut conn, &SESSION).await;
    conn
}

pub async fn run(conn: &mut Conn, statements: &[&str]) {
    for sql in statements {
        conn.query_drop(*sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

/// The changes among the events, as text.
pub fn changes(events: &[Event]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of = |Change { key, op }: &Change| match op {
        Op::Upsert(row) => format!("{} = {}", text(&key.0), text(row)),
        Op::Reread => format!("{} ?", text(&key.0)),
        Op::Delete => format!("{} -", text(&key.0)),
    };
    events
        .iter()
        .filter_map(|e| if let Event::Change(change) = e { Some(of(change)) } else { None })
        .collect()
}

/// The position behind the last transaction.
pub fn last_position(events: &[Event]) -> Position {
    let of = |event: &Event| match event {
        Event::Commit(position) => Some(position.clone()),
        Event::Begin { .. } | Event::Change(_) | Event::Marker(_) | Event::Progress(_) => None,
    };
    events.iter().rev().find_map(of).expect("a transaction")
}

pub const TABLE: &str = "create table t (id int not null primary key, v varchar(20)) engine = InnoDB";

/// A server with the table `t` and another.
pub async fn setup(product: Product, settings: &[(&str, &str)]) -> Setup {
    let mut setup = Setup::new(product, settings).await;
    setup.run(&[TABLE, "create table other (id int not null primary key) engine = InnoDB"]).await;
    setup
}

pub fn both() -> [Product; 2] {
    Product::ALL
}
