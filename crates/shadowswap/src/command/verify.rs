//! `verify`: compares again, or checks that a finished change is there.

use super::{Ended, find};
use crate::{
    args::Target,
    exit::{DONE, Failure},
    output::{self, Output, json},
    who,
};
use serde_json::json;
use shadowswap_core::{
    Engine, Error, Kind, Phase, Result,
    control::{Command, Control as _, LoggedEvent, Status},
    name::TableName,
    offline,
};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The runner has begun to compare by then, or it does not listen.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Looks at the table's newest migration, and does what fits its phase.
///
/// # Errors
/// `Differs` if rows differ or the change is not there; `Refused` if there is nothing to compare now.
pub async fn execute<E: Engine>(engine: &E, target: &Target, output: Output) -> Ended {
    let (control, all, spelling) = find::all(engine).await?;
    let open: Vec<_> = all.iter().filter(|s| !s.phase.is_over()).cloned().collect();
    let status = match find::only(spelling, engine.home(), open, target.table.as_deref())? {
        Some(status) => Some(status),
        None => find::only(
            spelling,
            engine.home(),
            all.into_iter().filter(|s| s.phase == Phase::Done).collect(),
            target.table.as_deref(),
        )?,
    };
    let (Some(control), Some(status)) = (control, status) else {
        let e = Error::refused("no migration is known that could be verified");
        return Err(Failure::from(e.next("see `shadowswap status`")));
    };
    let said = match (status.phase, &status.runner) {
        (Phase::Done, _) => Box::pin(offline::check_done(engine, &status.table)).await?,
        (Phase::Ready | Phase::Guard, Some(_)) => ask::<E>(&control, &status, output).await?,
        (Phase::Ready | Phase::Guard, None) => {
            let e = Error::refused(format!(
                "nobody runs the migration of {} now, so nobody can compare",
                status.table
            ));
            return Err(Failure::from(e.next("run the same command again; then `shadowswap verify`")));
        }
        (phase, _) => {
            let e = Error::refused(format!(
                "{} is in phase {phase}; rows can be compared again in `ready`, and in the guard",
                status.table
            ));
            return Err(Failure::from(
                e.next("every row is compared before the swap in any case; see `shadowswap status`"),
            ));
        }
    };
    if output.json {
        let checked = json!({ "migration": status.id, "table": status.table.to_string(), "message": said });
        output::out(&json::named("checked", &checked));
    } else {
        output::out(&format!("{} {said}", output.style.passed()));
    }
    Ok(DONE)
}

/// Tells the runner, and waits for what it notes.
async fn ask<E: Engine>(control: &E::Control, status: &Status, output: Output) -> Result<String> {
    let before = status.events.iter().filter(|e| is_result(e)).map(|e| e.at.clone()).collect::<Vec<_>>();
    control.command(status.id, &who::operator(), &Command::Verify).await?;
    output.say(&format!("comparing every row of {} …", status.table));
    let mut heard = tokio::time::Instant::now();
    let mut last_report = String::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let all = control.status(Some(&status.table)).await?;
        let Some(now) = all.into_iter().find(|s| s.id == status.id) else {
            return Err(Error::refused(format!("the migration of {} is gone", status.table)));
        };
        if let Some(result) = now.events.iter().rfind(|e| is_result(e) && !before.contains(&e.at)) {
            return outcome(&status.table, &result.what);
        }
        if now.phase != status.phase {
            let e = Error::refused(format!(
                "{} went on to phase {} before it compared again",
                status.table, now.phase
            ));
            return Err(e.next("see `shadowswap status`"));
        }
        if now.updated_at != last_report {
            (last_report, heard) = (now.updated_at.clone(), tokio::time::Instant::now());
        }
        if heard.elapsed() > SILENCE_MAX || now.runner.is_none() {
            let e = Error::transient(format!("the runner of {} no longer reports", status.table));
            return Err(e.next("see `shadowswap status`"));
        }
    }
}

/// What the runner notes when it has compared.
fn is_result(event: &LoggedEvent) -> bool {
    event.what.starts_with("verified:") || event.what.starts_with("verify failed:")
}

fn outcome(table: &TableName, what: &str) -> Result<String> {
    match what.strip_prefix("verified:") {
        Some(good) => Ok(format!("{table}: {}", good.trim())),
        None => {
            let e = Error::new(Kind::Differs, format!("{table}: {what}"));
            Err(e.next(
                "nothing was swapped by this; find out who else writes to the table that is kept in step",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fake::{self, Fake};

    #[test]
    fn rows_that_differ_are_an_error_with_its_own_exit_code() {
        let table = TableName::new("s", "a");
        let good = outcome(&table, "verified: 5 rows compared, none differs").unwrap();
        assert_eq!(good, "s.a: 5 rows compared, none differs");
        assert_eq!(outcome(&table, "verify failed: 1 row differs").unwrap_err().kind, Kind::Differs);
    }

    #[tokio::test]
    async fn without_a_runner_nothing_is_promised() {
        let mut status = fake::status("s", "a", Phase::Ready);
        status.runner = None;
        let engine = Fake::with(vec![status]);
        let failure = execute(&engine, &Target::default(), fake::OUTPUT).await.unwrap_err();
        assert!(failure.error.message.contains("nobody runs"), "{}", failure.error.message);
        assert!(engine.told().is_empty());
        let copying = Fake::with(vec![fake::status("s", "a", Phase::Copy)]);
        assert_eq!(execute(&copying, &Target::default(), fake::OUTPUT).await.unwrap_err().code(), 3);
    }
}
