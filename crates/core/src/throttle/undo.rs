//! InnoDB's history list: old versions of rows that cannot be purged yet.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal, given};
use std::time::Duration;

/// InnoDB's history list: old versions of rows that cannot be purged yet.
pub struct Undo(pub(super) Loads);

impl Signal for Undo {
    fn name(&self) -> &str {
        "undo"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("undo", |load| given(load.undo.map(|n| n as f64))))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
