//! The seam between the core and a database product.
//!
//! An engine returns facts and does one verb at a time. It never calls the core, never decides a phase, and never retries. The core
//! never asks which engine it has; where engines differ in kind they say so in [`Caps`].
//!
//! Every `async fn` here may be dropped at any await: the engine closes what it had half sent. What had already been sent to the
//! server may still take effect; that is why chunks keep their ticket until [`Session::fate`] has answered, and why every writing
//! transaction begins by locking its control row under the caller's epoch.

use crate::{
    batch::Batch,
    change::{Change, Key},
    control::Control,
    error::Result,
    name::TableName,
    plan::{Plan, Request},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, future::Future, time::Duration};

/// A point in the change stream.
pub trait Position:
    Clone + fmt::Debug + fmt::Display + std::str::FromStr<Err: fmt::Display> + PartialEq + Send + Sync + 'static
{
}

/// The name of a transaction in the stream.
pub trait TxId:
    Clone + fmt::Debug + PartialEq + Send + Sync + bincode::Encode + bincode::Decode<()> + 'static
{
}

/// A set of transactions that a read is sure to include.
pub trait Floor<T>: Clone + fmt::Debug + Send + Sync + 'static {
    /// Whether a read with this floor sees the transaction's rows.
    fn includes(&self, tx: &T) -> bool;
}

/// What comes out of the change stream, in commit order.
#[derive(Clone, Debug)]
pub enum Event<E: Engine> {
    /// A committed transaction begins; its changes follow at once.
    Begin {
        /// Its name.
        tx: E::TxId,
        /// When it was committed on the server, in microseconds since 1970-01-01 UTC; zero where the server does not tell.
        committed: i64,
    },
    /// One row's change in the transaction that began last.
    Change(Change),
    /// One of our own markers, in the transaction that began last.
    Marker(u64),
    /// The transaction that began last ends. The stream goes on after it at this position.
    Commit(E::Position),
    /// Nothing of ours comes before this position any more.
    Progress(E::Position),
}

/// An open change stream.
pub trait Stream<E: Engine>: Send + 'static {
    /// The next event. Waits; cancel-safe. A change of the table's definition, a TRUNCATE, an unknown message: `Refused` or `Corrupt`.
    fn next(&mut self) -> impl Future<Output = Result<Event<E>>> + Send;
    /// Tells the server that everything up to here is applied and durable. Cancel-safe: may be repeated, never half sent.
    fn confirm(&mut self, position: &E::Position) -> impl Future<Output = Result<()>> + Send;
}

/// A place in the key order of the source, as text that the engine can put back into a statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bound(pub String);

/// Rows with `lower < key <= upper`. No lower bound: from the first row. No upper bound: to the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its number within the migration, from 1.
    pub id: i64,
    /// Exclusive.
    pub lower: Option<Bound>,
    /// Inclusive.
    pub upper: Option<Bound>,
    /// How often it was tried before; part of the fence, so that an orphan of an earlier try can never commit.
    pub attempt: i32,
}

/// What became of a chunk whose connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its transaction committed.
    Done,
    /// It never will: it is rolled back and fenced out.
    Gone,
}

/// What a copied chunk amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows written; those that were already there are not counted.
    pub rows: u64,
}

/// The outcome of comparing one chunk in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Rows in the source's range.
    pub rows_source: u64,
    /// Rows in the shadow's range.
    pub rows_shadow: u64,
    /// Keys (in the stream's bytes, with a text for people) whose rows differ now; changes may still be on their way.
    pub differing: Vec<Suspect>,
}

/// A key whose rows differed when last looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Suspect {
    /// The key in the stream's bytes; what the ledger of applied changes knows.
    pub key: Key,
    /// The key in the source's order; what the engine uses to look again.
    pub bound: Bound,
    /// What differs, for people: `missing in shadow`, `extra in shadow`, `different`.
    pub what: String,
}

