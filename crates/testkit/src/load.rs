//! Writers that keep a table busy, and a ledger of what the server acknowledged to them.
//!
//! Each connection owns its keys, so the last acknowledged state of every row is known without asking the server. After a
//! migration, [`Ledger::check`] compares that with the table: a row lost, resurrected or stale is found, whatever the tool
//! under test believes. A statement whose answer was lost leaves two states possible, and either one passes.
//!
//! Closed loop (the default): each connection sends its next statement once the last has been answered. Open loop
//! ([`Load::rate`]): statements are due at fixed times, and latency counts from then, so that a stall is
//! charged to every statement that it delayed and not only to those in flight.

mod driver;
mod ledger;
mod plan;
mod pool;
mod report;
mod row;
mod shape;
mod writer;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub use driver::{Dialect, Store};
pub use ledger::{Differences, Ledger};
pub use plan::Op;
use pool::Pool;
use report::Shared;
pub use report::{Latency, Report, Slow};
pub use shape::{Column, KeyColumn, TableShape};
use writer::Writer;

/// How often [`Running::reached`] looks at the count.
const POLL: Duration = Duration::from_millis(2);

/// The options of a load.
#[derive(Clone)]
pub struct Load {
    url: String,
    writers: usize,
    seed: u64,
    mix: Vec<(Op, u32)>,
    statements: Option<u64>,
    duration: Option<Duration>,
    rate: Option<f64>,
}

impl Load {
    /// Four closed-loop writers on the server at `url`, until stopped. The scheme says which: `mysql` and `mariadb` are the same, and
    /// anything else is PostgreSQL.
    pub fn new(url: &str) -> Load {
        let (statements, duration, rate) = (None, None, None);
        Load { url: url.to_owned(), writers: 4, seed: 1, mix: Op::MIX.to_vec(), statements, duration, rate }
    }

    /// The number of connections.
    pub fn writers(mut self, writers: usize) -> Load {
        assert!(writers > 0, "a load needs a writer");
        self.writers = writers;
        self
    }

    /// The seed of all random choices. What each writer does follows from it; how the writers interleave does not.
    pub fn seed(mut self, seed: u64) -> Load {
        self.seed = seed;
        self
    }

    /// What to do how often, in place of [`Op::MIX`]: operations and their weights.
    pub fn mix(mut self, mix: &[(Op, u32)]) -> Load {
        assert!(mix.iter().any(|(_, weight)| *weight > 0), "a mix needs a weight");
        self.mix = mix.to_vec();
        self
    }

    /// Ends the load by itself after so many statements.
    pub fn statements(mut self, limit: u64) -> Load {
        self.statements = Some(limit);
        self
    }

    /// Ends the load by itself after a time.
    pub fn duration(mut self, limit: Duration) -> Load {
        self.duration = Some(limit);
        self
    }

    /// Open loop: this many statements a second over all connections. Give enough connections that none of them is late
    /// when nothing is wrong.
    pub fn rate(mut self, per_second: f64) -> Load {
        assert!(per_second > 0.0, "a rate is positive");
        self.rate = Some(per_second);
        self
    }

