//! How far the shadow is behind the source.
//!
//! From the commit applied last to its application; and for as long as changes wait and none is applied, since when that is so: a stuck
//! applier applies nothing that could tell its lag.

use super::signal::{Sampling, Signal};
use crate::{apply::Applied, copy::Counters};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// See the module.
pub struct Lag<P> {
    applied: watch::Receiver<Applied<P>>,
    counters: Arc<Counters>,
    /// Changes that were applied when it last moved, and when that was, or when nothing waited.
    moved: (u64, Instant),
}

impl<P> Lag<P> {
    /// The lag of this applier, whose log is counted here.
    pub fn new(applied: watch::Receiver<Applied<P>>, counters: Arc<Counters>) -> Lag<P> {
        Lag { applied, counters, moved: (0, Instant::now()) }
    }

    /// The lag now.
    pub fn now(&mut self, now: Instant) -> Duration {
        let (steps, lag, backlog) = {
            let applied = self.applied.borrow();
            (applied.steps, applied.lag, applied.backlog)
        };
        let waiting = backlog.max(self.counters.waiting.load(Ordering::Relaxed));
        if waiting == 0 || steps != self.moved.0 {
            self.moved = (steps, now);
        }
        if waiting == 0 { Duration::ZERO } else { lag.max(now.saturating_duration_since(self.moved.1)) }
    }
}

impl<P: Clone + Send + Sync + 'static> Signal for Lag<P> {
    fn name(&self) -> &str {
        "lag"
    }

    fn sample(&mut self) -> Sampling<'_> {
        let lag = self.now(Instant::now());
        Box::pin(std::future::ready(Ok(Some(lag.as_secs_f64()))))
    }

    fn every(&self) -> Duration {
        Duration::from_millis(250)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuck_applier_is_as_far_behind_as_it_is_stuck() {
        let sender = watch::Sender::new(Applied::<u64>::new(None));
        let counters = Arc::new(Counters::default());
        let mut lag = Lag::new(sender.subscribe(), Arc::clone(&counters));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(lag.now(at(100)), Duration::ZERO, "nothing waits, however long nothing was applied");
        counters.waiting.store(3, Ordering::Relaxed);
        assert_eq!(lag.now(at(107)).as_secs(), 7);
        sender.send_modify(|a| (a.steps, a.lag, a.backlog) = (1, Duration::from_secs(2), 3));
        assert_eq!(lag.now(at(108)).as_secs(), 2, "it moves, and says itself how far it is");
        assert_eq!(lag.now(at(118)).as_secs(), 10);
    }
}
