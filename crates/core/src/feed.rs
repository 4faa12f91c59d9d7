//! The task that reads the change stream into the change log, and tells the server what is applied.
//!
//! It knows nothing of frontiers or batches. Reading goes on while applying is paused; only a full change log makes it wait, and even
//! then it goes on confirming, so that the server never takes it for dead.

use crate::{
    apply::Applied,
    change::Change,
    copy::Counters,
    engine::{Engine, Event, Stream},
    error::{Error, Result},
    journal::Keeper,
};
use bincode::{Decode, Encode};
use shadowswap_changelog::Writer;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::sync::watch;

/// What the change log holds: a part of one transaction, or a position before which nothing of ours is left.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) enum Record<T> {
    /// Changes of one transaction, in order. A transaction may take several; the last one has an end.
    Part(Part<T>),
    /// Nothing of ours comes before this position any more.
    Progress { position: String },
}

/// Changes of one transaction, and where the stream goes on behind it if they are its last.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Part<T> {
    pub tx: T,
    /// When the transaction was committed, in microseconds since 1970; zero where unknown.
    pub committed: i64,
    pub changes: Vec<Change>,
    pub markers: Vec<u64>,
    pub end: Option<String>,
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

impl<T> Record<T> {
    /// The position that it ends at, if a transaction ends with it.
    pub(crate) fn end(&self) -> Option<&str> {
        match self {
            Record::Part(part) => part.end.as_deref(),
            Record::Progress { position } => Some(position),
        }
    }
}

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

/// Reads until an error; says how many records wait, and whether there is no room for more. With a keeper, what it has goes first.
/// Dropping it drops the stream, whose connection is then closed.
pub(crate) async fn run<E: Engine>(
    stream: E::Stream,
    mut log: Writer,
    applied: watch::Receiver<Applied<E::Position>>,
    counters: &Counters,
    keeper: Option<Keeper<E>>,
) -> Result<()> {
    let mut tick = tokio::time::interval(CONFIRM_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut source = Source { stream, applied, keeper, tick, counters };
    source.replay(&mut log).await?;
    let mut open: Option<Open<E::TxId>> = None;
    loop {
        let event = tokio::select! {
            event = source.stream.next() => event?,
            _ = source.tick.tick() => {
                source.confirm().await?;
                counters.waiting.store(log.stats().records, Ordering::Relaxed);
                continue;
            }
        };
        let (record, end) = match event {
            Event::Begin { tx, committed } => {
                if open.replace(Open::new(tx, committed)).is_some() {
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
                (part.take(None), None)
            }
            Event::Marker(token) => {
                open.as_mut().ok_or_else(outside)?.markers.push(token);
                continue;
            }
            Event::Commit(position) => {
                let mut part = open.take().ok_or_else(outside)?;
                (part.take(Some(position.to_string())), Some(position))
            }
            Event::Progress(position) => {
                (Record::Progress { position: position.to_string() }, Some(position))
            }
        };
        let bytes = record.encode()?;
        // A row of many megabytes need not be there twice.
        drop(record);
        source.keep(&bytes, end).await?;
        source.append(&mut log, bytes).await?;
        counters.waiting.store(log.stats().records, Ordering::Relaxed);
    }
}

struct Open<T> {
    tx: T,
    committed: i64,
    changes: Vec<Change>,
    markers: Vec<u64>,
    bytes: usize,
}

impl<T: Clone> Open<T> {
    fn new(tx: T, committed: i64) -> Open<T> {
        Open { tx, committed, changes: Vec::new(), markers: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, end: Option<String>) -> Record<T> {
        self.bytes = 0;
        Record::Part(Part {
            tx: self.tx.clone(),
            committed: self.committed,
            changes: std::mem::take(&mut self.changes),
            markers: std::mem::take(&mut self.markers),
            end,
        })
    }
}

fn outside() -> Error {
    Error::corrupt("the change stream gave a change outside a transaction")
}

/// The stream, and what is told to the server that it is of.
struct Source<'a, E: Engine> {
    stream: E::Stream,
    applied: watch::Receiver<Applied<E::Position>>,
    keeper: Option<Keeper<E>>,
    tick: tokio::time::Interval,
    counters: &'a Counters,
}

impl<E: Engine> Source<'_, E> {
    /// Gives the log what is on this machine's disk already.
    async fn replay(&mut self, log: &mut Writer) -> Result<()> {
        loop {
            let Some(keeper) = &mut self.keeper else { return Ok(()) };
            let records = keeper.replay().await?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                self.append(log, record).await?;
            }
            self.counters.waiting.store(log.stats().records, Ordering::Relaxed);
        }
    }

    /// Appends, and keeps confirming for as long as the log is full.
    async fn append(&mut self, log: &mut Writer, record: Vec<u8>) -> Result<()> {
        let append = log.append(record);
        tokio::pin!(append);
        let mut ticks = 0;
        loop {
            tokio::select! {
                biased;
                done = &mut append => break done?,
                _ = self.tick.tick() => {
                    // At the first, it may only wait for others to be written.
                    ticks += 1;
                    self.counters.log_full.store(ticks > 1, Ordering::Relaxed);
                    self.confirm().await?;
                }
            }
        }
        self.counters.log_full.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the record to the journal, if there is one, once it has room.
    async fn keep(&mut self, record: &[u8], end: Option<E::Position>) -> Result<()> {
        loop {
            let ends = self.applied.borrow().ends;
            let Some(keeper) = &mut self.keeper else { return Ok(()) };
            if keeper.has_room(ends)? {
                return keeper.append(record, end);
            }
            self.counters.log_full.store(true, Ordering::Relaxed);
            self.tick.tick().await;
            self.confirm().await?;
        }
    }

    async fn confirm(&mut self) -> Result<()> {
        let (applied, (_, saved), is_held) = {
            let applied = self.applied.borrow();
            (applied.position.clone(), applied.ends, applied.is_held)
        };
        let position = match &mut self.keeper {
            Some(keeper) => {
                keeper.tick(saved).await?;
                keeper.durable().cloned()
            }
            None => applied,
        };
        // What is committed after a swap is for the stream of the next turn. All that was received until it is held lies before.
        if let Some(position) = position.filter(|_| !is_held) {
            self.stream.confirm(&position).await?;
        }
        Ok(())
    }
}
