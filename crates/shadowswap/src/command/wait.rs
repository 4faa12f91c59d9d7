//! `wait`: until a migration is in a phase, or beyond it. For scripts of the application.

use super::{Ended, find};
use crate::{
    args::WaitArgs,
    exit::{DONE, Failure},
    output::{self, Output, json},
    units::{duration, human_seconds},
};
use shadowswap_core::{
    Engine, Error, Kind, Phase, Result,
    control::{Control as _, Status},
};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits for the migration that is unfinished now, or else looks at the table's newest.
///
/// # Errors
/// `Refused` if there is none; `Transient` when the time is up; `Aborted` if it was given up.
pub async fn execute<E: Engine>(engine: &E, args: &WaitArgs, output: Output) -> Ended {
    let timeout = duration(&args.timeout).map_err(|e| Error::usage(format!("--timeout: {e}")))?;
    let wanted: Phase = args.phase.parse().map_err(|e: String| Error::usage(format!("--phase: {e}")))?;
    let deadline = Instant::now() + timeout;
    let (control, all, spelling) = find::all(engine).await?;
    let table = args.target.table.as_deref();
    let (open, over): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| !s.phase.is_over());
    let found = match find::only(spelling, engine.home(), open, table)? {
        Some(found) => Some(found),
        None => find::only(spelling, engine.home(), over, table)?,
    };
    let (Some(control), Some(mut status)) = (control, found) else {
        let of = table.map_or_else(String::new, |t| format!(" of {t}"));
        return Err(Error::refused(format!("there is no migration{of}"))
            .next("see `shadowswap status`")
            .into());
    };
    while !has_reached(&status, wanted)? {
        if Instant::now() >= deadline {
            let after = human_seconds(timeout.as_secs_f64());
            let e = Error::transient(format!(
                "{} is not {wanted} after {after}: phase {}",
                status.table, status.phase
            ));
            return Err(Failure::from(e.next("see `shadowswap status`")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let all = control.status(Some(&status.table)).await?;
        let lost = || Error::corrupt(format!("migration {} is gone from the control tables", status.id));
        status = all.into_iter().find(|s| s.id == status.id).ok_or_else(lost)?;
    }
    if output.json {
        output::out(&json::named("status", &[&status]));
    } else {
        output::out(&format!("{} is {}", status.table, status.phase));
    }
    Ok(DONE)
}

/// Phases in their order; none for those that lead elsewhere.
fn place(phase: Phase) -> Option<u8> {
    match phase {
        Phase::Prepare => Some(0),
        Phase::Copy => Some(1),
        Phase::Index => Some(2),
        Phase::Verify => Some(3),
        Phase::Ready => Some(4),
        Phase::Cutover => Some(5),
        Phase::Guard => Some(6),
        Phase::Done => Some(7),
        Phase::Aborted | Phase::RolledBack => None,
    }
}

fn has_reached(status: &Status, wanted: Phase) -> Result<bool> {
    match (place(status.phase), place(wanted)) {
        (Some(is), Some(wanted)) => Ok(is >= wanted),
        _ => Err(Error::new(
            Kind::Aborted,
            format!("{} will not be {wanted}: migration {} is {}", status.table, status.id, status.phase),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::Target, command::fake};

    fn args(phase: &str, timeout: &str) -> WaitArgs {
        let target = Target { table: Some("orders".into()), control_schema: "shadowswap".into() };
        WaitArgs { target, phase: phase.into(), timeout: timeout.into() }
    }

    async fn waited(is: Phase, wanted: &str) -> Result<u8, u8> {
        let engine = fake::Fake::with(vec![fake::status("public", "orders", is)]);
        execute(&engine, &args(wanted, "10ms"), fake::OUTPUT).await.map_err(|e| e.code())
    }

    #[tokio::test]
    async fn exit_code_says_what_became_of_it() {
        assert_eq!(waited(Phase::Ready, "ready").await, Ok(0));
        assert_eq!(waited(Phase::Done, "ready").await, Ok(0), "beyond it");
        assert_eq!(waited(Phase::Copy, "ready").await, Err(1));
        assert_eq!(waited(Phase::Aborted, "done").await, Err(6));
        let nothing = fake::Fake::default();
        assert_eq!(execute(&nothing, &args("done", "1s"), fake::OUTPUT).await.unwrap_err().code(), 3);
    }
}
