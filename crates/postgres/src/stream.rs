//! The change stream: pgoutput's messages to changes of our one table.
//!
//! Values are never interpreted. Rows and keys leave here in COPY's own format. Transactions that the server streams before they are
//! over (protocol 2) are spooled to disk and given out at their commit, so that the core only ever sees whole transactions in commit
//! order.

use crate::{
    Lsn, Postgres,
    decode::{Column, Message, Old, Relation, Tuple, decode},
    floor::Xid,
    plan::Detail,
    replication::{Frame, ReplicationStream},
    rows,
};
use bincode::{Decode, Encode};
use shadowswap_changelog::{Spool, SpoolReader};
use shadowswap_core::{
    Change, Error, Event, Key, Kind, Op, Result, Stream as CoreStream,
    change::IMAGE_BYTES_MAX,
    plan::{Link, Plan},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::PathBuf,
};

/// Microseconds from 1970 to 2000, where PostgreSQL's clock begins.
const EPOCH_2000: i64 = 946_684_800_000_000;
/// Memory of one streamed transaction before it goes to disk. The server streams a transaction only once it is large.
const SPOOL_MEMORY: usize = 256 << 10;
/// A spooled record is decoded with this limit.
const SPOOL_RECORD: usize = 2 << 30;
/// Changes given out from a spool at once.
const SPOOL_AHEAD: usize = 256;

/// An open stream.
pub struct Stream {
    replication: ReplicationStream,
    table: Table,
    migration: i64,
    /// The same as it stands in names.
    tag: String,
    ready: VecDeque<Event<Postgres>>,
    spools: HashMap<u32, Streamed>,
    /// The top-level transaction whose block is being received.
    block: Option<u32>,
    replay: Option<Replay>,
    spool_directory: PathBuf,
    in_transaction: bool,
    /// True if the open transaction lies before where we go on: it is read and not given out.
    skipping: bool,
    from: Option<Lsn>,
}

/// What the stream knows of the table.
struct Table {
    oid: u32,
    name: String,
    link: Link,
    binary: bool,
    /// Every touched key is read again from the source.
    rereads: bool,
    sent: Vec<(String, u32)>,
    key: Vec<usize>,
}

#[derive(Encode, Decode)]
struct Spooled {
    xid: u32,
    change: Change,
}

struct Streamed {
    spool: Spool,
    aborted: HashSet<u32>,
}

struct Replay {
    reader: SpoolReader,
    aborted: HashSet<u32>,
    commit: Event<Postgres>,
}

