//! What can be typed. Everything is text here; `config` gives it meaning.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use serde::Deserialize;
use std::path::PathBuf;

const ABOUT: &str = "Change the schema of a large, hot table without anybody noticing";
const LONG_ABOUT: &str = "\
Change the schema of a large, hot table without anybody noticing.

shadowswap makes a shadow table with the new schema, copies the rows in chunks while it follows the server's own change stream, proves \
that both tables hold the same rows, and swaps the two names in one atomic step. It needs no triggers, and it never runs a long ALTER \
on the table that is in use.";
const EXAMPLES: &str = r"  # What would happen? Changes nothing.
  shadowswap plan --table orders --alter 'ALTER COLUMN id TYPE bigint'

  # Do it: shows the plan and asks first. The same command again goes on after a crash.
  shadowswap run --table orders --alter 'ALTER COLUMN id TYPE bigint'

  # From a file that was reviewed, in CI, with the plan that was approved.
  shadowswap run -f migrations/0042_orders_note.toml --plan-id 3f9a1c20d4be

  # Copy by night, swap when told to.
  shadowswap run -f 0042.toml --copy-window 'daily 22:00-05:00 Europe/Berlin' --cutover manual
  shadowswap status
  shadowswap cutover --table orders

  # Keep the old table in step for a day after the swap; go back without losing a write.
  shadowswap run -f 0042.toml --guard 24h
  shadowswap rollback --table orders";
const CONNECTING: &str = r"  --url, else SHADOWSWAP_URL, else libpq's own ways: PGHOST, PGUSER, PGDATABASE, PGSERVICE and so on.
  mysql://user@host/database for MySQL and MariaDB; what it leaves out comes from MYSQL_HOST, MYSQL_PWD and so on,
  and from option files (~/.my.cnf, or the one named by --defaults-file).
  Passwords belong into ~/.pgpass, ~/.my.cnf or SHADOWSWAP_URL: arguments can be read by others.";

fn after_help() -> String {
    format!("Examples:\n{EXAMPLES}\n\nConnecting:\n{CONNECTING}\n\nExit codes:\n{}", crate::exit::HELP)
}

/// The command line.
#[derive(Parser)]
#[command(name = "shadowswap", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = after_help(),
    after_help = "`shadowswap --help` shows examples and exit codes.", propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Good with every command. No `Debug`: the URL may hold a password.
#[derive(Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// The database: postgres://user@host/database, mysql://user@host/database, or key=value pairs [env: SHADOWSWAP_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// The only option file to read, instead of /etc/my.cnf, /etc/mysql/my.cnf and ~/.my.cnf (MySQL, MariaDB)
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub defaults_file: Option<PathBuf>,
    /// Write JSON to stdout, one object a line, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on stderr; twice: still more. RUST_LOG goes before
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Subcommand)]
pub enum Command {
    /// Say what would happen, and change nothing
    #[command(after_help = "Exits with 3 if a check refuses the change.")]
    Plan(Box<PlanArgs>),
    /// Carry a change through; run it again to go on where it stopped
    #[command(after_long_help = run_help())]
    Run(Box<RunArgs>),
    /// Show migrations: phase, progress, lag, what holds them, what happened
    Status(StatusArgs),
    /// Show past migrations with their figures
    History(HistoryArgs),
    /// Wait until a migration is in a phase, or beyond it
    #[command(after_help = "Exits with 0 once it is, with 1 if it is not in time, with 6 if it was aborted.")]
    Wait(WaitArgs),
    /// Find what dead runs left behind, and remove it, asking before each
    Cleanup(CleanupArgs),
    /// Stop copying; changes are still applied
    Pause(Target),
    /// Copy again after a pause
    Resume(Target),
    /// Change a migration's settings while it runs: chunk-time=50ms, replica-lag=5s, cutover=manual
    #[command(after_long_help = throttle_help())]
    Throttle(ThrottleArgs),
    /// Swap as soon as the tables are in step, whatever the window says
    Cutover(Target),
    /// Give up: remove everything that was made, leave the table as it was
    Abort(AbortArgs),
    /// During the guard: compare every row, then swap back with every write since
    #[command(after_help = ROLLBACK_HELP)]
    Rollback(RollbackArgs),
    /// End the guard: remove the change stream and, if said, the old table
    Finish(FinishArgs),
    /// Compare every row again while in `ready` or in the guard; afterwards, check that the change is there
    Verify(Target),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  shadowswap completions bash > /etc/bash_completion.d/shadowswap")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  shadowswap man > /usr/share/man/man1/shadowswap.1")]
    Man,
}

const ROLLBACK_HELP: &str = "\
Needs a run with --guard. Where a runner guards the migration, it is told to; else this command does it, and then keeps the new table \
in step until the guard's time is up. `shadowswap cutover` swaps forward again, `shadowswap finish` leaves it at that.";

