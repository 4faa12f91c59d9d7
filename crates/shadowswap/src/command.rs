//! The subcommands, one file each. They ask the core and the engine, and decide nothing about a migration themselves.

mod abort;
mod find;
mod papers;
mod plan;
mod run;
mod status;
mod steer;
mod verify;

#[cfg(test)]
pub mod fake;

use crate::{
    args::{Choices, Cli, Command, SourceArgs, Target},
    config::{self, Intent},
    exit::{DONE, Failure},
    file,
    output::Output,
    url,
};
use shadowswap_core::{Engine, control};
use shadowswap_mysql::MySql;
use shadowswap_postgres::Postgres;
use std::path::Path;

/// A command's exit code, or what went wrong.
pub type Ended = Result<u8, Failure>;

/// Carries out what was typed.
///
/// # Errors
/// Whatever the command says; `Usage` for what makes no sense.
pub async fn dispatch(cli: Cli, output: Output) -> Ended {
    match cli.command {
        Command::Throttle(_) => return Err(config::later("`throttle`").into()),
        Command::Rollback(_) => return Err(config::later("`rollback`").into()),
        Command::Finish(_) => return Err(config::later("`finish`").into()),
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
    match url.as_ref().filter(|url| url.is_mysql()) {
        Some(url) => work(|schema, _| Ok(MySql::open(url.expose(), schema)?), cli.command, output).await,
        None => {
            let open = |schema: &str, spool: Option<&Path>| {
                let engine = Postgres::open(url.as_ref().map(url::Url::expose), schema)?;
                Ok(match spool {
                    Some(spool) => engine.with_spool(spool.to_path_buf()),
                    None => engine,
                })
            };
            work(open, cli.command, output).await
        }
    }
}

/// The commands that need a database. `open` is given the control schema and, for a run, where large transactions are set aside.
async fn work<E: Engine>(
    open: impl Fn(&str, Option<&Path>) -> Result<E, Failure>,
    command: Command,
    output: Output,
) -> Ended {
    let steer = |target: &Target| open(&target.control_schema, None);
    let engine_for = |intent: &Intent| open(&intent.control_schema, Some(&intent.config.log_directory));
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
            status::execute(&open(&args.control_schema, None)?, args.table.as_deref(), output).await
        }
        Command::Pause(target) => {
            steer::execute(&steer(&target)?, &target, control::Command::Pause, output).await
        }
        Command::Resume(target) => {
            steer::execute(&steer(&target)?, &target, control::Command::Resume, output).await
        }
        Command::Cutover(target) => {
            steer::execute(&steer(&target)?, &target, control::Command::Cutover, output).await
        }
        Command::Abort(args) => abort::execute(&steer(&args.target)?, &args, output).await,
        Command::Verify(target) => verify::execute(&steer(&target)?, &target, output).await,
        Command::Throttle(_)
        | Command::Rollback(_)
        | Command::Finish(_)
        | Command::Completions { .. }
        | Command::Man => unreachable!("these need no database"),
    }
}

/// The flags and the file, with their meaning.
fn read(source: &SourceArgs, flags: Choices) -> Result<Intent, Failure> {
    let file = source.file.as_deref().map(file::read).transpose()?.unwrap_or_default();
    Ok(config::intent(flags, file)?)
}