impl Stream {
    /// A stream over an open replication connection.
    pub fn new(
        replication: ReplicationStream,
        plan: &Plan,
        detail: &Detail,
        migration: i64,
        spool_directory: PathBuf,
        from: Option<Lsn>,
    ) -> Result<Stream> {
        let sent = detail.sent_types();
        let place = |name: &str| sent.iter().position(|(c, _)| c == name);
        let key = plan.link.key.iter().map(|k| {
            place(&k.from).ok_or_else(|| {
                Error::refused(format!("the change stream does not carry the key column {}", k.from))
            })
        });
        let table = Table {
            oid: detail.source_oid,
            name: plan.source.to_string(),
            key: key.collect::<Result<_>>()?,
            sent: sent.clone(),
            link: plan.link.clone(),
            binary: detail.binary,
            rereads: detail.rereads(),
        };
        Ok(Stream {
            replication,
            table,
            migration,
            tag: crate::scope::tag(plan, migration),
            ready: VecDeque::new(),
            spools: HashMap::new(),
            block: None,
            replay: None,
            spool_directory,
            in_transaction: false,
            skipping: false,
            from,
        })
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Begin(begin) => {
                self.in_transaction = true;
                self.skipping = self.from.is_some_and(|from| begin.final_lsn < from);
                self.give(Event::Begin { tx: Xid(begin.xid), committed: begin.timestamp + EPOCH_2000 });
            }
            Message::Commit(commit) => {
                self.give(Event::Commit(commit.end_lsn));
                (self.in_transaction, self.skipping) = (false, false);
            }
            Message::Relation(relation) => self.table.check(&relation)?,
            Message::Insert(insert) => {
                let change = self.table.image(insert.relation, &insert.new, None)?;
                self.change(insert.xid, change)?;
            }
            Message::Update(update) => {
                let (moved, change) = self.table.update(update.relation, &update.old, &update.new)?;
                if let Some(moved) = moved {
                    self.change(update.xid, moved)?;
                }
                self.change(update.xid, change)?;
            }
            Message::Delete(delete) => {
                let key = match &delete.old {
                    Old::Key(tuple) | Old::Full(tuple) => self.table.key(delete.relation, tuple, None)?,
                    Old::None => return Err(Error::corrupt("a delete came without its key")),
                };
                self.change(delete.xid, Change { key, op: Op::Delete })?;
            }
            Message::Truncate(truncate) if truncate.relations.contains(&self.table.oid) => {
                return Err(Error::new(
                    Kind::Unfit,
                    format!("{} was truncated while it was being copied", self.table.name),
                )
                .next("nothing was swapped, and what was made is removed; run again"));
            }
            Message::Logical(message) => self.marker(&message.prefix, &message.content),
            Message::StreamStart(start) => self.open_block(start.xid)?,
            Message::StreamStop => self.block = None,
            Message::StreamAbort(abort) => self.stream_abort(abort.xid, abort.subxid),
            Message::StreamCommit(commit) => {
                self.stream_commit(commit.xid, commit.end_lsn, commit.timestamp + EPOCH_2000)?;
            }
            Message::Truncate(_) | Message::Origin(_) | Message::Type(_) => {}
        }
        Ok(())
    }

    fn give(&mut self, event: Event<Postgres>) {
        if !self.skipping {
            self.ready.push_back(event);
        }
    }

    fn change(&mut self, xid: Option<u32>, mut change: Change) -> Result<()> {
        if self.table.rereads {
            change.op = Op::Reread;
        }
        let Some(top) = self.block else {
            self.give(Event::Change(change));
            return Ok(());
        };
        let streamed = self
            .spools
            .get_mut(&top)
            .ok_or_else(|| Error::corrupt("a streamed change came outside its transaction"))?;
        let record = Spooled { xid: xid.unwrap_or(top), change };
        let record = bincode::encode_to_vec(&record, bincode::config::standard());
        streamed
            .spool
            .append(&record.map_err(|e| Error::corrupt("a streamed change cannot be stored").because(e))?)?;
        Ok(())
    }

    fn marker(&mut self, prefix: &str, content: &[u8]) {
        let ours = |content: &[u8]| {
            let (tag, token) = std::str::from_utf8(content).ok()?.split_once(':')?;
            (tag == self.tag).then(|| token.parse::<u64>().ok())?
        };
        if prefix == "shadowswap"
            && self.block.is_none()
            && self.in_transaction
            && let Some(token) = ours(content)
        {
            self.give(Event::Marker(token));
        }
    }

    fn open_block(&mut self, xid: u32) -> Result<()> {
        self.block = Some(xid);
        if let std::collections::hash_map::Entry::Vacant(entry) = self.spools.entry(xid) {
            let name = format!("streamed-{}-{xid}", self.migration);
            let spool = Spool::create(&self.spool_directory, &name, SPOOL_MEMORY)?;
            entry.insert(Streamed { spool, aborted: HashSet::new() });
        }
        Ok(())
    }

    fn stream_abort(&mut self, xid: u32, subxid: u32) {
        if xid == subxid {
            self.spools.remove(&xid);
        } else if let Some(streamed) = self.spools.get_mut(&xid) {
            streamed.aborted.insert(subxid);
        }
    }

    fn stream_commit(&mut self, xid: u32, position: Lsn, committed: i64) -> Result<()> {
        let streamed = self
            .spools
            .remove(&xid)
            .ok_or_else(|| Error::corrupt("a streamed transaction ended that never began"))?;
        if self.from.is_some_and(|from| position <= from) {
            return Ok(());
        }
        self.ready.push_back(Event::Begin { tx: Xid(xid), committed });
        let commit = Event::Commit(position);
        self.replay =
            Some(Replay { reader: streamed.spool.into_reader()?, aborted: streamed.aborted, commit });
        Ok(())
    }

    /// Moves some changes of a finished streamed transaction to the queue.
    fn replay(&mut self) -> Result<()> {
        let Some(replay) = &mut self.replay else { return Ok(()) };
        for _ in 0..SPOOL_AHEAD {
            let Some(record) = replay.reader.next()? else {
                if let Some(replay) = self.replay.take() {
                    self.ready.push_back(replay.commit);
                }
                return Ok(());
            };
            let config = bincode::config::standard().with_limit::<SPOOL_RECORD>();
            let (record, _): (Spooled, usize) = bincode::decode_from_slice(&record, config)
                .map_err(|e| Error::corrupt("a spooled change cannot be read").because(e))?;
            if !replay.aborted.contains(&record.xid) {
                self.ready.push_back(Event::Change(record.change));
            }
        }
        Ok(())
    }
}

