//! Vacuums at work on the table: while one is, copying would have it read everything twice.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal, given};
use std::time::Duration;

/// Vacuums at work on the table: while one is, copying would have it read everything twice.
pub struct Vacuum(pub(super) Loads);

impl Signal for Vacuum {
    fn name(&self) -> &str {
        "vacuum"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("vacuum", |load| given(load.vacuums.map(|n| n as f64))))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
