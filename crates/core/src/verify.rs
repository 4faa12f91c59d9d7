//! Comparing every row of both tables, without a lock, exactly, while clients write.
//!
//! One snapshot shows the source as it is and the shadow as far as it is applied; a row may differ only because its change is still on
//! its way. When is a difference real? Let a key differ in a snapshot S, and let a marker be sent after S was taken. Every transaction
//! that S shows in the source committed before the marker; those that the shadow lacked in S are applied after S and before the marker
//! comes by. The ledger counts each application to a watched key. So if the key's count is the same before S as after the marker came
//! by, nothing was on its way: the difference is real. Otherwise look again.
//!
//! Keys that a collation takes for equal though their bytes differ can hide an application from the ledger. Therefore a difference has
//! to be found real [`WITNESSES`] times in a row.

use crate::{
    apply::{Applied, Ledger, Opener},
    chunk::Servo,
    config::Live,
    copy::Counters,
    engine::{Apply, Bound, Chunk, Compared, Engine, Session, Suspect},
    error::{Error, Kind, Result, Tried},
    mutations::{Mutation, breaks},
    patience,
    throttle::{Throttle, steer::gait},
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::{info, warn};

/// Rows of one comparison at most. Larger ones were no faster (PostgreSQL 15), and show more rows whose change is on its way.
const ROWS: u64 = 20_000;
/// Keys that one comparison names.
const KEYS: usize = 2_000;
/// How often a difference must be found with nothing on its way before it counts.
const WITNESSES: u32 = 3;
/// How often a comparison with more differences than [`KEYS`] is repeated.
const ROUNDS: u32 = 1_000;
/// Keys that the error names.
const SHOWN: usize = 20;

/// Hands out markers: numbers that no other runner of this migration uses.
#[derive(Debug)]
pub struct Markers(AtomicU64);

impl Markers {
    /// Markers of this epoch.
    pub fn new(epoch: i64) -> Markers {
        Markers(AtomicU64::new((epoch as u64) << 32))
    }

    /// The next one.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Sends a marker and waits until everything before it is applied.
pub async fn settle<E: Engine, A: Apply<E>>(
    session: &mut A,
    markers: &Markers,
    applied: &watch::Sender<Applied<E::Position>>,
) -> Result<()> {
    let token = markers.next();
    patience::answer("sending a marker", session.mark(token)).await.tried("sending a marker")?;
    patience::told("for what is committed now to be applied", reached::<E>(token, applied)).await
}

/// Waits until everything before a marker is applied.
pub async fn reached<E: Engine>(token: u64, applied: &watch::Sender<Applied<E::Position>>) -> Result<()> {
    let mut applied = applied.subscribe();
    let reached = applied.wait_for(|a| a.marker >= token).await;
    reached.map(|_| ()).map_err(|_| Error::transient("the applier ended"))
}

/// What the comparers share.
pub struct Verifying<E: Engine> {
    /// Opens their sessions.
    pub opener: Opener<E>,
    /// Counts applications to suspects.
    pub ledger: Ledger,
    /// Markers.
    pub markers: Arc<Markers>,
    /// How far applying is.
    pub applied: watch::Sender<Applied<E::Position>>,
    /// Numbers.
    pub counters: Arc<Counters>,
    /// What holds them; closing it does not.
    pub throttle: Throttle,
    /// The time that a comparison should take at most, and how much rest follows it; may change at any time.
    pub live: Live,
}

impl<E: Engine> Clone for Verifying<E> {
    fn clone(&self) -> Self {
        Verifying {
            opener: self.opener.clone(),
            ledger: self.ledger.clone(),
            markers: Arc::clone(&self.markers),
            applied: self.applied.clone(),
            counters: Arc::clone(&self.counters),
            throttle: self.throttle.clone(),
            live: self.live.clone(),
        }
    }
}

struct Cursor {
    id: i64,
    lower: Option<Bound>,
    last: Option<Bound>,
    is_done: bool,
}

/// Compares every row.
///
/// # Errors
/// `Differs` with the keys if rows really differ.
pub async fn run<E: Engine>(verifying: Verifying<E>, workers: usize) -> Result<()> {
    let mut first = verifying.opener.open("verify").await?;
    let last = patience::work("looking for the last key", first.last_key()).await?;
    drop(first);
    let cursor = Arc::new(AsyncMutex::new(Cursor { id: 0, lower: None, last, is_done: false }));
    verifying.counters.verified.store(0, Ordering::Relaxed);
    verifying.counters.verified_chunks.store(0, Ordering::Relaxed);
    let mut set = JoinSet::new();
    let drained = watch::Sender::new(false);
    for n in 0..workers.max(1) {
        set.spawn(work(verifying.clone(), Arc::clone(&cursor), n, drained.clone()));
    }
    while let Some(ended) = set.join_next().await {
        ended.map_err(|e| Error::corrupt("a comparer panicked").because(e))??;
    }
    info!(
        rows = verifying.counters.verified.load(Ordering::Relaxed),
        chunks = verifying.counters.verified_chunks.load(Ordering::Relaxed),
        "every row compared"
    );
    Ok(())
}

async fn work<E: Engine>(
    verifying: Verifying<E>,
    cursor: Arc<AsyncMutex<Cursor>>,
    n: usize,
    drained: watch::Sender<bool>,
) -> Result<()> {
    let mut is_drained = drained.subscribe();
    let role = format!("verify {n}");
    let mut session = verifying.opener.open(&role).await?;
    let mut servo = Servo::new(verifying.live.with(|c| c.chunk_time));
    loop {
        tokio::select! {
            // Closed, the run is stopping, and is about to drop this.
            _ = verifying.throttle.permit(n) => {}
            Ok(_) = is_drained.wait_for(|drained| *drained) => return Ok(()),
        }
        let (chunk_time, workers, pace) = verifying.live.with(|c| (c.chunk_time, c.copy_workers, c.pace()));
        let gait = gait(verifying.throttle.ease(), workers, chunk_time);
        servo.aim(gait.chunk_time);
        let rows = servo.rows().min(ROWS);
        let chunk = {
            let mut cursor = cursor.lock().await;
            if cursor.is_done {
                return Ok(());
            }
            let upper = match &cursor.last {
                Some(last) => {
                    let bound = session.next_bound(cursor.lower.as_ref(), last, rows);
                    patience::work("looking where the next range ends", bound).await?
                }
                None => None,
            };
            cursor.id += 1;
            // The last range is open above, so that rows which only the shadow has are found wherever they are.
            cursor.is_done = upper.is_none();
            drained
                .send_if_modified(|drained| std::mem::replace(drained, upper.is_none()) != upper.is_none());
            let lower = std::mem::replace(&mut cursor.lower, upper.clone());
            Chunk { id: cursor.id, lower, upper, attempt: 0 }
        };
        let (compared, took) = compare(&verifying, (&mut session, &role), &chunk).await?;
        // The last range may be of any size.
        servo.observe(if chunk.upper.is_some() { rows } else { 0 }, took);
        verifying.counters.verified.fetch_add(compared.rows_source, Ordering::Relaxed);
        verifying.counters.verified_chunks.fetch_add(1, Ordering::Relaxed);
        verifying.throttle.rest(pace.after(took) + took.mul_f64(gait.rest)).await;
    }
}

/// Compares one range until nothing in it is in doubt. Gives the time that the server was at work on it, too: waiting for changes is none.
async fn compare<E: Engine>(
    verifying: &Verifying<E>,
    (session, role): (&mut E::Session, &str),
    chunk: &Chunk,
) -> Result<(Compared, Duration)> {
    let mut took = Duration::ZERO;
    let Opener { engine, migration, .. } = &verifying.opener;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        verifying.counters.under_way.send_modify(|n| *n += 1);
        // Where keys of both tables sort in different ways this is the whole table in one piece.
        let compared = session.compare(chunk, KEYS);
        let compared = patience::attended(engine, (*migration, role), "comparing a range", compared).await;
        verifying.counters.under_way.send_modify(|n| *n -= 1);
        took += started.elapsed();
        let compared = compared.tried("comparing source and shadow")?;
        let suspects = compared.differing.clone();
        let is_whole = suspects.len() < KEYS;
        if suspects.is_empty() {
            return if compared.rows_source == compared.rows_shadow {
                Ok((compared, took))
            } else {
                Err(Error::corrupt("a comparison counted different rows but named none"))
            };
        }
        judge(verifying, session, chunk, suspects).await?;
        if is_whole {
            return Ok((compared, took));
        }
    }
    Err(Error::transient(format!(
        "{KEYS} or more rows of one range were being changed at each of {ROUNDS} looks"
    ))
    .next("run again in a quieter hour, or with a smaller write load on this table"))
}

/// Looks at the suspects until each is equal or found to differ with nothing on its way.
async fn judge<E: Engine>(
    verifying: &Verifying<E>,
    session: &mut E::Session,
    chunk: &Chunk,
    mut suspects: Vec<Suspect>,
) -> Result<()> {
    let ledger = &verifying.ledger;
    let mut keys: Vec<_> = suspects.iter().map(|s| s.key.clone()).collect();
    ledger.watch(keys.iter().cloned());
    let mut witnesses: HashMap<_, u32> = HashMap::new();
    let verdict = loop {
        settle::<E, _>(session, &verifying.markers, &verifying.applied).await?;
        let before: HashMap<_, _> = suspects.iter().map(|s| (s.key.clone(), ledger.count(&s.key))).collect();
        let still = patience::work("looking at differing rows again", session.recheck(&suspects)).await;
        let mut still = still.tried("looking at differing rows again")?;
        if still.is_empty() {
            break Ok(());
        }
        settle::<E, _>(session, &verifying.markers, &verifying.applied).await?;
        if breaks(Mutation::VerifySkipsMovedKeys) {
            still.retain(|s| before.get(&s.key) == Some(&ledger.count(&s.key)));
        }
        let mut real = Vec::new();
        for suspect in &still {
            let quiet = before.get(&suspect.key) == Some(&ledger.count(&suspect.key));
            let seen = witnesses.entry(suspect.key.clone()).or_insert(0);
            *seen = if quiet { *seen + 1 } else { 0 };
            if *seen >= WITNESSES {
                real.push(suspect.clone());
            }
        }
        if real.is_empty() {
            suspects = still;
            continue;
        }
        // A row whose key has got other bytes since, as equal as before, is changed under a name that was not watched.
        let named = session.compare(chunk, KEYS).await.tried("comparing source and shadow")?.differing;
        let is_same = |suspect: &Suspect| named.iter().any(|now| now.key == suspect.key);
        let (real, renamed): (Vec<_>, Vec<_>) =
            real.into_iter().partition(|suspect| is_same(suspect) || breaks(Mutation::VerifyKeepsOldNames));
        if !real.is_empty() {
            break Err(differs(&real));
        }
        suspects = still.into_iter().filter(|s| renamed.iter().all(|r| r.key != s.key)).collect();
        let new: Vec<_> = named.into_iter().filter(|now| suspects.iter().all(|s| s.key != now.key)).collect();
        ledger.watch(new.iter().map(|s| s.key.clone()));
        keys.extend(new.iter().map(|s| s.key.clone()));
        suspects.extend(new);
    };
    ledger.forget(&keys);
    verdict
}

fn differs(real: &[Suspect]) -> Error {
    for suspect in real {
        warn!(key = suspect.bound.0, what = suspect.what, "row differs");
    }
    let mut keys: Vec<_> = real.iter().take(SHOWN).map(|s| format!("{} ({})", s.bound.0, s.what)).collect();
    if real.len() > SHOWN {
        keys.push(format!("and {} more", real.len() - SHOWN));
    }
    Error::new(
        Kind::Differs,
        format!("verification found rows that differ with nothing on their way; nothing was swapped: {}", keys.join(", ")),
    )
    .next("look at these rows in both tables; `shadowswap abort` removes the shadow and leaves the source as it was")
}
