//! After the first swap: keeping the other table in step, swapping back, swapping forward again, and the end of it.
//!
//! A turn begins with each swap. An odd one is the guard: the change stream goes on from exactly the swap, the other way round. In an
//! even one the table is the original again, and the new one is kept in step with it, ready to be swapped to once more. Each turn is a
//! run of its own over the same control tables, under an epoch of its own: whatever the former turn left on its way can never commit.

use super::Run;
use crate::{
    config::Config,
    control::{Control, Migration},
    engine::{Engine, Outcome},
    error::{Error, Kind, Result, Tried},
    failpoint::{self, Place},
    patience,
    phase::Phase,
    plan::Plan,
    throttle::Throttle,
};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// What is left of the guard is asked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Commands and wishes are looked at this often.
const TICK: Duration = Duration::from_millis(100);
/// The server may keep more than the budget for this long: it gives up what it keeps in steps, seconds apart.
const OVER_FOR: Duration = Duration::from_secs(20);
/// The steward answers several times a second.
const DISMISSED_WITHIN: Duration = Duration::from_secs(10);
/// A guard without a length of its own: only where a plan was stored with a guard and without its length.
const LENGTH: Duration = Duration::from_secs(3600);

/// What the runner notes where it is asked to swap back, and trying again would meet the same. Whoever asked looks for it.
pub const REFUSED: &str = "roll back refused:";

/// Why keeping in step ends.
#[derive(Debug, PartialEq)]
pub(super) enum Ending {
    /// It has lasted as long as was asked for.
    TimeUp,
    /// An operator says so; and drops the old table, if true.
    Asked { drop_old: bool },
    /// The server keeps this many bytes for it.
    Costs { bytes: u64, limit: u64 },
}

/// The phase after the swap that begins this turn.
pub(super) fn phase_of(turn: i64) -> Phase {
    if turn % 2 == 0 { Phase::Ready } else { Phase::Guard }
}

/// Brings the control tables in step with the catalog, and works out the plan of this turn. `None`: the turn is not the first, and nothing
/// is kept in step any more.
pub(super) async fn open<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &mut Migration<E>,
    (config, settled): (&Config, &Config),
    wants_rollback: bool,
) -> Result<Option<Plan>> {
    let has_guard = migration.plan.request.guard_s.is_some();
    if config.guard.is_some() && !has_guard {
        return Err(Error::refused(format!(
            "the migration of {} began without --guard: nothing is prepared for going back",
            migration.plan.source
        ))
        .next("leave --guard out; or `shadowswap abort` and begin again with it"));
    }
    if migration.phase == Phase::Cutover {
        settle(engine, control, migration).await?;
    }
    if migration.turn == 0 {
        return Ok(Some(migration.plan.clone()));
    }
    if !has_guard {
        return Ok(None);
    }
    let (length, is_set) = length(&migration.plan, settled);
    let left = control.guard_left(migration.id, migration.epoch, length, is_set).await?;
    failpoint::at(Place::GuardBegun).await;
    let may_roll_back = wants_rollback && migration.turn % 2 != 0;
    let is_over = left.is_zero() && !may_roll_back;
    if migration.phase == Phase::Guard {
        match settle(engine, control, migration).await {
            // Where the end had begun, the old table may be gone already.
            Err(e) if is_over && !e.is_transient() => warn!(error = %e, "only the end is left to do"),
            settled => settled?,
        }
    }
    if is_over {
        return Ok(None);
    }
    let ours = super::must_be_ours::<E>(control, migration.id, migration.epoch);
    let plan = engine.reverse(&migration.plan, migration.id, ours);
    let plan = patience::work("working out the way back", plan).await.tried("working out the way back")?;
    failpoint::at(Place::TurnOpened).await;
    Ok(Some(Plan { turn: migration.turn, ..plan }))
}

/// Where a runner died around a swap, the catalog knows whether it took place.
pub(crate) async fn settle<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &mut Migration<E>,
) -> Result<()> {
    let outcome = engine.outcome(&migration.plan, migration.id);
    let is_swapped = patience::answer("looking at the catalog", outcome).await? == Outcome::Swapped;
    if is_swapped == (migration.turn % 2 != 0) {
        return Ok(());
    }
    let turn = migration.turn + 1;
    control.turn(migration.id, migration.epoch, turn, phase_of(turn), None).await?;
    (migration.turn, migration.plan.turn, migration.phase) = (turn, turn, phase_of(turn));
    Ok(())
}

/// The guard's length, and whether it was changed while it ran.
fn length(plan: &Plan, config: &Config) -> (Duration, bool) {
    let planned = config.guard.or(plan.request.guard_s.map(Duration::from_secs)).unwrap_or(LENGTH);
    (config.guard_set.unwrap_or(planned), config.guard_set.is_some())
}

