//! The MySQL and MariaDB engine: driver, binlog, SQL texts and catalogs.
//!
//! It returns facts and does one verb at a time; phases, retries and the frontier are the core's.

mod alter;
pub mod catalog;
mod check;
mod connect;
mod control;
mod cutover;
pub mod decode;
mod direct;
mod discard;
mod error;
pub mod events;
pub mod flavor;
pub mod floor;
pub mod gtid;
mod intake;
mod keeper;
pub mod lacks;
mod leftovers;
pub mod literal;
mod load;
pub mod marks;
mod names;
pub mod plan;
pub mod position;
mod prepare;
mod queued;
mod reading;
mod replica;
mod session;
pub mod sql;
mod statements;
pub mod stream;
mod tail;
mod turn;
mod violation;
mod wire;

pub use connect::ConnectOptions;
pub use control::Control;
pub use cutover::Locked;
pub use floor::{Floor, Tx};
pub use position::Position;
pub use session::Session;
pub use tail::Stream;

use crate::{
    connect::Charset, error::server, marks::Marks, plan::Detail, replica::Watch, session::Writer, sql::quote,
    statements::Statements, stream::Changes,
};
use mysql_async::{Conn, Row, prelude::Queryable};
use sha2::{Digest, Sha256};
use shadowswap_core::{
    Caps, Engine, Error, InPlace, Load, Obstacle, Outcome, Result, Spelling, Tried,
    engine::Leftover,
    patience,
    plan::{Plan, Request, Strategy},
};
use std::{
    collections::HashMap,
    future::Future,
    path::Path,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// One MySQL or MariaDB server. Cheap to clone.
#[derive(Clone)]
pub struct MySql {
    options: Arc<ConnectOptions>,
    control_schema: Arc<str>,
    /// Kept open for readings that are taken every second.
    probe: Arc<Mutex<Option<Conn>>>,
    marks: Arc<Marks>,
    swappers: cutover::Swappers,
    collisions: Arc<session::Collisions>,
    /// Follows the lag of replicas, where that is asked for from the beginning; the plan checks then whether they can be asked.
    watch: Option<Arc<Watch>>,
    /// The same where it is asked for later.
    later: Arc<Watch>,
    /// Kept open for small commits.
    commit: Arc<Mutex<Option<Conn>>>,
    /// The same for each query of the operator's own.
    queries: Arc<Mutex<HashMap<String, Conn>>>,
    readings: Arc<Mutex<load::Memory>>,
    /// Connections of this process, by the server's numbers, and what they are for.
    ours: Arc<load::Ours>,
}

impl std::fmt::Debug for MySql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MySql").field("control_schema", &self.control_schema).finish_non_exhaustive()
    }
}

impl MySql {
    /// Reads the URL, variables and option files. Connects to nothing yet.
    ///
    /// # Errors
    /// `Usage` if something cannot be read.
    pub fn open(url: &str, control_schema: &str) -> Result<MySql> {
        MySql::open_with(url, None, control_schema)
    }

    /// The same; of option files, only this one is read.
    ///
    /// # Errors
    /// `Usage` if something cannot be read.
    pub fn open_with(url: &str, defaults_file: Option<&Path>, control_schema: &str) -> Result<MySql> {
        let environment = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let options = ConnectOptions::gather(url, defaults_file, &environment)?;
        Ok(MySql {
            options: Arc::new(options),
            control_schema: control_schema.into(),
            probe: Arc::default(),
            marks: Arc::default(),
            swappers: cutover::Swappers::default(),
            collisions: Arc::default(),
            watch: None,
            later: Arc::new(Watch::new(&[])),
            commit: Arc::default(),
            queries: Arc::default(),
            readings: Arc::default(),
            ours: Arc::default(),
        })
    }

    /// Follows the lag of replicas: of these (`host` or `host:port`), or of those that have told the primary their address.
    ///
    /// # Errors
    /// `Usage` if one is no address.
    pub fn watching(mut self, replicas: &[String]) -> Result<MySql> {
        for address in replicas {
            self.options.beside(address)?;
        }
        self.watch = Some(Arc::new(Watch::new(replicas)));
        Ok(self)
    }

    async fn connect(&self, role: &str) -> Result<Conn> {
        self.connect_as(role, Charset::Utf8).await
    }

