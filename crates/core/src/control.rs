//! The control tables: a migration's durable state, and how people steer it.

use crate::{
    engine::{Bound, Chunk, Engine},
    error::Result,
    name::TableName,
    phase::Phase,
    plan::Plan,
    progress::Progress,
};
use serde::{Deserialize, Serialize};
use std::future::Future;

/// The version of the control tables that this program writes.
pub const SCHEMA_VERSION: i32 = 1;

/// A migration that this runner holds.
#[derive(Clone, Debug)]
pub struct Migration<E: Engine> {
    /// Its number.
    pub id: i64,
    /// The fence: every writing transaction of this runner carries it.
    pub epoch: i64,
    /// Where it stands.
    pub phase: Phase,
    /// What it does.
    pub plan: Plan,
    /// The position applied last.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
        }
    }

    /// The command of this name.
    pub fn parse(name: &str) -> Option<Command> {
        let all = [
            Command::Pause,
            Command::Resume,
            Command::Cutover,
            Command::Verify,
            Command::Abort,
            Command::Throttle,
        ];
        all.into_iter().find(|c| c.name() == name)
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

/// The control tables of one database. All methods take `&self`: statements of one connection queue up behind each other.
pub trait Control<E: Engine>: Send + Sync + 'static {
    /// The unfinished migration of this table, if there is one: its plan and phase.
    fn find(&self, table: &TableName) -> impl Future<Output = Result<Option<(i64, Phase, Plan)>>> + Send;
    /// The plan of the newest finished migration of this table, and when it was finished.
    fn finished(&self, table: &TableName) -> impl Future<Output = Result<Option<(Plan, String)>>> + Send;
    /// Takes the migration's lock (`Held` if another runner has it), creates the migration or goes on with the unfinished one of the
    /// same table, and raises its epoch, which waits for what orphans of the former runner still write.
    fn take(&self, plan: &Plan, who: &str) -> impl Future<Output = Result<Migration<E>>> + Send;
    /// Saves the phase.
    fn save_phase(&self, migration: i64, epoch: i64, phase: Phase)
    -> impl Future<Output = Result<()>> + Send;
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
