//! The subcommands, one file each. They ask the core and the engine, and decide nothing about a migration themselves.

mod abort;
mod cleanup;
mod find;
mod finish;
mod hear;
mod history;
mod papers;
mod plan;
mod rollback;
mod run;
mod status;
mod steer;
mod throttle;
mod verify;
mod wait;

#[cfg(test)]
pub mod fake;

pub use history::Past;

use crate::{
    args::{Choices, Cli, Command, SourceArgs, Target},
    config::{self, Intent},
    exit::{DONE, Failure},
    file,
    output::{self, Output, json},
    url,
};
use serde_json::{Value, json};
use shadowswap_core::{
    Engine, Error,
    control::{self, Status},
    plan::Indexes,
};
use shadowswap_mysql::MySql;
use shadowswap_postgres::Postgres;

/// Says what became of a command about a migration. `shown` is for people; `more` is what this command's JSON alone has.
fn tell(output: Output, status: &Status, command: &str, message: &str, shown: &str, more: Value) {
    if !output.json {
        output::out(shown);
        return;
    }
    let mut told = json!({ "migration": status.id, "table": status.table.to_string(), "command": command, "message": message });
    if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more);
    }
    output::out(&json::named("told", &told));
}

/// A command's exit code, or what went wrong.
pub type Ended = Result<u8, Failure>;

/// Carries out what was typed.
///
/// # Errors
/// Whatever the command says; `Usage` for what makes no sense.
pub async fn dispatch(cli: Cli, output: Output) -> Ended {
    match cli.command {
        Command::Completions { shell } => {
            papers::completions(shell);
            return Ok(DONE);
        }
        Command::Man => {
            papers::manual();
            return Ok(DONE);
        }
        _ => {}
    }
    // The one place that knows which engines there are.
    let variable = std::env::var(url::VARIABLE).ok();
    let (url, warning) = config::url(cli.common.url.as_deref(), variable.as_deref())?;
    if let Some(warning) = warning {
        output.warn(&warning);
    }
    let file = cli.common.defaults_file.as_deref();
    // An option file says enough for MySQL's own programs.
    let mysql = match &url {
        Some(url) => Some(url.expose()).filter(|_| url.is_mysql()),
        None => file.map(|_| "mysql://"),
    };
    if let Some(url) = mysql {
        let open = |schema: &str, intent: Option<&Intent>| {
            let engine = MySql::open_with(url, file, schema)?;
            Ok(match intent.filter(|intent| intent.config.wants("replica-lag")) {
                Some(intent) => engine.watching(&intent.replicas)?,
                None => engine,
            })
        };
        if let Command::Run(args) = &cli.command {
            has_signals(&args.choices, &["vacuum", "wraparound", "archive"], "MySQL or MariaDB")?;
        }
        return work(open, cli.command, output).await;
    }
    if file.is_some() {
        return Err(only_mysql("--defaults-file").into());
    }
    let open = |schema: &str, intent: Option<&Intent>| {
        let engine = Postgres::open(url.as_ref().map(url::Url::expose), schema)?;
        let Some(intent) = intent else { return Ok(engine) };
        if intent.indexes == Some(Indexes::Early) {
            return Err(only_mysql("--indexes early").into());
        }
        Ok(engine.watching(&intent.replicas)?.with_spool(intent.config.log_directory.clone()))
    };
    if let Command::Run(args) = &cli.command {
        has_signals(&args.choices, &["undo"], "PostgreSQL")?;
    }
    work(open, cli.command, output).await
}

/// Refuses limits of signals that this product does not have.
fn has_signals(choices: &Choices, lacking: &[&str], product: &str) -> Result<(), Failure> {
    let names = choices.throttle.iter().chain(&choices.critical).filter_map(|l| l.split('=').next());
    match names.map(str::trim).find(|name| lacking.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Error::usage(format!("there is no signal {name} on {product}"))
            .next("leave it out; `shadowswap run --help` says which signals there are")
            .into()),
    }
}

fn only_mysql(what: &str) -> Error {
    Error::usage(format!("{what} is for MySQL and MariaDB, and the database is PostgreSQL"))
        .next("leave it out, or name a database with --url mysql://user@host/database")
}

/// The commands that need a database. `open` is given the control schema and, for a plan or a run, what is wanted.
async fn work<E: Engine>(
    open: impl Fn(&str, Option<&Intent>) -> Result<E, Failure>,
    command: Command,
    output: Output,
) -> Ended {
    let steer = |target: &Target| open(&target.control_schema, None);
    let engine_for = |intent: &Intent| open(&intent.control_schema, Some(intent));
    match command {
        Command::Plan(args) => {
            let intent = read(&args.source, args.choices)?;
            Box::pin(plan::execute(&engine_for(&intent)?, &intent, output)).await
        }
        Command::Run(args) => {
            let intent = read(&args.source, args.choices)?;
            let engine = engine_for(&intent)?;
            if args.approval.dry_run {
                return Box::pin(plan::execute(&engine, &intent, output)).await;
            }
            Box::pin(run::execute(&engine, &intent, &args.approval, output)).await
        }
        Command::Status(args) => {
            let engine = open(&args.control_schema, None)?;
            Box::pin(status::execute(&engine, args.table.as_deref(), args.watch, output)).await
        }
        Command::History(args) => {
            history::execute(&open(&args.control_schema, None)?, args.table.as_deref(), output).await
        }
        Command::Wait(args) => wait::execute(&steer(&args.target)?, &args, output).await,
        Command::Cleanup(args) => {
            Box::pin(cleanup::execute(&open(&args.control_schema, None)?, &args, output)).await
        }
        Command::Throttle(args) => throttle::execute(&steer(&args.target)?, &args, output).await,
        Command::Pause(target) => {
            steer::execute(&steer(&target)?, &target, control::Command::Pause, output).await
        }
        Command::Resume(target) => {
            steer::execute(&steer(&target)?, &target, control::Command::Resume, output).await
        }
        Command::Cutover(target) => {
            steer::execute(&steer(&target)?, &target, control::Command::Cutover, output).await
        }
        Command::Rollback(args) => Box::pin(rollback::execute(&steer(&args.target)?, &args, output)).await,
        Command::Finish(args) => Box::pin(finish::execute(&steer(&args.target)?, &args, output)).await,
        Command::Abort(args) => abort::execute(&steer(&args.target)?, &args, output).await,
        Command::Verify(target) => verify::execute(&steer(&target)?, &target, output).await,
        Command::Completions { .. } | Command::Man => {
            unreachable!("these need no database")
        }
    }
}

/// The flags and the file, with their meaning.
fn read(source: &SourceArgs, flags: Choices) -> Result<Intent, Failure> {
    let file = source.file.as_deref().map(file::read).transpose()?.unwrap_or_default();
    Ok(config::intent(flags, file)?)
}
