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
    args::{Choices, Cli, Command, SourceArgs},
    config::{self, Intent},
    exit::{DONE, Failure},
    file,
    output::Output,
    url,
};
use shadowswap_core::control;
use shadowswap_postgres::Postgres;

/// A command's exit code, or what went wrong.
pub type Ended = Result<u8, Failure>;

/// Carries out what was typed.
///
/// # Errors
/// Whatever the command says; `Usage` for what makes no sense.
pub async fn dispatch(cli: Cli, output: Output) -> Ended {
    let open = |schema: &str| open(cli.common.url.as_deref(), schema, output);
    match cli.command {
        Command::Plan(args) => {
            let intent = read(&args.source, args.choices)?;
            Box::pin(plan::execute(&engine_for(open, &intent)?, &intent, output)).await
        }
        Command::Run(args) => {
            let intent = read(&args.source, args.choices)?;
            let engine = engine_for(open, &intent)?;
            if args.approval.dry_run {
                return Box::pin(plan::execute(&engine, &intent, output)).await;
            }
            Box::pin(run::execute(&engine, &intent, &args.approval, output)).await
        }
        Command::Status(args) => {
            status::execute(&open(&args.control_schema)?, args.table.as_deref(), output).await
        }
        Command::Pause(target) => {
            steer::execute(&open(&target.control_schema)?, &target, control::Command::Pause, output).await
        }
        Command::Resume(target) => {
            steer::execute(&open(&target.control_schema)?, &target, control::Command::Resume, output).await
        }
        Command::Cutover(target) => {
            steer::execute(&open(&target.control_schema)?, &target, control::Command::Cutover, output).await
        }
        Command::Abort(args) => abort::execute(&open(&args.target.control_schema)?, &args, output).await,
        Command::Verify(target) => verify::execute(&open(&target.control_schema)?, &target, output).await,
        Command::Throttle(_) => Err(config::later("`throttle`").into()),
        Command::Rollback(_) => Err(config::later("`rollback`").into()),
        Command::Finish(_) => Err(config::later("`finish`").into()),
        Command::Completions { shell } => {
            papers::completions(shell);
            Ok(DONE)
        }
        Command::Man => {
            papers::manual();
            Ok(DONE)
        }
    }
}

/// The flags and the file, with their meaning.
fn read(source: &SourceArgs, flags: Choices) -> Result<Intent, Failure> {
    let file = source.file.as_deref().map(file::read).transpose()?.unwrap_or_default();
    Ok(config::intent(flags, file)?)
}

fn engine_for(
    open: impl Fn(&str) -> Result<Postgres, Failure>,
    intent: &Intent,
) -> Result<Postgres, Failure> {
    Ok(open(&intent.control_schema)?.with_spool(intent.config.log_directory.clone()))
}

/// The one place that knows which engines there are.
fn open(flag: Option<&str>, control_schema: &str, output: Output) -> Result<Postgres, Failure> {
    let variable = std::env::var(url::VARIABLE).ok();
    let (url, warning) = config::url(flag, variable.as_deref())?;
    if let Some(warning) = warning {
        output.warn(&warning);
    }
    Ok(Postgres::open(url.as_ref().map(url::Url::expose), control_schema)?)
}
