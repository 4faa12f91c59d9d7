//! What holds the copy, and how fast it goes. Applying is never held.
//!
//! Signals ([`signal`], one file each) are read by tasks of their own ([`sampler`]) and posted on a [`board`], which judges all of them
//! against their limits ([`limit`]). Between recovery level and limit the pace is steered ([`steer`]) instead of stop and go.

pub mod alarm;
mod archive;
pub mod board;
mod command;
mod commit;
pub mod courtesy;
pub mod fairness;
mod flag;
pub mod lag;
pub mod limit;
pub mod pulse;
mod replica_lag;
mod retained;
pub(crate) mod sampler;
mod sessions;
pub mod signal;
mod slot_budget;
mod sql;
pub mod steer;
mod undo;
mod url;
mod vacuum;
mod wraparound;

use std::time::Duration;
use tokio::sync::watch;

/// Why copying waits now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Held(String),
    Closed,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    gate: Gate,
    ease: f64,
    /// Copiers at work at most.
    workers: usize,
    /// No chunk begins for a moment, so that the server is heard without one.
    listens: bool,
}

/// Lets copiers through, or holds them with a reason that people are shown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Throttle(watch::Sender<State>);

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle(watch::Sender::new(State {
            gate: Gate::Open,
            ease: 1.0,
            workers: usize::MAX,
            listens: false,
        }))
    }
}

impl Throttle {
    /// Waits for leave to copy one chunk, for the copier of this number, from 0. False: the run is stopping, copy nothing more.
    /// Cancel-safe.
    pub async fn permit(&self, worker: usize) -> bool {
        let mut state = self.0.subscribe();
        let reached = state.wait_for(|state| match state.gate {
            Gate::Held(_) => false,
            Gate::Open => worker < state.workers && !state.listens,
            Gate::Closed => true,
        });
        reached.await.is_ok_and(|state| state.gate == Gate::Open)
    }

    /// Whether the copier of this number would be let through now.
    pub fn admits(&self, worker: usize) -> bool {
        let state = self.0.borrow();
        state.gate == Gate::Open && worker < state.workers
    }

    /// Holds copying for this reason, or lets it go on.
    pub fn hold(&self, reason: Option<String>) {
        self.0.send_if_modified(|state| {
            let wanted = reason.map_or(Gate::Open, Gate::Held);
            if state.gate == Gate::Closed || state.gate == wanted {
                return false;
            }
            state.gate = wanted;
            true
        });
    }

    /// Lets no chunk begin while the server is listened to, or lets them begin again. A moment; people are not told.
    pub(crate) fn listen(&self, listens: bool) {
        self.0.send_if_modified(|state| std::mem::replace(&mut state.listens, listens) != listens);
    }

    /// From now on goes at this share of full speed, with at most so many copiers.
    pub fn pace(&self, ease: f64, workers: usize) {
        self.0.send_if_modified(|state| {
            let is_new = state.ease != ease || state.workers != workers;
            (state.ease, state.workers) = (ease, workers);
            is_new
        });
    }

    /// The share of full speed.
    pub fn ease(&self) -> f64 {
        self.0.borrow().ease
    }

    /// Lets every copier finish its chunk and begin no other.
    pub fn close(&self) {
        self.0.send_modify(|state| state.gate = Gate::Closed);
    }

    /// Waits until copying is to stop. Cancel-safe.
    pub async fn closed(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as this.
        drop(state.wait_for(|state| state.gate == Gate::Closed).await);
    }

    /// Rests; ends early when copying is to stop. Cancel-safe.
    pub async fn rest(&self, rest: Duration) {
        if rest.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = self.closed() => {}
        }
    }

    /// What holds copying now.
    pub fn reason(&self) -> Option<String> {
        match &self.0.borrow().gate {
            Gate::Held(reason) => Some(reason.clone()),
            Gate::Open | Gate::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MaxLoad};

    #[test]
    fn share_of_the_time_is_no_limit_and_is_divided_among_the_workers() {
        let config = Config { max_load: MaxLoad::Share(0.1), copy_workers: 2, ..Config::default() };
        assert!(config.all_limits().iter().all(|l| l.name != "sessions"));
        assert_eq!(
            config.pace(),
            Config { copy_workers: 1, max_load: MaxLoad::Share(0.05), ..config }.pace()
        );
        assert_eq!(
            Config::default().pace(),
            Config { max_load: MaxLoad::Sessions(1), ..Config::default() }.pace()
        );
    }

    #[test]
    fn rest_follows_work_in_proportion() {
        let mut config = Config { max_load: MaxLoad::Share(0.2), copy_workers: 1, ..Config::default() };
        let took = Duration::from_millis(50);
        assert_eq!(config.pace().after(took).as_millis(), 200);
        config.copy_workers = 2;
        assert_eq!(config.pace().after(took).as_millis(), 450, "two sessions share it");
        config.max_load = MaxLoad::Off;
        assert_eq!(config.pace().after(took), Duration::ZERO);
    }

    #[tokio::test]
    async fn closed_gate_stays_closed() {
        let throttle = Throttle::default();
        assert!(throttle.permit(0).await);
        throttle.close();
        throttle.hold(None);
        assert!(!throttle.permit(0).await);
    }

    #[tokio::test]
    async fn copiers_beyond_the_number_wait_until_there_is_room_or_an_end() {
        let throttle = Throttle::default();
        throttle.pace(0.5, 1);
        assert!(throttle.permit(0).await);
        let waits = tokio::time::timeout(Duration::from_millis(20), throttle.permit(1));
        assert!(waits.await.is_err());
        throttle.pace(1.0, 2);
        assert!(throttle.permit(1).await && throttle.admits(1) && !throttle.admits(2));
        throttle.close();
        assert!(!throttle.permit(7).await);
    }
}
