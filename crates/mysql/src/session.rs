//! A working session: copies chunks, applies batches, compares, sends markers.
//!
//! Every writing transaction begins by locking its control row under this session's epoch (and attempt, or writer number); no row means
//! that another runner, or a later session of our own, has taken over. Reads are at READ COMMITTED, so that a chunk does not block the
//! writers of the rows that it reads, and each statement sees at least the floor that was taken before it.

mod blame;
mod collisions;
mod compare;
mod write;

pub use collisions::Collisions;

use crate::{
    Floor, MySql, Position,
    control::note_session,
    error::{DUPLICATE, code, server},
    flavor::Server,
    statements::{Statements, literals},
};
use mysql_async::{Conn, Row, prelude::*};
use shadowswap_core::{
    Apply, Bound, Chunk, Compared, Copied, Error, Fate, Kind, Result, Suspect, Tried,
    batch::Batch,
    engine::Session as CoreSession,
    failpoint::{self, Place},
};
use std::sync::Arc;

/// What identifies the writer to the control tables.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The control database, unquoted.
    pub name: String,
    /// The same, quoted.
    pub control: String,
    /// The migration's number.
    pub migration: i64,
    /// The runner's epoch.
    pub epoch: i64,
    /// How many swaps were made.
    pub swaps: i64,
}

/// What a batch does about rows that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Care {
    /// Writes images over what is there.
    Plain,
    /// Before that, deletes every touched key: two rows may have swapped a unique value.
    DeletesFirst,
    /// After that, removes rows that own a unique value which an image or a row that is read again brings: they are of another time.
    GivesWay,
    /// The same but for writing over what is there: the server says which value is there twice.
    Bare,
}

/// One connection.
pub struct Session {
    conn: Conn,
    statements: Arc<Statements>,
    source: Arc<[crate::catalog::Column]>,
    server: Server,
    writer: Writer,
    /// This session's turn at applying; taken in the transaction of its first batch.
    turn: Option<i64>,
    is_staged: bool,
    is_check_staged: bool,
    /// What has gone through the staging tables since they were new, about.
    staged_bytes: usize,
    care: Care,
    /// Holds `LOCK TABLES`: `START TRANSACTION` would let go of them.
    is_locked: bool,
    /// Functions give text, as an operator's session has it; else bytes, as raw images need it. `None`: not known.
    is_text: Option<bool>,
    /// Statements that are sent together with the next one whose answer matters.
    before: Vec<u8>,
    collisions: Arc<Collisions>,
    /// The longest statement that the server takes from this session.
    packet_bytes: usize,
}

/// A statement is cut when it has grown to this size, or to half of what the server takes; that is 16 MiB and more by default.
const STATEMENT_BYTES: usize = 256 << 10;
/// What a statement has beside its values: names of columns, and what to do with rows that are there. Less than this share of a packet.
const TEXT_SHARE: usize = 8;
/// Rows named where values would be rounded.
const ROWS_NAMED: u32 = 5;
/// So often a chunk makes way for itself: rows may bring new values between its reads.
const WAYS_MAX: u32 = 3;
/// The server's answer to the guards of [`Statements`]: a subquery with more than one row.
const OTHER_KEY: u16 = 1242;

