//! Sessions: the core's verbs as statements of the model's server.

use crate::{
    engine::{Model, direction},
    server::{Link, Server, ambiguous},
    world::{Effect, Lock, Place, Row, Snapshot, World, key, key_number},
};
use shadowswap_core::{
    Apply, Bound, Chunk, Compared, Copied, Error, Fate, Key, Kind, Op, Result, Suspect, batch::Batch,
    engine::Session as CoreSession, mutations::Mutation, plan::Plan,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// How long a fence waits for whoever has the row.
const FENCE_WAIT: Duration = Duration::from_secs(30);

pub struct Session {
    pub link: Link,
    epoch: i64,
    turn: i64,
    from: usize,
    to: usize,
    /// This session's turn at applying; taken with its first batch.
    writer: Option<i64>,
}

pub fn bound(n: u32) -> Bound {
    Bound(format!("{n:06}"))
}

pub fn number(bound: &Bound) -> u32 {
    bound.0.parse().expect("a bound of ours")
}

/// Rows with `lower < key <= upper`.
fn range(world: &World, table: usize, chunk: &Chunk) -> Vec<(u32, Row)> {
    let (lower, upper) = (chunk.lower.as_ref().map(number), chunk.upper.as_ref().map(number));
    let rows = world.tables[table].rows.iter().map(|(n, row)| (*n, *row));
    rows.filter(|(n, _)| lower.is_none_or(|l| *n > l) && upper.is_none_or(|u| *n <= u)).collect()
}

impl Session {
    pub fn new(link: Link, plan: &Plan, epoch: i64) -> Session {
        let from = direction(plan);
        Session { link, epoch, turn: plan.turn, from, to: 1 - from, writer: None }
    }

    fn server(&self) -> Server {
        self.link.server.clone()
    }

    async fn look<T: Send + 'static>(
        &mut self,
        what: &'static str,
        look: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Result<T> {
        let server = self.server();
        let work = async move {
            server.step().await;
            Ok(server.with(look))
        };
        self.link.call(what, work).await
    }
}

/// The chunk's control row must be as the runner knows it. Locked, it stays so.
async fn fence_chunk(server: &Server, tx: u64, epoch: i64, chunk: &Chunk) -> Result<()> {
    server.lock(tx, Lock::Chunk(chunk.id), Some(FENCE_WAIT)).await?;
    server.with(|w| {
        let row = w.migration(epoch)?.chunks.get(&chunk.id).ok_or_else(Error::superseded)?;
        let is_ours = row.epoch == epoch && row.chunk.attempt == chunk.attempt && !row.is_done;
        if is_ours { Ok(()) } else { Err(Error::superseded()) }
    })
}

/// The first statement of a chunk: the fence, and the floor.
async fn begin_chunk(
    server: Server,
    connection: u64,
    (epoch, from): (i64, usize),
    chunk: Chunk,
) -> Result<(u64, Snapshot, Option<Vec<(u32, Row)>>)> {
    let tx = server.with(|w| w.begin(connection))?;
    let is_fenced = server.with(|w| !w.breaks(Mutation::NoFence) && !w.breaks(Mutation::FenceAtTheEnd));
    if is_fenced && let Err(e) = fence_chunk(&server, tx, epoch, &chunk).await {
        server.roll_back(tx);
        return Err(e);
    }
    Ok(server.with(|w| {
        let read = w.flavor.reads_at_floor.then(|| range(w, from, &chunk));
        (tx, w.snapshot(), read)
    }))
}

/// The rest of a chunk, sent at once.
async fn copy_rows(
    server: Server,
    (connection, tx): (u64, u64),
    (epoch, from, to): (i64, usize, usize),
    chunk: Chunk,
    read: Option<Vec<(u32, Row)>>,
) -> Result<u64> {
    let copied = async {
        server.step().await;
        let read = read.unwrap_or_else(|| server.with(|w| range(w, from, &chunk)));
        let mut rows = 0;
        server.linger(connection).await;
        for (n, row) in read {
            if server.draw(|c| c.one_in(3)) {
                server.step().await;
            }
            server.lock(tx, Lock::Row(to, n), None).await?;
            let is_there = server.with(|w| {
                let is_there = w.row(tx, to, n).is_some();
                if is_there {
                    w.locks.remove(&Lock::Row(to, n));
                }
                is_there
            });
            if is_there {
                server.tell();
                continue;
            }
            insert(&server, tx, to, n, row.projected(to)).await?;
            rows += 1;
        }
        server.with(|w| w.effect(tx, Effect::ChunkDone(chunk.id, rows)))?;
        server.linger(connection).await;
        if server.with(|w| w.breaks(Mutation::FenceAtTheEnd)) {
            // No row is no error to the server, and the commit is on its way already.
            drop(fence_chunk(&server, tx, epoch, &chunk).await);
        }
        server.commit(tx, false).await?;
        Ok(rows)
    };
    let copied = copied.await;
    if copied.is_err() {
        server.roll_back(tx);
    }
    copied
}

/// Inserts a row where there is none. Another row that has its unique value gives way: it has a later change in the stream.
async fn insert(server: &Server, tx: u64, table: usize, n: u32, row: Row) -> Result<()> {
    if server.with(|w| w.tables[table].has_index)
        && let Some(unique) = row.unique
    {
        server.lock(tx, Lock::Unique(table, unique), None).await?;
        while let Some(owner) = server.with(|w| w.owner(tx, table, unique, n)) {
            server.lock(tx, Lock::Row(table, owner), None).await?;
            // It may have gone while we waited.
            server.with(|w| match w.owner(tx, table, unique, n) == Some(owner) {
                true => w.write(tx, table, owner, None),
                false => Ok(()),
            })?;
        }
    }
    server.with(|w| {
        let value = if w.spoils == Some(n) { row.value ^ 1 } else { row.value };
        w.write(tx, table, n, Some(Row { value, ..row }))
    })
}

/// Who applies.
#[derive(Clone, Copy)]
struct Writer {
    epoch: i64,
    turn: i64,
    from: usize,
    to: usize,
    writer: Option<i64>,
}

async fn fence_batch(server: &Server, tx: u64, by: Writer) -> Result<i64> {
    server.lock(tx, Lock::Checkpoint, Some(FENCE_WAIT)).await?;
    server.with(|w| {
        let checkpoint = &w.migration(by.epoch)?.checkpoint;
        if checkpoint.epoch != by.epoch || by.writer.is_some_and(|writer| writer != checkpoint.writer) {
            return Err(Error::superseded());
        }
        let writer = by.writer.unwrap_or(checkpoint.writer + 1);
        w.effect(tx, Effect::Writer(writer))?;
        Ok(writer)
    })
}

/// The first statement of a batch: the fence.
async fn begin_batch(server: Server, connection: u64, by: Writer) -> Result<(u64, i64)> {
    let tx = server.with(|w| w.begin(connection))?;
    if server.with(|w| w.breaks(Mutation::NoFence) || w.breaks(Mutation::FenceAtTheEnd)) {
        return Ok((tx, by.writer.unwrap_or_default()));
    }
    match fence_batch(&server, tx, by).await {
        Ok(writer) => Ok((tx, writer)),
        Err(e) => {
            server.roll_back(tx);
            Err(e)
        }
    }
}

/// The rest of a batch, sent at once.
async fn write_batch(
    server: Server,
    connection: u64,
    tx: u64,
    by: Writer,
    (ops, checkpoint): (Vec<(Key, Op)>, Option<Place>),
) -> Result<()> {
    let written = async {
        if server.with(|w| w.breaks(Mutation::CheckpointBeforeBatch))
            && let Some(place) = checkpoint
        {
            let before = server.with(|w| w.begin(connection))?;
            server.with(|w| w.effect(before, Effect::Checkpoint(place, by.turn)))?;
            server.commit(before, false).await?;
        }
        server.linger(connection).await;
        wait_for_tables(&server, connection, by.to).await?;
        write(&server, tx, by, &ops).await?;
        if let Some(place) = checkpoint {
            server.with(|w| w.effect(tx, Effect::Checkpoint(place, by.turn)))?;
        }
        if server.with(|w| w.breaks(Mutation::FenceAtTheEnd)) {
            drop(fence_batch(&server, tx, by).await);
        }
        server.commit(tx, false).await
    };
    let written = written.await;
    if written.is_err() {
        server.roll_back(tx);
    }
    written
}

/// Where the lock of the cutover keeps others out, they wait.
async fn wait_for_tables(server: &Server, connection: u64, to: usize) -> Result<()> {
    let free = server.until(Instant::now() + FENCE_WAIT, |w| {
        let is_kept = w.flavor.drains_through_lock
            && w.table_lock
                .as_ref()
                .is_some_and(|l| l.table == 1 - to && l.is_granted && !l.group.contains(&connection));
        (!is_kept).then_some(())
    });
    free.await.ok_or_else(|| Error::transient("a table was locked for too long"))
}

async fn write(server: &Server, tx: u64, by: Writer, ops: &[(Key, Op)]) -> Result<()> {
    let to = by.to;
    let images_first = server.with(|w| w.breaks(Mutation::UpsertsBeforeDeletes));
    if images_first {
        write_images(server, tx, by, ops, true).await?;
    }
    for (key, op) in ops {
        if images_first && *op != Op::Delete {
            continue;
        }
        let n = key_number(key);
        if server.draw(|c| c.one_in(4)) {
            server.step().await;
        }
        // A row that somebody has inserted and not committed is not there to be deleted.
        let finds_nothing = *op == Op::Delete
            && server.with(|w| {
                let is_locked = w.locks.get(&Lock::Row(to, n)).is_some_and(|holder| *holder != tx);
                is_locked && !w.flavor.delete_waits && w.row(tx, to, n).is_none()
            });
        if finds_nothing {
            continue;
        }
        server.lock(tx, Lock::Row(to, n), None).await?;
        server.with(|w| w.write(tx, to, n, None))?;
    }
    if images_first { Ok(()) } else { write_images(server, tx, by, ops, false).await }
}

/// The final images. Rows that are read again are as they are now: what claims their unique values is out of date.
async fn write_images(server: &Server, tx: u64, by: Writer, ops: &[(Key, Op)], over: bool) -> Result<()> {
    let (images, newer) = server.with(|w| {
        let mut images = Vec::new();
        let mut newer = BTreeSet::new();
        for (key, op) in ops {
            let n = key_number(key);
            let row = match op {
                Op::Upsert(row) => Some(Row::decode(row)),
                Op::Reread => w.tables[by.from]
                    .rows
                    .get(&n)
                    .copied()
                    .filter(|row| crate::world::key(n, row.upper_case) == *key),
                Op::Delete => None,
            };
            if *op == Op::Reread {
                newer.extend(row.and_then(|row| row.unique).map(|unique| (n, unique)));
            }
            images.extend(row.map(|row| (n, row, *op == Op::Reread)));
        }
        (images, newer)
    });
    let is_stale = |n: u32, row: &Row| newer.iter().any(|(m, unique)| *m != n && row.unique == Some(*unique));
    for (n, row, is_reread) in images {
        if !is_reread && is_stale(n, &row) {
            continue;
        }
        if over {
            server.lock(tx, Lock::Row(by.to, n), None).await?;
        }
        insert(server, tx, by.to, n, row.projected(by.to)).await?;
    }
    Ok(())
}

impl Apply<Model> for Session {
    async fn floor(&mut self) -> Result<Snapshot> {
        self.look("floor", |w| w.snapshot()).await
    }

    async fn apply(&mut self, batch: &Batch, checkpoint: Option<&Place>) -> Result<u64> {
        let mut ops: Vec<(Key, Op)> = batch.iter().map(|(key, op)| (key.clone(), op.clone())).collect();
        ops.sort_by(|a, b| a.0.cmp(&b.0));
        let by =
            Writer { epoch: self.epoch, turn: self.turn, from: self.from, to: self.to, writer: self.writer };
        let (server, id, count) = (self.server(), self.link.id, ops.len() as u64);
        let (tx, writer) = self.link.call("begin batch", begin_batch(server.clone(), id, by)).await?;
        let by = Writer { writer: Some(writer), ..by };
        let written = write_batch(server.clone(), id, tx, by, (ops, checkpoint.copied()));
        self.link.call("write batch", written).await?;
        self.writer = Some(writer);
        let full = server.with(|w| w.weather.full);
        if server.draw(|c| c.one_in(full * 4)) {
            return Err(Error::new(Kind::Interrupted, "the server's disk is full"));
        }
        Ok(count)
    }

    async fn mark(&mut self, token: u64) -> Result<()> {
        let (server, id) = (self.server(), self.link.id);
        let work = async move {
            server.step().await;
            let tx = server.with(|w| {
                let tx = w.begin(id)?;
                w.tx(tx)?.marker = Some(token);
                Ok::<_, Error>(tx)
            })?;
            server.commit(tx, false).await
        };
        self.link.call("mark", work).await
    }
}

impl CoreSession<Model> for Session {
    /// One row of the model stands for some hundreds.
    async fn next_bound(&mut self, lower: Option<&Bound>, last: &Bound, _: u64) -> Result<Option<Bound>> {
        let (lower, last, from) = (lower.cloned(), last.clone(), self.from);
        let chunk = Chunk { id: 0, lower, upper: Some(last), attempt: 0 };
        self.look("next bound", move |w| {
            let rows = range(w, from, &chunk);
            let many = if w.keys > 40 { 20 } else { 6 };
            let ahead = w.chance.below(many) as usize;
            rows.get(ahead).map(|(n, _)| bound(*n))
        })
        .await
    }

    async fn last_key(&mut self) -> Result<Option<Bound>> {
        let from = self.from;
        self.look("last key", move |w| w.tables[from].rows.last_key_value().map(|(n, _)| bound(*n))).await
    }

    async fn copy_chunk(&mut self, chunk: &Chunk, raise: impl FnOnce(Snapshot) + Send) -> Result<Copied> {
        let (server, id) = (self.server(), self.link.id);
        let begin = begin_chunk(server.clone(), id, (self.epoch, self.from), chunk.clone());
        let (tx, floor, read) = self.link.call("begin chunk", begin).await?;
        raise(floor);
        let copy = copy_rows(server.clone(), (id, tx), (self.epoch, self.from, self.to), chunk.clone(), read);
        let copied = self.link.call("copy chunk", copy).await;
        copied
            .map(|rows| Copied { rows })
            .map_err(|e| if server.draw(|c| c.coin()) { ambiguous(e) } else { e })
    }

    async fn fate(&mut self, chunk: &Chunk) -> Result<Fate> {
        let (server, id, epoch, chunk) = (self.server(), self.link.id, self.epoch, chunk.clone());
        let work = async move {
            let tx = server.with(|w| w.begin(id))?;
            if !server.with(|w| w.breaks(Mutation::NoFence)) {
                server.lock(tx, Lock::Chunk(chunk.id), Some(FENCE_WAIT)).await?;
            }
            let done = server.with(|w| {
                let row = w.migration(epoch)?.chunks.get_mut(&chunk.id).ok_or_else(Error::superseded)?;
                if row.epoch != epoch {
                    return Err(Error::superseded());
                }
                row.chunk.attempt = chunk.attempt + 1;
                Ok(row.is_done)
            });
            server.roll_back(tx);
            Ok(if done? { Fate::Done } else { Fate::Gone })
        };
        self.link.call("fate", work).await
    }

    async fn compare(&mut self, chunk: &Chunk, limit: usize) -> Result<Compared> {
        let (chunk, from, to) = (chunk.clone(), self.from, self.to);
        self.look("compare", move |w| {
            let (source, shadow) = (range(w, from, &chunk), range(w, to, &chunk));
            let keys: BTreeSet<u32> = source.iter().chain(&shadow).map(|(n, _)| *n).collect();
            let differing = keys.into_iter().filter_map(|n| suspect(w, from, n)).take(limit).collect();
            Compared { rows_source: source.len() as u64, rows_shadow: shadow.len() as u64, differing }
        })
        .await
    }

    async fn recheck(&mut self, suspects: &[Suspect]) -> Result<Vec<Suspect>> {
        let (suspects, from) = (suspects.to_vec(), self.from);
        self.look("recheck", move |w| {
            let still = suspects.into_iter().filter_map(|s| {
                suspect(w, from, number(&s.bound)).map(|now| Suspect { what: now.what, ..s })
            });
            still.collect()
        })
        .await
    }
}

/// A key whose rows differ now.
fn suspect(world: &World, from: usize, n: u32) -> Option<Suspect> {
    let source = world.tables[from].rows.get(&n).copied();
    let (wanted, found) =
        (source.map(|row| row.projected(1 - from)), world.tables[1 - from].rows.get(&n).copied());
    let what = match (wanted, found) {
        (wanted, found) if wanted == found => return None,
        (Some(_), None) => "missing in shadow",
        (None, Some(_)) => "extra in shadow",
        (_, _) => "different",
    };
    let upper_case = source.or(found).is_some_and(|row| row.upper_case);
    Some(Suspect { key: key(n, upper_case), bound: bound(n), what: what.to_string() })
}
