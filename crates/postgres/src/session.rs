//! A working session: copies chunks, applies batches, compares, sends markers.
//!
//! Every writing transaction begins by locking its control row under this session's epoch (and attempt, or writer number); no row means
//! that another runner, or a later session of our own, has taken over. That first statement also gives the floor, so that the fence
//! costs no round trip. Reads are at READ COMMITTED: each later statement's snapshot includes the floor, and a key that the applier
//! wrote meanwhile is a plain conflict (at REPEATABLE READ it would be a serialization failure).

mod culprit;
mod write;

use crate::{
    connect::Connection,
    error::server,
    floor::Snapshot,
    inline::{Small, Writes},
    statements::{FLOOR, Statements, checkpoint_text, fence_text, turn_text},
};
use shadowswap_core::{
    Apply, Bound, Chunk, Compared, Copied, Error, Fate, Key, Kind, Op, Result, Suspect, Tried,
    batch::Batch,
    engine::Session as CoreSession,
    failpoint::{self, Place},
    plan::Plan,
};
use std::{collections::HashMap, sync::Arc};
use tokio_postgres::{
    Client, Statement,
    error::SqlState,
    types::{FromSql, ToSql, Type},
};

/// What identifies the writer to the control tables.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The quoted control schema.
    pub control: String,
    /// The migration's number.
    pub migration: i64,
    /// The runner's epoch.
    pub epoch: i64,
    /// The migration's number as it stands in names.
    pub tag: String,
}

/// One connection with its prepared statements.
pub struct Session {
    connection: Connection,
    statements: Arc<Statements>,
    plan: Arc<Plan>,
    writer: Writer,
    /// This session's turn at applying; taken in the transaction of its first batch.
    turn: Option<i64>,
    is_staged: bool,
    /// Writes small batches, where rows can be parameters.
    inline: Option<Writes>,
    /// Batches until a plain update is tried again.
    upsert_after: u32,
    /// Chunks until inserting without looking for each row is tried again.
    alone_after: u32,
    /// What `alone_after` is set to at the next collision.
    alone_pause: u32,
    care: Care,
    /// A deferrable key cannot take part in ON CONFLICT. It comes after the copy, when nobody else inserts.
    is_plain: bool,
    /// Values are set aside of rows that were deleted and are still to come again.
    has_aside: bool,
    prepared: HashMap<String, Statement>,
    compares: bool,
}

/// What a batch does about unique values that wandered between rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Care {
    /// Nothing: writes images over what is there.
    Plain,
    /// Before that, removes the rows that still own a unique value which an image of another row brings.
    GivesWay,
    /// Before that, deletes every touched key.
    DeletesFirst,
    /// Before that, removes the images which a row that was read again shows to be out of date.
    DropsStale,
}

/// COPY's binary signature, flags and extension length.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COPY_TRAILER: &[u8] = &[0xff, 0xff];
/// After an update that did not find all of its rows, so many batches are written without trying one.
const UPSERTS: u32 = 32;
/// After a collision with the applier, so many chunks are copied around its rows; twice as many after the next one: each collision
/// leaves half a chunk of dead rows, and a line in the server's log.
const ALONE_PAUSE: u32 = 16;
/// COPY data goes to the server in pieces of about this size.
const COPY_PIECE: usize = 64 << 10;

type Params<'a> = [&'a (dyn ToSql + Sync)];

impl Session {
    /// A session on an open connection.
    ///
    /// What copies or applies looks rows up by key, whatever the statistics say: the shadow's are those of an empty table for a while, and
    /// a staging table has none at all. (Seen: a scan of the whole shadow for each batch of a hundred keys.) One that `compares` looks at the whole table at once where ranges of the source's key are not
    /// ranges of the shadow's.
    pub async fn new(
        connection: Connection,
        statements: Arc<Statements>,
        plan: Arc<Plan>,
        writer: Writer,
        search_path: &str,
        compares: bool,
    ) -> Result<Session> {
        let setup = "select set_config('search_path', $1, false), set_config('plan_cache_mode', 'force_custom_plan', false),\n\
                     set_config('enable_' || way, case when $2 then 'on' else 'off' end, false)\n\
                     from unnest(array['seqscan', 'bitmapscan', 'hashjoin', 'mergejoin']) way";
        connection
            .client()
            .execute(setup, &[&search_path, &compares])
            .await
            .map_err(|e| server(e, "setting up a session"))?;
        Ok(Session {
            connection,
            statements,
            plan,
            writer,
            turn: None,
            is_staged: false,
            inline: None,
            upsert_after: 0,
            alone_after: 0,
            alone_pause: ALONE_PAUSE,
            care: Care::Plain,
            is_plain: false,
            has_aside: false,
            prepared: HashMap::new(),
            compares,
        })
    }

