//! Waiting for the word, the attempts at the swap, and what follows it.

use super::{Run, guard, ms};
use crate::{
    config::CutoverWhen,
    control::Control,
    cutover::{self, Attempt, Stall},
    engine::Engine,
    error::{Error, Kind, Result, Tried},
    phase::Phase,
};
use std::time::Duration;
use tracing::{info, warn};

/// Between the swap and whatever comes after it.
const BREATH: Duration = Duration::from_millis(100);

impl<E: Engine> Run<'_, E> {
    /// Holds until the operator or the window says so; after a roll back, for as long as the guard lasts.
    pub(super) async fn ready(&mut self) -> Result<Phase> {
        let is_rolled_back = self.migration.turn > 0;
        let mut watch = guard::Watch::default();
        loop {
            self.verify_if_asked().await?;
            let is_time = match &self.config.cutover {
                CutoverWhen::Auto => !is_rolled_back,
                CutoverWhen::Manual => false,
                CutoverWhen::Window(windows) => !is_rolled_back && windows.is_open(jiff::Timestamp::now()),
            };
            if is_time || std::mem::take(&mut self.cutover_now) {
                if is_rolled_back && self.config.verify {
                    self.compare().await?;
                }
                self.catch_up().await?;
                return Ok(Phase::Cutover);
            }
            if is_rolled_back && let Some(ending) = self.ending(&mut watch).await? {
                return self.end(ending).await;
            }
            self.desk.detail(match &self.config.cutover {
                _ if is_rolled_back => "rolled back; in step; waiting for `shadowswap cutover` or `finish`",
                CutoverWhen::Manual => "in step; waiting for `shadowswap cutover`",
                CutoverWhen::Auto | CutoverWhen::Window(_) => "in step; waiting for the cutover window",
            });
            self.guarded(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(())
            })
            .await?;
        }
    }

    pub(super) async fn cutover(&mut self) -> Result<Option<Phase>> {
        let Some(why) = self.attempts().await? else {
            return Ok((!self.is_turned).then_some(Phase::Guard));
        };
        self.save(Phase::Ready).await?;
        if self.migration.turn > 0 {
            warn!(error = %why, "not swapped forward again; the tables are kept in step");
            return Ok(Some(Phase::Ready));
        }
        let budget = self.config.stall_budget.as_millis();
        let (table, tried) = (&self.opener.plan.source, self.config.cutover_attempts);
        Err(Error::new(
            Kind::Budget,
            format!("could not cut over {table}: {tried} attempts of {budget} ms; the last: {}", why.message),
        )
        .next(format!(
            "the shadow is complete and was in step; nothing was swapped. End what is in the way, or run the same command again with a larger --stall-budget than {budget}ms"
        )))
    }

    /// Tries to swap until it is done, or says why not.
    pub(super) async fn attempts(&mut self) -> Result<Option<Error>> {
        let mut why = Error::new(Kind::Budget, "no attempt was made");
        let mut tried = 0;
        if let Some(applying) = &self.applying {
            applying.hurry();
        }
        while tried < self.config.cutover_attempts {
            self.catch_up().await?;
            let opener = self.opener.clone();
            let obstacles = self
                .guarded(async move { opener.engine.obstacles(&opener.plan, opener.migration).await })
                .await?;
            tried += 1;
            self.tally.attempts += 1;
            self.desk.attempts(self.tally.attempts);
            self.desk.detail(&format!("attempt {tried} of {}", self.config.cutover_attempts));
            if obstacles.iter().any(|o| o.blocks) {
                why = Error::new(Kind::Budget, format!("in the way: {}", cutover::in_the_way(&obstacles)));
            } else {
                let budget = self.config.stall_budget;
                let attempt =
                    cutover::attempt(&self.opener, &mut self.applying, &self.markers, &self.applied, budget);
                match attempt.await? {
                    Attempt::Swapped(stall, locked) => {
                        self.swapped(stall, locked).await?;
                        return Ok(None);
                    }
                    Attempt::Missed(e, applier) => {
                        if let Some(applier) = applier {
                            self.resume_applying(*applier);
                        }
                        why = e;
                    }
                }
            }
            info!(attempt = tried, error = %why, "no cutover yet");
            let note = format!("cutover attempt {tried}: {}", why.message);
            self.control.note(self.migration.id, &self.config.who, &note).await?;
            self.guarded(async move {
                tokio::time::sleep(cutover::pause(tried)).await;
                Ok(())
            })
            .await?;
        }
        Ok(Some(why))
    }

    /// The names are swapped: the turn is over.
    async fn swapped(&mut self, stall: Stall, locked: Option<E::Locked>) -> Result<()> {
        (self.tally.swapped_at, self.tally.rollback) = (jiff::Timestamp::now().to_string(), false);
        // The clients that waited go first: sessions that end, and whatever we ask, cost the server time too.
        // (Measured on two cores: closing the lock's two sessions at once had clients wait for 4 ms more.)
        tokio::time::sleep(BREATH).await;
        drop(locked);
        let (turn, stall_ms) = (self.migration.turn + 1, ms(stall.whole));
        self.tally.stall = stall;
        let (id, epoch) = (self.migration.id, self.migration.epoch);
        self.control.turn(id, epoch, turn, guard::phase_of(turn), Some(stall_ms)).await?;
        self.is_turned = self.migration.plan.request.guard_s.is_some();
        self.in_step = false;
        (self.migration.turn, self.migration.plan.turn) = (turn, turn);
        Ok(())
    }

    /// Removes what is not needed any more.
    pub(super) async fn finish(&mut self, drop_old: bool) -> Result<Phase> {
        self.desk.detail("removing the change stream");
        self.applying = None;
        self.tasks.shutdown().await;
        let (engine, plan) = (&self.opener.engine, &self.migration.plan);
        engine.clean_up(plan, self.migration.id, drop_old).await.tried("cleaning up after the swap")?;
        self.tally.drops_old = drop_old;
        Ok(if self.migration.turn % 2 == 0 && self.migration.turn > 0 {
            Phase::RolledBack
        } else {
            Phase::Done
        })
    }
}