impl Session {
    /// A session on an open connection, which is noted so that whoever takes over can end it.
    pub async fn new(
        mut conn: Conn,
        statements: Arc<Statements>,
        source: Arc<[crate::catalog::Column]>,
        server_: Server,
        writer: Writer,
        collisions: Arc<Collisions>,
    ) -> Result<Session> {
        let Writer { name, control, migration, epoch, .. } = &writer;
        note_session(&mut conn, name, control, *migration, Some(*epoch)).await?;
        let packet_bytes: Option<usize> = conn
            .query_first("select @@max_allowed_packet")
            .await
            .map_err(|e| server(e, "asking how long a statement may be"))?;
        if server_.is_mariadb() {
            // A long list of keys is looked up as it stands.
            drop(conn.query_drop("set session in_predicate_conversion_threshold = 0").await);
        }
        Ok(Session {
            conn,
            statements,
            source,
            server: server_,
            writer,
            turn: None,
            is_staged: false,
            is_check_staged: false,
            staged_bytes: 0,
            care: Care::Plain,
            is_locked: false,
            is_text: Some(false),
            before: Vec::new(),
            collisions,
            packet_bytes: packet_bytes.unwrap_or(STATEMENT_BYTES),
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

    /// The connection's number on the server.
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// The connection itself, for what only the cutover does.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// From now on the session holds table locks, for the rest of its life.
    pub fn set_locked(&mut self) {
        self.is_locked = true;
    }

    /// Sends this statement together with the next one. For statements that hardly ever fail and whose answer nobody needs: a round
    /// trip takes longer than they do.
    fn then(&mut self, text: &str) {
        self.before.extend_from_slice(text.as_bytes());
        self.before.extend_from_slice(b";\n");
    }

    /// The same for statements that write: what the next one answers is the answer to all of them, for the server stops at the first
    /// that fails. Sends those before by themselves where together they would be too long.
    async fn write_then(&mut self, text: &[u8], what: &str) -> Result<()> {
        if !self.before.is_empty() && self.before.len() + text.len() > self.statement_bytes() {
            self.flush(what).await?;
        }
        self.before.extend_from_slice(text);
        self.before.extend_from_slice(b";\n");
        Ok(())
    }

    /// Sends what is waiting for a next statement.
    async fn flush(&mut self, what: &str) -> Result<()> {
        if self.before.is_empty() { Ok(()) } else { self.run(Vec::new(), what).await.map(drop) }
    }

    fn statement_bytes(&self) -> usize {
        STATEMENT_BYTES.min(self.packet_bytes / 2)
    }

    fn with_those_before(&mut self, text: impl Into<Vec<u8>>) -> Vec<u8> {
        let mut text: Vec<u8> = text.into();
        if self.before.is_empty() {
            return text;
        }
        let mut all = std::mem::take(&mut self.before);
        all.append(&mut text);
        all
    }

    async fn run(&mut self, text: impl Into<Vec<u8>> + Send, what: &str) -> Result<u64> {
        let text = self.with_those_before(text);
        self.conn.query_drop(text).await.map_err(|e| server(e, what))?;
        Ok(self.conn.affected_rows())
    }

    /// Statements with expressions of the plan run in text mode: `hex(n)`, say, gives text there, and bytes in a session that speaks bytes.
    /// That sets the collation, too: to the one that the server takes for literals where the operator says nothing else.
    fn speak_text(&mut self, is_text: bool) {
        if self.is_text != Some(is_text) {
            self.then(if is_text {
                "set collation_connection = @shadowswap_text"
            } else {
                "set collation_connection = binary"
            });
            self.is_text = Some(is_text);
        }
    }

    async fn rows(&mut self, text: String, what: &str) -> Result<Vec<Row>> {
        let text = self.with_those_before(text);
        let failed = |e| server(e, what);
        let mut result = self.conn.query_iter(text).await.map_err(failed)?;
        // Those before have no columns.
        while result.columns_ref().is_empty() && !result.is_empty() {
            result.collect::<Row>().await.map_err(failed)?;
        }
        let rows = result.collect().await.map_err(failed)?;
        result.drop_result().await.map_err(failed)?;
        Ok(rows)
    }

    /// Rolls back after an error, keeping the error; a session that cannot even roll back is useless, which its next use will tell.
    async fn rolled_back<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.before.clear();
            self.is_text = None;
            drop(self.conn.query_drop("rollback").await);
        }
        result
    }

    /// Makes this session's staging tables, once.
    ///
    /// # Errors
    /// The server's.
    pub async fn stage(&mut self) -> Result<()> {
        if !self.is_staged {
            for text in self.statements.stage() {
                self.run(text, "making the staging tables").await?;
            }
            self.is_staged = true;
        }
        Ok(())
    }

    /// `raise` is gone after the first try: the floor of that is part of every later one. With `makes_way` rows that own a unique value
    /// of the chunk's rows are removed before.
    async fn copy_inner(
        &mut self,
        chunk: &Chunk,
        raise: &mut Option<impl FnOnce(Floor) + Send>,
        makes_way: bool,
    ) -> Result<Copied> {
        let Writer { control, migration, epoch, .. } = self.writer.clone();
        if makes_way {
            self.stage().await?;
        }
        // Where a floor needs a transaction of its own it comes first; it only becomes older by that.
        let floor = crate::reading::floor(&mut self.conn, &self.server).await?;
        self.then("start transaction");
        let fence = format!(
            "select 1 from {control}.chunk where migration = {migration} and id = {} and epoch = {epoch} and attempt = {} and not done for update",
            chunk.id, chunk.attempt
        );
        if self.rows(fence, "locking the chunk's control row").await?.is_empty() {
            return Err(Error::superseded());
        }
        if let Some(raise) = raise.take() {
            raise(floor);
        }
        self.speak_text(true);
        self.keeps_values(chunk).await?;
        if makes_way {
            self.run(self.statements.empty("_row"), "emptying a staging table").await?;
            let colliding = self.statements.stage_colliding(chunk.lower.as_ref(), chunk.upper.as_ref())?;
            for text in colliding {
                self.run(text, "looking for rows that must give way").await?;
            }
            self.give_way_to_staged().await?;
        }
        let text = self.statements.copy(chunk.lower.as_ref(), chunk.upper.as_ref())?;
        let rows = self.run(text, "copying a chunk").await?;
        failpoint::at(Place::ChunkWritten).await;
        let done = format!(
            "update {control}.chunk set done = true, copied = {rows} where migration = {migration} and id = {}",
            chunk.id
        );
        self.then(&done);
        self.run("commit", "committing a chunk (it may have taken effect; the control row tells)").await?;
        Ok(Copied { rows })
    }

    /// Applies a batch, with as much care as it turns out to need.
    async fn apply_carefully(&mut self, batch: &Batch, checkpoint: Option<&str>) -> Result<u64> {
        let mut care = self.care;
        if care == Care::Plain && self.collisions.expects_one() {
            care = Care::DeletesFirst;
        }
        loop {
            let result = self.apply_inner(batch, checkpoint, care).await;
            let result = self.rolled_back(result).await;
            let collides = |e: &Error| matches!(code(e), Some(DUPLICATE | OTHER_KEY));
            care = match (care, &result) {
                (Care::Plain, Err(e)) if collides(e) => {
                    self.collisions.happened();
                    Care::DeletesFirst
                }
                (Care::DeletesFirst, Err(e)) if collides(e) && self.statements.keeps() => Care::Bare,
                (Care::DeletesFirst, Err(e)) if collides(e) => Care::GivesWay,
                (Care::GivesWay, Err(e)) if collides(e) => Care::Bare,
                // A chunk has just brought another row of another time, or the key itself.
                (Care::Bare, Err(e)) if code(e) == Some(DUPLICATE) && self.statements.is_of_two_times(e) => {
                    return result.map_err(|e| Error { kind: Kind::Transient, ..e });
                }
                _ => return result,
            };
        }
    }

    async fn apply_inner(&mut self, batch: &Batch, checkpoint: Option<&str>, care: Care) -> Result<u64> {
        self.stage().await?;
        if self.is_locked {
            // Nobody else writes. The checkpoint stays where it is: its table would have to be locked too, against all migrations. Should
            // this try end without a swap, what is applied now is applied again later, which changes nothing.
            self.write(batch, care).await?;
            self.run("commit", "writing a batch and committing it under the lock").await?;
            return Ok(batch.changes());
        }
        self.renew_staging().await?;
        let Writer { control, migration, epoch, .. } = self.writer.clone();
        self.then("start transaction");
        // The first transaction takes the turn at applying: it waits for what a former session still writes, and fences it out.
        if self.turn.is_none() {
            let text = format!(
                "update {control}.checkpoint set writer = writer + 1 where migration = {migration} and epoch = {epoch}"
            );
            if self.run(text, "taking the turn at applying").await? != 1 {
                return Err(Error::superseded());
            }
        }
        let fence = format!(
            "select writer from {control}.checkpoint where migration = {migration} and epoch = {epoch} for update"
        );
        let rows = self.rows(fence, "locking the checkpoint").await?;
        let turn: i64 = rows.first().and_then(|r| r.get(0)).ok_or_else(Error::superseded)?;
        if self.turn.is_some_and(|mine| mine != turn) {
            return Err(Error::superseded());
        }
        self.write(batch, care).await?;
        failpoint::at(Place::BatchWritten).await;
        let position = match checkpoint {
            // A stream that begins behind a swap gives no position before it.
            Some(text) => format!("{}, turn = {}", crate::sql::literal(text), self.writer.swaps),
            None => "position".to_string(),
        };
        let text = format!(
            "update {control}.checkpoint set position = {position}, changes = changes + {}, applied_at = utc_timestamp(3) where migration = {migration}",
            batch.changes()
        );
        self.then(&text);
        self.run(
            "commit",
            "writing a batch and committing it (if the answer is lost, the control row tells)",
        )
        .await?;
        self.turn = Some(turn);
        Ok(batch.changes())
    }

    /// A chunk met a unique value of another key, after it made way for itself.
    fn collision(&self, e: Error) -> Error {
        match self.statements.added_while_copying() {
            Some(index) => {
                let message =
                    format!("rows have the same value in the unique index {index}, which the change adds");
                Error { kind: Kind::Unfit, message, ..e }
            }
            None => {
                let message =
                    format!("rows of two times have the same unique value, again and again: {}", e.message);
                Error { kind: Kind::Transient, message, ..e }
            }
        }
    }

    /// A value that the server would round or cut without a word is an error, with the rows named.
    async fn keeps_values(&mut self, chunk: &Chunk) -> Result<()> {
        let text = self.statements.unfaithful(chunk.lower.as_ref(), chunk.upper.as_ref(), ROWS_NAMED)?;
        let Some(text) = text else { return Ok(()) };
        let found = self.unfaithful(text, "the new type").await;
        found.map_err(|e| e.next(
            "nothing was swapped, and what was made is removed; if that is wanted, say so by --set 'column=expression', for example round(column)",
        ))
    }

    async fn unfaithful(&mut self, text: String, what: &str) -> Result<()> {
        let rows = self.rows(text, "looking for values that the new type cannot keep").await?;
        if rows.is_empty() {
            return Ok(());
        }
        let keys = rows
            .iter()
            .map(|row| Ok(format!("({})", key_of(row, 0)?.join(", "))))
            .collect::<Result<Vec<_>>>()?;
        let keys = keys.join(", ");
        let message =
            format!("{what} would round or cut values, among others in the rows with the keys {keys}");
        Err(Error::new(Kind::Unfit, message))
    }
}

fn value<T: FromValue>(row: &Row, place: usize) -> Result<T> {
    match row.get_opt(place) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) | None => {
            Err(Error::corrupt(format!("the server gave a value that cannot be read (column {place})")))
        }
    }
}