    /// Deletes every touched key before it writes: a key that is read again may have no row any more.
    #[must_use]
    pub fn careful(mut self, is_careful: bool) -> Session {
        if is_careful {
            self.care = Care::DeletesFirst;
        }
        self
    }

    fn client(&self) -> &Client {
        self.connection.client()
    }

    async fn prepare(&mut self, text: String) -> Result<Statement> {
        if let Some(statement) = self.prepared.get(&text) {
            return Ok(statement.clone());
        }
        let prepared = self.client().prepare(&text).await;
        let statement =
            prepared.map_err(|e| server(e, format_args!("preparing a statement ({})", first_line(&text))))?;
        self.prepared.insert(text, statement.clone());
        Ok(statement)
    }

    async fn rows(
        &mut self,
        text: String,
        params: &Params<'_>,
        what: &str,
    ) -> Result<Vec<tokio_postgres::Row>> {
        let statement = self.prepare(text).await?;
        self.client().query(&statement, params).await.map_err(|e| server(e, what))
    }

    async fn run(&mut self, text: String, params: &Params<'_>, what: &str) -> Result<u64> {
        let statement = self.prepare(text).await?;
        self.client().execute(&statement, params).await.map_err(|e| server(e, what))
    }

    async fn batch(&self, text: &str) -> Result<()> {
        self.client().batch_execute(text).await.map_err(|e| server(e, first_line(text)))
    }

