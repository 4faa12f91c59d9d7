//! What may go wrong under a run, on every product alike: deaths at each place that matters and at any moment, servers that die,
//! connections that are cut, reset, stalled or slowed, answers that are lost, streams that are gone.
//!
//! Clients write all the time; what the server acknowledged to them is compared with the table at the end.

mod crash;
mod in_place;
mod network;
mod places;
mod runners;
mod servers;
mod soak;
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use shadowswap_testkit::binary::{Output, Run};
use shadowswap_testkit::load::{Column, KeyColumn, Ledger, Load, Running, TableShape};
use shadowswap_testkit::mysql::{Mysql, Product};
use shadowswap_testkit::{Binary, Postgres, Version};
use tokio::sync::{Mutex, RwLock};
use tokio::time::sleep;

use crate::operator::{LONG, POLL, SOON, printed, run, shadowswap};

/// Holds a run at one place of the program until told.
pub struct Hold {
    place: String,
    file: tempfile::TempDir,
}

impl Hold {
    pub fn at(place: &str) -> Hold {
        Hold { place: place.to_string(), file: tempfile::tempdir().unwrap() }
    }

    pub fn on(&self, binary: Binary) -> Binary {
        let until = self.file.path().join("go on").display().to_string();
        binary.env("SHADOWSWAP_TEST_HOLD_AT", &self.place).env("SHADOWSWAP_TEST_HOLD_UNTIL", until)
    }

    /// Waits until the run is held.
    pub async fn reached(&self, run: &mut Run) {
        // At full length, a change stream may have to wait for another table's transaction whose network hangs.
        let limit = if is_long() { LONG * 8 } else { SOON * 2 };
        run.saw(&format!("held at {}", self.place), limit).await;
    }

    pub fn let_go(&self) {
        std::fs::write(self.file.path().join("go on"), "").unwrap();
    }
}

/// A product, and which of its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Postgres(Version),
    Mysql(Product),
}

impl Kind {
    /// By its name, as in `scripts/crash --server NAME`.
    pub fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "postgres" => Kind::Postgres(Version::Apt),
            "postgres18" => Kind::Postgres(Version::Pip),
            "mysql" => Kind::Mysql(Product::MySql),
            "mariadb" => Kind::Mysql(Product::MariaDb),
            _ => return None,
        })
    }
}

pub enum Server {
    Postgres(Postgres),
    Mysql(Mysql),
}

impl Server {
    pub fn url(&self, database: &str) -> String {
        match self {
            Server::Postgres(server) => server.url(database),
            Server::Mysql(server) => server.url(database),
        }
    }

    pub async fn create_database(&self, name: &str) {
        match self {
            Server::Postgres(server) => server.create_database(name).await,
            Server::Mysql(server) => server.create_database(name).await,
        }
    }

    pub async fn connect(&self, database: &str) -> Db {
        match self {
            Server::Postgres(server) => Db::Postgres(Box::new(server.connect(database).await)),
            Server::Mysql(server) => Db::Mysql(Box::new(Mutex::new(server.connect(database).await))),
        }
    }
}

/// A server of the test's own.
#[derive(Clone)]
pub struct Host {
    pub kind: Kind,
    pub server: Arc<Server>,
    /// Read by whoever needs the server for a while, written by whoever kills it by chance.
    pub lives: Arc<RwLock<()>>,
}

impl Host {
    pub async fn start(kind: Kind) -> Host {
        let server = match kind {
            Kind::Postgres(version) => Server::Postgres(Postgres::start(version).await),
            Kind::Mysql(product) => Server::Mysql(Mysql::start(product).await),
        };
        Host::of(kind, server)
    }

    pub fn of(kind: Kind, server: Server) -> Host {
        Host { kind, server: Arc::new(server), lives: Arc::default() }
    }

    pub fn of_postgres(kind: Kind, server: Postgres) -> Host {
        Host::of(kind, Server::Postgres(server))
    }

    pub fn port(&self) -> u16 {
        match &*self.server {
            Server::Postgres(server) => server.port(),
            Server::Mysql(server) => server.port(),
        }
    }

    pub fn url(&self, database: &str) -> String {
        self.server.url(database)
    }

    pub async fn kill9(&self) {
        match &*self.server {
            Server::Postgres(server) => server.kill9().await,
            Server::Mysql(server) => server.kill9().await,
        }
    }

