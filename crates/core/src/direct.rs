//! The change made in place, where the server changes only its catalog: a short lock timeout, retries.

use crate::{
    clock,
    config::Config,
    control::{Command, Control, Migration},
    cutover,
    engine::{Engine, InPlace},
    error::{Error, Kind, Result, Tried},
    failpoint::{self, Place},
    patience,
    phase::Phase,
    plan::Plan,
    progress::{Progress, Report},
};
use tokio::{sync::watch, time::Instant};
use tracing::info;

/// Tries until the lock is had within the stall budget, and saves that the change is made; goes on with what an earlier runner left.
///
/// # Errors
/// `Budget` if there was no lock at any attempt; `Aborted` if an operator gives it up. Where nothing was changed, the migration is over
/// then.
pub(crate) async fn run<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &Migration<E>,
    (config, progress): (&Config, &Progress),
    stop: &watch::Receiver<bool>,
    started: Instant,
) -> Result<Report> {
    let (plan, id, epoch) = (&migration.plan, migration.id, migration.epoch);
    let mut stop = stop.clone();
    let mut last = Error::new(Kind::Budget, "no attempt was made");
    for attempt in 1..=config.cutover_attempts {
        let tried = Instant::now();
        // Each statement may take the budget; all else is small.
        let at_most = config.stall_budget * plan.request.alters.len() as u32;
        let changed = engine.direct(plan, id, epoch, config.stall_budget);
        match patience::beyond(at_most, "changing the table in place", changed).await {
            Ok(()) => {
                let stall_ms = tried.elapsed().as_secs_f64() * 1e3;
                failpoint::at(Place::ChangedInPlace).await;
                return Ok(report(plan, id, stall_ms, attempt, started));
            }
            Err(e) if e.kind == Kind::Budget => {
                info!(attempt, error = %e, "no lock yet");
                // A session that is silent for long loses the migration's lock.
                control.note(id, &config.who, &format!("attempt {attempt}: {}", e.message)).await?;
                last = e;
            }
            Err(e) if e.is_transient() || e.kind == Kind::Superseded => return Err(e),
            Err(e) => return Err(ended(engine, control, migration, e).await),
        }
        let (commands, _) = control.report(id, epoch, progress).await?;
        if commands.contains(&Command::Abort) {
            return Err(crate::runner::aborted());
        }
        tokio::select! {
            () = tokio::time::sleep(cutover::pause(attempt)) => {}
            Ok(_) = stop.wait_for(|stop| *stop) => {
                last = Error::new(Kind::Interrupted, "stopped by a signal");
                break;
            }
        }
    }
    Err(ended(engine, control, migration, last).await)
}

async fn made<E: Engine>(engine: &E, plan: &Plan, migration: i64) -> Result<InPlace> {
    let what = "looking what is changed";
    patience::answer(what, engine.made(plan, migration)).await.tried(what)
}

/// Whether the table has the whole change.
async fn is_there<E: Engine>(engine: &E, plan: &Plan) -> Result<bool> {
    match patience::answer("comparing the definition with the plan", engine.lacks(plan)).await {
        Ok(lacks) => Ok(lacks.is_empty()),
        Err(e) if e.kind == Kind::Refused => Ok(false),
        Err(e) => Err(e),
    }
}

/// The run ends without success. The migration is over if nothing was changed; otherwise another run goes on with it.
async fn ended<E: Engine>(engine: &E, control: &E::Control, migration: &Migration<E>, e: Error) -> Error {
    let (plan, id) = (&migration.plan, migration.id);
    match made(engine, plan, id).await {
        Ok(made) if made.is_untouched() => {
            match control.save_phase(id, migration.epoch, Phase::Aborted).await {
                Ok(()) => Error { message: format!("{}; nothing was changed", e.message), ..e },
                Err(left) => left,
            }
        }
        Ok(InPlace { made, of }) => {
            let table = &plan.source;
            let message = format!("{}; {made} of {of} statements have changed {table}", e.message);
            let next = "the same run goes on with the rest; `shadowswap abort --table";
            Error { message, ..e }.next(format!("{next} {table}` leaves it at that"))
        }
        // Whoever goes on looks again.
        Err(_) => e,
    }
}

/// Forgets a migration that changes the table in place; says in a sentence what is left of it.
///
/// # Errors
/// `Refused` if all of the change is made and there.
pub(crate) async fn give_up<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &Migration<E>,
    who: &str,
) -> Result<String> {
    let (plan, id) = (&migration.plan, migration.id);
    let said = match made(engine, plan, id).await {
        Ok(made) if made.is_untouched() => format!("{} is as it was", plan.source),
        Ok(InPlace { made, of }) if made == of && is_there(engine, plan).await? => {
            let message = format!("the change of {} is made; there is nothing to abort", plan.source);
            return Err(Error::refused(message).next("run it again to finish it"));
        }
        Ok(InPlace { made, of }) => {
            format!("{made} of {of} statements have changed {}, and stay", plan.source)
        }
        // The table is gone.
        Err(e) if e.kind == Kind::Refused => format!("{} is left as it is: {}", plan.source, e.message),
        Err(e) => return Err(e),
    };
    failpoint::at(Place::Saving(Phase::Aborted)).await;
    control.save_phase(id, migration.epoch, Phase::Aborted).await?;
    failpoint::at(Place::Saved(Phase::Aborted)).await;
    control.note(id, who, &format!("aborted; {said}")).await?;
    Ok(said)
}

fn report(plan: &Plan, migration: i64, stall_ms: f64, attempts: u32, started: Instant) -> Report {
    let elapsed_s = started.elapsed().as_secs_f64();
    Report {
        migration,
        plan_id: plan.id.clone(),
        table: plan.source.to_string(),
        strategy: "direct".to_string(),
        old_table: None,
        shadow_table: plan.shadow.to_string(),
        rows_copied: 0,
        changes_applied: 0,
        rows_verified: 0,
        chunks_verified: 0,
        stall_ms,
        stall_steps: Vec::new(),
        swapped_at: clock::real().to_string(),
        attempts,
        guard: None,
        elapsed_s,
        phases: vec![("direct".to_string(), elapsed_s)],
    }
}
