//! What holds the copy. Applying is never held.

use crate::{
    config::{Config, MaxLoad},
    engine::Load,
    window::Windows,
};
use std::time::Duration;
use tokio::sync::watch;

/// Why copying waits now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Held(String),
    Closed,
}

/// Lets copiers through, or holds them with a reason that people are shown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Throttle(watch::Sender<Gate>);

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle(watch::Sender::new(Gate::Open))
    }
}

impl Throttle {
    /// Waits for leave to copy one chunk. False: the run is stopping, copy nothing more. Cancel-safe.
    pub async fn permit(&self) -> bool {
        let mut gate = self.0.subscribe();
        let reached = gate.wait_for(|gate| !matches!(gate, Gate::Held(_))).await;
        matches!(reached.as_deref(), Ok(Gate::Open))
    }

    /// Holds copying for this reason, or lets it go on.
    pub fn hold(&self, reason: Option<String>) {
        self.0.send_if_modified(|gate| {
            let wanted = reason.map_or(Gate::Open, Gate::Held);
            if *gate == Gate::Closed || *gate == wanted {
                return false;
            }
            *gate = wanted;
            true
        });
    }

    /// Lets every copier finish its chunk and begin no other.
    pub fn close(&self) {
        self.0.send_replace(Gate::Closed);
    }

    /// Waits until copying is to stop. Cancel-safe.
    pub async fn closed(&self) {
        let mut gate = self.0.subscribe();
        // The sender lives as long as this.
        drop(gate.wait_for(|gate| *gate == Gate::Closed).await);
    }

    /// What holds copying now.
    pub fn reason(&self) -> Option<String> {
        match &*self.0.borrow() {
            Gate::Held(reason) => Some(reason.clone()),
            Gate::Open | Gate::Closed => None,
        }
    }
}

/// The worst of all signals, as text; `None`: nothing speaks against copying. A signal that could not be read counts as over.
pub fn judge(config: &Config, paused: bool, lag: Duration, load: Result<&Load, &str>) -> Option<String> {
    if paused {
        return Some("paused by an operator".to_string());
    }
    if let Some(reason) = outside(&config.copy_windows) {
        return Some(reason);
    }
    if lag > config.max_lag {
        return Some(format!(
            "applying is {:.1} s behind (limit {:.1} s)",
            lag.as_secs_f64(),
            config.max_lag.as_secs_f64()
        ));
    }
    let needs_load =
        config.max_replica_lag.is_some() || matches!(config.max_load, Some(MaxLoad::Sessions(_)));
    let load = match load {
        Ok(load) => load,
        Err(why) if needs_load => return Some(format!("load could not be read: {why}")),
        Err(_) => return None,
    };
    if let (Some(limit), Some(lag)) = (config.max_replica_lag, load.replica_lag)
        && lag > limit
    {
        return Some(format!(
            "a replica is {:.1} s behind (limit {:.1} s)",
            lag.as_secs_f64(),
            limit.as_secs_f64()
        ));
    }
    match config.max_load {
        Some(MaxLoad::Sessions(limit)) if load.active_sessions > limit => {
            Some(format!("{} sessions are active (limit {limit})", load.active_sessions))
        }
        Some(_) | None => None,
    }
}

fn outside(windows: &Windows) -> Option<String> {
    let now = jiff::Timestamp::now();
    if windows.is_open(now) {
        return None;
    }
    Some(match windows.next_open(now) {
        Some(at) => format!("outside the copy window until {at}"),
        None => "outside the copy window".to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_that_cannot_be_read_counts_as_over_only_where_it_was_asked_for() {
        let mut config = Config::default();
        assert_eq!(judge(&config, false, Duration::ZERO, Err("gone")), None);
        config.max_load = Some(MaxLoad::Sessions(10));
        assert!(judge(&config, false, Duration::ZERO, Err("gone")).is_some());
        let load = Load { active_sessions: 11, ..Load::default() };
        assert!(judge(&config, false, Duration::ZERO, Ok(&load)).is_some());
    }

    #[test]
    fn share_of_the_time_holds_nobody_and_is_divided_among_the_workers() {
        let config = Config { max_load: Some(MaxLoad::Share(0.1)), copy_workers: 2, ..Config::default() };
        let load = Load { active_sessions: 1_000, ..Load::default() };
        assert_eq!(judge(&config, false, Duration::ZERO, Ok(&load)), None);
        assert_eq!(
            config.pace(),
            Config { copy_workers: 1, max_load: Some(MaxLoad::Share(0.05)), ..config }.pace()
        );
        assert_eq!(
            Config::default().pace(),
            Config { max_load: Some(MaxLoad::Sessions(1)), ..Config::default() }.pace()
        );
    }

    #[test]
    fn rest_follows_work_in_proportion() {
        let mut config = Config { max_load: Some(MaxLoad::Share(0.2)), copy_workers: 1, ..Config::default() };
        let took = Duration::from_millis(50);
        assert_eq!(config.pace().after(took).as_millis(), 200);
        config.copy_workers = 2;
        assert_eq!(config.pace().after(took).as_millis(), 450, "two sessions share it");
        config.max_load = None;
        assert_eq!(config.pace().after(took), Duration::ZERO);
    }

    #[tokio::test]
    async fn closed_gate_stays_closed() {
        let throttle = Throttle::default();
        assert!(throttle.permit().await);
        throttle.close();
        throttle.hold(None);
        assert!(!throttle.permit().await);
    }
}
