//! The task that reads the change stream into the change log, and tells the server what is applied.
//!
//! It knows nothing of frontiers or batches. Reading goes on while applying is paused; only a full change log makes it wait, and even
//! then it goes on confirming, so that the server never takes it for dead.

use crate::{
    apply::Applied,
    change::Change,
    engine::{Engine, Event, Stream},
    error::{Error, Result},
};
use bincode::{Decode, Encode};
use shadowswap_changelog::Writer;
use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::sync::watch;

/// What the change log holds: a part of one transaction, or a position before which nothing of ours is left.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) enum Record<T> {
    /// Changes of one transaction, in order. A transaction may take several; the last one has an end.
    Part { tx: T, changes: Vec<Change>, markers: Vec<u64>, end: Option<End> },
    /// Nothing of ours comes before this position any more.
    Progress { position: String },
}

/// The end of a transaction.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct End {
    pub position: String,
    /// Microseconds since 1970; zero where unknown.
    pub committed: i64,
}

/// A part holds about this many bytes, so that a huge transaction never lies in memory whole.
const PART_BYTES: usize = 256 << 10;
fn part_bytes() -> usize {
    #[cfg(feature = "simulation")]
    if let Some(sizes) = crate::mutations::sizes() {
        return sizes.part_bytes;
    }
    PART_BYTES
}

/// A record is decoded with this limit: the largest row that a server can send, and some room.
const RECORD_LIMIT: usize = 2 << 30;
/// Servers drop a silent reader after 60 s by default; a tenth of that is never missed.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);

impl<T: Encode + Decode<()>> Record<T> {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        bincode::encode_to_vec(self, bincode::config::standard())
            .map_err(|e| Error::corrupt("could not encode a change log record").because(e))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Record<T>> {
        let config = bincode::config::standard().with_limit::<RECORD_LIMIT>();
        let (record, read) = bincode::decode_from_slice(bytes, config)
            .map_err(|e| Error::corrupt("the change log holds a record that cannot be decoded").because(e))?;
        if read != bytes.len() {
            return Err(Error::corrupt("the change log holds a record with bytes left over"));
        }
        Ok(record)
    }
}

/// Reads until an error; says how many records wait. Dropping it drops the stream, whose connection is then closed.
pub(crate) async fn run<E: Engine>(
    mut stream: E::Stream,
    mut log: Writer,
    applied: watch::Receiver<Applied<E::Position>>,
    waiting: &AtomicU64,
) -> Result<()> {
    let mut open: Option<Open<E::TxId>> = None;
    let mut tick = tokio::time::interval(CONFIRM_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = stream.next() => event?,
            _ = tick.tick() => {
                confirm::<E>(&mut stream, &applied).await?;
                waiting.store(log.stats().records, Ordering::Relaxed);
                continue;
            }
        };
        let record = match event {
            Event::Begin(tx) => {
                if open.replace(Open { tx, changes: Vec::new(), markers: Vec::new(), bytes: 0 }).is_some() {
                    return Err(Error::corrupt("the change stream began a transaction inside another"));
                }
                continue;
            }
            Event::Change(change) => {
                let part = open.as_mut().ok_or_else(outside)?;
                part.bytes += change.bytes();
                part.changes.push(change);
                if part.bytes < part_bytes() {
                    continue;
                }
                part.take(None)
            }
            Event::Marker(token) => {
                open.as_mut().ok_or_else(outside)?.markers.push(token);
                continue;
            }
            Event::Commit { position, committed } => {
                let mut part = open.take().ok_or_else(outside)?;
                part.take(Some(End { position: position.to_string(), committed }))
            }
            Event::Progress(position) => Record::Progress { position: position.to_string() },
        };
        append::<E>(&mut log, record.encode()?, &mut stream, &applied, &mut tick).await?;
        waiting.store(log.stats().records, Ordering::Relaxed);
    }
}

struct Open<T> {
    tx: T,
    changes: Vec<Change>,
    markers: Vec<u64>,
    bytes: usize,
}

impl<T: Clone> Open<T> {
    fn take(&mut self, end: Option<End>) -> Record<T> {
        self.bytes = 0;
        Record::Part {
            tx: self.tx.clone(),
            changes: std::mem::take(&mut self.changes),
            markers: std::mem::take(&mut self.markers),
            end,
        }
    }
}

fn outside() -> Error {
    Error::corrupt("the change stream gave a change outside a transaction")
}

/// Appends, and keeps confirming for as long as the log is full.
async fn append<E: Engine>(
    log: &mut Writer,
    record: Vec<u8>,
    stream: &mut E::Stream,
    applied: &watch::Receiver<Applied<E::Position>>,
    tick: &mut tokio::time::Interval,
) -> Result<()> {
    let append = log.append(record);
    tokio::pin!(append);
    loop {
        tokio::select! {
            biased;
            done = &mut append => return Ok(done?),
            _ = tick.tick() => confirm::<E>(stream, applied).await?,
        }
    }
}

fn confirm<E: Engine>(
    stream: &mut E::Stream,
    applied: &watch::Receiver<Applied<E::Position>>,
) -> impl Future<Output = Result<()>> {
    let position = {
        let applied = applied.borrow();
        applied.position.clone().filter(|_| !applied.is_held)
    };
    async move {
        match position {
            Some(position) => stream.confirm(&position).await,
            None => Ok(()),
        }
    }
}
