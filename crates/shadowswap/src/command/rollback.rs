//! `rollback`: swaps back with every write since, through the runner if there is one, else as the runner.

use super::{Ended, find, hear::Hearing, run, tell};
use crate::{
    args::RollbackArgs,
    exit::{DONE, Failure},
    output::{Output, text},
    units::duration,
    who,
};
use serde_json::Value;
use shadowswap_core::{
    Config, Engine, Error, Kind, Result,
    control::{Command, Control as _, LoggedEvent, Status},
    plan::Plan,
    runner::REFUSED,
};
use std::time::Duration;

/// What a runner says that has not heard of it.
const IDLE: &str = "keeping the old table in step";
/// A runner reports several times a second.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Asks (on a terminal), then rolls back.
///
/// # Errors
/// `Refused` if there is nothing to go back to; `Differs`, `Budget` as for a swap.
pub async fn execute<E: Engine>(engine: &E, args: &RollbackArgs, output: Output) -> Ended {
    let (control, status) = find::unfinished(engine, args.target.table.as_deref()).await.map_err(over)?;
    let plan = match control.find(&status.table).await? {
        Some((_, _, plan)) => plan,
        None => {
            return Err(Error::refused(format!("the migration of {} has just ended", status.table)).into());
        }
    };
    refuse(&status, &plan)?;
    if !args.yes && output.is_interactive {
        output.say(&text::status(std::slice::from_ref(&status), jiff::Timestamp::now(), output.error_style));
        if !output.ask(&format!("\nswap {} back to the old table, with every write since?", status.table)) {
            let e = Error::refused("not rolled back: the answer was no");
            return Err(Failure::from(e).state(text::state(&status)));
        }
    }
    let said = if status.runner.is_some() { ask::<E>(&control, &status, output).await? } else { None };
    let Some(message) = said else {
        return alone(engine, plan, args, output).await;
    };
    let shown = format!("{} {message}", output.style.passed());
    tell(output, &status, "rollback", &message, &shown, Value::Null);
    Ok(DONE)
}

/// Says why there is no way back where no migration is unfinished.
fn over(failure: Failure) -> Failure {
    let next = "without a guard (--guard), or after its end, the old table is not in step: what was written since the swap is not in it";
    match failure.error.kind {
        Kind::Refused if failure.error.message.starts_with("there is no unfinished") => {
            let error = Error { next: Some(next.to_string()), ..failure.error };
            Failure { error, ..failure }
        }
        _ => failure,
    }
}

fn refuse(status: &Status, plan: &Plan) -> Result<()> {
    let table = &status.table;
    if status.turn == 0 {
        let e = Error::refused(format!("{table} is not swapped yet (phase {})", status.phase));
        return Err(e.next("`shadowswap abort` gives the migration up"));
    }
    if status.turn % 2 == 0 {
        let e = Error::refused(format!("{table} is rolled back already; it is the original table"));
        return Err(e.next("`shadowswap cutover` swaps forward again; `shadowswap finish` leaves it at that"));
    }
    if plan.request.guard_s.is_none() {
        let e = Error::refused(format!(
            "{table} was changed without a guard: the old table is not in step, and what was written since the swap is not in it"
        ));
        return Err(e.next("run the same command again to finish the cleaning up; say --guard 24h next time"));
    }
    Ok(())
}

/// Nobody runs the migration: this process does, and goes on keeping both tables in step.
async fn alone<E: Engine>(engine: &E, plan: Plan, args: &RollbackArgs, output: Output) -> Ended {
    let mut config =
        Config { rollback: true, verify: !args.no_verify, who: who::runner(), ..Config::default() };
    if let Some(budget) = &args.stall_budget {
        config.stall_budget = duration(budget).map_err(|e| Error::usage(format!("--stall-budget: {e}")))?;
    }
    output.say(&format!(
        "rolling {} back: nobody runs its migration, so this process does. It then keeps the new table in step, ready to be swapped to again, \
         until the guard's time is up or `shadowswap finish` says so",
        plan.source
    ));
    let report = Box::pin(run::carry(engine, plan, &config, args.progress, output)).await?;
    run::tell(&report, output);
    Ok(DONE)
}