/// The literals of a key, from this column of a row on.
///
/// # Errors
/// `Corrupt` if one cannot be read.
pub fn key_of(row: &Row, from: usize) -> Result<Vec<String>> {
    (from..row.len()).map(|place| value(row, place)).collect()
}

fn to_bound(parts: &[String]) -> Result<Bound> {
    serde_json::to_string(parts).map(Bound).map_err(|e| Error::corrupt("a key cannot be stored").because(e))
}

impl Apply<MySql> for Session {
    async fn floor(&mut self) -> Result<Floor> {
        crate::reading::floor(&mut self.conn, &self.server).await
    }

    async fn apply(&mut self, batch: &Batch, checkpoint: Option<&Position>) -> Result<u64> {
        let checkpoint = checkpoint.map(ToString::to_string);
        match self.apply_carefully(batch, checkpoint.as_deref()).await {
            // Outside the lock there is time to find the row.
            Err(e) if e.kind == Kind::Unfit && self.writer.swaps > 0 && self.is_locked => {
                Err(Error { kind: Kind::Budget, ..e })
            }
            Err(e) if e.kind == Kind::Unfit && self.writer.swaps > 0 => {
                self.apply_as_it_is_now(batch, checkpoint.as_deref(), e).await
            }
            applied => applied,
        }
    }

