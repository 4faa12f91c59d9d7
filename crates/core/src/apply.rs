//! The applier: change log → batch → frontier → session.
//!
//! It owns the position applied and the horizon. Nothing else advances either. A batch stays in memory until its transaction is known
//! to have committed, so a lost answer means applying the same images again, which is harmless; that an orphan of the first try cannot
//! commit *after* later batches is the engine's promise (a new session fences out the former one, and waits for it).

use crate::{
    batch::Batch,
    change::Key,
    clock,
    copy::Counters,
    engine::{Apply, Engine},
    error::{Error, Result, Tried},
    failpoint::{self, Place},
    feed::{Part, Record},
    frontier::Frontier,
    hook::Event,
    patience,
    phase::Phase,
    plan::Plan,
};
use shadowswap_changelog::Reader;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tracing::{debug, warn};

/// How long changes are gathered for one batch where clients are to feel little of it. What a batch costs besides its changes is felt as
/// well as what it does at once: of 2,000 statements a second on two cores (MySQL 9.7), 25 ms made the 99th percentile 1.2 to 1.7 times
/// what it was, 100 and 250 ms 1.0 to 1.3 times, 1 s up to twice.
pub const GATHER: Duration = Duration::from_millis(200);

/// How far applying is.
#[derive(Clone, Debug)]
pub struct Applied<P> {
    /// Everything before it is applied, and the checkpoint says so.
    pub position: Option<P>,
    /// The last of our markers that came by.
    pub marker: u64,
    /// Changes applied by this process.
    pub changes: u64,
    /// Batches applied by this process.
    pub steps: u64,
    /// From the last applied commit to its application.
    pub lag: Duration,
    /// Records that wait in the change log.
    pub backlog: u64,
    /// Bytes of the change log on disk.
    pub backlog_disk_bytes: u64,
    /// Ends of transactions that the log gave to this applier: those that are applied, and those up to the last checkpoint written.
    pub ends: (u64, u64),
    /// The server is told nothing of it: a swap is under way, and what follows it belongs to another turn.
    pub is_held: bool,
}

impl<P> Applied<P> {
    /// Nothing applied by this process yet.
    pub fn new(position: Option<P>) -> Applied<P> {
        Applied {
            position,
            marker: 0,
            changes: 0,
            steps: 0,
            lag: Duration::ZERO,
            backlog: 0,
            backlog_disk_bytes: 0,
            ends: (0, 0),
            is_held: false,
        }
    }
}

/// Counts how often watched keys were applied, for the verifier.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<HashMap<Key, u64>>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches these keys from now on.
    pub fn watch(&self, keys: impl IntoIterator<Item = Key>) {
        let mut counts = self.lock();
        for key in keys {
            counts.entry(key).or_insert(0);
        }
    }

    /// Stops watching these keys.
    pub fn forget<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        let mut counts = self.lock();
        for key in keys {
            counts.remove(key);
        }
    }

    /// How often a watched key was applied since it was first watched.
    pub fn count(&self, key: &Key) -> u64 {
        self.lock().get(key).copied().unwrap_or(0)
    }

    /// Whether somebody waits for what becomes of keys.
    fn is_watched(&self) -> bool {
        !self.lock().is_empty()
    }

    fn touched(&self, batch: &Batch) {
        for (key, count) in self.lock().iter_mut() {
            if batch.touches(key) {
                *count += 1;
            }
        }
    }
}

/// Keys of one batch: enough for set-wise statements to pay (measured: 10,000 is within a few per cent of the best).
const BATCH_KEYS: usize = 10_000;

fn batch_keys() -> usize {
    #[cfg(feature = "simulation")]
    if let Some(sizes) = crate::mutations::sizes() {
        return sizes.batch_keys;
    }
    BATCH_KEYS
}

/// Bytes of one batch; with the change log's memory it makes up the bound on the process.
const BATCH_BYTES: usize = 4 << 20;
/// Records that are decoded without letting others go on.
const READ_AT_ONCE: usize = 16;
/// A transaction that is not visible yet is looked at again after this long.
const RECHECK_FIRST: Duration = Duration::from_micros(500);
const RECHECK_MAX: Duration = Duration::from_millis(20);
/// Where nothing of ours changes, the position is made durable this often: what comes before it need not be read again, or be there.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Tries at one batch, each through a new session.
const TRIES: u32 = 6;