/// After the first swap, nothing that was made is removed because of an error, and another table is the one that cannot be kept in step.
pub(super) fn after_the_swap(e: Error, plan: &Plan, turn: i64) -> Error {
    let table = &plan.source;
    let finish = format!("`shadowswap finish --table {table}` ends this and removes the change stream");
    let (kind, next) = match e.kind {
        Kind::Unfit => (
            Kind::Interrupted,
            if turn % 2 == 0 {
                format!(
                    "{table} is the original table and not affected. Mend the cause and run the same command again to go on from here; or {finish}"
                )
            } else {
                format!(
                    "{table} is the new table and not affected; only going back waits for this. Mend the row and run the same command again to go on from here; or {finish}"
                )
            },
        ),
        Kind::Corrupt => (Kind::Corrupt, format!("{table} is in use and not affected; {finish}")),
        Kind::Differs => (
            Kind::Differs,
            format!(
                "look at these rows in both tables; nothing was swapped by this, and {table} is in use as before; {finish}"
            ),
        ),
        Kind::Interrupted => (
            Kind::Interrupted,
            format!(
                "run the same command again to go on from here; until then the server keeps its change stream. {finish}"
            ),
        ),
        kind => return Error { kind, ..e },
    };
    Error { kind, next: Some(next), ..e }
}

impl<E: Engine> Run<'_, E> {
    /// The old table is kept in step with the new one, until the time is up, somebody ends it or swaps back, or it costs too much.
    pub(super) async fn guard(&mut self) -> Result<Option<Phase>> {
        if self.is_over() {
            let drop_old = self.live.with(|c| c.drop_old);
            return self.finish(drop_old).await.map(Some);
        }
        let mut watch = Watch::default();
        let mut alarmed = false;
        loop {
            // Once for each alarm: what kept it from swapping back is noted, and does not go away by trying all the time.
            let alarm = self.desk.alarm().filter(|_| self.live.with(|c| c.rolls_back));
            if let Some(why) = alarm.as_ref().filter(|_| !alarmed) {
                let text = format!("rolling back by itself: {why}");
                self.control.note(self.migration.id, &self.config.who, &text).await?;
                self.rollback_now = true;
            }
            alarmed = alarm.is_some();
            if self.rollback_now {
                let is_back = self.roll_back().await?;
                self.rollback_now = false;
                if is_back {
                    return Ok(None);
                }
            }
            if let Some(ending) = self.ending(&mut watch).await? {
                return self.end(ending).await.map(Some);
            }
            self.verify_if_asked().await?;
            self.desk.detail("keeping the old table in step");
            self.wait(TICK).await?;
        }
    }

    /// Dismisses the steward, and keeps for the next turn what it was told since the swap.
    pub(super) async fn keep_commands(&mut self) {
        self.dismiss.send_replace(true);
        let mut left = Vec::new();
        let all = async {
            while let Some(command) = self.commands.recv().await {
                left.push(command);
            }
        };
        if tokio::time::timeout(DISMISSED_WITHIN, all).await.is_err() {
            warn!("a command may have been lost at the swap");
        }
        // Given between the way back and the turn after it.
        self.tally.aborts |= !self.migration.plan.is_turned() && left.contains(&super::Command::Abort);
        self.tally.left_over = left;
    }

    /// Nothing is kept in step any more: only the end is left.
    pub(super) fn is_over(&self) -> bool {
        self.migration.turn > 0 && !self.in_step
    }

    /// Whether and why keeping in step ends now.
    pub(super) async fn ending(&mut self, watch: &mut Watch) -> Result<Option<Ending>> {
        if let Some(drop_old) = self.finish_now {
            return Ok(Some(Ending::Asked { drop_old }));
        }
        let limit = self.live.with(|c| c.guard_retention);
        if let Some(bytes) = watch.over(self.progress.borrow().retained_bytes, limit) {
            return Ok(Some(Ending::Costs { bytes, limit }));
        }
        if watch.looks() {
            let (id, epoch) = (self.migration.id, self.migration.epoch);
            let (length, is_set) = self.live.with(|c| length(&self.migration.plan, c));
            let left = self.control.guard_left(id, epoch, length, is_set).await?;
            self.desk.guard_left(left);
            if left.is_zero() {
                return Ok(Some(Ending::TimeUp));
            }
        }
        Ok(None)
    }

    /// Notes the end before anything is removed, so that nobody tries to go on with the half of it.
    pub(super) async fn end(&mut self, ending: Ending) -> Result<Phase> {
        let changes = self.progress.borrow().changes;
        let what = if self.migration.turn % 2 == 0 { "keeping the new table in step" } else { "the guard" };
        let text = match ending {
            Ending::TimeUp => {
                format!("{what} ended, the time is up; {changes} changes were carried over here")
            }
            Ending::Asked { .. } => {
                format!("{what} was ended by an operator; {changes} changes were carried over here")
            }
            Ending::Costs { bytes, limit } => format!(
                "{what} ended early: the server kept {} MiB of its change stream for it, more than --guard-retention ({} MiB)",
                bytes >> 20,
                limit >> 20
            ),
        };
        match ending {
            Ending::Costs { .. } => {
                warn!(table = %self.migration.plan.source, "{text}; going back is not possible any more, the table in use is not affected");
            }
            Ending::TimeUp | Ending::Asked { .. } => info!("{text}"),
        }
        self.control.note(self.migration.id, &self.config.who, &text).await?;
        let wants_drop = self.live.with(|c| c.drop_old);
        let drop_old = match ending {
            Ending::TimeUp => wants_drop,
            Ending::Asked { drop_old } => drop_old || wants_drop,
            Ending::Costs { .. } => {
                // What ended early is looked at by somebody before it is dropped. That holds for whoever goes on from here, too.
                self.control.set(self.migration.id, &self.config.who, "drop-old", "no").await?;
                false
            }
        };
        self.tally.guard = Some(text);
        failpoint::at(Place::Ending).await;
        self.control.end_guard(self.migration.id, self.migration.epoch).await?;
        failpoint::at(Place::EndNoted).await;
        self.finish(drop_old).await
    }

    /// Compares, and swaps back. False: not swapped, and the guard goes on.
    async fn roll_back(&mut self) -> Result<bool> {
        info!("rolling back");
        self.catch_up().await?;
        if self.config.verify {
            self.compare_noted().await?;
        }
        let why = match self.attempts().await {
            Ok(None) => return Ok(true),
            Ok(Some(why)) => why,
            Err(e) => return Err(e),
        };
        let e = why.while_trying(format_args!("could not roll back {}", self.migration.plan.source));
        if self.tally.rollback {
            return Err(
                e.next("nothing was swapped back. End what is in the way, then `shadowswap rollback` again")
            );
        }
        warn!(error = %e, "the guard goes on");
        let text = match (super::swap::is_final(&e), &e.next) {
            (true, Some(next)) => format!("{REFUSED} {}: {next}", e.message),
            (true, None) => format!("{REFUSED} {}", e.message),
            (false, _) => format!("no roll back: {}", e.message),
        };
        self.control.note(self.migration.id, &self.config.who, &text).await?;
        Ok(false)
    }

    /// Compares every row if somebody asked for it, and says what came of it.
    pub(super) async fn verify_if_asked(&mut self) -> Result<()> {
        if !self.desk.take_verify() {
            return Ok(());
        }
        self.compare_noted().await?;
        let rows = self.counters.verified.load(std::sync::atomic::Ordering::Relaxed);
        let text = format!("verified: {rows} rows compared, none differs");
        self.control.note(self.migration.id, &self.config.who, &text).await
    }

    /// Compares every row, and notes what differs.
    async fn compare_noted(&mut self) -> Result<()> {
        let compared = self.compare(Throttle::default()).await;
        if let Err(e) = &compared {
            let text = format!("verify failed: {}", e.message);
            self.control.note(self.migration.id, &self.config.who, &text).await?;
        }
        compared
    }

    async fn wait(&mut self, time: Duration) -> Result<()> {
        self.guarded(async move {
            tokio::time::sleep(time).await;
            Ok(())
        })
        .await
    }
}

