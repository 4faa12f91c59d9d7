//! Copying: permit → claim → ticket → floor → one copying statement → leave.

use crate::{
    apply::Opener,
    chunk::Servo,
    config::Live,
    control::{Control, CopyState},
    engine::{Bound, Chunk, Copied, Engine, Fate, Session},
    error::{Error, Kind, Result, Tried},
    failpoint::{self, Place},
    frontier::{Frontier, Ticket},
    mutations::{Mutation, breaks},
    patience,
    setting::WORKERS_MAX,
    throttle::{Throttle, steer::gait},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::{debug, warn};

/// Tries at one chunk.
const TRIES: u32 = 8;

/// Numbers of the copy, for progress. Only ever grow, but for the last chunk's.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows copied, by all runs.
    pub rows: AtomicU64,
    /// Chunks copied by this process.
    pub chunks: AtomicU64,
    /// The last chunk's time in microseconds.
    pub chunk_us: AtomicU64,
    /// The rows of the next chunk.
    pub chunk_rows: AtomicU64,
    /// Rows compared.
    pub verified: AtomicU64,
    /// Chunks compared.
    pub verified_chunks: AtomicU64,
    /// Records that wait in the change log.
    pub waiting: AtomicU64,
    /// There is no room in it: the change stream is not read.
    pub log_full: AtomicBool,
    /// Chunks that are being copied or compared.
    pub under_way: watch::Sender<usize>,
}

impl Counters {
    /// Waits until no chunk is being copied or compared. Cancel-safe.
    pub async fn idle(&self) {
        // The sender lives as long as this.
        drop(self.under_way.subscribe().wait_for(|n| *n == 0).await);
    }
}

/// What the copiers share.
pub struct Copying<E: Engine> {
    /// Opens their sessions.
    pub opener: Opener<E>,
    /// The rule.
    pub frontier: Frontier<E::TxId, E::Floor>,
    /// Where chunks are claimed.
    pub control: Arc<E::Control>,
    /// What holds them.
    pub throttle: Throttle,
    /// Numbers.
    pub counters: Arc<Counters>,
    /// The time that a chunk should take, how many copiers there are, and how much rest follows a chunk; may change at any time.
    pub live: Live,
}

struct Cursor {
    next: i64,
    lower: Option<Bound>,
    last: Bound,
    again: Vec<Chunk>,
    is_done: bool,
}

/// Copies what is left. Returns true when everything is copied, false when the throttle was closed first.
///
/// Dropping it leaves claimed chunks undone; the next run redoes them.
pub async fn run<E: Engine>(copying: Copying<E>, state: CopyState) -> Result<bool> {
    let Some(last) = state.last else { return Ok(true) };
    let is_done = state.cursor.as_ref() == Some(&last);
    let cursor = Cursor { next: state.chunk + 1, lower: state.cursor, last, again: state.undone, is_done };
    let cursor = Arc::new(AsyncMutex::new(cursor));
    let copying = Arc::new(copying);
    let drained = watch::Sender::new(false);
    let mut workers = JoinSet::new();
    // One for each that there could be: most of them wait, and open no session before they are let through.
    for n in 0..WORKERS_MAX {
        workers.spawn(work(Arc::clone(&copying), Arc::clone(&cursor), n, drained.clone()));
    }
    let mut finished = true;
    while let Some(ended) = workers.join_next().await {
        finished &= ended.map_err(|e| Error::corrupt("a copier panicked").because(e))??;
    }
    Ok(finished)
}