    pub async fn restart(&self) {
        self.try_restart().await.unwrap_or_else(|log| panic!("{:?} cannot be restarted: {log}", self.kind));
    }

    /// The same; its log, if MySQL or MariaDB does not come up.
    pub async fn try_restart(&self) -> Result<(), String> {
        match &*self.server {
            Server::Postgres(server) => {
                server.restart().await;
                Ok(())
            }
            Server::Mysql(server) => server.try_restart().await,
        }
    }

    pub async fn connect(&self, database: &str) -> Db {
        self.server.connect(database).await
    }

    /// The same, where the server may be away.
    pub async fn try_connect(&self, database: &str) -> Option<Db> {
        match &*self.server {
            Server::Postgres(server) => {
                let url = server.socket_url(database);
                let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls);
                let (client, connection) = connected.await.ok()?;
                tokio::spawn(async move { connection.await.ok() });
                Some(Db::Postgres(Box::new(client)))
            }
            Server::Mysql(server) => {
                let opts = mysql_async::Opts::from_url(&server.socket_url(database)).ok()?;
                Some(Db::Mysql(Box::new(Mutex::new(Conn::new(opts).await.ok()?))))
            }
        }
    }

    /// A table with a key that the server gives.
    fn shape(&self, name: &str) -> TableShape {
        let Kind::Mysql(_) = self.kind else { return TableShape::standard(name) };
        let key = vec![KeyColumn::new("id", "bigint auto_increment", |n| n.to_string())];
        let columns = vec![Column::unique_text("email"), Column::text("body"), Column::int("n")];
        TableShape::new(name, key, columns)
    }

    pub fn alter(&self) -> &'static str {
        match self.kind {
            Kind::Postgres(_) => "alter column n type bigint",
            Kind::Mysql(_) => "modify n bigint",
        }
    }
}

/// A session of the test's.
pub enum Db {
    Postgres(Box<tokio_postgres::Client>),
    Mysql(Box<Mutex<Conn>>),
}

impl Db {
    /// Statements that must succeed.
    pub async fn sql(&self, text: &str) {
        match self {
            Db::Postgres(client) => crate::operator::sql(client, text).await,
            Db::Mysql(conn) => crate::mysql::sql(&mut *conn.lock().await, text).await,
        }
    }

    /// The first column of a query's rows, nothing if the server refuses it; none if the connection is lost.
    async fn try_texts(&self, query: &str) -> Option<Vec<String>> {
        match self {
            Db::Postgres(client) => match client.query(query, &[]).await {
                Ok(rows) => Some(rows.iter().map(|row| row.get(0)).collect()),
                Err(e) => e.code().is_some().then(Vec::new),
            },
            Db::Mysql(conn) => match conn.lock().await.query(query).await {
                Ok(rows) => Some(rows),
                Err(mysql_async::Error::Server(_)) => Some(Vec::new()),
                Err(_) => None,
            },
        }
    }

    /// The first column of a query's rows; nothing if it fails.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        match self {
            Db::Postgres(client) => {
                let rows = client.query(query, &[]).await.unwrap_or_default();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Db::Mysql(conn) => {
                let rows: Vec<mysql_async::Row> = conn.lock().await.query(query).await.unwrap_or_default();
                rows.iter().filter_map(|row| row.get(0)).collect()
            }
        }
    }

    pub async fn check(&self, ledger: &Ledger, table: &str) -> String {
        let differences = match self {
            Db::Postgres(client) => ledger.check(&**client, table).await.unwrap(),
            Db::Mysql(conn) => ledger.check(&mut *conn.lock().await, table).await.unwrap(),
        };
        if differences.is_empty() { String::new() } else { differences.to_string() }
    }

    async fn create(&self, shape: &TableShape) {
        match self {
            Db::Postgres(client) => shape.create(&**client).await,
            Db::Mysql(conn) => shape.create(&mut *conn.lock().await).await,
        }
    }

    async fn fill(&self, shape: TableShape, rows: u64) -> Ledger {
        match self {
            Db::Postgres(client) => Ledger::fill(&**client, shape, rows, 1).await,
            Db::Mysql(conn) => Ledger::fill(&mut *conn.lock().await, shape, rows, 1).await,
        }
    }

    pub async fn traces(&self) -> Vec<String> {
        match self {
            Db::Postgres(client) => crate::catalog::traces(client).await,
            Db::Mysql(conn) => {
                let mut found = crate::mysql::traces(&mut *conn.lock().await).await;
                // Others plan on the same server at this moment.
                found.retain(|trace| !trace.starts_with("shadowswap._twin"));
                found
            }
        }
    }
}