/// Everything that applying needs but the session.
pub struct Applier<E: Engine> {
    log: Reader,
    frontier: Frontier<E::TxId, E::Floor>,
    ledger: Ledger,
    applied: watch::Sender<Applied<E::Position>>,
    batch: Batch,
    end: Option<E::Position>,
    marker: u64,
    committed: i64,
    saved: Instant,
    /// Ends of transactions that were taken from the log, and those of them that a checkpoint is behind.
    ends: (u64, u64),
    ahead: Ahead<E::TxId>,
    /// Where what waits in the log is counted.
    counters: Arc<Counters>,
}

/// Records that were taken from the log and are in no batch yet.
struct Ahead<T> {
    records: VecDeque<(Record<T>, usize)>,
    bytes: usize,
    /// The last of our markers that was in one of them.
    marker: u64,
}

impl<T: bincode::Encode + bincode::Decode<()>> Ahead<T> {
    fn push(&mut self, record: &[u8]) -> Result<()> {
        let bytes = record.len();
        let record = Record::decode(record)?;
        if let Record::Part(part) = &record {
            self.marker = part.markers.iter().copied().fold(self.marker, u64::max);
        }
        self.records.push_back((record, bytes));
        self.bytes += bytes;
        Ok(())
    }

    fn has_room(&self, batch: &Batch) -> bool {
        self.bytes + batch.bytes() < 2 * BATCH_BYTES
            && self.bytes < BATCH_BYTES
            && self.records.len() < batch_keys()
    }

    fn pop(&mut self) -> Option<Record<T>> {
        let (record, bytes) = self.records.pop_front()?;
        self.bytes -= bytes;
        Some(record)
    }