const RUN_HELP: &str = "\
On a terminal, the plan is shown and approved by a question. Elsewhere --yes or --plan-id is needed.

A first SIGINT or SIGTERM stops at the next safe point; a second one stops at once. Either way nothing is lost: run \
the same command again, or `shadowswap abort`. Until then the server keeps its change stream for the migration.

The migration file has the same names as the flags; flags go before it:

  table = \"orders\"
  alter = [\"ADD COLUMN domain text\", \"ALTER COLUMN id TYPE bigint\"]
  cutover = \"daily 03:00-04:00 UTC\"
  stall-budget = \"50ms\"
  [set]
  domain = \"split_part(email, '@', 2)\"";

#[derive(Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub choices: Choices,
}

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub choices: Choices,
    #[command(flatten)]
    pub approval: Approval,
}

#[derive(Args)]
#[command(next_help_heading = "What to change")]
pub struct SourceArgs {
    /// Read the change from a TOML file with the same names as these flags
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// What flags and the migration file have in common. In the file, numbers may stand for texts.
#[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Choices {
    /// The table: orders, sales.orders, '"Sales"."Orders"'
    #[arg(long, value_name = "TABLE", help_heading = "What to change")]
    pub table: Option<String>,
    /// What to alter: the part after ALTER TABLE name. May be repeated
    #[arg(long, value_name = "CLAUSE", help_heading = "What to change")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub alter: Vec<String>,
    /// A column's value over the old row: "domain=split_part(email,'@',2)". May be repeated
    #[arg(long, value_name = "COLUMN=EXPRESSION", help_heading = "What to change")]
    #[serde(deserialize_with = "crate::file::assignments")]
    pub set: Vec<String>,
    /// The same for the way back (--guard): a column of the old table over the new row. May be repeated
    #[arg(long, value_name = "COLUMN=EXPRESSION", help_heading = "What to change")]
    #[serde(deserialize_with = "crate::file::assignments")]
    pub set_back: Vec<String>,
    /// auto: in place if the server changes only its catalog, else shadow; shadow; direct [default: auto]
    #[arg(long, value_name = "HOW", help_heading = "What to change", value_parser = ["auto", "shadow", "direct"], hide_possible_values = true)]
    pub strategy: Option<String>,
    /// When the shadow's secondary indexes are built. late: after the copy, which is faster; early: before it, so that no
    /// replica is held up by a long build (MySQL, MariaDB); auto: early where replicas are attached [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = "What to change", value_parser = ["auto", "early", "late"], hide_possible_values = true)]
    pub indexes: Option<String>,
    /// Drop the old table at the end instead of keeping it as _<table>_old
    #[arg(long, help_heading = "What to change")]
    pub drop_old: bool,
    /// Keep the old table in step for so long after the swap: until then, `shadowswap rollback` loses nothing
    #[arg(long, value_name = "TIME", help_heading = "What to change")]
    pub guard: Option<String>,

    /// auto: when in step; manual: on `shadowswap cutover`; or windows like 'Sun 03:00-05:00 UTC' [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = "When to swap")]
    pub cutover: Option<String>,
    /// How long clients may wait in one attempt to swap [default: 50ms]
    #[arg(long, value_name = "TIME", help_heading = "When to swap")]
    pub stall_budget: Option<String>,
    /// Attempts to swap before giving up with exit code 5 [default: 60]
    #[arg(long, value_name = "N", help_heading = "When to swap")]
    #[serde(deserialize_with = "crate::file::text_or_number")]
    pub cutover_attempts: Option<String>,
    /// Swap without comparing every row first. Nothing then proves that the tables are equal
    #[arg(long, help_heading = "When to swap")]
    pub no_verify: bool,

