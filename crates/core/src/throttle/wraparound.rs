//! The table's age in transactions, of the age at which the server insists on vacuuming it.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal, given};
use std::time::Duration;

/// The table's age in transactions, of the age at which the server insists on vacuuming it.
pub struct Wraparound(pub(super) Loads);

impl Signal for Wraparound {
    fn name(&self) -> &str {
        "wraparound"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("wraparound", |load| given(load.wraparound_percent)))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