/// What is watched while a table is kept in step.
#[derive(Default)]
pub(super) struct Watch {
    looked: Option<Instant>,
    over_since: Option<Instant>,
}

impl Watch {
    /// Whether it is time to look what is left.
    fn looks(&mut self) -> bool {
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if is_due {
            self.looked = Some(Instant::now());
        }
        is_due
    }

    /// The bytes that the server keeps, once they have been over the limit for long enough.
    fn over(&mut self, bytes: u64, limit: u64) -> Option<u64> {
        if bytes <= limit {
            self.over_since = None;
            return None;
        }
        let since = *self.over_since.get_or_insert_with(Instant::now);
        (since.elapsed() >= OVER_FOR).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_forward_begins_a_guard_and_a_swap_back_waits() {
        assert_eq!([1, 2, 3, 4].map(phase_of), [Phase::Guard, Phase::Ready, Phase::Guard, Phase::Ready]);
    }

    #[test]
    fn budget_counts_only_once_it_is_broken_for_a_while() {
        let mut watch = Watch::default();
        assert_eq!((watch.over(5, 10), watch.over(11, 10)), (None, None));
        watch.over_since = Instant::now().checked_sub(OVER_FOR);
        assert_eq!(watch.over(12, 10), Some(12));
        assert_eq!(
            (watch.over(10, 10), watch.over(11, 10)),
            (None, None),
            "it was within the budget in between"
        );
    }
}
