//! `finish`: ends the guard, and drops the old table if that is said.

use super::{Ended, find, hear::Hearing, tell};
use crate::{
    args::FinishArgs,
    exit::{DONE, Failure},
    output::{Output, text},
    who,
};
use serde_json::Value;
use shadowswap_core::{
    Engine, Error, Kind, Phase, Result,
    control::{Command, Control as _, Status},
    offline,
};
use std::time::Duration;

/// A runner answers within a second; dropping a large table in small steps takes longer, and is reported all the time.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Ends it, through the runner if there is one. What has ended already is no error.
///
/// # Errors
/// `Refused` if nothing was swapped yet.
pub async fn execute<E: Engine>(engine: &E, args: &FinishArgs, output: Output) -> Ended {
    let status = newest(engine, args.target.table.as_deref()).await?;
    if status.turn == 0 && !status.phase.is_over() {
        let e = Error::refused(format!("{} is not swapped yet (phase {})", status.table, status.phase));
        return Err(Failure::from(
            e.next("run the same command again to go on; `shadowswap abort` gives it up"),
        ));
    }
    if args.drop_old && !args.yes && output.is_interactive {
        let question = format!("\nend the guard of {} and drop the old table?", status.table);
        if !output.ask(&question) {
            let e = Error::refused("not finished: the answer was no");
            return Err(Failure::from(e).state(text::state(&status)));
        }
    }
    let who = who::operator();
    let message = if status.phase == Phase::RolledBack {
        format!(
            "nothing is left to do: {} is the original table again, and the new one is kept beside it",
            status.table
        )
    } else {
        let said = if status.runner.is_some() && !status.phase.is_over() {
            let control = engine.control(false).await?;
            control.command(status.id, &who, &Command::Finish { drop_old: args.drop_old }).await?;
            let runner = status.runner.as_deref().unwrap_or("the runner");
            output.say(&format!("told {runner} to end the guard of {} …", status.table));
            wait::<E>(&control, &status, args.drop_old).await?
        } else {
            None
        };
        match said {
            Some(message) => message,
            None => Box::pin(offline::finish(engine, &status.table, &who, args.drop_old)).await?,
        }
    };
    let shown = format!("{} {message}", output.style.passed());
    tell(output, &status, "finish", &message, &shown, Value::Null);
    Ok(DONE)
}

/// The unfinished migration that is meant; else the newest that is over.
async fn newest<E: Engine>(engine: &E, table: Option<&str>) -> Result<Status, Failure> {
    let (_, all, spelling) = find::all(engine).await?;
    let (over, open): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| s.phase.is_over());
    let found = match find::only(spelling, engine.home(), open, table)? {
        Some(status) => Some(status),
        None => find::only(spelling, engine.home(), over, table)?,
    };
    found.ok_or_else(|| {
        let e = Error::refused("no migration is known that could be finished");
        Failure::from(e.next("see `shadowswap status`"))
    })
}

/// Waits until the runner has done it. None: it does not run any more.
async fn wait<E: Engine>(control: &E::Control, status: &Status, drop_old: bool) -> Result<Option<String>> {
    let table = &status.table;
    let mut hearing = Hearing::<E>::new(control, status, Command::Finish { drop_old });
    loop {
        let now = hearing.next().await?;
        match now.phase {
            Phase::Done if drop_old => {
                return Ok(Some(format!("{table} is changed; the guard is over, the old table dropped")));
            }
            Phase::Done => {
                return Ok(Some(format!("{table} is changed; the guard is over, the old table is kept")));
            }
            Phase::RolledBack => {
                let said = format!("{table} is the original table again; the new one is kept beside it");
                return Ok(Some(said));
            }
            _ => {}
        }
        let detail = now.progress.as_ref().and_then(|p| p.detail.as_deref());
        if detail.is_some_and(|d| d.contains("in step")) {
            hearing.remind().await?;
        }
        if hearing.is_alone(&now) {
            return Ok(None);
        }
        if hearing.silence() > SILENCE_MAX {
            let why = now.error.map_or_else(String::new, |e| format!(": {e}"));
            let e = Error::new(Kind::Transient, format!("the runner of {table} no longer reports{why}"));
            return Err(
                e.next("`shadowswap finish` again: it does it itself where nobody runs the migration")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fake::{self, Fake};

    #[tokio::test]
    async fn what_is_not_swapped_is_not_finished() {
        let engine = Fake::with(vec![fake::status("s", "a", Phase::Copy)]);
        let failure = execute(&engine, &FinishArgs::default(), fake::OUTPUT).await.unwrap_err();
        assert_eq!(failure.code(), 3);
        assert!(failure.error.message.contains("not swapped yet"), "{}", failure.error.message);
        assert!(engine.told().is_empty());
    }

    #[tokio::test]
    async fn without_a_migration_there_is_nothing_to_finish() {
        let failure = execute(&Fake::default(), &FinishArgs::default(), fake::OUTPUT).await.unwrap_err();
        assert_eq!(failure.code(), 3);
    }
}
