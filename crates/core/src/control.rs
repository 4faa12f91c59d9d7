//! The control tables: a migration's durable state, and how people steer it.

use crate::{
    engine::{Bound, Chunk, Engine},
    error::{Error, Kind, Result},
    name::TableName,
    phase::Phase,
    plan::Plan,
    progress::Progress,
};
use serde::{Deserialize, Serialize};
use std::{future::Future, time::Duration};

/// The version of the control tables that this program writes.
pub const SCHEMA_VERSION: i32 = 3;
/// The oldest version that it reads, and upgrades before it writes.
pub const SCHEMA_VERSION_MIN: i32 = 1;

/// A migration that this runner holds.
#[derive(Clone, Debug)]
pub struct Migration<E: Engine> {
    /// Its number.
    pub id: i64,
    /// The fence: every writing transaction of this runner carries it.
    pub epoch: i64,
    /// Where it stands.
    pub phase: Phase,
    /// How many swaps took place. Even: the source has its name; odd: what was the shadow has it.
    pub turn: i64,
    /// What it does, as it was planned; its turn is this one.
    pub plan: Plan,
    /// The position applied last, in this turn or an earlier one.
    pub applied: Option<E::Position>,
    /// How far the copy is.
    pub copy: CopyState,
    /// True if an earlier runner had begun it.
    pub resumed: bool,
}

/// How far the copy is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyState {
    /// The greatest key of the source when the copy began. `None`: not begun, or the source was empty then.
    pub last: Option<Bound>,
    /// True once `last` is known (or known to be nothing).
    pub begun: bool,
    /// The upper bound of the last chunk that was claimed.
    pub cursor: Option<Bound>,
    /// The number of the last chunk that was claimed.
    pub chunk: i64,
    /// Chunks claimed and not done.
    pub undone: Vec<Chunk>,
    /// Rows copied so far.
    pub rows: u64,
}

/// What an operator asks of a running migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop copying; go on applying.
    Pause,
    /// Copy again.
    Resume,
    /// Cut over now, whatever the window says.
    Cutover,
    /// Compare every row again (in ready).
    Verify,
    /// Give up and remove everything.
    Abort,
    /// Change a setting. It is stored with the migration; whoever runs it reads all of them again.
    Throttle,
    /// Swap back.
    Rollback,
    /// End the guard now.
    Finish {
        /// And drop the old table.
        drop_old: bool,
    },
}

impl Command {
    /// The name as it is stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Cutover => "cutover",
            Command::Verify => "verify",
            Command::Abort => "abort",
            Command::Throttle => "throttle",
            Command::Rollback => "rollback",
            Command::Finish { drop_old: false } => "finish",
            Command::Finish { drop_old: true } => "finish drop-old",
        }
    }

    /// The command of this name.
    pub fn parse(name: &str) -> Option<Command> {
        [
            Command::Pause,
            Command::Resume,
            Command::Cutover,
            Command::Verify,
            Command::Abort,
            Command::Throttle,
            Command::Rollback,
            Command::Finish { drop_old: false },
            Command::Finish { drop_old: true },
        ]
        .into_iter()
        .find(|c| c.name() == name)
    }
}

/// One migration as `status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its number.
    pub id: i64,
    /// The table.
    pub table: TableName,
    /// Where it stands.
    pub phase: Phase,
    /// How many swaps took place.
    #[serde(default)]
    pub turn: i64,
    /// Seconds left of the guard, once it has begun and while it lasts.
    #[serde(default)]
    pub guard_left_s: Option<f64>,
    /// The plan's id.
    pub plan_id: String,
    /// What it does.
    pub alters: Vec<String>,
    /// True while copying is paused by a command.
    pub paused: bool,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// When its runner last reported, RFC 3339.
    pub updated_at: String,
    /// When it was over, RFC 3339.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// Who runs it (`host:pid`), if a runner holds it now.
    pub runner: Option<String>,
    /// The last numbers that its runner reported.
    pub progress: Option<Progress>,
    /// The last error, if it stopped with one.
    pub error: Option<String>,
    /// The measured stall of the cutover in milliseconds.
    pub stall_ms: Option<f64>,
    /// The last events, newest last: time, who, what.
    pub events: Vec<LoggedEvent>,
}

/// Something that an operator may ask about later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedEvent {
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub who: String,
    /// What.
    pub what: String,
}

/// A phase as the control tables have it.
///
/// # Errors
/// `Corrupt` if there is none of this name.
pub fn stored_phase(name: &str) -> Result<Phase> {
    name.parse().map_err(|e: String| Error::corrupt(format!("the control tables hold a wrong phase: {e}")))
}

/// A plan as the control tables have it.
///
/// # Errors
/// `Corrupt` if it cannot be read.
pub fn stored_plan(text: &str) -> Result<Plan> {
    serde_json::from_str(text).map_err(|e| {
        Error::corrupt("the stored plan cannot be read; it was written by another version of this program")
            .because(e)
    })
}

/// Somebody else's runner has the migration's lock. `session`: what the server says of it, with a comma in front; or nothing.
pub fn held(table: &TableName, runner: Option<String>, session: &str) -> Error {
    let runner = runner.unwrap_or_else(|| "unknown".into());
    Error::new(Kind::Held, format!("another runner holds the migration of {table}: {runner}{session}"))
        .next("let it finish, or stop it first; `shadowswap status` shows what it does")
}

/// Tables of this version have no place for settings.
pub fn too_old_for_settings(version: i32) -> Error {
    Error::refused(format!(
        "the control tables have version {version}, and settings can be changed from version 2 on"
    ))
    .next("run the migration with this program once: it brings the tables up to date")
}

