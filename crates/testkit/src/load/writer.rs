//! One connection: sends plans, and learns of each whether it happened, did not, or may have.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::Load;
use super::ledger::State;
use super::plan::{Op, Plan, Sql, Step, plan};
use super::pool::Pool;
use super::report::{Meter, Shared};
use super::row::encode;
use super::shape::TableShape;

/// A statement that takes longer counts as lost; far above every stall that is worth measuring.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Between attempts to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// A connection and its prepared statements, in the order of the shape's columns.
struct Session {
    client: Client,
    connection: JoinHandle<()>,
    insert: Statement,
    update_one: Vec<Statement>,
    update_all: Statement,
    delete: Statement,
    rekey: Statement,
    read: Statement,
}

impl Drop for Session {
    /// Closes the socket even if an answer is outstanding; a connection whose client is gone would wait for it.
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What became of a plan.
enum Fate {
    Done,
    NotDone,
    Unknown,
}

pub(super) struct Writer {
    config: Config,
    session: Option<Session>,
    pool: Pool,
    rng: StdRng,
    mix: Vec<(Op, u32)>,
    meter: Meter,
    stopped: watch::Receiver<bool>,
    statements: Option<u64>,
    duration: Option<Duration>,
    /// Open loop: the time between two of this writer's statements.
    interval: Option<Duration>,
    started: Instant,
}

impl Writer {
    pub(super) async fn connect(
        load: &Load,
        index: usize,
        pool: Pool,
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Writer, String> {
        let mut config: Config = load.url.parse().map_err(|e| format!("{e:?}"))?;
        config.application_name("load");
        let session = Session::open(&config, &pool.shape)
            .await
            .map_err(|e| format!("cannot start writer {index}: {e:?}"))?;
        Ok(Writer {
            config,
            session: Some(session),
            pool,
            rng: StdRng::seed_from_u64(
                load.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index as u64),
            ),
            mix: load.mix.clone(),
            meter: Meter { shared, index },
            stopped,
            statements: load.statements,
            duration: load.duration,
            interval: load.rate.map(|rate| Duration::from_secs_f64(load.writers as f64 / rate)),
            started: Instant::now(),
        })
    }

    /// Works until stopped or limited, then returns the keys with what is known of them.
    pub(super) async fn run(mut self, start: Instant) -> Pool {
        self.started = start;
        let offset = self.interval.unwrap_or_default().mul_f64(self.rng.random_range(0.0..1.0));
        let mut due = start + offset;
        while !self.is_over() {
            if self.interval.is_some() && !self.waited_until(due).await {
                break;
            }
            if self.session.is_none() && !self.reconnect().await {
                break;
            }
            let op = self.pick_op();
            let plan = plan(op, &mut self.pool, &mut self.rng);
            let intended = if self.interval.is_some() { due } else { Instant::now() };
            due += self.interval.unwrap_or_default() * plan.steps.len() as u32;
            let fate = self.execute(&plan, intended).await;
            self.settle(plan, &fate);
        }
        self.pool
    }

    fn is_over(&self) -> bool {
        let made = self.meter.shared.statements.load(std::sync::atomic::Ordering::Relaxed);
        let is_counted_out = self.statements.is_some_and(|limit| made >= limit);
        let is_timed_out = self.duration.is_some_and(|limit| self.started.elapsed() >= limit);
        is_counted_out || is_timed_out || *self.stopped.borrow()
    }

    /// False if the load ended meanwhile.
    async fn waited_until(&mut self, due: Instant) -> bool {
        tokio::select! {
            () = sleep_until(due) => !self.is_over(),
            _ = self.stopped.changed() => false,
        }
    }

    /// False if the load ended meanwhile.
    async fn reconnect(&mut self) -> bool {
        while !self.is_over() {
            match Session::open(&self.config, &self.pool.shape).await {
                Ok(session) => {
                    self.session = Some(session);
                    self.meter.reconnected();
                    return true;
                }
                Err(e) => self.meter.failed(format!("reconnect: {}", describe(&e))),
            }
            sleep(RECONNECT_PAUSE).await;
        }
        false
    }

    fn pick_op(&mut self) -> Op {
        let total: u32 = self.mix.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.random_range(0..total);
        for (op, weight) in &self.mix {
            if at < *weight {
                return *op;
            }
            at -= weight;
        }
        unreachable!("a number below the sum of the weights falls into one of them")
    }

    async fn execute(&mut self, plan: &Plan, intended: Instant) -> Fate {
        let Some(session) = &self.session else { return Fate::NotDone };
        for (index, step) in plan.steps.iter().enumerate() {
            let sent = if index == 0 { intended } else { Instant::now() };
            let answer = timeout(STATEMENT_TIMEOUT, session.send(step)).await;
            let error = match answer {
                Ok(Ok(answer)) => {
                    let (latency, at) = (sent.elapsed(), self.started.elapsed());
                    self.meter.answered(|| format!("{:?}", step.sql), latency, at);
                    if let Some(wrong) = violation(plan, step, &answer) {
                        self.meter.violated(wrong);
                    }
                    continue;
                }
                Ok(Err(e)) => Some(e),
                Err(_) => None,
            };
            let what = error.as_ref().map_or_else(|| format!("no answer in {STATEMENT_TIMEOUT:?}"), describe);
            self.meter.failed(format!("{:?}: {what}", step.sql));
            let (is_broken, is_open) = match &error {
                Some(e) => (is_broken(e) || session.client.is_closed(), may_have_happened(e, step)),
                None => (true, true),
            };
            let is_rolled_back = !is_broken && session.client.batch_execute("rollback").await.is_ok();
            if !is_rolled_back {
                self.session = None;
            }
            return if is_open && plan.is_decisive(index) { Fate::Unknown } else { Fate::NotDone };
        }
        Fate::Done
    }

