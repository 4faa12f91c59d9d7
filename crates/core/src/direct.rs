//! The change made in place, where the server changes only its catalog: one statement, a short lock timeout, retries.

use crate::{
    clock,
    config::Config,
    control::Control,
    cutover,
    engine::Engine,
    error::{Error, Kind, Result},
    phase::Phase,
    plan::Plan,
    progress::Report,
};
use tokio::{sync::watch, time::Instant};
use tracing::info;

/// Tries until the lock is had within the stall budget.
pub(crate) async fn run<E: Engine>(
    engine: &E,
    plan: Plan,
    config: &Config,
    stop: &watch::Receiver<bool>,
) -> Result<Report> {
    let started = Instant::now();
    let control = engine.control(true).await?;
    let migration = control.take(&plan, &config.who).await?;
    let mut stop = stop.clone();
    let mut last = Error::new(Kind::Budget, "no attempt was made");
    for attempt in 1..=config.cutover_attempts {
        let tried = Instant::now();
        match engine.direct(&migration.plan, migration.id, config.stall_budget).await {
            Ok(()) => {
                let stall_ms = tried.elapsed().as_secs_f64() * 1e3;
                control.save_phase(migration.id, migration.epoch, Phase::Done).await?;
                control.close(migration.id, None, Some(stall_ms)).await?;
                return Ok(report(&migration.plan, migration.id, stall_ms, attempt, started));
            }
            Err(e) if e.kind == Kind::Budget => {
                info!(attempt, error = %e, "no lock yet");
                // A session that is silent for long loses the migration's lock.
                let note = format!("attempt {attempt}: {}", e.message);
                control.note(migration.id, &config.who, &note).await?;
                last = e;
            }
            Err(e) => {
                control.save_phase(migration.id, migration.epoch, Phase::Aborted).await?;
                control.close(migration.id, Some(&e.message), None).await?;
                return Err(e);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(cutover::pause(attempt)) => {}
            Ok(_) = stop.wait_for(|stop| *stop) => {
                last = Error::new(Kind::Interrupted, "stopped by a signal; nothing was changed");
                break;
            }
        }
    }
    control.save_phase(migration.id, migration.epoch, Phase::Aborted).await?;
    control.close(migration.id, Some(&last.message), None).await?;
    Err(last)
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