    /// Rolls back after an error, keeping the error; a session that cannot even roll back is useless, which its next use will tell.
    async fn rolled_back<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            drop(self.client().batch_execute("rollback").await);
        }
        result
    }

    /// Names the rows where the data do not allow the change.
    async fn explained<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(mut e) if e.kind == Kind::Unfit => {
                match e.source.take().map(|s| s.downcast::<tokio_postgres::Error>()) {
                    Some(Ok(source)) => {
                        Err(crate::shadow::violation::explain(self.client(), &self.plan, *source, None).await)
                    }
                    Some(Err(_)) | None => Err(e),
                }
            }
            result => result,
        }
    }

    async fn copy_inner(&mut self, chunk: &Chunk, raise: impl FnOnce(Snapshot) + Send) -> Result<Copied> {
        let control = self.writer.control.clone();
        let fence = format!(
            "select pg_current_snapshot()::text\nfrom {control}.chunk\nwhere migration = $1 and id = $2 and epoch = $3 and attempt = $4 and not done\nfor no key update"
        );
        let (migration, epoch) = (self.writer.migration, self.writer.epoch);
        let fence = self.prepare(fence).await?;
        let (has_lower, has_upper) = (chunk.lower.is_some(), chunk.upper.is_some());
        let around = self.prepare(self.statements.copy(has_lower, has_upper)).await?;
        let alone = self.prepare(self.statements.copy_alone(has_lower, has_upper)).await?;
        let blank = match self.statements.is_blank(has_lower, has_upper) {
            Some(text) => Some(self.prepare(text).await?),
            None => None,
        };
        let done = self
            .prepare(format!(
                "update {control}.chunk set done = true, rows = $3 where migration = $1 and id = $2"
            ))
            .await?;
        // Whoever builds on this chunk commits later in the WAL. If the server loses its end, it loses the chunk and its mark together.
        let begin = self.batch("begin isolation level read committed;\nset local synchronous_commit = off");
        let params: &Params<'_> = &[&migration, &chunk.id, &epoch, &chunk.attempt];
        let locked = self.client().query_opt(&fence, params);
        let (begun, locked) = tokio::join!(begin, locked);
        begun?;
        let row = locked
            .map_err(|e| server(e, "locking the chunk's control row"))?
            .ok_or_else(Error::superseded)?;
        raise(Snapshot::parse(row.get(0))?);
        let (lower, upper) = (bound(chunk.lower.as_ref())?, bound(chunk.upper.as_ref())?);
        let range: &Params<'_> = &[&lower, &upper];
        let copied = match blank {
            Some(blank) => self.copy_alone(&blank, &alone, range).await?,
            None => None,
        };
        let rows = match copied {
            Some(rows) => rows,
            None => self.client().execute(&around, range).await.map_err(|e| server(e, "copying a chunk"))?,
        };
        failpoint::at(Place::ChunkWritten).await;
        let rows_text = rows as i64;
        let params: &Params<'_> = &[&migration, &chunk.id, &rows_text];
        let (marked, committed) =
            tokio::join!(self.client().execute(&done, params), self.client().batch_execute("commit"));
        marked.map_err(|e| server(e, "marking the chunk done"))?;
        committed.map_err(|e| lost_commit(e, "committing a chunk"))?;
        Ok(Copied { rows })
    }

    /// Copies a chunk of which the shadow has no row yet. `None`: it has, or the applier wrote one meanwhile.
    async fn copy_alone(
        &mut self,
        blank: &Statement,
        alone: &Statement,
        range: &Params<'_>,
    ) -> Result<Option<u64>> {
        if self.alone_after > 0 {
            self.alone_after -= 1;
            return Ok(None);
        }
        let client = self.connection.client();
        let look = client.query_one(blank, range).await.map_err(|e| server(e, "looking for applied rows"))?;
        if !look.get::<_, bool>(0) {
            return Ok(None);
        }
        let (saved, copied) =
            tokio::join!(biased; client.batch_execute("savepoint alone"), client.execute(alone, range));
        saved.map_err(|e| server(e, "making a savepoint"))?;
        match copied {
            Ok(rows) => Ok(Some(rows)),
            Err(e) if e.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                (self.alone_after, self.alone_pause) = (self.alone_pause, self.alone_pause.saturating_mul(2));
                self.batch("rollback to savepoint alone").await?;
                Ok(None)
            }
            Err(e) => Err(server(e, "copying a chunk")),
        }
    }

    /// Makes this session's staging tables, once.
    async fn stage(&mut self) -> Result<()> {
        if !self.is_staged {
            let stage = self.statements.stage();
            self.batch(&stage).await.tried("making the staging tables")?;
            self.batch("set plan_cache_mode = force_generic_plan").await?;
            let statements = Arc::clone(&self.statements);
            if let Some(kept) = &statements.kept {
                self.batch(&statements.make_aside(kept)).await?;
                let rows = self.rows(statements.has_aside(kept), &[], "looking for values set aside").await?;
                self.has_aside = rows.first().is_some_and(|row| row.get(0));
            }
            self.inline = Writes::prepare(self.client(), &self.statements).await?;
            self.is_staged = true;
        }
        Ok(())
    }

    async fn apply_inner(&mut self, batch: &Batch, checkpoint: Option<&str>, care: Care) -> Result<u64> {
        self.stage().await?;
        let control = self.writer.control.clone();
        let (migration, epoch) = (self.writer.migration, self.writer.epoch);
        // The first transaction takes the turn at applying: it waits for what a former session still writes, and fences it out.
        let fence =
            self.prepare(self.turn.map_or_else(|| turn_text(&control), |_| fence_text(&control))).await?;
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&migration, &epoch];
        params.extend(self.turn.as_ref().map(|turn| turn as &(dyn ToSql + Sync)));
        let (begun, locked) = tokio::join!(
            self.batch("begin isolation level read committed"),
            self.client().query_opt(&fence, &params)
        );
        begun?;
        let turn =
            locked.map_err(|e| server(e, "locking the checkpoint"))?.ok_or_else(Error::superseded)?.get(0);
        let changes = batch.changes() as i64;
        let update = self.prepare(checkpoint_text(&control)).await?;
        let params: &Params<'_> = &[&migration, &checkpoint, &changes];
        let is_fresh = batch.fresh().next().is_some();
        let sets_aside = self.statements.kept.is_some() && (care > Care::Plain || self.has_aside || is_fresh);
        let small =
            Small::of(batch).filter(|_| self.inline.is_some() && care < Care::DeletesFirst && !sets_aside);
        if small.is_none() {
            self.write(batch, care).await?;
        }
        failpoint::at(Place::BatchWritten).await;
        let client = self.client();
        // Sent together, in this order. Whatever fails, the commit after it is a rollback.
        let (written, saved, committed) = tokio::join!(
            biased;
            async {
                match (&self.inline, &small) {
                    (Some(writes), Some(small)) => writes.run(client, small, care > Care::Plain).await,
                    (None, _) | (_, None) => Ok(()),
                }
            },
            client.execute(&update, params),
            client.batch_execute("commit")
        );
        written?;
        saved.map_err(|e| server(e, "saving the checkpoint"))?;
        committed.map_err(|e| lost_commit(e, "committing a batch"))?;
        self.turn = Some(turn);
        Ok(batch.changes())
    }
}