    /// Connects all writers and lets them loose on the ledger's table. They run on a thread of their own, so that what the
    /// caller's runtime is busy with does not count as the server's latency.
    ///
    /// # Errors
    /// A connection that could not be made, or a statement that the table does not fit.
    pub async fn start(self, ledger: Ledger) -> Result<Running, String> {
        let shared = Arc::new(Shared::new(self.writers));
        let (stop, stopped) = watch::channel(false);
        let (ready, is_ready) = oneshot::channel();
        let (mut done, outcome) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime can be built");
            let result = runtime.block_on(async {
                tokio::select! {
                    result = self.run(ledger, &of_thread, stopped, ready) => Some(result),
                    () = done.closed() => None,
                }
            });
            if let Some(result) = result {
                // Nobody may be waiting any more.
                done.send(result).ok();
            }
        };
        thread::Builder::new()
            .name("load".into())
            .spawn(work)
            .map_err(|e| format!("no thread for the load: {e}"))?;
        match is_ready.await {
            Ok(started) => Ok(Running { shared, started, stop, outcome }),
            Err(_) => match outcome.await {
                Ok(Err(e)) => Err(e),
                Ok(Ok(_)) | Err(_) => Err("the load ended before it began".into()),
            },
        }
    }

    async fn run(
        self,
        ledger: Ledger,
        shared: &Arc<Shared>,
        stopped: watch::Receiver<bool>,
        ready: oneshot::Sender<SystemTime>,
    ) -> Result<(Report, Ledger), String> {
        let shape = Arc::clone(ledger.shape());
        let pools = Pool::split(ledger, self.writers);
        let mut writers = Vec::new();
        for (index, pool) in pools.into_iter().enumerate() {
            writers.push(Writer::connect(&self, index, pool, Arc::clone(shared), stopped.clone()).await?);
        }
        // The load may have been dropped meanwhile; `done.closed()` ends us then.
        let start = Instant::now();
        ready.send(SystemTime::now()).ok();
        let mut tasks = JoinSet::new();
        for writer in writers {
            tasks.spawn(writer.run(start));
        }
        let pools = tasks.join_all().await;
        let elapsed = start.elapsed();
        Ok((shared.report(elapsed), Pool::join(shape, pools)))
    }
}

/// A load at work. Dropping it ends its connections at once and loses the ledger.
pub struct Running {
    shared: Arc<Shared>,
    started: SystemTime,
    stop: watch::Sender<bool>,
    outcome: oneshot::Receiver<Result<(Report, Ledger), String>>,
}

impl Running {
    /// Lets every writer finish what it is doing, and returns what was measured and what was acknowledged.
    ///
    /// # Panics
    /// If a writer panicked.
    pub async fn stop(self) -> (Report, Ledger) {
        self.stop.send_replace(true);
        self.finish().await
    }

    /// Waits until the load's own limit has ended it.
    ///
    /// # Panics
    /// If a writer panicked.
    pub async fn finish(self) -> (Report, Ledger) {
        let outcome = self.outcome.await.expect("a writer panicked; its message is above");
        outcome.expect("only connecting can fail, and that was done at the start")
    }

    /// Statements answered so far.
    pub fn statements(&self) -> u64 {
        self.shared.statements.load(Ordering::Relaxed)
    }

    /// Waits until so many more statements have been answered: "the load is really running".
    ///
    /// # Panics
    /// If that takes longer than `deadline`.
    pub async fn reached(&self, more: u64, deadline: Duration) {
        let (goal, start) = (self.statements() + more, Instant::now());
        while self.statements() < goal {
            let failed = self.failed();
            assert!(
                start.elapsed() < deadline,
                "the load is stuck {} statements short; failed: {failed:?}",
                goal - self.statements()
            );
            sleep(POLL).await;
        }
    }

    /// Failed statements so far, by SQLSTATE and message.
    pub fn failed(&self) -> std::collections::BTreeMap<String, u64> {
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Statements that gave way so far, as in [`Report::conflicts`].
    pub fn conflicts(&self) -> std::collections::BTreeMap<String, u64> {
        self.shared.conflicts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latencies since the last call, or since the start: call it before, during and after what is being measured.
    pub fn window(&self) -> Latency {
        self.shared.window()
    }

    /// The longest latency of the statements that were under way at some time between these two, of those since the last call of
    /// [`Running::window`]. For a statement that is still under way, call it later.
    pub fn longest_across(&self, from: SystemTime, to: SystemTime) -> Duration {
        let place = |time: SystemTime| time.duration_since(self.started).unwrap_or_default();
        self.shared.longest_across(place(from), place(to))
    }
}

#[cfg(test)]
mod tests;