/// The stall is measured elsewhere; here it must not make a run give up on a busy machine.
pub const PATIENT: [&str; 2] = ["--stall-budget", "2s"];

/// What clients do to a table.
#[derive(Clone, Copy)]
pub struct Clients {
    pub rows: u64,
    pub writers: usize,
    /// Statements a second; none: as fast as they can.
    pub rate: Option<f64>,
    pub seed: u64,
}

impl Clients {
    pub const FEW: Clients = Clients { rows: 300, writers: 2, rate: Some(80.0), seed: 1 };
}

/// The table `t` of a database of its own, with clients at work.
pub struct Table {
    pub host: Host,
    pub name: String,
    pub db: Db,
    pub load: Option<Running>,
    /// Looks at states; opened again whenever it was lost.
    eye: Mutex<Option<Db>>,
}

impl Table {
    /// `by_unique`: without a primary key, where the product minds.
    pub async fn new(host: &Host, name: &str, clients: Clients, by_unique: bool) -> Table {
        let name = format!("f_{name}");
        host.server.create_database(&name).await;
        let db = host.connect(&name).await;
        let shape = host.shape("t");
        db.create(&shape).await;
        db.sql("create index t_n on t (n)").await;
        if by_unique && let Kind::Postgres(_) = host.kind {
            db.sql("alter table t drop constraint t_pkey, add unique (id), alter id set not null").await;
        }
        if let Kind::Mysql(_) = host.kind {
            // Ahead of every row: the shadow's does not get there by itself.
            db.sql("alter table t auto_increment = 1000000000").await;
        }
        let ledger = db.fill(shape, clients.rows).await;
        let mut load = Load::new(&host.url(&name)).writers(clients.writers).seed(clients.seed);
        if let Some(rate) = clients.rate {
            load = load.rate(rate);
        }
        let load = Some(load.start(ledger).await.unwrap());
        Table { host: host.clone(), name, db, load, eye: Mutex::default() }
    }

    /// One of as many clients, at a table beside this one that nobody changes. Made before the run: what is done to it takes its time.
    pub async fn beside(&self, clients: Clients) -> Beside {
        let shape = self.host.shape("beside");
        self.db.create(&shape).await;
        let ledger = self.db.fill(shape, clients.rows).await;
        let mut load = Load::new(&self.host.url(&self.name)).writers(1).seed(clients.seed);
        if let Some(rate) = clients.rate {
            load = load.rate(rate / clients.writers as f64);
        }
        Beside(load.start(ledger).await.unwrap())
    }

    pub fn url(&self) -> String {
        self.host.url(&self.name)
    }

    /// The run, by another way to the server if there is one.
    pub fn run_at(&self, url: &str) -> Binary {
        run(url, "t", self.host.alter())
    }

    pub fn run(&self) -> Binary {
        self.run_at(&self.url()).args(PATIENT)
    }

    pub fn call(&self, words: &[&str]) -> Binary {
        shadowswap(&self.url()).args(words.iter().copied()).args(["--table", "t"])
    }

    /// How many there are, of whatever phase.
    pub async fn migrations(&self) -> String {
        let text = match self.host.kind {
            Kind::Postgres(_) => "select count(*)::text from shadowswap.migration",
            Kind::Mysql(_) => {
                "select cast(count(*) as char) from shadowswap.migration where table_schema = database()"
            }
        };
        self.db.texts(text).await.concat()
    }

    /// The newest migration: phase and turn. None: there is none, or the server is away.
    pub async fn state(&self) -> Option<(String, i64)> {
        self.look().await.flatten()
    }

