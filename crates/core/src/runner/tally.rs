//! What a run amounted to, over all its attempts and turns.

use super::{Run, ms};
use crate::{
    config::Config,
    control::{Command, Control, Migration},
    cutover::Stall,
    engine::Engine,
    error::{Error, Result, Tried},
    patience,
    phase::Phase,
    plan::Plan,
    progress::Report,
};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// What all turns and attempts of this process amounted to.
pub(super) struct Tally {
    pub(super) started: Instant,
    pub(super) phases: Vec<(String, f64)>,
    pub(super) stall: Stall,
    pub(super) swapped_at: String,
    pub(super) attempts: u32,
    /// Swapping back is what this process is for, and has not been done yet.
    pub(super) rollback: bool,
    /// How the guard ended.
    pub(super) guard: Option<String>,
    pub(super) drops_old: bool,
    /// Commands that came when the former turn was over.
    pub(super) left_over: Vec<Command>,
    /// What was asked for in this turn and not done when an attempt ended.
    pub(super) wishes: Option<(i64, Vec<Command>)>,
    /// The unfinished migration that this process has found, or begun.
    pub(super) taken: Option<i64>,
    /// An operator gives the migration up, and that is not done yet.
    pub(super) aborts: bool,
    /// Everything was done, but for noting so.
    pub(super) report: Option<Report>,
}

impl Tally {
    pub(super) fn new(config: &Config) -> Tally {
        Tally {
            started: Instant::now(),
            phases: Vec::new(),
            stall: Stall::default(),
            swapped_at: String::new(),
            attempts: 0,
            rollback: config.rollback,
            guard: None,
            drops_old: false,
            left_over: Vec::new(),
            wishes: None,
            taken: config.resumes,
            aborts: false,
            report: None,
        }
    }

    /// What was wished for in this turn is wished for again.
    pub(super) fn wish_again(&mut self, turn: i64) {
        if let Some((_, wishes)) = self.wishes.take().filter(|(of, _)| *of == turn) {
            self.left_over.extend(wishes);
        }
    }
}

/// Another runner may have changed the table while this one waited for its turn: a plan of before is of no use then.
///
/// # Errors
/// `Refused` if the table is not as it was planned; what was made is removed, and the migration is over then.
pub(super) async fn is_as_planned<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &Migration<E>,
) -> Result<()> {
    let (plan, id) = (&migration.plan, migration.id);
    let looked = engine.obstacles(plan, id);
    let why = match patience::answer("looking whether the table is as planned", looked).await {
        Ok(_) => return Ok(()),
        Err(e) if e.is_transient() => return Err(e),
        Err(e) => e.message,
    };
    // An earlier runner may have come as far as to the slot.
    if migration.resumed {
        let ours = super::must_be_ours::<E>(control, id, migration.epoch);
        let removed = engine.abort(plan, id, ours).await;
        removed
            .tried(format_args!("removing what was made before somebody changed {}: {why}", plan.source))?;
    }
    control.save_phase(id, migration.epoch, Phase::Aborted).await?;
    Err(Error::refused(format!("{} was changed by somebody else since the plan was made: {why}", plan.source))
        .next("nothing was changed by this; look at `shadowswap status`, and run it again if the change is still to be made"))
}

/// Another run may have begun, and died, between our plan and our turn. What it was to do is not what this one is for.
///
/// # Errors
/// `Refused` if it is another change; that migration is left as it is.
pub(super) fn is_ours<E: Engine>(plan: &Plan, config: &Config, migration: &Migration<E>) -> Result<()> {
    let is_meant = config.resumes.is_some() || config.rollback || migration.plan.id == plan.id;
    if !migration.resumed || is_meant {
        return Ok(());
    }
    let table = &plan.source;
    let other = migration.plan.request.alters.join("; ");
    Err(Error::refused(format!("meanwhile another run has begun to change {table} in another way: {other}")).next(
        format!("go on with that one: `shadowswap run --table {table}`; or give it up: `shadowswap abort --table {table}`"),
    ))
}

impl<E: Engine> Run<'_, E> {
    pub(super) fn report(&self) -> Report {
        let (plan, tally) = (&self.migration.plan, &*self.tally);
        Report {
            migration: self.migration.id,
            plan_id: plan.id.clone(),
            table: plan.source.to_string(),
            strategy: "shadow".to_string(),
            old_table: (!tally.drops_old).then(|| plan.old.to_string()),
            shadow_table: plan.shadow.to_string(),
            rows_copied: self.counters.rows.load(Ordering::Relaxed),
            changes_applied: self.applied.borrow().changes.max(self.progress.borrow().changes),
            rows_verified: self.counters.verified.load(Ordering::Relaxed),
            chunks_verified: self.counters.verified_chunks.load(Ordering::Relaxed),
            stall_ms: ms(tally.stall.whole),
            stall_steps: tally.stall.steps.iter().map(|(name, took)| (name.to_string(), ms(*took))).collect(),
            swapped_at: tally.swapped_at.clone(),
            attempts: tally.attempts,
            guard: tally.guard.clone(),
            elapsed_s: tally.started.elapsed().as_secs_f64(),
            phases: tally.phases.clone(),
        }
    }
}
