//! The task that times small commits while rows are copied or compared, for [`super::courtesy`].

use super::{Throttle, courtesy::Courtesy, sampler::READ_WITHIN, signal::Loads};
use crate::{
    apply::Opener,
    config::{Live, MaxLoad},
    copy::Counters,
    engine::{Engine, Load},
    phase::Phase,
    steward::Desk,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;
use tracing::warn;

/// Between two commits, on the average.
const EVERY: Duration = Duration::from_millis(50);
/// The least between two commits while a chunk is at work. Where that is seldom, more of them meet one.
const LEAST: Duration = Duration::from_millis(4);
/// Where chunks follow each other without a rest, all of them wait this often, so that commits which meet none are seen.
const LISTEN_EVERY: Duration = Duration::from_secs(10);
/// How many of those are seen each time, and how soon one after the other.
const LISTENED: usize = 8;
/// A chunk that does not end is not waited for any longer.
const QUIET_WITHIN: Duration = Duration::from_secs(2);
/// Statements of our own: a second at most without chunks, and for each chunk.
const OURS: f64 = 60.0;
const OURS_OF_CHUNK: f64 = 12.0;
/// Where nothing is to be timed now.
const IDLE: Duration = Duration::from_millis(100);

/// What was seen, shared between the task and the steward. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Courtesy>>);

impl Pulse {
    /// Looks at what was seen, or adds to it.
    pub fn lock(&self) -> MutexGuard<'_, Courtesy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the task works with.
pub(crate) struct Timing<E: Engine> {
    pub(crate) opener: Opener<E>,
    pub(crate) live: Live,
    pub(crate) loads: Loads,
    pub(crate) counters: Arc<Counters>,
    pub(crate) throttle: Throttle,
    pub(crate) desk: Desk,
    pub(crate) pulse: Pulse,
}

/// Times commits for as long as the run asks for it. Never ends; dropping it is harmless.
pub(crate) async fn follow<E: Engine>(timing: Timing<E>) {
    let mut looks = timing.loads.0.clone();
    let mut traffic = Traffic::default();
    let (mut listened, mut last, mut failed) = (Instant::now(), Instant::now(), false);
    loop {
        if looks.has_changed().unwrap_or(false)
            && let Some((at, Ok(load))) = looks.borrow_and_update().as_ref()
        {
            traffic.look(*at, load, timing.chunks(), &timing.pulse);
        }
        let is_wanted = timing.live.with(|c| c.max_load == MaxLoad::Auto)
            && matches!(timing.desk.now(), Phase::Copy | Phase::Verify)
            && timing.throttle.reason().is_none()
            && timing.pulse.lock().is_busy();
        if !is_wanted {
            timing.throttle.listen(false);
            tokio::time::sleep(IDLE).await;
            continue;
        }
        let is_blind = timing.pulse.lock().is_blind();
        let ended = if is_blind || listened.elapsed() > LISTEN_EVERY {
            let ended = timing.listen().await;
            listened = Instant::now();
            ended
        } else {
            timing.pause(last).await;
            last = Instant::now();
            timing.once().await
        };
        if let Err(why) = &ended {
            // Without anything seen the share stays where it is.
            if !failed {
                warn!("commits cannot be timed, and copying goes on at the same pace: {why}");
            }
            tokio::time::sleep(IDLE).await;
        }
        failed = ended.is_err();
    }
}

/// What other people do, from two readings of the server's counter.
#[derive(Default)]
struct Traffic {
    before: Option<(Instant, u64, u64)>,
    /// Our own statements of the last interval that were not counted yet: PostgreSQL counts a second late.
    uncounted: f64,
}

impl Traffic {
    fn look(&mut self, at: Instant, load: &Load, chunks: u64, pulse: &Pulse) {
        let Some(ended) = load.ended else { return pulse.lock().look(load.active_sessions, 0.0) };
        // One reading says nothing of what goes on.
        if let Some((before, ended_before, chunks_before)) = self.before.replace((at, ended, chunks)) {
            let seconds = (at - before).as_secs_f64().max(0.01);
            let ours = chunks.saturating_sub(chunks_before) as f64 * OURS_OF_CHUNK + seconds * OURS;
            let counted = ended.saturating_sub(ended_before) as f64;
            let others = (counted - ours - self.uncounted).max(0.0);
            self.uncounted = (ours + self.uncounted - counted).clamp(0.0, ours);
            pulse.lock().look(load.active_sessions, others / seconds);
        }
    }
}

impl<E: Engine> Timing<E> {
    /// Chunks copied or compared so far.
    fn chunks(&self) -> u64 {
        let Counters { chunks, verified_chunks, .. } = &*self.counters;
        chunks.load(Ordering::Relaxed) + verified_chunks.load(Ordering::Relaxed)
    }

    fn is_at_work(&self) -> bool {
        *self.counters.under_way.borrow() > 0
    }

    /// One commit.
    async fn once(&self) -> Result<(), String> {
        let before = self.is_at_work();
        let probe = self.opener.engine.probe_commit(self.opener.migration);
        let took = match tokio::time::timeout(READ_WITHIN, probe).await {
            Ok(took) => took.map_err(|e| e.message)?,
            Err(_) => READ_WITHIN,
        };
        let met_chunk = before || self.is_at_work();
        self.pulse.lock().commit(took, met_chunk);
        Ok(())
    }

    /// Rests until the next commit: from the last one on, less long while a chunk is at work where that is seldom the case.
    async fn pause(&self, last: Instant) {
        let mut under_way = self.counters.under_way.subscribe();
        let share = self.throttle.ease() * self.live.with(|c| c.copy_workers) as f64;
        let soon = EVERY.mul_f64(share.clamp(0.0, 1.0)).max(LEAST);
        tokio::time::sleep(soon.saturating_sub(last.elapsed())).await;
        let rest = EVERY.saturating_sub(last.elapsed());
        // Ends early when a chunk begins. The sender lives as long as this.
        drop(tokio::time::timeout(rest, under_way.wait_for(|n| *n > 0)).await);
    }

    /// Lets no chunk begin until some commits that meet none were seen.
    async fn listen(&self) -> Result<(), String> {
        self.throttle.listen(true);
        drop(tokio::time::timeout(QUIET_WITHIN, self.counters.idle()).await);
        let mut ended = Ok(());
        for _ in 0..LISTENED {
            ended = self.once().await;
            if ended.is_err() {
                break;
            }
            tokio::time::sleep(LEAST).await;
        }
        self.throttle.listen(false);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_statements_that_are_counted_late_are_nobody_elses() {
        let (mut traffic, pulse, start) = (Traffic::default(), Pulse::default(), Instant::now());
        let mut look = |seconds: u64, ended: u64, chunks: u64| {
            let load = Load { ended: Some(ended), ..Load::default() };
            traffic.look(start + Duration::from_secs(seconds), &load, chunks, &pulse);
            pulse.lock().is_busy()
        };
        assert!(look(0, 1_000, 0), "one reading says nothing");
        assert!(!look(1, 1_050, 60), "sixty chunks, and nothing is counted of them yet");
        assert!(!look(2, 1_700, 60), "they are");
        assert!(!look(3, 1_750, 60));
        assert!(look(4, 2_300, 60), "somebody else");
    }
}