    /// The same as soon as the server answers.
    pub async fn state_for_sure(&self) -> Option<(String, i64)> {
        let begun = Instant::now();
        loop {
            if let Some(state) = self.look().await {
                return state;
            }
            assert!(begun.elapsed() < LONG, "{:?} does not come back", self.host.kind);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// None: the server is away.
    async fn look(&self) -> Option<Option<(String, i64)>> {
        let query = match self.host.kind {
            Kind::Postgres(_) => {
                "select phase || ' ' || turn from shadowswap.migration order by id desc limit 1".to_string()
            }
            Kind::Mysql(_) => format!(
                "select concat(phase, ' ', turn) from shadowswap.migration where table_schema = '{}' order by id desc limit 1",
                self.name
            ),
        };
        let mut eye = self.eye.lock().await;
        if eye.is_none() {
            *eye = self.host.try_connect(&self.name).await;
        }
        let db = eye.as_ref()?;
        let mut found = db.try_texts(&query).await;
        // A control table that is not there is told like a server that shuts down: the same session tells which of them it is.
        if found.as_ref().is_some_and(Vec::is_empty)
            && db.try_texts("select 'here'").await.is_none_or(|here| here.is_empty())
        {
            found = None;
        }
        let Some(found) = found else {
            *eye = None;
            return None;
        };
        let state = found.first().and_then(|text| text.split_once(' '));
        Some(state.and_then(|(phase, turn)| Some((phase.to_string(), turn.parse().ok()?))))
    }

    /// Waits until a run has come so far, or ended; false if it ended.
    pub async fn until(&self, run: &mut Run, is_there: impl Fn(&str, i64) -> bool) -> bool {
        let start = Instant::now();
        loop {
            if run.is_over() {
                return false;
            }
            let now = self.state().await;
            if now.as_ref().is_some_and(|(phase, turn)| is_there(phase, *turn)) {
                return true;
            }
            assert!(
                start.elapsed() < SOON * 2,
                "{}: stuck at {now:?}\n{}{}",
                self.name,
                run.stdout(),
                run.stderr()
            );
            sleep(POLL).await;
        }
    }

    /// Ends the clients: none noticed anything, unless `is_rough`, and every row is what was acknowledged.
    pub async fn holds(&mut self, what: &str, is_rough: bool) {
        let load = self.load.take().unwrap();
        load.reached(20, SOON).await;
        let (report, ledger) = load.stop().await;
        assert!(is_rough || report.is_clean(), "{what}: {report}");
        assert!(report.violations.is_empty(), "{what}: {report}");
        let differences = self.db.check(&ledger, "t").await;
        assert!(differences.is_empty(), "{what}: {differences}");
    }

    pub async fn has_new_type(&self) -> bool {
        let text = match self.host.kind {
            Kind::Postgres(_) => {
                "select data_type::text from information_schema.columns where table_schema = 'public' and table_name = 't' and column_name = 'n'"
            }
            Kind::Mysql(_) => {
                "select data_type from information_schema.columns where table_schema = database() and table_name = 't' and column_name = 'n'"
            }
        };
        self.db.texts(text).await == ["bigint"]
    }

    /// The change is made, nothing was lost, and nothing is left.
    pub async fn is_changed(&mut self, what: &str, is_rough: bool) {
        self.holds(what, is_rough).await;
        assert!(self.has_new_type().await, "{what}: the column has its new type");
        assert_eq!(self.db.traces().await, Vec::<String>::new(), "{what}");
    }
}

/// A client whom a run does not concern. What it waits for is the machine's own doing; a run's clients, at the same time, may have waited
/// for that, and for the run.
pub struct Beside(Running);

/// The most that a busy machine excuses. A fault of half a minute, or a server that the run itself has stopped, is beyond it.
const EXCUSED_MAX: Duration = Duration::from_secs(10);

impl Beside {
    /// What matters begins here.
    pub fn begins(&self, table: &Table) {
        table.load.as_ref().unwrap().window();
        self.0.window();
    }

    /// No client of the table has waited for longer than this, since it began, because of the run.
    pub async fn no_longer_than(self, limit: Duration, table: &Table, what: &str, output: &Output) {
        let slowest = table.load.as_ref().unwrap().window().max();
        let own = self.0.window().max();
        self.0.stop().await;
        println!(
            "{what}: {:?}, a client waited for {slowest:?} at most, one beside it {own:?}",
            output.elapsed
        );
        let limit = limit + (2 * own).min(EXCUSED_MAX);
        assert!(slowest < limit, "{what}: a client waited for {slowest:?}\n{}", printed(output));
    }
}

/// Whether there is time for all of it (`scripts/crash`), or only for what stands for the rest.
pub fn is_long() -> bool {
    std::env::var_os("SHADOWSWAP_LONG").is_some()
}
