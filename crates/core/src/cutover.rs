//! Attempts at the swap, within the stall budget.
//!
//! One attempt: look who is in the way; lock; send a marker; drain to it; swap. Whatever goes wrong
//! before the swap is sent lets go of everything, and clients go on. If the swap's answer is lost, the catalog decides.

use crate::{
    apply::{Applied, Applier, Applying, Opener},
    clock,
    engine::{Apply, Engine, Locked, Obstacle, Outcome},
    error::{Error, Kind, Result},
    failpoint::{self, Place},
    mutations::{Mutation, breaks},
    patience,
    verify::{self, Markers},
};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{info, warn};

/// How one attempt ended.
pub enum Attempt<E: Engine> {
    /// Swapped. What held the lock is to be kept until the clients that waited are served; none where its answer was lost.
    Swapped(Stall, Option<E::Locked>),
    /// Not swapped: why. The applier is given back if it was halted.
    Missed(Error, Option<Box<Applier<E>>>),
}

/// How long clients waited at most, and for what.
#[derive(Default)]
pub struct Stall {
    /// From the first lock request to the commit.
    pub whole: Duration,
    /// Its parts, in order; none where the answer was lost.
    pub steps: Vec<(&'static str, Duration)>,
}

/// Longer than the budget by so much, the answer to a swap is taken for lost: the catalog is asked instead. By then the server has let go of
/// what has the lock and is silent, so that nothing which is still on its way can swap any more.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// Looks at the catalog this often after a lost answer before giving up.
const LOOKS: u32 = 30;
/// Between looks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// The first pause after a missed attempt, doubled up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// One attempt. Must not be dropped half way if its outcome matters: the caller lets it end.
///
/// `applying` is left empty where the last changes go through the lock's own session; elsewhere it goes on, whatever comes out.
pub async fn attempt<E: Engine>(
    opener: &Opener<E>,
    applying: &mut Option<Applying<E>>,
    markers: &Markers,
    applied: &watch::Sender<Applied<E::Position>>,
    budget: Duration,
) -> Result<Attempt<E>> {
    let Opener { engine, plan, migration, epoch } = opener;
    let through_lock = engine.caps().drains_through_lock;
    let mut applier = None;
    // Where the lock keeps the applier's session out, it must not be caught half way through a batch.
    let ready = async {
        if through_lock {
            let applying = applying.take().ok_or_else(|| Error::corrupt("nothing is being applied"))?;
            applier = Some(Box::new(applying.halt().await?));
        }
        failpoint::at(Place::LockReady).await;
        Ok(())
    };
    failpoint::at(Place::Locking).await;
    let lock = engine.lock(plan, *migration, *epoch, budget, ready);
    let mut locked = match patience::answer("taking the lock", Box::pin(lock)).await {
        Ok(locked) => locked,
        Err(e) if may_try_again(&e) => return Ok(Attempt::Missed(e, applier)),
        Err(e) => return Err(e),
    };
    failpoint::at(Place::Locked).await;
    let since = locked.since();
    let mut steps = vec![("lock", since.elapsed())];
    let token = markers.next();
    let drained = timeout(left(since, budget), async {
        if breaks(Mutation::SwapWithoutDrain) {
            return Ok(());
        }
        locked.mark(token).await?;
        match &mut applier {
            Some(applier) => applier.drain(&mut locked, token).await,
            None => verify::reached::<E>(token, applied).await,
        }
    })
    .await;
    let error = match drained {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(e),
        Err(_) => Some(Error::new(
            Kind::Budget,
            format!(
                "the last changes could not be applied within the stall budget of {} ms",
                budget.as_millis()
            ),
        )),
    };
    steps.push(("drain", since.elapsed()));
    if let Some(e) = error {
        locked.release().await;
        return if may_try_again(&e) { Ok(Attempt::Missed(e, applier)) } else { Err(e) };
    }
    failpoint::at(Place::Drained).await;
    // A position beyond the swap must not be confirmed: what is committed after it is for the stream of the next turn. All that was
    // confirmed until now lies before it.
    applied.send_modify(|applied| applied.is_held = true);
    let swapped = swap(opener, locked, (since, budget), steps, applier).await;
    let may_be_swapped = match &swapped {
        Ok(Attempt::Swapped(..)) => true,
        Ok(Attempt::Missed(..)) => false,
        Err(e) => e.kind == Kind::Ambiguous,
    };
    if !may_be_swapped {
        applied.send_modify(|applied| applied.is_held = false);
    }
    swapped
}

async fn swap<E: Engine>(
    opener: &Opener<E>,
    mut locked: E::Locked,
    (since, budget): (Instant, Duration),
    mut steps: Vec<(&'static str, Duration)>,
    applier: Option<Box<Applier<E>>>,
) -> Result<Attempt<E>> {
    let left = left(since, budget);
    let patience = budget + ANSWER_GRACE;
    let swapped = timeout(patience, locked.swap(left)).await;
    let swapped = swapped.unwrap_or_else(|_elapsed| {
        let text = format!("no answer to the swap within {patience:?}");
        Err(Error::new(Kind::Ambiguous, text))
    });
    match swapped {
        Ok(()) => {
            failpoint::at(Place::Swapped).await;
            let stall = since.elapsed();
            info!(stall_ms = stall.as_secs_f64() * 1e3, "swapped");
            steps.push(("swap", stall));
            Ok(Attempt::Swapped(Stall { whole: stall, steps: apart(steps) }, Some(locked)))
        }
        Err(e) if e.kind == Kind::Budget => Ok(Attempt::Missed(e, applier)),
        Err(e) if breaks(Mutation::RetriesAmbiguous) => Ok(Attempt::Missed(e, applier)),
        Err(e) => {
            let stall = since.elapsed();
            // Looking waits for whatever its connections still hold.
            drop(locked);
            warn!(error = %e, "the answer to the swap was lost; looking at the catalog");
            match outcome(opener).await? {
                Outcome::Swapped => Ok(Attempt::Swapped(Stall { whole: stall, steps: Vec::new() }, None)),
                Outcome::NotSwapped if may_try_again(&e) || e.kind == Kind::Ambiguous => {
                    Ok(Attempt::Missed(e, applier))
                }
                Outcome::NotSwapped => Err(e),
            }
        }
    }
}

/// Ends of steps become their lengths.
fn apart(ends: Vec<(&'static str, Duration)>) -> Vec<(&'static str, Duration)> {
    let mut before = Duration::ZERO;
    ends.into_iter().map(|(name, end)| (name, end - std::mem::replace(&mut before, end))).collect()
}

fn may_try_again(e: &Error) -> bool {
    e.kind == Kind::Budget || e.is_transient()
}

fn left(since: Instant, budget: Duration) -> Duration {
    budget.saturating_sub(since.elapsed())
}

/// Asks the catalog until it answers.
async fn outcome<E: Engine>(opener: &Opener<E>) -> Result<Outcome> {
    let mut last = Error::new(Kind::Ambiguous, "the outcome of the swap is not known");
    for _ in 0..LOOKS {
        let looked = opener.engine.outcome(&opener.plan, opener.migration);
        match patience::answer("looking at the catalog", looked).await {
            Ok(outcome) => return Ok(outcome),
            Err(e) if e.is_transient() => {
                warn!(error = %e, "could not look at the catalog yet");
                last = Error::new(
                    Kind::Ambiguous,
                    format!("the outcome of the swap is not known: {}", e.message),
                )
                .because(e);
            }
            Err(e) => return Err(e),
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Err(last.next("run the same command again once the database answers: it looks at the catalog before it does anything"))
}

/// The pause before attempt `n + 1`, with jitter, so that two tables never keep step with each other or with a cron job.
pub fn pause(n: u32) -> Duration {
    let base = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(n.min(10))).min(PAUSE_MAX);
    let nanos = clock::real().subsec_nanosecond().unsigned_abs();
    base / 2 + base.mul_f64(f64::from(nanos % 1_000) / 2_000.0)
}

/// The text about who was in the way.
pub fn in_the_way(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(|o| format!("{}: {}", o.who, o.what)).collect::<Vec<_>>().join("; ")
}