/// The control tables of one database. All methods take `&self`: statements of one connection queue up behind each other.
pub trait Control<E: Engine>: Send + Sync + 'static {
    /// The unfinished migration of this table, if there is one: its plan and phase.
    fn find(&self, table: &TableName) -> impl Future<Output = Result<Option<(i64, Phase, Plan)>>> + Send;
    /// The newest finished migration of this table: its number, its plan, and when it was finished.
    fn finished(&self, table: &TableName)
    -> impl Future<Output = Result<Option<(i64, Plan, String)>>> + Send;
    /// Takes the migration's lock (`Held` if another runner has it) and goes on with the unfinished migration of this table; raises its
    /// epoch, which waits for what orphans of the former runner still write. `None`: there is none unfinished; the lock is held.
    fn resume(
        &self,
        table: &TableName,
        who: &str,
    ) -> impl Future<Output = Result<Option<Migration<E>>>> + Send;
    /// Creates the migration. Only where [`Control::resume`] has found none.
    fn begin(&self, plan: &Plan, who: &str) -> impl Future<Output = Result<Migration<E>>> + Send;
    /// Goes on with the unfinished migration of the plan's table, or creates it.
    fn take(&self, plan: &Plan, who: &str) -> impl Future<Output = Result<Migration<E>>> + Send {
        async {
            match self.resume(&plan.source, who).await? {
                Some(migration) => Ok(migration),
                None => self.begin(plan, who).await,
            }
        }
    }
    /// Whether nobody has taken the migration over since this epoch. Asks without waiting for any lock.
    fn is_ours(&self, migration: i64, epoch: i64) -> impl Future<Output = Result<bool>> + Send;
    /// Saves the phase.
    fn save_phase(&self, migration: i64, epoch: i64, phase: Phase)
    -> impl Future<Output = Result<()>> + Send;
    /// Notes that the swap which begins this turn took place, with the phase that follows it; leaves all as it is where the swap's own
    /// transaction did so. A swap forward begins the guard's time anew.
    fn turn(
        &self,
        migration: i64,
        epoch: i64,
        turn: i64,
        phase: Phase,
        stall_ms: Option<f64>,
    ) -> impl Future<Output = Result<()>> + Send;
    /// What is left of the guard by the server's clock, zero if it is over. Begins it with this length, unless it has begun.
    /// `is_set`: the length was changed meanwhile; a guard that has begun and was not ended gets it, too, from its beginning on.
    fn guard_left(
        &self,
        migration: i64,
        epoch: i64,
        length: Duration,
        is_set: bool,
    ) -> impl Future<Output = Result<Duration>> + Send;
    /// The guard's time is up from now on, whatever was left of it, also where it had not begun to run; no other length changes that.
    /// `Superseded` if another runner has taken over: what follows removes the change stream, which is that one's now.
    fn end_guard(&self, migration: i64, epoch: i64) -> impl Future<Output = Result<()>> + Send;
    /// Saves the copy's end, once.
    fn begin_copy(
        &self,
        migration: i64,
        epoch: i64,
        last: Option<&Bound>,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Claims a chunk: from now on it is remembered until it is done.
    fn claim(&self, migration: i64, epoch: i64, chunk: &Chunk) -> impl Future<Output = Result<()>> + Send;
    /// Rows and chunks done, as the chunks' own transactions recorded them.
    fn copied(&self, migration: i64) -> impl Future<Output = Result<(u64, u64)>> + Send;
    /// Writes the numbers that `status` shows, and tells the commands that were given since, in order. Paused is part of the state.
    fn report(
        &self,
        migration: i64,
        epoch: i64,
        progress: &Progress,
    ) -> impl Future<Output = Result<(Vec<Command>, bool)>> + Send;
    /// Notes an event.
    fn note(&self, migration: i64, who: &str, what: &str) -> impl Future<Output = Result<()>> + Send;
    /// Notes how the run ended: an error, or the report of a success.
    fn close(
        &self,
        migration: i64,
        error: Option<&str>,
        stall_ms: Option<f64>,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Gives a command to whoever runs the migration. Returns true if a runner holds it now.
    fn command(
        &self,
        migration: i64,
        who: &str,
        command: &Command,
    ) -> impl Future<Output = Result<bool>> + Send;
    /// Stores a setting of a migration, and tells whoever runs it. Returns true if a runner holds it now.
    fn set(
        &self,
        migration: i64,
        who: &str,
        name: &str,
        value: &str,
    ) -> impl Future<Output = Result<bool>> + Send;
    /// The settings that were stored with a migration, oldest first: name and value.
    fn settings(&self, migration: i64) -> impl Future<Output = Result<Vec<(String, String)>>> + Send;
    /// Keeps the report of a finished run, as JSON.
    fn keep(&self, migration: i64, report: &str) -> impl Future<Output = Result<()>> + Send;
    /// Reports of finished runs, by the migration's number, newest first.
    fn reports(&self) -> impl Future<Output = Result<Vec<(i64, String)>>> + Send;
    /// Waits until somebody may have given a command. Engines that cannot be told wait for ever: commands are looked for all the time
    /// anyway. Cancel-safe.
    fn nudged(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
    /// Whether the server takes names for the same that differ in case alone, which not every engine knows without asking.
    fn ignores_case(&self) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(false) }
    }
    /// All migrations, newest first, of one table or of all.
    fn status(&self, table: Option<&TableName>) -> impl Future<Output = Result<Vec<Status>>> + Send;
}
