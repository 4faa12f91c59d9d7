//! What holds the copy. Applying is never held.

use crate::{config::Config, engine::Load, window::Windows};
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
    let needs_load = config.max_replica_lag.is_some() || config.max_load.is_some();
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
        Some(limit) if load.active_sessions > limit => {
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
        config.max_load = Some(10);
        assert!(judge(&config, false, Duration::ZERO, Err("gone")).is_some());
        let load = Load { active_sessions: 11, ..Load::default() };
        assert!(judge(&config, false, Duration::ZERO, Ok(&load)).is_some());
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