impl Apply<crate::Postgres> for Session {
    async fn floor(&mut self) -> Result<Snapshot> {
        let rows = self.rows(FLOOR.to_string(), &[], "taking a snapshot").await?;
        let row = rows.first().ok_or_else(|| Error::corrupt("the server gave no snapshot"))?;
        Snapshot::parse(row.get(0))
    }

    async fn apply(&mut self, batch: &Batch, checkpoint: Option<&crate::Lsn>) -> Result<u64> {
        let checkpoint = checkpoint.map(ToString::to_string);
        let mut care = self.care;
        let mut again: Option<Batch> = None;
        loop {
            let batch = again.as_ref().unwrap_or(batch);
            let result = self.apply_inner(batch, checkpoint.as_deref(), care).await;
            // What was given back is set aside again, or was never set aside.
            self.has_aside |= result.is_err() && self.statements.kept.is_some();
            match self.rolled_back(result).await {
                // Where it happened once it will happen again.
                Err(e) if care == Care::Plain && has_code(&e, &SqlState::UNIQUE_VIOLATION) => {
                    care = Care::GivesWay;
                    self.care = care;
                }
                Err(e)
                    if care < Care::DeletesFirst
                        && (has_code(&e, &SqlState::UNIQUE_VIOLATION)
                            || has_code(&e, &SqlState::EXCLUSION_VIOLATION)) =>
                {
                    care = Care::DeletesFirst;
                }
                Err(e)
                    if care == Care::DeletesFirst
                        && has_code(&e, &SqlState::UNIQUE_VIOLATION)
                        && batch.iter().any(|(_, op)| matches!(op, Op::Reread)) =>
                {
                    care = Care::DropsStale;
                }
                Err(e) if !self.is_plain && has_code(&e, &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                    (self.care, self.is_plain, care) = (Care::DeletesFirst, true, Care::DeletesFirst);
                }
                // After the swap a row that does not fit does not end everything, and may have been mended since: it counts as it is now.
                Err(e) if e.kind == Kind::Unfit && self.statements.is_later && has_images(batch) => {
                    again = Some(batch.to_read_again());
                    care = Care::DeletesFirst;
                }
                Err(e) => {
                    let explained = self.explained::<u64>(Err(e)).await;
                    return match explained {
                        Err(e) => Err(self.naming(e, batch, care).await),
                        done => done,
                    };
                }
                Ok(rows) => return Ok(rows),
            }
        }
    }

    async fn mark(&mut self, token: u64) -> Result<()> {
        // One round trip; flushed whatever the session's commits do, for only what is flushed is streamed.
        let text = format!(
            "begin; set local synchronous_commit = local; select pg_logical_emit_message(true, 'shadowswap', '{}:{token}'); commit",
            self.writer.tag
        );
        let sent = self.client().batch_execute(&text).await;
        let sent = sent.map_err(|e| server(e, "sending a marker"));
        self.rolled_back(sent).await
    }
}

impl CoreSession<crate::Postgres> for Session {
    async fn next_bound(&mut self, lower: Option<&Bound>, last: &Bound, rows: u64) -> Result<Option<Bound>> {
        if self.compares && !self.statements.keeps_order {
            return Ok(None);
        }
        let text = self.statements.next_bound(lower.is_some());
        let (lower, last) = (bound(lower)?, bound(Some(last))?);
        let offset = i64::try_from(rows.saturating_sub(1)).unwrap_or(i64::MAX);
        let found = self.rows(text, &[&lower, &last, &offset], "finding the next chunk").await?;
        found.first().map(|row| to_bound(&row.get::<_, Vec<String>>(0))).transpose()
    }

    async fn last_key(&mut self) -> Result<Option<Bound>> {
        let text = self.statements.last_key();
        let found = self.rows(text, &[], "finding the last key").await?;
        found.first().map(|row| to_bound(&row.get::<_, Vec<String>>(0))).transpose()
    }

    async fn copy_chunk(&mut self, chunk: &Chunk, raise: impl FnOnce(Snapshot) + Send) -> Result<Copied> {
        let result = self.copy_inner(chunk, raise).await;
        let result = self.rolled_back(result).await;
        self.explained(result).await
    }