    async fn connect_as(&self, role: &str, charset: Charset) -> Result<Conn> {
        let conn = self.options.connect(role, charset).await?;
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).insert(conn.id(), role.to_string());
        Ok(conn)
    }

    /// A connection that whoever takes over ends before anything else.
    async fn connect_noted(&self, role: &str, migration: i64, epoch: Option<i64>) -> Result<Conn> {
        let mut conn = self.connect(role).await?;
        let control = self.control_name();
        control::note_session(&mut conn, &self.control_schema, &control, migration, epoch).await?;
        Ok(conn)
    }

    /// A connection for work that no row fences. Whoever takes over ends it, and from there on it is not ours any more.
    async fn connect_fenced(
        &self,
        role: &str,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<Conn> {
        let conn = self.connect_noted(role, migration, None).await?;
        match ours.await {
            Ok(()) => Ok(conn),
            Err(e) => self.release(conn, Err(e)).await,
        }
    }

    /// Ends a connection that was noted, and forgets it.
    async fn release<T>(&self, mut conn: Conn, ended: Result<T>) -> Result<T> {
        // Where it is lost, whoever goes on ends it and forgets it.
        drop(control::forget_session(&mut conn, &self.control_name()).await);
        ended
    }

    fn control_name(&self) -> String {
        quote(&self.control_schema)
    }
}

/// The number under which the stream poses as a replica: the same for the whole migration, so that a reader of a former runner is sent
/// away, and no one else's.
fn server_id(control: &str, migration: i64) -> u32 {
    let digest = Sha256::digest(format!("{control}\0{migration}"));
    let id = digest.iter().take(4).fold(0_u32, |id, b| (id << 8) | u32::from(*b));
    id | 1 << 31
}

impl Engine for MySql {
    type Position = Position;
    type TxId = Tx;
    type Floor = Floor;
    type Stream = Stream;
    type Session = Session;
    type Locked = Locked;
    type Control = Control;

    fn caps(&self) -> Caps {
        Caps {
            builds_indexes_late: true,
            drains_through_lock: true,
            spelling: Spelling { quote: '`', folds: false, ignores_case: false },
            log: "binlog",
        }
    }

    fn home(&self) -> Option<&str> {
        self.options.database.as_deref()
    }

    async fn control(&self, create: bool) -> Result<Control> {
        let mut conn = self.connect("control").await?;
        // The kernel looks for a peer that is gone after two hours; until then nobody could take over.
        let seconds = patience::scaled(patience::LOCK_SILENCE).as_secs().max(1);
        let text = format!("set session wait_timeout = {seconds}");
        conn.query_drop(text).await.map_err(|e| server(e, "setting up the control session"))?;
        Control::open(conn, &self.control_schema, create).await
    }

    async fn plan(&self, request: &Request) -> Result<Plan> {
        let mut conn = self.connect("plan").await?;
        let mut plan = plan::plan(&mut conn, request).await?;
        if let Some(watch) = self.watch.as_ref().filter(|_| plan.strategy == Strategy::Shadow) {
            let product = Detail::of(&plan)?.server;
            let lags = watch.lags(&mut conn, &product, &self.options, &self.control_schema, None).await;
            plan.findings.push(replica::finding(lags));
        }
        Ok(plan)
    }

    async fn prepare(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let detail = Detail::of(plan)?;
        let mut conn = self.connect_fenced("prepare", migration, ours).await?;
        let made = prepare::prepare(&mut conn, plan, &detail, &self.control_name(), migration).await;
        self.release(conn, made).await
    }