/// A session that copies, applies and compares.
pub trait Session<E: Engine>: Apply<E> {
    /// The upper bound of a chunk of about `rows` rows above `lower`, or `None` if fewer are left up to `last`.
    fn next_bound(
        &mut self,
        lower: Option<&Bound>,
        last: &Bound,
        rows: u64,
    ) -> impl Future<Output = Result<Option<Bound>>> + Send;
    /// The greatest key of the source now, `None` if it is empty.
    fn last_key(&mut self) -> impl Future<Output = Result<Option<Bound>>> + Send;
    /// Copies a chunk, in one transaction that begins with the fence and ends with marking the chunk done. `raise` is called with the
    /// floor before any row is read.
    fn copy_chunk(
        &mut self,
        chunk: &Chunk,
        raise: impl FnOnce(E::Floor) + Send,
    ) -> impl Future<Output = Result<Copied>> + Send;
    /// Raises the chunk's fence to `attempt + 1`, which waits for an orphan of this chunk to end, and says what became of it.
    fn fate(&mut self, chunk: &Chunk) -> impl Future<Output = Result<Fate>> + Send;
    /// Compares source and shadow in one snapshot, and names at most `limit` differing keys.
    fn compare(&mut self, chunk: &Chunk, limit: usize) -> impl Future<Output = Result<Compared>> + Send;
    /// Looks at single keys again, in one snapshot; gives back those that still differ.
    fn recheck(&mut self, suspects: &[Suspect]) -> impl Future<Output = Result<Vec<Suspect>>> + Send;
}

/// Applies batches to the shadow: an ordinary session, or the one that holds the lock.
pub trait Apply<E: Engine>: Send + 'static {
    /// A floor as any new reader would have it now.
    fn floor(&mut self) -> impl Future<Output = Result<E::Floor>> + Send;
    /// Writes the batch and, where given, the checkpoint, in one transaction that begins with the fence. Returns rows touched.
    fn apply(
        &mut self,
        batch: &Batch,
        checkpoint: Option<&E::Position>,
    ) -> impl Future<Output = Result<u64>> + Send;
    /// Puts a marker into the stream, as a committed transaction of its own.
    fn mark(&mut self, token: u64) -> impl Future<Output = Result<()>> + Send;
}

/// The source is locked against writers. Dropping this closes its connections, so that the server lets go of everything.
pub trait Locked<E: Engine>: Apply<E> {
    /// When the first lock request was sent: clients may have waited since then.
    fn since(&self) -> tokio::time::Instant;
    /// Swaps the names, commits and lets go. `deadline` bounds the whole call as the operator's clients feel it. The connections stay
    /// open: closing one costs the server time, at the moment at which everybody who waited wants it.
    ///
    /// # Errors
    /// `Budget` if the exclusive lock was not to be had in time (nothing was swapped); `Ambiguous` if the answer was lost: ask
    /// [`Engine::outcome`].
    fn swap(&mut self, deadline: Duration) -> impl Future<Output = Result<()>> + Send;
    /// Lets go without swapping.
    fn release(self) -> impl Future<Output = ()> + Send;
}

/// What stands in the way of the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// Which session, in the server's words: `pid 4121 (app=billing)`.
    pub who: String,
    /// What it does: `transaction open for 14 min`.
    pub what: String,
    /// True if trying the lock now would be useless or harmful; false if it is only worth telling.
    pub blocks: bool,
}

/// Whether the swap took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The source's name now belongs to what was the shadow.
    Swapped,
    /// Nothing was swapped.
    NotSwapped,
}

/// How much of a change in place is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPlace {
    /// Statements that have changed the table.
    pub made: usize,
    /// All of them.
    pub of: usize,
}

impl InPlace {
    /// Nothing is changed yet.
    pub fn is_untouched(self) -> bool {
        self.made == 0
    }
}

/// Where engines differ in kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Secondary indexes are built after the copy.
    pub builds_indexes_late: bool,
    /// Under the cutover's lock only the session that holds it can write the shadow, so the last changes go through it. Elsewhere the
    /// applier's own session, which is at work already, goes on.
    pub drains_through_lock: bool,
    /// How names are typed.
    pub spelling: Spelling,
    /// What people call the log that changes are read from: `WAL`, `binlog`.
    pub log: &'static str,
}

/// How an operator spells the name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// Around a name with odd characters, doubled within it.
    pub quote: char,
    /// What is not quoted means its lower case.
    pub folds: bool,
    /// Names that differ in case alone are the same.
    pub ignores_case: bool,
}

/// Readings that the throttle and the forecast need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// The largest replay lag of a replica; `None` where there is no replica.
    pub replica_lag: Option<Duration>,
    /// Sessions at work now, without our own.
    pub active_sessions: u64,
    /// Statements or transactions that the server has ended so far, ours among them; `None` where it does not count them.
    pub ended: Option<u64>,
    /// Bytes of the change stream that the server keeps for us.
    pub retained_bytes: u64,
    /// The same in hundredths of what the server is willing to keep; `None`: it has no limit.
    pub retained_percent: Option<f64>,
    /// Old versions of rows that cannot be purged yet; `None` where there is no such thing.
    pub undo: Option<u64>,
    /// Vacuums at work on the table; `None` where there is no such thing.
    pub vacuums: Option<u64>,
    /// The table's age in hundredths of what makes the server vacuum it; `None` where there is no such thing.
    pub wraparound_percent: Option<f64>,
    /// Finished files of the log that are not archived yet; `None` where nothing is archived.
    pub archive_files: Option<u64>,
    /// Signals whose reading failed while others did not, and why.
    pub unreadable: BTreeMap<&'static str, String>,
}