    async fn fate(&mut self, chunk: &Chunk) -> Result<Fate> {
        let text = format!(
            "update {}.chunk set attempt = $4\nwhere migration = $1 and id = $2 and epoch = $3\nreturning done",
            self.writer.control
        );
        let (migration, epoch, attempt) = (self.writer.migration, self.writer.epoch, chunk.attempt + 1);
        let rows =
            self.rows(text, &[&migration, &chunk.id, &epoch, &attempt], "raising the chunk's fence").await?;
        let done: bool = rows.first().ok_or_else(Error::superseded)?.get(0);
        Ok(if done { Fate::Done } else { Fate::Gone })
    }

    async fn compare(&mut self, chunk: &Chunk, limit: usize) -> Result<Compared> {
        // A range of the source's keys is a range of the shadow's only where both sort alike; elsewhere the core asks for one range.
        let (lower, upper) = (bound(chunk.lower.as_ref())?, bound(chunk.upper.as_ref())?);
        let text = self.statements.compare(lower.is_some(), upper.is_some());
        let rows = self.rows(text, &[&lower, &upper], "comparing checksums").await?;
        let row = rows.first().ok_or_else(|| Error::corrupt("a comparison gave no row"))?;
        let (rows_source, rows_shadow): (i64, i64) = (row.get(0), row.get(1));
        let mut compared = Compared {
            rows_source: rows_source as u64,
            rows_shadow: rows_shadow as u64,
            differing: Vec::new(),
        };
        if rows_source == rows_shadow && row.get::<_, bool>(2) {
            return Ok(compared);
        }
        let text = self.statements.differing(lower.is_some(), upper.is_some());
        let found =
            self.rows(text, &[&lower, &upper, &(limit as i64)], "finding the rows that differ").await?;
        compared.differing =
            found.iter().map(|row| suspect(row, self.statements.binary)).collect::<Result<_>>()?;
        // Both were looked at in two snapshots; what differed in the first may be equal in the second.
        if compared.differing.is_empty() {
            compared.rows_shadow = compared.rows_source;
        }
        Ok(compared)
    }

    async fn recheck(&mut self, suspects: &[Suspect]) -> Result<Vec<Suspect>> {
        let bounds: Vec<&str> = suspects.iter().map(|s| s.bound.0.as_str()).collect();
        let text = self.statements.recheck();
        let found = self.rows(text, &[&bounds], "looking at rows again").await?;
        let mut still = Vec::with_capacity(found.len());
        for row in &found {
            let place = usize::try_from(row.get::<_, i64>(0)).ok().and_then(|n| n.checked_sub(1));
            let mut suspect = place
                .and_then(|n| suspects.get(n))
                .cloned()
                .ok_or_else(|| Error::corrupt("the server gave back a row that was not asked for"))?;
            suspect.what = row.get(1);
            still.push(suspect);
        }
        Ok(still)
    }
}

fn has_images(batch: &Batch) -> bool {
    batch.iter().any(|(_, op)| matches!(op, Op::Upsert(_)))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn lost_commit(e: tokio_postgres::Error, what: &str) -> Error {
    let mut error = server(e, what);
    if error.is_transient() {
        error.message.push_str(" (it may have taken effect; the control row tells)");
    }
    error
}

fn has_code(e: &Error, code: &SqlState) -> bool {
    let found =
        e.source.as_deref().and_then(|s| s.downcast_ref::<tokio_postgres::Error>()).and_then(|e| e.code());
    found == Some(code)
}

fn bound(bound: Option<&Bound>) -> Result<Option<Vec<String>>> {
    let read = |b: &Bound| {
        serde_json::from_str(&b.0)
            .map_err(|e| Error::corrupt(format!("a stored key cannot be read: {:?}", b.0)).because(e))
    };
    bound.map(read).transpose()
}

fn to_bound(parts: &[String]) -> Result<Bound> {
    serde_json::to_string(parts).map(Bound).map_err(|e| Error::corrupt("a key cannot be stored").because(e))
}

/// A value in the server's own bytes.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The key in the stream's own encoding, so that the ledger of applied changes knows it.
fn suspect(row: &tokio_postgres::Row, binary: bool) -> Result<Suspect> {
    let parts: Vec<Vec<u8>> = (2..row.len()).map(|i| row.get::<_, Raw>(i).0).collect();
    let parts: Vec<Option<&[u8]>> = parts.iter().map(|p| Some(p.as_slice())).collect();
    let key = Key(crate::rows::encode(&parts, binary));
    Ok(Suspect { key, bound: to_bound(&row.get::<_, Vec<String>>(0))?, what: row.get(1) })
}