/// Tells the runner, and waits until it has swapped back or says why not. None: it does not run any more.
async fn ask<E: Engine>(control: &E::Control, status: &Status, output: Output) -> Result<Option<String>> {
    let before = status.events.iter().filter(|e| is_refusal(e)).map(|e| e.at.clone()).collect::<Vec<_>>();
    control.command(status.id, &who::operator(), &Command::Rollback).await?;
    let table = &status.table;
    output.say(&format!("told {} to roll {table} back …", status.runner.as_deref().unwrap_or("the runner")));
    let (mut hearing, mut said) = (Hearing::<E>::new(control, status, Command::Rollback), String::new());
    loop {
        let now = hearing.next().await?;
        if now.turn > status.turn {
            let stall = now
                .stall_ms
                .map_or_else(String::new, |ms| format!(" (stall {})", crate::units::human_ms(ms)));
            return Ok(Some(format!(
                "{table} is the original table again, with every write since{stall}; the new one is kept in step: `shadowswap cutover` \
                 swaps to it again, `shadowswap finish` leaves it at that"
            )));
        }
        if let Some(event) = now.events.iter().rfind(|e| is_refusal(e) && !before.contains(&e.at)) {
            return Err(refusal(status, &event.what));
        }
        if now.phase.is_over() {
            return Err(Error::refused(format!("the guard of {table} ended before the roll back")));
        }
        if hearing.is_alone(&now) {
            return Ok(None);
        }
        let detail = now.progress.and_then(|p| p.detail).unwrap_or_default();
        if detail != said && detail.starts_with("attempt") {
            output.say(&detail);
        }
        if detail.starts_with(IDLE) {
            hearing.remind().await?;
        }
        said = detail;
        if hearing.silence() > SILENCE_MAX {
            let e = Error::transient(format!(
                "the runner of {table} no longer reports, and {table} is not rolled back"
            ));
            return Err(
                e.next("`shadowswap rollback` again: it does it itself where nobody runs the migration")
            );
        }
    }
}

/// What the runner notes where it does not swap back.
fn is_refusal(event: &LoggedEvent) -> bool {
    event.what.starts_with("no roll back:")
        || event.what.starts_with(REFUSED)
        || event.what.starts_with("verify failed:")
}

fn refusal(status: &Status, what: &str) -> Error {
    let table = &status.table;
    if what.starts_with("verify failed:") {
        let e = Error::new(Kind::Differs, format!("{table} was not rolled back: {what}"));
        return e.next("look at these rows in both tables; the table in use is not affected");
    }
    if what.starts_with(REFUSED) {
        return Error::refused(format!("{table}: {what}"))
            .next("the guard goes on; then `shadowswap rollback` again");
    }
    let e = Error::new(Kind::Budget, format!("{table}: {what}"));
    e.next("the guard goes on. End what is in the way, then `shadowswap rollback` again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fake::{self, Fake};
    use shadowswap_core::Phase;

    #[test]
    fn there_is_no_way_back_without_a_guard_nor_twice() {
        let plan = fake::plan(&fake::request("a"), "s");
        let guarded = Plan {
            request: shadowswap_core::plan::Request { guard_s: Some(60), ..plan.request.clone() },
            ..plan.clone()
        };
        let status = |turn| Status { turn, ..fake::status("s", "a", Phase::Guard) };
        assert!(refuse(&status(1), &plan).unwrap_err().message.contains("without a guard"));
        assert!(refuse(&status(0), &guarded).unwrap_err().message.contains("not swapped yet"));
        assert!(refuse(&status(2), &guarded).unwrap_err().message.contains("already"));
        assert!(refuse(&status(1), &guarded).is_ok() && refuse(&status(3), &guarded).is_ok());
    }

    #[tokio::test]
    async fn after_the_end_the_reason_is_said() {
        let engine = Fake::with(vec![fake::status("s", "a", Phase::Done)]);
        let args = RollbackArgs { yes: true, ..RollbackArgs::default() };
        let failure = execute(&engine, &args, fake::OUTPUT).await.unwrap_err();
        assert_eq!(failure.code(), 3);
        assert!(failure.error.next.unwrap().contains("not in step"));
        assert!(engine.told().is_empty());
    }

    #[test]
    fn what_the_runner_answers_has_its_exit_code() {
        let status = fake::status("s", "a", Phase::Guard);
        assert_eq!(refusal(&status, "verify failed: x").kind, Kind::Differs);
        assert_eq!(refusal(&status, "no roll back: x").kind, Kind::Budget);
        assert_eq!(refusal(&status, "roll back refused: x").kind, Kind::Refused);
    }
}
