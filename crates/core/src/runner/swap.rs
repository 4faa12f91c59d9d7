//! Waiting for the word, the attempts at the swap, and what follows it.

use super::{Run, guard, ms};
use crate::{
    clock,
    config::CutoverWhen,
    control::Control,
    cutover::{self, Attempt, Stall},
    engine::Engine,
    error::{Error, Kind, Result, Tried},
    failpoint::{self, Place},
    patience,
    phase::Phase,
    throttle::Throttle,
    window::{Calendar, Windows},
};
use std::time::Duration;
use tracing::{info, warn};

/// Beyond what an attempt at the swap may take, its window must have this much left.
const WINDOW_ROOM: Duration = Duration::from_secs(1);
/// Between the swap and whatever comes after it.
const BREATH: Duration = Duration::from_millis(100);

impl<E: Engine> Run<'_, E> {
    /// Holds until the operator or the window says so; after a roll back, for as long as the guard lasts.
    pub(super) async fn ready(&mut self) -> Result<Phase> {
        let is_rolled_back = self.migration.turn > 0;
        let mut watch = guard::Watch::default();
        loop {
            self.verify_if_asked().await?;
            if self.cutover_now || self.is_cutover_time() {
                if is_rolled_back && self.config.verify {
                    self.compare(Throttle::default()).await?;
                }
                self.catch_up().await?;
                // All that may have taken longer than the window had left.
                if self.cutover_now || self.is_cutover_time() {
                    return Ok(Phase::Cutover);
                }
            }
            if is_rolled_back && let Some(ending) = self.ending(&mut watch).await? {
                return self.end(ending).await;
            }
            self.desk.detail(&self.waits_for());
            self.guarded(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(())
            })
            .await?;
        }
    }

    /// When to cut over, unless it is when somebody says so.
    fn cutover_calendar(&self) -> Option<Calendar> {
        if self.migration.turn > 0 {
            return None;
        }
        self.live.with(|c| {
            let windows = match &c.cutover {
                CutoverWhen::Auto => Windows::default(),
                CutoverWhen::Manual => return None,
                CutoverWhen::Window(windows) => windows.clone(),
            };
            Some(Calendar { windows, blackouts: c.blackouts.clone() })
        })
    }

    /// Whether an attempt that begins now is over before its window is.
    fn is_cutover_time(&self) -> bool {
        let needs = self.live.with(|c| c.stall_budget) + WINDOW_ROOM;
        self.cutover_calendar().is_some_and(|calendar| calendar.fits(clock::now(), needs))
    }

    fn waits_for(&self) -> String {
        if self.migration.turn > 0 {
            return "rolled back; in step; waiting for `shadowswap cutover` or `finish`".to_string();
        }
        let Some(calendar) = self.cutover_calendar() else {
            return "in step; waiting for `shadowswap cutover`".to_string();
        };
        let now = clock::now();
        // A window that is open and too short for an attempt is none.
        let after = calendar.closes_at(now).unwrap_or(now);
        match calendar.next_open(after) {
            Some(at) => format!("in step; waiting for the cutover window at {at}"),
            None => "in step; waiting for the cutover window, which never opens".to_string(),
        }
    }

    pub(super) async fn cutover(&mut self) -> Result<Option<Phase>> {
        let why = self.attempts().await;
        self.cutover_now &= why.is_err();
        let Some(why) = why? else {
            return Ok((!self.is_turned).then_some(Phase::Guard));
        };
        if why.kind == Kind::Early {
            let who = &self.config.who;
            self.control.note(self.migration.id, who, &why.message).await?;
            return Ok(Some(Phase::Ready));
        }
        self.save(Phase::Ready).await?;
        if self.migration.turn > 0 {
            warn!(error = %why, "not swapped forward again; the tables are kept in step");
            return Ok(Some(Phase::Ready));
        }
        let (budget, tried) = self.live.with(|c| (c.stall_budget.as_millis(), c.cutover_attempts));
        let table = &self.opener.plan.source;
        Err(Error::new(
            Kind::Budget,
            format!("could not cut over {table}: {tried} attempts of {budget} ms; the last: {}", why.message),
        )
        .next(format!(
            "the shadow is complete and was in step; nothing was swapped. End what is in the way, or run the same command again with a larger --stall-budget than {budget}ms"
        )))
    }

    /// Tries to swap until it is done, or says why not; `Early`: because its window has ended.
    pub(super) async fn attempts(&mut self) -> Result<Option<Error>> {
        let mut why = Error::new(Kind::Budget, "no attempt was made");
        let mut tried = 0;
        if let Some(applying) = &self.applying {
            applying.hurry();
        }
        while tried < self.live.with(|c| c.cutover_attempts) {
            self.catch_up().await?;
            // Windows are for the first swap. Whoever swaps back has reasons not to wait.
            let is_bound = !self.cutover_now && self.migration.turn == 0 && self.cutover_calendar().is_some();
            if is_bound && !self.is_cutover_time() {
                let why = "the cutover window has ended; waiting for the next";
                return Ok(Some(Error::new(Kind::Early, why)));
            }
            let opener = self.opener.clone();
            // What a task that died says ends the turn; what is said here of the tables themselves only ends the attempts.
            let obstacles = self
                .guarded(async move {
                    let looked = opener.engine.obstacles(&opener.plan, opener.migration);
                    Ok(patience::answer("looking who is in the way", looked).await)
                })
                .await?;
            let obstacles = match obstacles {
                Err(e) if self.migration.turn > 0 && is_final(&e) => return Ok(Some(e)),
                obstacles => obstacles?,
            };
            tried += 1;
            self.tally.attempts += 1;
            self.desk.attempts(self.tally.attempts);
            let attempts = self.live.with(|c| c.cutover_attempts);
            self.desk.detail(&format!("attempt {tried} of {attempts}"));
            if obstacles.iter().any(|o| o.blocks) {
                why = Error::new(Kind::Budget, format!("in the way: {}", cutover::in_the_way(&obstacles)));
            } else {
                let budget = self.live.with(|c| c.stall_budget);
                let attempt =
                    cutover::attempt(&self.opener, &mut self.applying, &self.markers, &self.applied, budget);
                let attempt = match attempt.await {
                    // Without an applier nothing is kept in step any more.
                    Err(e) if self.migration.turn > 0 && is_final(&e) && self.applying.is_some() => {
                        return Ok(Some(e));
                    }
                    attempt => attempt?,
                };
                match attempt {
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
            let mut event = self.opener.event("cutover", self.migration.phase, Some(why.message.clone()));
            event.detail = serde_json::json!({ "attempt": self.tally.attempts, "swapped": false });
            self.hooks.tell(event);
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
        (self.tally.swapped_at, self.tally.rollback) = (clock::real().to_string(), false);
        let mut event = self.opener.event("cutover", guard::phase_of(self.migration.turn + 1), None);
        event.detail = serde_json::json!({
            "attempt": self.tally.attempts, "swapped": true, "stall_ms": ms(stall.whole), "turn": self.migration.turn + 1
        });
        self.hooks.tell(event);
        // The clients that waited go first: sessions that end, and whatever we ask, cost the server time too.
        // (Measured on two cores: closing the lock's two sessions at once had clients wait for 4 ms more.)
        tokio::time::sleep(BREATH).await;
        drop(locked);
        let (turn, stall_ms) = (self.migration.turn + 1, ms(stall.whole));
        self.tally.stall = stall;
        let (id, epoch) = (self.migration.id, self.migration.epoch);
        failpoint::at(Place::TurnNoting).await;
        self.control.turn(id, epoch, turn, guard::phase_of(turn), Some(stall_ms)).await?;
        failpoint::at(Place::TurnNoted).await;
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
        failpoint::at(Place::CleaningUp).await;
        let (id, what) = (self.migration.id, "cleaning up after the swap");
        let ours = super::must_be_ours::<E>(&self.control, id, self.migration.epoch);
        let cleaned = engine.clean_up(plan, id, drop_old, ours);
        patience::attended(engine, (id, "clean up"), what, cleaned).await.tried(what)?;
        failpoint::at(Place::CleanedUp).await;
        self.tally.drops_old = drop_old;
        self.tally.report = Some(self.report());
        Ok(if self.migration.turn % 2 == 0 && self.migration.turn > 0 {
            Phase::RolledBack
        } else {
            Phase::Done
        })
    }
}

/// Trying again would meet the same.
pub(super) fn is_final(e: &Error) -> bool {
    matches!(e.kind, Kind::Unfit | Kind::Refused)
}
