//! What one attempt leaves to the next: how an error wants everything left, wishes that were not fulfilled yet, and an end whose answer was
//! lost. An attempt that finds its migration over must not begin another.

use super::{Run, Tally, guard};
use crate::{
    config::Config,
    control::{Command, Control, Migration},
    engine::Engine,
    error::{Error, Kind, Result},
    failpoint::{self, Place},
    mutations::{Mutation, breaks},
    offline::give_up,
    patience,
    phase::Phase,
    plan::Plan,
    progress::Report,
};
use std::time::Duration;
use tracing::warn;

/// What is left to say after an error is said within this time, or not at all.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// Whether what an earlier attempt of this process had taken has come to its end since: its report, where it was our own.
///
/// # Errors
/// How it ended, where that is no success of ours.
pub(super) async fn came_to_an_end<E: Engine>(
    control: &E::Control,
    plan: &Plan,
    tally: &mut Tally,
) -> Result<Option<Report>> {
    if tally.taken.is_none() && !breaks(Mutation::BeginsAnew) {
        // Before it is taken: somebody else may bring it to its end while we wait for the lock.
        tally.taken = control.find(&plan.source).await?.map(|(id, _, _)| id);
        return Ok(None);
    }
    let Some(id) = tally.taken else { return Ok(None) };
    let all = control.status(Some(&plan.source)).await?;
    let Some(phase) = all.iter().find(|s| s.id == id).map(|s| s.phase) else { return Ok(None) };
    match phase {
        Phase::Done => match tally.report.clone() {
            Some(report) => Ok(Some(report)),
            None => Err(Error::new(
                Kind::Superseded,
                format!("the migration of {} was brought to its end by another runner", plan.source),
            )
            .next("nothing is left to do; `shadowswap status` shows how it ended")),
        },
        Phase::Aborted => Err(aborted()),
        Phase::RolledBack => Err(rolled_back(plan)),
        Phase::Prepare
        | Phase::Copy
        | Phase::Index
        | Phase::Verify
        | Phase::Ready
        | Phase::Cutover
        | Phase::Guard => Ok(None),
    }
}

/// Keeps the report, and notes the success.
pub(super) async fn closed<E: Engine>(control: &E::Control, report: Report) -> Result<Report> {
    let stall = (report.stall_ms > 0.0).then_some(report.stall_ms);
    if let Ok(text) = serde_json::to_string(&report) {
        control.keep(report.migration, &text).await?;
        failpoint::at(Place::ReportKept).await;
    }
    control.close(report.migration, None, stall).await?;
    failpoint::at(Place::Closed).await;
    Ok(report)
}

pub(crate) fn aborted() -> Error {
    Error::new(Kind::Aborted, "this migration was aborted")
}

pub(super) fn rolled_back(plan: &Plan) -> Error {
    let message = format!(
        "{} was rolled back: it is the original table again, with every write since; the new one is kept as {}",
        plan.source, plan.shadow
    );
    Error::new(Kind::RolledBack, message).next(format!("drop {} when nobody needs it any more", plan.shadow))
}

impl<E: Engine> Run<'_, E> {
    /// What operators have asked for and did not get before this attempt ended; for the next one, if it is of the same turn.
    pub(super) fn keep_wishes(&mut self) {
        let mut wishes = Vec::new();
        wishes.extend(self.cutover_now.then_some(Command::Cutover));
        wishes.extend(self.rollback_now.then_some(Command::Rollback));
        wishes.extend(self.finish_now.map(|drop_old| Command::Finish { drop_old }));
        self.tally.wishes = Some((self.migration.turn, wishes));
    }
}

/// Before work that no row of the control tables fences: a runner that slept must not do it in the place of the one that has taken over.
///
/// # Errors
/// `Superseded`.
pub(crate) async fn must_be_ours<E: Engine>(control: &E::Control, migration: i64, epoch: i64) -> Result<()> {
    // It is a part of others, and all of them shall be small.
    let asked = Box::pin(control.is_ours(migration, epoch));
    let asked = patience::answer("looking who runs the migration", asked);
    if asked.await? { Ok(()) } else { Err(Error::superseded()) }
}

/// What a runner stumbles over when another has taken over is that one's doing: names that have moved, a change stream with a new
/// reader. It is told as such.
async fn explained<E: Engine>(engine: &E, migration: &Migration<E>, e: Error) -> Error {
    if matches!(e.kind, Kind::Transient | Kind::Held | Kind::Superseded | Kind::Interrupted) {
        return e;
    }
    // The runner's own connection may be one of those that it lost while it slept.
    let asked = async { engine.control(false).await?.is_ours(migration.id, migration.epoch).await };
    match tokio::time::timeout(CLOSES_WITHIN, asked).await {
        Ok(Ok(false)) => {
            let superseded = Error::superseded();
            Error {
                message: format!("{} (it stumbled over: {})", superseded.message, e.message),
                ..superseded
            }
        }
        Ok(_) | Err(_) => e,
    }
}

/// Leaves everything as an error of this kind wants it left.
pub(super) async fn failed<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &Migration<E>,
    e: Error,
    config: &Config,
) -> Error {
    let e = explained(engine, migration, e).await;
    let e = if migration.turn > 0 { guard::after_the_swap(e, &migration.plan, migration.turn) } else { e };
    match e.kind {
        Kind::Aborted => {
            if let Err(left) = give_up(engine, control, migration, &config.who).await {
                return left;
            }
        }
        Kind::Unfit => {
            let text = format!("stopped: {}", e.message);
            let noted = control.note(migration.id, &config.who, &text).await;
            let given_up = give_up(engine, control, migration, &config.who).await;
            if let Err(left) = noted.and(given_up) {
                warn!(error = %left, "could not remove what was made; run `shadowswap abort`");
            }
        }
        Kind::Superseded => {}
        _ => {
            let error = (e.kind != Kind::RolledBack).then_some(e.message.as_str());
            // Best effort: the connection may be what failed.
            let noted = tokio::time::timeout(CLOSES_WITHIN, control.close(migration.id, error, None));
            if let Ok(Err(e)) = noted.await {
                warn!(error = %e, "could not note the error in the control tables");
            }
        }
    }
    e
}