    fn settle(&mut self, plan: Plan, fate: &Fate) {
        for touched in plan.touched {
            let state = match fate {
                Fate::Done => State::Known(touched.after),
                Fate::NotDone => State::Known(touched.before),
                Fate::Unknown if touched.before == touched.after => State::Known(touched.after),
                Fate::Unknown => State::Either(touched.before, touched.after),
            };
            self.pool.settle(touched.key, state);
        }
    }
}

/// Rows touched, and the row read.
struct Answer {
    rows: u64,
    read: Option<String>,
}

/// What the answer breaks of what was acknowledged before.
fn violation(plan: &Plan, step: &Step, answer: &Answer) -> Option<String> {
    let expected = match step.sql {
        Sql::Text(_) => return None,
        Sql::Insert | Sql::UpdateOne(_) | Sql::UpdateAll | Sql::Delete | Sql::Rekey => None,
        Sql::Read => plan.touched.first().and_then(|touched| touched.before.as_deref()),
    };
    let Step { sql, params } = step;
    if answer.rows != 1 {
        return Some(format!("{sql:?} with {params:?} found {} rows, one was acknowledged", answer.rows));
    }
    let is_same = answer.read.as_deref() == expected;
    (!is_same).then(|| format!("read of {params:?} gave {:?}, acknowledged was {expected:?}", answer.read))
}

/// Whether the server may have done it although it did not say so. An error answer means that it did not, except for those
/// that end the session; at a commit only refusals of the transaction itself are sure.
fn may_have_happened(error: &tokio_postgres::Error, step: &Step) -> bool {
    let Some(code) = error.code() else { return true };
    let is_refusal = code.code().starts_with("40") || code.code().starts_with("23");
    is_broken(error) || (step.sql == Sql::Text("commit") && !is_refusal)
}

/// Errors after which the session is no more: connection exceptions, and shutdown or crash of the server.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|code| code.code().starts_with("08") || code.code().starts_with("57P"))
}

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) => format!("{} {}", e.code().code(), e.message()),
        None => format!("connection lost: {error}"),
    }
}

impl Session {
    async fn open(config: &Config, shape: &TableShape) -> Result<Session, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        let connection = tokio::spawn(async move {
            // Its error reaches the client's own calls.
            connection.await.ok();
        });
        let table = &shape.table;
        let types = |key_first: bool| {
            let key = shape.key.iter().map(|column| (&column.name, &column.sql_type));
            let values = shape.columns.iter().map(|column| (&column.name, &column.sql_type));
            if key_first { key.chain(values).collect::<Vec<_>>() } else { values.chain(key).collect() }
        };
        // Parameters travel as text, whatever the column's type is.
        let value = |index: usize, sql_type: &str| format!("${index}::text::{sql_type}");
        let key_from = |first: usize| {
            let parts = shape.key.iter().enumerate();
            parts
                .map(|(i, c)| format!("{} = {}", c.name, value(first + i, &c.sql_type)))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        let names = [shape.key_names(), shape.column_names()].concat().join(", ");
        let all = types(true);
        let values: Vec<String> = all.iter().enumerate().map(|(i, (_, t))| value(i + 1, t)).collect();
        let insert =
            client.prepare(&format!("insert into {table} ({names}) values ({})", values.join(", "))).await?;
        let count = shape.columns.len();
        let sets = types(false)
            .iter()
            .take(count)
            .enumerate()
            .map(|(i, (n, t))| format!("{n} = {}", value(i + 1, t)))
            .collect::<Vec<_>>();
        let update_all = format!("update {table} set {} where {}", sets.join(", "), key_from(count + 1));
        let update_all = client.prepare(&update_all).await?;
        let mut update_one = Vec::new();
        for column in &shape.columns {
            let set = format!("{} = {}", column.name, value(1, &column.sql_type));
            update_one
                .push(client.prepare(&format!("update {table} set {set} where {}", key_from(2))).await?);
        }
        let delete = client.prepare(&format!("delete from {table} where {}", key_from(1))).await?;
        let keys =
            shape.key.iter().enumerate().map(|(i, c)| format!("{} = {}", c.name, value(i + 1, &c.sql_type)));
        let new_key = keys.collect::<Vec<_>>().join(", ");
        let rekey = format!("update {table} set {new_key} where {}", key_from(shape.key.len() + 1));
        let rekey = client.prepare(&rekey).await?;
        let texts: Vec<String> =
            shape.columns.iter().map(|column| format!("{}::text", column.name)).collect();
        let read = format!("select {} from {table} where {}", texts.join(", "), key_from(1));
        let read = client.prepare(&read).await?;
        Ok(Session { client, connection, insert, update_one, update_all, delete, rekey, read })
    }

    async fn send(&self, step: &Step) -> Result<Answer, tokio_postgres::Error> {
        let params: Vec<&(dyn ToSql + Sync)> =
            step.params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let statement = match step.sql {
            Sql::Text(text) => {
                self.client.batch_execute(text).await?;
                return Ok(Answer { rows: 0, read: None });
            }
            Sql::Read => {
                let rows = self.client.query(&self.read, &params).await?;
                let line = rows.first().map(|row| {
                    let values: Vec<Option<&str>> = (0..row.len()).map(|index| row.get(index)).collect();
                    encode(values)
                });
                return Ok(Answer { rows: rows.len() as u64, read: line });
            }
            Sql::Insert => &self.insert,
            Sql::UpdateOne(column) => &self.update_one[column],
            Sql::UpdateAll => &self.update_all,
            Sql::Delete => &self.delete,
            Sql::Rekey => &self.rekey,
        };
        let rows = self.client.execute(statement, &params).await?;
        Ok(Answer { rows, read: None })
    }
}
