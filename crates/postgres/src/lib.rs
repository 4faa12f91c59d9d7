//! The PostgreSQL engine: drivers, wire formats, SQL texts and catalogs.
//!
//! It returns facts and does one verb at a time; phases, retries and the frontier are the core's.

mod alter;
mod catalog;
mod check;
mod connect;
mod control;
mod cutover;
mod decode;
mod error;
mod floor;
mod inline;
mod lacks;
mod leftovers;
mod load;
mod pgpass;
mod plan;
mod prepare;
mod replication;
mod reverse;
mod rows;
mod scope;
mod service;
mod session;
mod shadow;
mod sql;
mod statements;
mod stream;
mod swap;
mod tls;
mod wire;

pub use control::Control;
pub use cutover::Locked;
pub use floor::{Snapshot, Xid};
pub use replication::Lsn;
pub use session::Session;
pub use stream::Stream;

use crate::{
    connect::{ConnectOptions, Connection},
    error::server,
    plan::Detail,
    session::Writer,
    sql::quote,
    statements::Statements,
};
use shadowswap_core::{
    Caps, Engine, Error, InPlace, Load, Obstacle, Outcome, Result, Spelling, Tried,
    engine::Leftover,
    patience,
    plan::{Plan, Request},
};
use std::{
    collections::HashMap,
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;
use tokio_postgres::SimpleQueryMessage;

impl shadowswap_core::Position for Lsn {}

/// One PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    options: Arc<ConnectOptions>,
    control_schema: Arc<str>,
    spool: Arc<PathBuf>,
    /// Kept open for readings that are taken every second.
    probe: Arc<Mutex<Option<Connection>>>,
    /// The same for small commits.
    commit: Arc<Mutex<Option<Connection>>>,
    /// The same for each query of the operator's own.
    queries: Arc<Mutex<HashMap<String, Connection>>>,
    watch: Arc<load::Watch>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("control_schema", &self.control_schema).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Reads the URL (or the environment, as libpq does). Connects to nothing yet.
    ///
    /// # Errors
    /// `Usage` if the text cannot be read.
    pub fn open(url: Option<&str>, control_schema: &str) -> Result<Postgres> {
        let environment = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let options = ConnectOptions::parse(url, &environment).map_err(|e| Error::usage(e.to_string()))?;
        for warning in &options.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Postgres {
            options: Arc::new(options),
            control_schema: control_schema.into(),
            spool: Arc::new(std::env::temp_dir()),
            probe: Arc::default(),
            commit: Arc::default(),
            queries: Arc::default(),
            watch: Arc::default(),
        })
    }

    /// Follows the lag of these replicas instead of those that are attached: `host`, `host:port`, or a URL.
    ///
    /// # Errors
    /// `Usage` if one is no address.
    pub fn watching(mut self, replicas: &[String]) -> Result<Postgres> {
        let environment = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let beside = |address: &String| self.options.beside(address, &environment);
        let named = replicas.iter().map(beside).collect::<std::result::Result<_, _>>();
        self.watch = Arc::new(load::Watch::new(named.map_err(|e| Error::usage(e.to_string()))?));
        Ok(self)
    }

    /// Spools large unfinished transactions in this folder instead of the system's one for temporary files.
    #[must_use]
    pub fn with_spool(mut self, directory: PathBuf) -> Postgres {
        self.spool = Arc::new(directory);
        self
    }

    async fn connect(&self, role: &str) -> Result<Connection> {
        self.options.connect(role).await.map_err(Error::from).tried(format_args!("connecting ({role})"))
    }

    async fn connect_for(&self, role: &str, migration: i64) -> Result<Connection> {
        self.connect(&self.role(role, migration)).await
    }

    fn role(&self, role: &str, migration: i64) -> String {
        format!("{role} #{}{migration}", scope::of(&self.control_schema))
    }

    fn control_name(&self) -> String {
        quote(&self.control_schema)
    }
}

impl Engine for Postgres {
    type Position = Lsn;
    type TxId = Xid;
    type Floor = Snapshot;
    type Stream = Stream;
    type Session = Session;
    type Locked = Locked;
    type Control = Control;

    fn caps(&self) -> Caps {
        Caps {
            builds_indexes_late: true,
            drains_through_lock: false,
            spelling: Spelling { quote: '"', folds: true, ignores_case: false },
            log: "WAL",
        }
    }

    async fn control(&self, create: bool) -> Result<Control> {
        let connection = self.connect("control").await?;
        // What is written here is worth no more than what it speaks of, and that is flushed with or after it.
        let relaxed = connection.client().batch_execute("set synchronous_commit = off").await;
        relaxed.map_err(|e| server(e, "setting up the control session"))?;
        let silence = format!("{}ms", patience::scaled(patience::LOCK_SILENCE).as_millis());
        let limited = "select set_config('idle_session_timeout', $1, false)\n\
                       where current_setting('idle_session_timeout', true) is not null";
        let limited = connection.client().execute(limited, &[&silence]).await;
        limited.map_err(|e| server(e, "setting up the control session"))?;
        Control::open(connection, &self.control_schema, create).await
    }

