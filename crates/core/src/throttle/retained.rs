//! Bytes of WAL or binlog that the server keeps for us.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal};
use std::time::Duration;

/// Bytes of WAL or binlog that the server keeps for us.
pub struct Retained(pub(super) Loads);

impl Signal for Retained {
    fn name(&self) -> &str {
        "retained"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("retained", |load| Ok(Some(load.retained_bytes as f64))))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