    /// Copy only within this window: 'Mon-Fri 01:00-05:00 Europe/Berlin'. May be repeated
    #[arg(long, value_name = "WINDOW", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub copy_window: Vec<String>,
    /// Neither copy nor swap on these days: 2026-12-20..2027-01-02. May be repeated
    #[arg(long, value_name = "DAYS", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub blackout: Vec<String>,
    /// Copying waits while the shadow is further behind than this [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "How gently")]
    pub max_lag: Option<String>,
    /// Copying waits while a replica is further behind than this
    #[arg(long, value_name = "TIME", help_heading = "How gently")]
    pub max_replica_lag: Option<String>,
    /// A replica whose lag counts, reached with the same user and password; may be repeated. Without it, those that are attached
    /// count: PostgreSQL knows where they are; of MySQL and MariaDB, those that tell the primary their address (report_host) are asked
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub replica: Vec<String>,
    /// How much of the server copying and comparing may use: `auto` (unless said) so much that other people's commits hardly become
    /// slower, which is measured, and all of it while nobody else is at work; `off` all of it; with a percent sign, this share of the
    /// time; a number, all of it while no more than so many other sessions are at work
    #[arg(long, value_name = "auto|off|N|N%", overrides_with = "max_load", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::text_or_number")]
    pub max_load: Option<String>,
    /// Copying waits while a signal is over its limit, and goes on once it is at or below RECOVERY (seven tenths of the limit
    /// unless said): replica-lag=5s, commit=20ms, retained=8GiB..4GiB, slot-budget=70%. May be repeated; see below for the signals
    #[arg(long, value_name = "NAME=LIMIT[..RECOVERY]", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub throttle: Vec<String>,
    /// The run stops, and can be resumed, when a signal is over this limit. May be repeated
    #[arg(long, value_name = "NAME=LIMIT", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub critical: Vec<String>,
    /// A signal of your own: a query, a URL or a command that gives a number. Copying waits while it is above 0, or above its
    /// --throttle. May be repeated
    #[arg(long, value_name = "NAME=SQL|URL|COMMAND", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub signal: Vec<String>,
    /// What to watch during the guard: a query, a URL or a command that gives a number. May be repeated
    #[arg(long, value_name = "NAME=SQL|URL|COMMAND", help_heading = "When to swap")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub watch: Vec<String>,
    /// The limit of what is watched; 0 unless said. It may be that of any signal. May be repeated
    #[arg(long, value_name = "NAME=LIMIT[..RECOVERY]", help_heading = "When to swap")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub limit: Vec<String>,
    /// How long a limit must be broken before it counts [default: 1m]
    #[arg(long, value_name = "TIME", help_heading = "When to swap")]
    pub watch_for: Option<String>,
    /// What a limit that is broken during the guard does: auto swaps back, warn only says so [default: warn]
    #[arg(long, value_name = "HOW", help_heading = "When to swap", value_parser = ["auto", "warn"], hide_possible_values = true)]
    pub rollback: Option<String>,
    /// Copying waits while this file is there
    #[arg(long, value_name = "FILE", help_heading = "How gently", value_hint = ValueHint::FilePath)]
    pub flag_file: Option<PathBuf>,
    /// The run stops, and can be resumed, when writes have come in faster than they can be applied for this long [default: 10m]
    #[arg(long, value_name = "TIME", help_heading = "How gently")]
    pub overload_after: Option<String>,
    /// How long one chunk should take [default: 200ms]
    #[arg(long, value_name = "TIME", help_heading = "How gently")]
    pub chunk_time: Option<String>,
    /// Sessions that copy and compare [default: 2]
    #[arg(long, value_name = "N", help_heading = "How gently")]
    #[serde(deserialize_with = "crate::file::text_or_number")]
    pub copy_workers: Option<String>,

    /// Where changes wait that do not fit into memory [default: the system's temporary directory]
    #[arg(long, value_name = "DIRECTORY", help_heading = "Resources", value_hint = ValueHint::DirPath)]
    pub log_directory: Option<PathBuf>,
    /// Memory for changes that wait [default: 8MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources")]
    pub log_memory: Option<String>,
    /// Disk for changes that wait [default: 64GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources")]
    pub log_disk: Option<String>,
    /// durable: what was read of the change stream is kept in --log-directory until it is applied, also after a crash, so that the
    /// server need not keep it; temporary: the server keeps it until it is applied [default: temporary]
    #[arg(long, value_name = "HOW", help_heading = "Resources", value_parser = ["temporary", "durable"], hide_possible_values = true)]
    pub spool: Option<String>,
    /// The guard ends when the server keeps more of its change stream for it than this [default: 16GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources")]
    pub guard_retention: Option<String>,
    /// Schema of the control tables [default: shadowswap]
    #[arg(long, value_name = "SCHEMA", help_heading = "Resources")]
    pub control_schema: Option<String>,