/// What is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LeftoverKind {
    /// A replication slot: has the server keep its log.
    Slot,
    /// An unfinished migration that nobody runs; it can still be resumed.
    Migration,
    /// A publication.
    Publication,
    /// A shadow table.
    Table,
    /// Rows of the control tables.
    Rows,
}

impl LeftoverKind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            LeftoverKind::Slot => "replication slot",
            LeftoverKind::Migration => "migration",
            LeftoverKind::Publication => "publication",
            LeftoverKind::Table => "table",
            LeftoverKind::Rows => "notes",
        }
    }
}

/// Something of ours that no run needs any more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Its name.
    pub name: String,
    /// Why nobody needs it.
    pub why: String,
    /// Its size, or what the server keeps because of it.
    pub bytes: Option<u64>,
    /// The migration that it was made for.
    pub migration: Option<i64>,
    /// The table of that migration.
    pub table: Option<TableName>,
}

/// One database product. Implemented by the engines, and by the model that simulations use.
pub trait Engine: Clone + Send + Sync + Sized + fmt::Debug + 'static {
    /// A point in the change stream.
    type Position: Position;
    /// A transaction's name in the stream.
    type TxId: TxId;
    /// What a read is sure to include.
    type Floor: Floor<Self::TxId>;
    /// The change stream.
    type Stream: Stream<Self>;
    /// A working session.
    type Session: Session<Self>;
    /// The lock at cutover.
    type Locked: Locked<Self>;
    /// The control tables.
    type Control: Control<Self>;

    /// Where this engine differs in kind.
    fn caps(&self) -> Caps;
    /// The schema that names without one are in, where that is known before the server is asked.
    fn home(&self) -> Option<&str> {
        None
    }
    /// Opens the control tables (made if absent and `create`), without taking the migration's lock.
    fn control(&self, create: bool) -> impl Future<Output = Result<Self::Control>> + Send;
    /// Looks at everything and says what would be done. Changes nothing.
    fn plan(&self, request: &Request) -> impl Future<Output = Result<Plan>> + Send;
    /// Makes everything the copy needs: stream (before anything else), shadow, its key. May be called again after a crash: it then
    /// finds what is there. Returns once every transaction that the stream does not carry is visible to new readers.
    ///
    /// `ours`, here and below: fails where another runner has taken the migration over. It is awaited before anything is changed, on a
    /// session that whoever takes over ends: a runner that sleeps for however long does nothing of this in another one's place.
    fn prepare(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> impl Future<Output = Result<()>> + Send;
    /// The plan of this turn, worked out from the plan as it was made (with its turn set, which is not 0) and from what the catalogs say
    /// now. Odd: the source is the table that now has the name, the shadow is the old table (`_T_old`), `old` is what the new table is
    /// called once it is swapped back (its former name as the shadow); link, key, projection and all else for that direction, so that
    /// stream, sessions, obstacles, lock, outcome and comparing need not know. Even: forward again, with values kept that only the new
    /// table has.
    ///
    /// # Errors
    /// `Refused` if going on in this direction is not possible with the tables as they are now.
    fn reverse(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> impl Future<Output = Result<Plan>> + Send;
    /// Opens the change stream from the position applied last; none: from its beginning. Checks that nothing is missing in between. In a
    /// later turn (`plan.turn`) the position may be of an earlier one: nothing is given out that was committed before the swap which
    /// began this turn, and everything after it is.
    fn stream(
        &self,
        plan: &Plan,
        migration: i64,
        from: Option<&Self::Position>,
    ) -> impl Future<Output = Result<Self::Stream>> + Send;
    /// Whether the server still has everything of an open stream behind this position (none: from the stream's beginning). Asked after
    /// [`Engine::stream`], so that no other reader can move it. Engines whose servers say so themselves at the opening need not be asked.
    fn keeps(
        &self,
        _plan: &Plan,
        _migration: i64,
        _from: Option<&Self::Position>,
    ) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(true) }
    }
    /// Which server this is, and which of its pasts: another text after it was replaced by a copy of it. With the control schema.
    fn origin(&self) -> impl Future<Output = Result<String>> + Send {
        async { Ok(String::new()) }
    }
    /// Opens a working session that writes under this epoch. `role` names it for people who look at the server.
    fn session(
        &self,
        plan: &Plan,
        migration: i64,
        epoch: i64,
        role: &str,
    ) -> impl Future<Output = Result<Self::Session>> + Send;
    /// Builds the indexes and constraints that the shadow still lacks, and everything else that needs no lock. Applying is paused.
    /// `gently`: one index at a time, on one core. `report` is told what is being built.
    ///
    /// # Errors
    /// `Refused` with the rows named if the new definition does not hold for the data.
    fn finish_shadow(
        &self,
        plan: &Plan,
        migration: i64,
        gently: bool,
        ours: impl Future<Output = Result<()>> + Send,
        report: impl Fn(String) + Send + Sync,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Who would keep us from the lock now. Also refuses if the source's definition is no longer the planned one.
    fn obstacles(&self, plan: &Plan, migration: i64) -> impl Future<Output = Result<Vec<Obstacle>>> + Send;
    /// Locks the source against writers within `budget`. `ready` is awaited when nothing is left to do but to ask for the lock, before
    /// any client waits.
    ///
    /// # Errors
    /// `Budget` if it was not to be had; the lock request is gone then.
    fn lock(
        &self,
        plan: &Plan,
        migration: i64,
        epoch: i64,
        budget: Duration,
        ready: impl Future<Output = Result<()>> + Send,
    ) -> impl Future<Output = Result<Self::Locked>> + Send;
    /// Looks at the catalog: did the plan's swap take place?
    fn outcome(&self, plan: &Plan, migration: i64) -> impl Future<Output = Result<Outcome>> + Send;
    /// Removes the stream and whatever else of ours is not needed any more, in the end; with `drop_old`, the old table too. May be called
    /// again. The plan is the one that was made, with its turn: after an even number of swaps the source has its name, the shadow stays,
    /// and `drop_old` means nothing.
    fn clean_up(
        &self,
        plan: &Plan,
        migration: i64,
        drop_old: bool,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Drops the old table of a migration that is done, long after it, and touches nothing else. False: it is not there any more. The
    /// plan is the one that was made.
    ///
    /// # Errors
    /// `Refused` if another table has its name.
    fn drop_old(&self, plan: &Plan, migration: i64) -> impl Future<Output = Result<bool>> + Send;
    /// Removes everything that was made for this migration, and leaves the source as it was.
    fn abort(
        &self,
        plan: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Makes the change in place (strategy `direct`), with this lock timeout, once; only what an earlier attempt has not made of it.
    ///
    /// # Errors
    /// `Budget` if the lock was not to be had; `Superseded` if another runner has taken over. What was made until then is made.
    fn direct(
        &self,
        plan: &Plan,
        migration: i64,
        epoch: i64,
        budget: Duration,
    ) -> impl Future<Output = Result<()>> + Send;
    /// How much of the change in place is made. Only for whoever runs the migration.
    fn made(&self, plan: &Plan, migration: i64) -> impl Future<Output = Result<InPlace>> + Send;
    /// What the table now lacks of the planned definition, for people; empty: the change is there.
    fn lacks(&self, plan: &Plan) -> impl Future<Output = Result<Vec<String>>> + Send;
    /// Readings for the throttle. `replicas`: their lag, too, which may have to be asked of each of them.
    fn load(&self, plan: &Plan, migration: i64, replicas: bool) -> impl Future<Output = Result<Load>> + Send;
    /// Whether no session of this role has had anything to do on the server for so long; `None`: the server lists no session as one of
    /// them (it is gone, or a proxy on the way gives it another name), or the engine cannot know.
    fn is_silent(
        &self,
        _migration: i64,
        _role: &str,
        _since: Duration,
    ) -> impl Future<Output = Result<Option<bool>>> + Send {
        async { Ok(None) }
    }
    /// Commits something small in the control tables, and says how long that took.
    fn probe_commit(&self, migration: i64) -> impl Future<Output = Result<Duration>> + Send;
    /// Runs a query of the operator's own, which must not change anything. Gives the first column of its first row as text; `None`: no
    /// row, or NULL.
    fn ask(&self, query: &str) -> impl Future<Output = Result<Option<String>>> + Send;
    /// What dead runs left behind in this database.
    fn leftovers(&self) -> impl Future<Output = Result<Vec<Leftover>>> + Send;
    /// Removes one of them, unless somebody uses it by now. Migrations are aborted instead: [`crate::offline::abort`].
    fn remove(&self, leftover: &Leftover) -> impl Future<Output = Result<()>> + Send;
}