impl CoreStream<Postgres> for Stream {
    async fn next(&mut self) -> Result<Event<Postgres>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.replay.is_some() {
                self.replay()?;
                continue;
            }
            match self.replication.next().await? {
                Frame::Wal { data, .. } => {
                    let message = decode(&data, self.block.is_some()).map_err(|e| {
                        Error::new(
                            Kind::Corrupt,
                            format!("a message of the change stream cannot be read: {e}"),
                        )
                    })?;
                    self.take(message)?;
                }
                Frame::Keepalive { end, .. } => {
                    if !self.in_transaction && self.block.is_none() {
                        return Ok(Event::Progress(end));
                    }
                }
            }
        }
    }

    async fn confirm(&mut self, position: &Lsn) -> Result<()> {
        self.replication.send_status(*position, *position).await
    }
}

impl Table {
    /// The definition that the stream announces must be the planned one, and stay so.
    fn check(&self, relation: &Relation) -> Result<()> {
        if relation.oid != self.oid {
            return Err(Error::corrupt(format!(
                "the change stream announced a table that is not ours: {}.{}",
                relation.namespace, relation.name
            )));
        }
        let announced: Vec<(&str, u32)> =
            relation.columns.iter().map(|c| (c.name.as_str(), c.type_oid)).collect();
        let planned: Vec<(&str, u32)> = self.sent.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        if announced == planned
            && relation.name == self.link.from.name
            && relation.namespace == self.link.from.schema
        {
            return Ok(());
        }
        Err(Error::new(Kind::Unfit, format!(
            "the definition of {} changed while it was being copied: the change stream now has {announced:?} for {}.{}",
            self.name, relation.namespace, relation.name
        ))
        .next("nothing was swapped, and what was made is removed; plan and run again"))
    }

    fn is_ours(&self, oid: u32, tuple: &Tuple) -> Result<()> {
        if oid == self.oid && tuple.columns.len() == self.sent.len() {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "the change stream gave {} columns of table {oid}; {} has {}",
            tuple.columns.len(),
            self.name,
            self.sent.len()
        )))
    }

    fn value<'a>(&self, column: &'a Column) -> Result<Option<&'a [u8]>> {
        match (column, self.binary) {
            (Column::Null, _) => Ok(None),
            (Column::Binary(value), true) | (Column::Text(value), false) => Ok(Some(value.as_ref())),
            (Column::Binary(_) | Column::Text(_), _) => Err(Error::corrupt(format!(
                "the change stream gave a value of {} in another format than asked for",
                self.name
            ))),
            (Column::Unchanged, _) => Err(Error::corrupt("an unchanged value was taken for a value")),
        }
    }

    /// The key in a tuple; a key column that the new tuple leaves out is in the old one.
    fn key(&self, oid: u32, tuple: &Tuple, old: Option<&Tuple>) -> Result<Key> {
        self.is_ours(oid, tuple)?;
        let mut parts = Vec::with_capacity(self.key.len());
        for place in &self.key {
            let column = match (&tuple.columns[*place], old.map(|old| &old.columns[*place])) {
                (Column::Unchanged, Some(old)) => old,
                (column, _) => column,
            };
            let value = self.value(column)?;
            if value.is_none() {
                return Err(Error::corrupt(format!(
                    "the change stream gave a key of {} that is NULL",
                    self.name
                )));
            }
            parts.push(value);
        }
        Ok(Key(rows::encode(&parts, self.binary)))
    }

    fn image(&self, oid: u32, tuple: &Tuple, old: Option<&Tuple>) -> Result<Change> {
        let key = self.key(oid, tuple, old)?;
        let bytes = |column: &Column| match column {
            Column::Binary(value) | Column::Text(value) => value.len(),
            Column::Null | Column::Unchanged => 0,
        };
        let is_long = tuple.columns.iter().map(bytes).sum::<usize>() > IMAGE_BYTES_MAX;
        if is_long || tuple.columns.iter().any(|c| matches!(c, Column::Unchanged)) {
            return Ok(Change { key, op: Op::Reread });
        }
        let mut parts = Vec::with_capacity(tuple.columns.len());
        for column in &tuple.columns {
            parts.push(self.value(column)?);
        }
        Ok(Change { key, op: Op::Upsert(rows::encode(&parts, self.binary)) })
    }

    /// An update is the new image, and before it a delete of the old key if the key changed.
    fn update(&self, oid: u32, old: &Old, new: &Tuple) -> Result<(Option<Change>, Change)> {
        let old = match old {
            Old::None => None,
            Old::Key(tuple) | Old::Full(tuple) => {
                self.is_ours(oid, tuple)?;
                Some(tuple)
            }
        };
        let change = self.image(oid, new, old)?;
        let before = old.map(|old| self.key(oid, old, None)).transpose()?;
        let moved = before.filter(|before| *before != change.key).map(|key| Change { key, op: Op::Delete });
        Ok((moved, change))
    }
}
