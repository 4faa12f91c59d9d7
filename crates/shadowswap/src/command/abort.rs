//! `abort`: gives up a migration and removes everything that was made for it.

use super::{Ended, find, tell};
use crate::{
    args::AbortArgs,
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

/// A runner answers within a second; removing a large shadow takes longer.
const WAIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Asks (on a terminal), then aborts, through the runner if there is one.
///
/// # Errors
/// `Refused` if there is nothing to abort; `Aborted` if the operator says no.
pub async fn execute<E: Engine>(engine: &E, args: &AbortArgs, output: Output) -> Ended {
    let (control, status) = find::unfinished(engine, args.target.table.as_deref()).await?;
    if status.phase.is_swapped() {
        let e = Error::refused(format!("{} is already swapped; there is nothing to abort", status.table));
        return Err(Failure::from(e.next("run the same command again to finish the cleaning up")));
    }
    if !args.yes && output.is_interactive {
        output.say(&text::status(std::slice::from_ref(&status), jiff::Timestamp::now(), output.error_style));
        if !output.ask(&format!("\nabort this migration and remove the shadow of {}?", status.table)) {
            return Err(
                Failure::from(Error::refused("not aborted: the answer was no")).state(text::state(&status))
            );
        }
    }
    let who = who::operator();
    let is_held = status.runner.is_some() && control.command(status.id, &who, &Command::Abort).await?;
    let message = if is_held {
        wait::<E>(&control, &status).await?
    } else {
        Box::pin(offline::abort(engine, &status.table, &who)).await?
    };
    tell(output, &status, "abort", &message, &message, Value::Null);
    Ok(DONE)
}

/// Waits until the runner has done it.
async fn wait<E: Engine>(control: &E::Control, status: &Status) -> Result<String> {
    let deadline = tokio::time::Instant::now() + WAIT;
    let mut is_aborted = false;
    while tokio::time::Instant::now() < deadline {
        let all = control.status(Some(&status.table)).await?;
        match all.iter().find(|s| s.id == status.id) {
            // What it came to is noted a moment later.
            Some(now) if now.phase == Phase::Aborted => {
                if std::mem::replace(&mut is_aborted, true) {
                    return Ok(offline::aborted(now));
                }
            }
            Some(now) if now.phase.is_swapped() => {
                return Err(Error::refused(format!("{} was changed before the abort arrived", status.table)));
            }
            Some(_) | None => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let runner = status.runner.as_deref().unwrap_or("the runner");
    let e = Error::new(
        Kind::Transient,
        format!("told {runner} to abort {}, but it has not done so within a minute", status.table),
    );
    Err(e.next("see `shadowswap status`; if the runner is gone, `shadowswap abort` again"))
}