    async fn reverse(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<Plan> {
        let mut conn = self.connect_fenced("reverse", migration, ours).await?;
        let planned = turn::plan(&mut conn, plan, &self.control_name(), migration).await;
        self.release(conn, planned).await
    }

    async fn stream(&self, plan: &Plan, migration: i64, from: Option<&Position>) -> Result<Stream> {
        let detail = Detail::of(plan)?;
        let mut conn = self.connect("checkpoint").await?;
        let control = self.control_name();
        // After a swap none is left with rows of the table: its preparation held the table against the lock.
        let fears_xa = plan.turn == 0 && prepare::fears_xa(&mut conn, &control, migration).await?;
        let is_behind =
            plan.turn > 0 && turn::of_checkpoint(&mut conn, &control, migration).await? < plan.turn;
        let given = from.filter(|_| !is_behind);
        let from = match given {
            Some(from) => Some(from.clone()),
            None => prepare::begins_at(&mut conn, &control, migration).await?,
        };
        let from =
            from.ok_or_else(|| Error::corrupt("the control tables do not say where the stream begins"))?;
        let beginning = (given.is_none() && plan.turn == 0).then(|| from.clone());
        let key: Vec<String> = plan.link.key.iter().map(|k| k.from.clone()).collect();
        let id = server_id(&self.control_schema, migration);
        let changes = Changes::open(
            &self.options,
            &detail.server,
            &detail.source,
            &key,
            detail.rereads,
            &self.control_schema,
            migration,
            (plan.turn, is_behind),
            id,
            Some(&from),
        )
        .await?;
        let changes = changes.with_marks(Arc::clone(&self.marks)).fearing_xa(fears_xa).telling(beginning);
        Ok(Stream::new(changes))
    }

    async fn origin(&self) -> Result<String> {
        let mut conn = self.connect("origin").await?;
        // Another control database counts its migrations from 1, too.
        let server = reading::origin(&mut conn).await?;
        Ok(format!("{server} ({})", self.control_schema))
    }

    async fn session(&self, plan: &Plan, migration: i64, epoch: i64, role: &str) -> Result<Session> {
        let detail = Detail::of(plan)?;
        let conn = self.connect_as(role, Charset::Binary).await?;
        let mut statements = Statements::new(plan, &detail, &self.control_schema)?;
        if plan.turn > 0 {
            statements = statements.keeping(&detail).watching();
        }
        // Of rows that keep values of their own none is deleted that is there.
        let is_careful = detail.rereads && !statements.keeps();
        let statements = Arc::new(statements);
        let name = self.control_schema.to_string();
        let writer = Writer { control: self.control_name(), name, migration, epoch, swaps: plan.turn };
        let source = detail.source.columns.clone().into();
        let session =
            Session::new(conn, statements, source, detail.server, writer, Arc::clone(&self.collisions))
                .await?;
        Ok(session.careful(is_careful))
    }

    async fn finish_shadow(
        &self,
        plan: &Plan,
        migration: i64,
        gently: bool,
        ours: impl Future<Output = Result<()>> + Send,
        report: impl Fn(String) + Send + Sync,
    ) -> Result<()> {
        let detail = Detail::of(plan)?;
        let mut conn = self.connect_fenced("index", migration, ours).await?;
        let built = prepare::finish_shadow(&mut conn, plan, &detail, gently, report).await;
        self.release(conn, built).await
    }

    async fn obstacles(&self, plan: &Plan, migration: i64) -> Result<Vec<Obstacle>> {
        let mut conn = self.connect("obstacles").await?;
        cutover::obstacles(&mut conn, plan, &self.control_name(), migration).await
    }

    async fn lock(
        &self,
        plan: &Plan,
        migration: i64,
        epoch: i64,
        budget: Duration,
        ready: impl Future<Output = Result<()>> + Send,
    ) -> Result<Locked> {
        let detail = Detail::of(plan)?;
        let control = self.control_name();
        let renamer = if detail.server.renames_under_lock() {
            None
        } else {
            Some(self.connect_noted("swap", migration, Some(epoch)).await?)
        };
        let sessions = cutover::Sessions {
            lock: self.session(plan, migration, epoch, "cutover").await?,
            marker: self.session(plan, migration, epoch, "marker").await?,
            killer: self.connect_noted("watchdog", migration, Some(epoch)).await?,
            renamer,
        };
        let marks = Arc::clone(&self.marks);
        let name = &self.control_schema;
        let request = cutover::Request {
            name,
            plan,
            detail: &detail,
            control: &control,
            migration,
            epoch,
            budget,
            marks,
            swappers: self.swappers.clone(),
        };
        cutover::lock(request, sessions, ready).await
    }

    async fn outcome(&self, plan: &Plan, migration: i64) -> Result<Outcome> {
        let mut conn = self.connect("outcome").await?;
        self.swappers.end(&mut conn, &self.control_schema).await?;
        cutover::outcome(&mut conn, plan, &self.control_name(), migration).await
    }

    async fn clean_up(
        &self,
        plan: &Plan,
        migration: i64,
        drop_old: bool,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let mut conn = self.connect_fenced("clean up", migration, ours).await?;
        let cleaned = prepare::clean_up(&mut conn, plan, &self.control_name(), migration, drop_old).await;
        self.release(conn, cleaned).await
    }

    async fn drop_old(&self, plan: &Plan, migration: i64) -> Result<bool> {
        let mut conn = self.connect("clean up").await?;
        prepare::drop_old_table(&mut conn, plan, &self.control_name(), migration).await
    }

    async fn abort(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let mut conn = self.connect_fenced("abort", migration, ours).await?;
        let removed = prepare::abort(&mut conn, plan, &self.control_name(), migration).await;
        self.release(conn, removed).await
    }

    async fn direct(&self, plan: &Plan, migration: i64, epoch: i64, budget: Duration) -> Result<()> {
        let mut conn = self.connect_noted("direct", migration, Some(epoch)).await?;
        let changed = async {
            let mut killer = self.connect("watchdog").await?;
            direct::change(&mut conn, &mut killer, plan, &self.control_name(), migration, budget).await
        };
        let changed = changed.await;
        self.release(conn, changed).await
    }

    async fn made(&self, plan: &Plan, migration: i64) -> Result<InPlace> {
        let mut conn = self.connect("direct").await?;
        direct::made(&mut conn, plan, &self.control_name(), migration).await
    }

    async fn lacks(&self, plan: &Plan) -> Result<Vec<String>> {
        let detail = Detail::of(plan)?;
        let mut conn = self.connect("verify").await?;
        let now = catalog::table(&mut conn, &plan.source).await?;
        let now = now.ok_or_else(|| Error::refused(format!("there is no table {}", plan.source)))?;
        Ok(lacks::lacks(&now, &detail.shadow))
    }

    async fn load(&self, plan: &Plan, migration: i64, replicas: bool) -> Result<Load> {
        let product = Detail::of(plan)?.server;
        let mut probe = self.probe.lock().await;
        let mut conn = match probe.take() {
            Some(conn) => conn,
            None => self.connect("probe").await.tried("reading the server's load")?,
        };
        let control = self.control_name();
        let mut memory = self.readings.lock().await;
        let mut load = load::load(&mut conn, &product, &control, migration, &mut memory, &self.ours).await?;
        if replicas {
            let watch = self.watch.as_ref().unwrap_or(&self.later);
            let beat = Some(replica::Beat { control: &control, migration });
            match watch.lags(&mut conn, &product, &self.options, &self.control_schema, beat).await {
                Ok(lags) => load.replica_lag = lags.into_iter().map(|(_, lag)| lag).max(),
                // A connection that was lost is not kept.
                Err(e) if e.is_transient() && conn.ping().await.is_err() => return Err(e),
                Err(e) => drop(load.unreadable.insert("replica-lag", e.message)),
            }
        }
        // Only a connection that has just answered is kept.
        *probe = Some(conn);
        Ok(load)
    }

    async fn is_silent(&self, _: i64, role: &str, since: Duration) -> Result<Option<bool>> {
        let mut conn = self.connect("watch").await?;
        let sessions = load::sessions(&mut conn).await?;
        let ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_role = sessions.iter().filter(|s| ours.get(&s.id).is_some_and(|r| r == role)).peekable();
        let is_listed = of_role.peek().is_some();
        Ok(is_listed.then(|| of_role.all(|s| s.rests() && s.seconds >= since.as_secs())))
    }

    async fn probe_commit(&self, migration: i64) -> Result<Duration> {
        let mut kept = self.commit.lock().await;
        let mut conn = match kept.take() {
            Some(conn) => conn,
            None => self.connect("commit").await?,
        };
        let text = format!(
            "replace into {}.probe (migration, at) values ({migration}, utc_timestamp(6))",
            self.control_name()
        );
        let sent = Instant::now();
        conn.query_drop(text).await.map_err(|e| server(e, "committing something small"))?;
        let took = sent.elapsed();
        *kept = Some(conn);
        Ok(took)
    }

    async fn ask(&self, query: &str) -> Result<Option<String>> {
        let kept = self.queries.lock().await.remove(query);
        let mut conn = match kept {
            Some(conn) => conn,
            None => {
                let mut conn = self.connect("query").await?;
                conn.query_drop("set session transaction read only")
                    .await
                    .map_err(|e| server(e, "setting up a session for a query"))?;
                conn
            }
        };
        let row: Option<Row> = conn
            .query_first(query)
            .await
            .map_err(|e| server(e, format_args!("running the query {query:?}")))?;
        self.queries.lock().await.insert(query.to_string(), conn);
        match row.and_then(|mut row| row.take_opt::<Option<String>, _>(0)) {
            None => Ok(None),
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => {
                Err(Error::refused(format!("the query {query:?} gives neither text nor a number")))
            }
        }
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut conn = self.connect("cleanup").await?;
        leftovers::find(&mut conn, &self.control_schema).await
    }

    async fn remove(&self, leftover: &Leftover) -> Result<()> {
        let mut conn = self.connect("cleanup").await?;
        leftovers::remove(&mut conn, &self.control_schema, leftover).await
    }
}