    /// Takes what the log has now, about a batch of it: done while the server is busy with the batch before.
    async fn read(&mut self, log: &mut Reader, batch: &Batch) -> Result<()> {
        while self.has_room(batch) {
            let Some(record) = log.try_next()? else { return Ok(()) };
            self.push(&record)?;
            if self.records.len().is_multiple_of(READ_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

impl<E: Engine> Applier<E> {
    /// An applier at the beginning of this log.
    pub fn new(
        log: Reader,
        frontier: Frontier<E::TxId, E::Floor>,
        ledger: Ledger,
        applied: watch::Sender<Applied<E::Position>>,
    ) -> Applier<E> {
        Applier {
            log,
            frontier,
            ledger,
            applied,
            batch: Batch::new(),
            end: None,
            marker: 0,
            committed: 0,
            saved: Instant::now(),
            ends: (0, 0),
            ahead: Ahead { records: VecDeque::new(), bytes: 0, marker: 0 },
            counters: Arc::default(),
        }
    }

    /// Counts what waits in the log here.
    #[must_use]
    pub fn counting(mut self, counters: Arc<Counters>) -> Applier<E> {
        self.counters = counters;
        self
    }

    /// Applies until the marker has come by. Cancel-safe: what was not known to be applied is applied again.
    ///
    /// # Errors
    /// What the target answers; a batch is not tried twice here.
    pub async fn drain(&mut self, target: &mut impl Apply<E>, marker: u64) -> Result<()> {
        let mut pause = RECHECK_FIRST;
        while self.applied.borrow().marker < marker {
            // Everything that is left goes into one transaction: each commit takes the server as long as its disk does.
            while self.ahead.marker < marker && self.ahead.has_room(&self.batch) {
                self.wait().await?;
            }
            // Under the lock nothing is written that need not be.
            self.saved = Instant::now();
            if self.step(target).await? {
                pause = RECHECK_FIRST;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RECHECK_MAX);
            }
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.end.is_none() && self.ahead.records.is_empty()
    }

    /// Waits for a record. Cancel-safe.
    async fn wait(&mut self) -> Result<()> {
        match self.log.next().await? {
            Some(record) => self.ahead.push(&record),
            None => Err(Error::transient("the change stream ended")),
        }
    }

    /// Fills a batch with what may be applied now, and applies it. False if nothing may be applied yet.
    async fn step(&mut self, target: &mut impl Apply<E>) -> Result<bool> {
        self.fill(target).await?;
        self.counters.waiting.store(self.log.stats().records, Ordering::Relaxed);
        if self.batch.is_empty() && self.end.is_none() {
            return Ok(false);
        }
        // Once a swap is under way, a position may lie beyond it: the next turn begins at the swap, and would begin too late.
        let end = self.end.as_ref().filter(|_| !self.applied.borrow().is_held);
        let is_due = end.is_some() && self.saved.elapsed() >= SAVE_EVERY;
        let is_saved = end.is_some() && (!self.batch.is_empty() || is_due);
        if !self.batch.is_empty() || is_due {
            failpoint::at(Place::BatchReady).await;
            let apply = patience::work("applying a batch", target.apply(&self.batch, end));
            let (applied, read) = tokio::join!(apply, self.ahead.read(&mut self.log, &self.batch));
            applied?;
            read?;
            if end.is_some() {
                self.ends.1 = self.ends.0;
            }
            failpoint::at(Place::BatchApplied).await;
            if self.end.is_some() {
                self.saved = Instant::now();
            }
        }
        self.ledger.touched(&self.batch);
        let stats = self.log.stats();
        self.applied.send_modify(|applied| {
            // What the server is told is never ahead of the checkpoint: else nobody could tell a stream that has a gap.
            if let Some(end) = self.end.take().filter(|_| is_saved) {
                applied.position = Some(end);
            }
            applied.marker = applied.marker.max(self.marker);
            applied.changes += self.batch.changes();
            applied.steps += 1;
            applied.lag = if self.committed > 0 { since(self.committed) } else { Duration::ZERO };
            applied.backlog = stats.records + self.ahead.records.len() as u64;
            applied.backlog_disk_bytes = stats.disk_bytes;
            applied.ends = self.ends;
        });
        debug!(
            changes = self.batch.changes(),
            keys = self.batch.keys(),
            backlog = stats.records,
            "batch applied"
        );
        self.batch.clear();
        Ok(true)
    }

    async fn fill(&mut self, target: &mut impl Apply<E>) -> Result<()> {
        let mut fresh = false;
        while self.batch.keys() < batch_keys() && self.batch.bytes() < BATCH_BYTES {
            if self.ahead.records.is_empty() {
                match self.log.try_next()? {
                    Some(record) => self.ahead.push(&record)?,
                    None => return Ok(()),
                }
            }
            if let Some((Record::Part(Part { tx, .. }), _)) = self.ahead.records.front() {
                if !self.frontier.is_visible(tx) && !fresh {
                    let floor = patience::answer("asking what is visible", target.floor()).await?;
                    self.frontier.advance(floor);
                    fresh = true;
                }
                if !self.frontier.admits(tx) {
                    return Ok(());
                }
            }
            let Some(record) = self.ahead.pop() else { return Ok(()) };
            self.take(record)?;
        }
        Ok(())
    }

    fn take(&mut self, record: Record<E::TxId>) -> Result<()> {
        match record {
            Record::Part(part) => {
                part.changes.into_iter().for_each(|change| self.batch.push(change));
                self.marker = part.markers.into_iter().fold(self.marker, u64::max);
                // Also of a part in the middle: for as long as a huge transaction is applied, it tells how far that is behind.
                self.committed = part.committed;
                if let Some(end) = part.end {
                    self.ends.0 += 1;
                    self.end = Some(position::<E>(&end)?);
                }
            }
            Record::Progress { position: p } => {
                // Nothing came before it that is not applied; how long ago the last commit was says nothing about us.
                self.committed = 0;
                self.ends.0 += 1;
                // Between the parts of one transaction there is no progress record, so this never moves a checkpoint into one.
                self.end = Some(position::<E>(&p)?);
            }
        }
        Ok(())
    }
}

/// A position that was written as text.
pub(crate) fn position<E: Engine>(text: &str) -> Result<E::Position> {
    text.parse().map_err(|e| {
        Error::corrupt(format!("the change log holds a position that cannot be read: {text:?}: {e}"))
    })
}

fn since(micros: i64) -> Duration {
    let now = clock::real().as_microsecond();
    Duration::from_micros(now.saturating_sub(micros.max(0)).max(0) as u64)
}

/// What an applier needs to open sessions.
pub struct Opener<E: Engine> {
    /// The engine.
    pub engine: E,
    /// The plan.
    pub plan: Arc<Plan>,
    /// The migration's number.
    pub migration: i64,
    /// The runner's epoch.
    pub epoch: i64,
}

impl<E: Engine> Clone for Opener<E> {
    fn clone(&self) -> Self {
        Opener {
            engine: self.engine.clone(),
            plan: Arc::clone(&self.plan),
            migration: self.migration,
            epoch: self.epoch,
        }
    }
}

impl<E: Engine> Opener<E> {
    /// What hooks are told.
    pub fn event(&self, event: &'static str, phase: Phase, message: Option<String>) -> Event {
        Event {
            event,
            at: clock::real().to_string(),
            migration: self.migration,
            table: self.plan.source.to_string(),
            phase: phase.name().to_string(),
            message,
            detail: serde_json::Value::Null,
        }
    }

    /// Opens a session with this role.
    pub async fn open(&self, role: &str) -> Result<E::Session> {
        let opened = self.engine.session(&self.plan, self.migration, self.epoch, role);
        patience::answer(&format!("opening a session ({role})"), Box::pin(opened)).await
    }
}

/// How an applier goes about its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// With a pause after each batch, so that changes are written by the dozen: a commit of ours costs clients as much as one of their own.
    Gently(Duration),
    /// At once.
    Swiftly,
    /// No more, from the edge of the next batch.
    Halted,
}

/// An applier at work in its own task.
pub struct Applying<E: Engine> {
    manner: watch::Sender<Manner>,
    back: oneshot::Receiver<Applier<E>>,
}

impl<E: Engine> Applying<E> {
    /// Starts applying. An error goes to `failures` and ends the task.
    pub fn start(
        applier: Applier<E>,
        opener: Opener<E>,
        failures: mpsc::Sender<Error>,
        manner: Manner,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Applying<E> {
        let (manner, told) = watch::channel(manner);
        let (give_back, back) = oneshot::channel();
        tasks.spawn(async move {
            match work(applier, opener, told).await {
                Ok(applier) => drop(give_back.send(applier)),
                Err(e) => drop(failures.send(e.while_trying("applying changes")).await),
            }
        });
        Applying { manner, back }
    }

    /// From now on applies at once.
    pub fn hurry(&self) {
        self.manner.send_replace(Manner::Swiftly);
    }

    /// Stops at the edge of a batch and gives the applier back.
    pub async fn halt(self) -> Result<Applier<E>> {
        self.manner.send_replace(Manner::Halted);
        self.back.await.map_err(|_| Error::transient("the applier ended by itself"))
    }
}

async fn work<E: Engine>(
    mut applier: Applier<E>,
    opener: Opener<E>,
    mut told: watch::Receiver<Manner>,
) -> Result<Applier<E>> {
    let mut session = opener.open("apply").await?;
    let frontier = applier.frontier.clone();
    let (mut pause, mut failed) = (RECHECK_FIRST, 0);
    loop {
        let manner = *told.borrow_and_update();
        if manner == Manner::Halted {
            return Ok(applier);
        }
        if applier.is_idle() {
            tokio::select! {
                read = applier.wait() => read?,
                _ = told.changed() => continue,
            }
        }
        match applier.step(&mut session).await {
            Ok(true) => {
                (pause, failed) = (RECHECK_FIRST, 0);
                // A backlog is not waited for.
                if let Manner::Gently(gather) = manner
                    && applier.is_idle()
                    && !applier.ledger.is_watched()
                {
                    tokio::select! {
                        () = tokio::time::sleep(gather) => {}
                        _ = told.changed() => {}
                    }
                }
            }
            Ok(false) => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = frontier.moved() => {}
                    _ = told.changed() => {}
                }
                pause = (pause * 2).min(RECHECK_MAX);
            }
            Err(e) if e.is_transient() && failed + 1 < TRIES => {
                failed += 1;
                warn!(attempt = failed, error = %e, "could not apply a batch; trying again through a new session");
                tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(failed)).await;
                session = opener.open("apply").await.tried("opening a new session for applying")?;
            }
            Err(e) => return Err(e),
        }
    }
}
