//! How far the slowest replica is behind. Where none is attached there is nothing to be over.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal};
use std::time::Duration;

/// How far the slowest replica is behind. Where none is attached there is nothing to be over.
pub struct ReplicaLag(pub(super) Loads);

impl Signal for ReplicaLag {
    fn name(&self) -> &str {
        "replica-lag"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("replica-lag", |load| Ok(load.replica_lag.map(|lag| lag.as_secs_f64()))))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