    async fn plan(&self, request: &Request) -> Result<Plan> {
        let connection = self.connect("plan").await?;
        let path = catalog::user_search_path(connection.client()).await?;
        sql::set_search_path(connection.client(), &path, false).await?;
        let mut plan = plan::plan(connection.client(), request).await?;
        plan.findings.extend(self.watch.finding().await);
        Ok(plan)
    }

    async fn prepare(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let detail = Detail::of(plan)?;
        let mut connection = self.connect_for("prepare", migration).await?;
        ours.await?;
        prepare::prepare(connection.client_mut(), plan, &detail, &self.control_name(), migration).await
    }

    async fn reverse(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<Plan> {
        let connection = self.connect_for("reverse", migration).await?;
        ours.await?;
        reverse::reverse(connection.client(), plan, migration).await
    }

    async fn stream(&self, plan: &Plan, migration: i64, from: Option<&Lsn>) -> Result<Stream> {
        let detail = Detail::of(plan)?;
        let connection = self.connect_for("slot", migration).await?;
        prepare::is_same_cluster(connection.client(), &detail.cluster).await?;
        check::stream_is_no_standby(connection.client()).await?;
        let tag = scope::tag(plan, migration);
        let slot = prepare::slot_name(connection.client(), &tag).await?;
        prepare::check_slot(connection.client(), &slot).await?;
        let from = match plan.turn {
            0 => from.copied(),
            turn => Some(
                prepare::turn_begins(connection.client(), &self.control_name(), migration, turn, &slot, from)
                    .await?,
            ),
        };
        if let Some(from) = from {
            prepare::nothing_is_missing(connection.client(), &slot, from).await?;
        }
        let replication =
            self.options.connect_replication(&self.role("stream", migration)).await.map_err(Error::from)?;
        let publication = prepare::publication_name(&tag, plan.is_turned());
        let options = prepare::stream_options(&detail, &publication);
        let start = from.unwrap_or(Lsn(0));
        let replication = replication.start(&slot, start, &options).await.map_err(Error::from)?;
        Stream::new(replication, plan, &detail, migration, self.spool.as_ref().clone(), from)
    }

    async fn keeps(&self, plan: &Plan, migration: i64, from: Option<&Lsn>) -> Result<bool> {
        let connection = self.connect_for("slot", migration).await?;
        let slot = prepare::slot_name(connection.client(), &scope::tag(plan, migration)).await?;
        prepare::keeps(connection.client(), &slot, from).await
    }

    async fn origin(&self) -> Result<String> {
        let connection = self.connect("origin").await?;
        // Another control schema counts its migrations from 1, too.
        let server = prepare::origin(connection.client()).await?;
        Ok(format!("{server} ({})", self.control_schema))
    }

    async fn session(&self, plan: &Plan, migration: i64, epoch: i64, role: &str) -> Result<Session> {
        let detail = Detail::of(plan)?;
        let connection = self.connect_for(role, migration).await?;
        let statements = Arc::new(Statements::new(plan, &detail, &self.control_name(), migration));
        let tag = scope::tag(plan, migration);
        let writer = Writer { control: self.control_name(), migration, epoch, tag };
        let plan = Arc::new(plan.clone());
        let session = Session::new(
            connection,
            statements,
            plan,
            writer,
            &detail.search_path,
            role.starts_with("verify"),
        )
        .await?;
        Ok(session.careful(detail.rereads()))
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
        let one = self.connect_for("index", migration).await?;
        let two = if gently { None } else { Some(self.connect_for("index", migration).await?) };
        ours.await?;
        prepare::finish_shadow((&one, two.as_ref()), plan, &detail, &self.control_name(), migration, report)
            .await
    }

    async fn obstacles(&self, plan: &Plan, migration: i64) -> Result<Vec<Obstacle>> {
        let detail = Detail::of(plan)?;
        let connection = self.connect_for("obstacles", migration).await?;
        cutover::obstacles(connection.client(), plan, &detail, &self.control_name(), migration).await
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
        let lock = self.connect_for("cutover", migration).await?;
        let marker = self.session(plan, migration, epoch, "marker").await?;
        let control = self.control_name();
        let request = cutover::Request { plan, detail: &detail, control: &control, migration, epoch, budget };
        cutover::lock(request, lock, marker, ready).await
    }

    async fn outcome(&self, plan: &Plan, migration: i64) -> Result<Outcome> {
        let detail = Detail::of(plan)?;
        let connection = self.connect_for("outcome", migration).await?;
        cutover::outcome(connection.client(), plan, &detail, &self.control_name(), migration).await
    }

    async fn clean_up(
        &self,
        plan: &Plan,
        migration: i64,
        drop_old: bool,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let detail = Detail::of(plan)?;
        let connection = self.connect_for("clean up", migration).await?;
        ours.await?;
        prepare::drop_kept(connection.client(), &self.control_schema, migration).await?;
        prepare::clean_up(connection.client(), plan, &detail, migration, drop_old).await
    }

    async fn drop_old(&self, plan: &Plan, migration: i64) -> Result<bool> {
        let connection = self.connect_for("clean up", migration).await?;
        prepare::drop_old_table(connection.client(), plan, &Detail::of(plan)?).await
    }

    async fn abort(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let detail = Detail::of(plan)?;
        let connection = self.connect_for("abort", migration).await?;
        ours.await?;
        prepare::drop_kept(connection.client(), &self.control_schema, migration).await?;
        prepare::abort(connection.client(), plan, &detail, migration).await
    }

    async fn direct(&self, plan: &Plan, migration: i64, epoch: i64, budget: Duration) -> Result<()> {
        let detail = Detail::of(plan)?;
        let mut connection = self.connect_for("direct", migration).await?;
        let (client, control, whose) = (connection.client_mut(), self.control_name(), (migration, epoch));
        prepare::direct(client, plan, &detail, &control, whose, budget).await
    }

    async fn made(&self, plan: &Plan, migration: i64) -> Result<InPlace> {
        let connection = self.connect_for("direct", migration).await?;
        let is_made = prepare::is_made(connection.client(), &self.control_name(), migration).await?;
        let of = plan.request.alters.len();
        Ok(InPlace { made: if is_made { of } else { 0 }, of })
    }

    async fn lacks(&self, plan: &Plan) -> Result<Vec<String>> {
        let detail = Detail::of(plan)?;
        let connection = self.connect("verify").await?;
        let name = sql::table(&plan.source);
        let oid = catalog::resolve(connection.client(), &name, "").await?;
        let now = catalog::table(connection.client(), oid).await?;
        Ok(lacks::lacks(&now, &detail.shadow))
    }

    async fn load(&self, plan: &Plan, migration: i64, replicas: bool) -> Result<Load> {
        let mut probe = self.probe.lock().await;
        let connection = match probe.take() {
            Some(connection) => connection,
            None => self.connect_for("probe", migration).await?,
        };
        let load = self.watch.load(connection.client(), plan, migration, replicas).await?;
        // Only a connection that has just answered is kept.
        *probe = Some(connection);
        Ok(load)
    }

    async fn is_silent(&self, migration: i64, role: &str, since: Duration) -> Result<Option<bool>> {
        let connection = self.connect_for("watch", migration).await?;
        let text = "select bool_and(coalesce(state like 'idle%' and state_change < clock_timestamp() - $2 * interval '1 second', false))\n\
                    from pg_stat_activity where application_name = $1 and datname = current_database()";
        let name = self.options.name(&self.role(role, migration));
        let row = connection.client().query_one(text, &[&name, &since.as_secs_f64()]).await;
        Ok(row.map_err(|e| server(e, "looking whether a session is at work"))?.get(0))
    }

    async fn probe_commit(&self, migration: i64) -> Result<Duration> {
        let mut kept = self.commit.lock().await;
        let connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect_for("commit", migration).await?,
        };
        let text = format!(
            "insert into {}.probe (migration, at) values ($1, clock_timestamp())\n\
             on conflict (migration) do update set at = excluded.at",
            self.control_name()
        );
        let client = connection.client();
        let statement = client.prepare(&text).await.map_err(|e| server(e, "preparing a small commit"))?;
        let sent = Instant::now();
        client
            .execute(&statement, &[&migration])
            .await
            .map_err(|e| server(e, "committing something small"))?;
        let took = sent.elapsed();
        *kept = Some(connection);
        Ok(took)
    }

    async fn ask(&self, query: &str) -> Result<Option<String>> {
        let kept = self.queries.lock().await.remove(query);
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let connection = self.connect("query").await?;
                let careful = "set default_transaction_read_only = on; set statement_timeout = '4s'";
                let set = connection.client().batch_execute(careful).await;
                set.map_err(|e| server(e, "setting up a session for a query"))?;
                let path = catalog::user_search_path(connection.client()).await?;
                sql::set_search_path(connection.client(), &path, false).await?;
                connection
            }
        };
        let answer = connection.client().simple_query(query).await;
        let messages = answer.map_err(|e| server(e, format_args!("running the query {query:?}")))?;
        let first = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_string)),
            _ => None,
        });
        self.queries.lock().await.insert(query.to_string(), connection);
        Ok(first.flatten())
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let connection = self.connect("cleanup").await?;
        leftovers::find(connection.client(), &self.control_name()).await
    }

    async fn remove(&self, leftover: &Leftover) -> Result<()> {
        let connection = self.connect("cleanup").await?;
        leftovers::remove(connection.client(), &self.control_name(), leftover).await
    }
}