    /// A command or URL that is told of each phase, throttle, attempt to swap, success and failure, in JSON (standard input, or
    /// POST). It has 10 s; one that fails is noted, and changes nothing. May be repeated
    #[arg(long, value_name = "COMMAND|URL", help_heading = "Running")]
    #[serde(deserialize_with = "crate::file::one_or_many")]
    pub hook: Vec<String>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Running")]
pub struct Approval {
    /// Run without a question
    #[arg(short, long)]
    pub yes: bool,
    /// Run without a question if the plan is still the one with this id
    #[arg(long, value_name = "ID")]
    pub plan_id: Option<String>,
    /// Do nothing, and exit with 0, if the table's newest migration made this very change (with 6 if it was rolled back): for timers that
    /// run it night by night
    #[arg(long)]
    pub once: bool,
    /// The same as `shadowswap plan`
    #[arg(long)]
    pub dry_run: bool,
    /// How to show progress: bar and plain go to stderr, json (one line a second) to stdout
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, plain lines elsewhere; nothing with --json
    #[default]
    Auto,
    /// A bar that is drawn over itself
    Bar,
    /// A line every five seconds and at each phase
    Plain,
    /// A JSON object every second
    Json,
    /// Nothing
    None,
}

/// Which migration.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which migration")]
pub struct Target {
    /// The table; may be left out while only one migration is unfinished
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Schema of the control tables
    #[arg(long, value_name = "SCHEMA", default_value = crate::config::CONTROL_SCHEMA)]
    pub control_schema: String,
}

fn throttle_help() -> String {
    let settings = shadowswap_core::setting::NAMES.join(", ");
    format!(
        "Settings have the names of the flags of `run`: {settings}.\n\n{}\n\n\
         `watch.NAME=LIMIT` is the limit of what is watched during the guard; `guard=DURATION` counts from the guard's beginning: less than what has passed ends it.\n\
          `none` takes a limit away. What is set holds until it is set again, for later runs of the migration too, and goes before their flags.\n\n\
         Examples:\n  shadowswap throttle --table orders copy-workers=1 chunk-time=50ms\n  shadowswap throttle --table orders 'cutover=Sat 02:00-04:00 Europe/Berlin'\n  \
         shadowswap throttle --table orders guard=48h watch.errors=20",
        signals_help()
    )
}

/// The signals that every run has.
fn signals_help() -> String {
    let lines =
        shadowswap_core::throttle::limit::BUILT_IN.map(|(name, _, about)| format!("  {name:<12} {about}"));
    format!(
        "Signals:\n{}\n\nA signal that cannot be read counts as over. Between RECOVERY and LIMIT copying goes slower, with fewer workers and \\\n\
         shorter chunks, instead of stop and go.",
        lines.join("\n")
    )
    .replace("\\\n", "")
}

fn run_help() -> String {
    format!("{RUN_HELP}\n\n{}", signals_help())
}

/// New settings.
#[derive(Args)]
pub struct ThrottleArgs {
    #[command(flatten)]
    pub target: Target,
    /// What to set
    #[arg(value_name = "SETTING=VALUE", required = true)]
    pub settings: Vec<String>,
}

#[derive(Args)]
pub struct HistoryArgs {
    /// Only this table's migrations
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Schema of the control tables
    #[arg(long, value_name = "SCHEMA", default_value = crate::config::CONTROL_SCHEMA)]
    pub control_schema: String,
}

#[derive(Args)]
pub struct WaitArgs {
    #[command(flatten)]
    pub target: Target,
    /// ready: the shadow is complete and in step; guard: swapped; done: finished
    #[arg(long, value_name = "PHASE", default_value = "done", value_parser = ["copy", "index", "verify", "ready", "guard", "done"])]
    pub phase: String,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub timeout: String,
}

#[derive(Args)]
pub struct CleanupArgs {
    /// Schema of the control tables
    #[arg(long, value_name = "SCHEMA", default_value = crate::config::CONTROL_SCHEMA)]
    pub control_schema: String,
    /// Remove without questions. Migrations that are unfinished stay, unless --unfinished says otherwise
    #[arg(short, long)]
    pub yes: bool,
    /// With --yes, also give up migrations that are unfinished and that nobody runs
    #[arg(long)]
    pub unfinished: bool,
}

#[derive(Args)]
pub struct StatusArgs {
    /// Show it again each second, until interrupted
    #[arg(short, long)]
    pub watch: bool,
    /// Only this table's migrations
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Schema of the control tables
    #[arg(long, value_name = "SCHEMA", default_value = crate::config::CONTROL_SCHEMA)]
    pub control_schema: String,
}

#[derive(Args)]
pub struct AbortArgs {
    #[command(flatten)]
    pub target: Target,
    /// Abort without a question
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args, Default)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub target: Target,
    /// Roll back without a question
    #[arg(short, long)]
    pub yes: bool,
    /// Swap back without comparing every row first, where this command does it itself
    #[arg(long)]
    pub no_verify: bool,
    /// How long clients may wait in one attempt, where this command does it itself [default: 50ms]
    #[arg(long, value_name = "TIME")]
    pub stall_budget: Option<String>,
    /// How to show progress
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

#[derive(Args, Default)]
pub struct FinishArgs {
    #[command(flatten)]
    pub target: Target,
    /// Drop the old table, too; also later, when the guard is over
    #[arg(long)]
    pub drop_old: bool,
    /// Finish without a question
    #[arg(short, long)]
    pub yes: bool,
}

#[cfg(test)]
mod tests;