async fn work<E: Engine>(
    copying: Arc<Copying<E>>,
    cursor: Arc<AsyncMutex<Cursor>>,
    n: usize,
    drained: watch::Sender<bool>,
) -> Result<bool> {
    let role = format!("copy {n}");
    let mut is_drained = drained.subscribe();
    let mut kept: Option<E::Session> = None;
    let mut servo = Servo::new(copying.live.with(|c| c.chunk_time));
    loop {
        if !copying.throttle.admits(n) {
            // A session that is not used only takes a place.
            kept = kept.filter(|_| copying.throttle.reason().is_some());
        }
        tokio::select! {
            is_let = copying.throttle.permit(n) => if !is_let {
                return Ok(false);
            },
            Ok(_) = is_drained.wait_for(|drained| *drained) => return Ok(true),
        }
        let mut session = match kept.take() {
            Some(session) => session,
            None => copying.opener.open(&role).await?,
        };
        let (chunk_time, workers, pace) = copying.live.with(|c| (c.chunk_time, c.copy_workers, c.pace()));
        let gait = gait(copying.throttle.ease(), workers, chunk_time);
        servo.aim(gait.chunk_time);
        let rows = servo.rows();
        copying.counters.chunk_rows.store(rows, Ordering::Relaxed);
        let Some((chunk, spans)) = claim(&copying, &cursor, &mut session, rows).await? else {
            drained.send_replace(true);
            return Ok(true);
        };
        let started = Instant::now();
        copying.counters.under_way.send_modify(|n| *n += 1);
        let ended = copy_one(&copying, session, chunk, &role).await;
        copying.counters.under_way.send_modify(|n| *n -= 1);
        let (copied, back) = ended?;
        kept = Some(back);
        let took = started.elapsed();
        servo.observe(spans, took);
        copying.counters.rows.fetch_add(copied.rows, Ordering::Relaxed);
        copying.counters.chunks.fetch_add(1, Ordering::Relaxed);
        copying.counters.chunk_us.store(took.as_micros() as u64, Ordering::Relaxed);
        copying.throttle.rest(pace.after(took) + took.mul_f64(gait.rest)).await;
    }
}

/// The next chunk, and how many rows it spans (zero: not known): one that an earlier run left undone, or the next range. One worker at a time finds a bound.
async fn claim<E: Engine>(
    copying: &Copying<E>,
    cursor: &AsyncMutex<Cursor>,
    session: &mut E::Session,
    rows: u64,
) -> Result<Option<(Chunk, u64)>> {
    let mut cursor = cursor.lock().await;
    if let Some(chunk) = cursor.again.pop() {
        return Ok(Some((chunk, 0)));
    }
    if cursor.is_done {
        return Ok(None);
    }
    let found = session.next_bound(cursor.lower.as_ref(), &cursor.last, rows);
    let bound =
        patience::work("looking where the next chunk ends", found).await.tried("finding the next chunk")?;
    let upper = bound.unwrap_or_else(|| cursor.last.clone());
    let is_done = upper == cursor.last;
    let chunk =
        Chunk { id: cursor.next, lower: cursor.lower.clone(), upper: Some(upper.clone()), attempt: 0 };
    failpoint::at(Place::ChunkClaiming).await;
    copying.control.claim(copying.opener.migration, copying.opener.epoch, &chunk).await?;
    failpoint::at(Place::ChunkClaimed).await;
    cursor.next += 1;
    cursor.lower = Some(upper);
    cursor.is_done = is_done;
    // The last chunk may be of any size.
    Ok(Some((chunk, if is_done { 0 } else { rows })))
}

/// Copies one chunk, again where the world misbehaves. The ticket stays until the chunk's fate is known.
async fn copy_one<E: Engine>(
    copying: &Copying<E>,
    mut session: E::Session,
    mut chunk: Chunk,
    role: &str,
) -> Result<(Copied, E::Session)> {
    for tried in 1..=TRIES {
        let enter = || copying.frontier.enter();
        let mut ticket = (!breaks(Mutation::TicketAfterFloor)).then(enter);
        let raise = |floor| ticket.get_or_insert_with(enter).raise(floor);
        let copied = session.copy_chunk(&chunk, raise);
        let error = match patience::work(&format!("copying chunk {}", chunk.id), copied).await {
            Ok(copied) => {
                failpoint::at(Place::ChunkCopied).await;
                ticket.into_iter().for_each(Ticket::leave);
                debug!(chunk = chunk.id, rows = copied.rows, "chunk copied");
                return Ok((copied, session));
            }
            Err(e) => e,
        };
        if !error.is_transient() && error.kind != Kind::Ambiguous {
            return Err(error.while_trying(format_args!("copying chunk {}", chunk.id)));
        }
        warn!(chunk = chunk.id, attempt = tried, error = %error, "a chunk failed; looking what became of it");
        tokio::time::sleep(Duration::from_millis(20) * 2_u32.pow(tried)).await;
        session = copying.opener.open(role).await.tried("opening a new session for copying")?;
        if breaks(Mutation::RetriesAmbiguous) {
            ticket.into_iter().for_each(Ticket::leave);
            continue;
        }
        let fate = patience::work("waiting for what an orphan does", session.fate(&chunk)).await;
        let fate = fate.tried("finding out what became of a chunk")?;
        ticket.into_iter().for_each(Ticket::leave);
        if fate == Fate::Done {
            return Ok((Copied::default(), session));
        }
        chunk.attempt += 1;
    }
    Err(Error::transient(format!("chunk {} failed {TRIES} times", chunk.id)))
}