    async fn mark(&mut self, token: u64) -> Result<()> {
        let text = format!(
            "insert into {}.marker (migration, token) values ({}, {token})",
            self.writer.control, self.writer.migration
        );
        self.run(text, "sending a marker").await.map(drop)
    }
}

impl CoreSession<MySql> for Session {
    async fn next_bound(&mut self, lower: Option<&Bound>, last: &Bound, rows: u64) -> Result<Option<Bound>> {
        let text = self.statements.next_bound(lower, last, rows)?;
        let found = self.rows(text, "finding the next chunk").await?;
        found.first().map(|row| to_bound(&key_of(row, 0)?)).transpose()
    }

    async fn last_key(&mut self) -> Result<Option<Bound>> {
        let text = self.statements.last_key();
        let found = self.rows(text, "finding the last key").await?;
        found.first().map(|row| to_bound(&key_of(row, 0)?)).transpose()
    }

    async fn copy_chunk(&mut self, chunk: &Chunk, raise: impl FnOnce(Floor) + Send) -> Result<Copied> {
        let (mut raise, mut ways) = (Some(raise), 0);
        let result = loop {
            let result = self.copy_inner(chunk, &mut raise, ways > 0).await;
            match self.rolled_back(result).await {
                Err(e) if code(&e) == Some(OTHER_KEY) && ways < WAYS_MAX => ways += 1,
                Err(e) if code(&e) == Some(OTHER_KEY) => break Err(self.collision(e)),
                result => break result,
            }
        };
        match result {
            Err(e) if is_unfit(&e) && code(&e).is_some() => {
                Err(crate::violation::explain(&mut self.conn, &self.statements, chunk, e).await)
            }
            result => result.tried(format_args!("chunk {} ({})", chunk.id, describe(chunk))),
        }
    }

    async fn fate(&mut self, chunk: &Chunk) -> Result<Fate> {
        let Writer { control, migration, epoch, .. } = self.writer.clone();
        let of = format!("migration = {migration} and id = {} and epoch = {epoch}", chunk.id);
        let text = format!("update {control}.chunk set attempt = {} where {of}", chunk.attempt + 1);
        self.run(text, "raising the chunk's fence").await?;
        let rows = self
            .rows(format!("select done from {control}.chunk where {of}"), "raising the chunk's fence")
            .await?;
        let done: bool = value(rows.first().ok_or_else(Error::superseded)?, 0)?;
        Ok(if done { Fate::Done } else { Fate::Gone })
    }

    async fn compare(&mut self, chunk: &Chunk, limit: usize) -> Result<Compared> {
        let result = self.compare_inner(chunk, limit).await;
        self.rolled_back(result).await
    }

    async fn recheck(&mut self, suspects: &[Suspect]) -> Result<Vec<Suspect>> {
        self.recheck_inner(suspects).await
    }
}

fn describe(chunk: &Chunk) -> String {
    let show = |bound: Option<&Bound>, none: &str| {
        bound.and_then(|b| literals(b).ok()).map_or_else(|| none.to_string(), |parts| parts.join(", "))
    };
    format!(
        "keys after {} up to {}",
        show(chunk.lower.as_ref(), "the first"),
        show(chunk.upper.as_ref(), "the last")
    )
}

/// The data do not allow the change: no matter of trying again.
pub fn is_unfit(e: &Error) -> bool {
    e.kind == Kind::Unfit
}
