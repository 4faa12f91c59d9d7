//! Vacuums at work on the table: while one is, copying would have it read everything twice.

use super::signal::{Loads, Sampling, Signal, given};

/// Vacuums at work on the table: while one is, copying would have it read everything twice.
pub struct Vacuum(pub(super) Loads);

impl Signal for Vacuum {
    fn name(&self) -> &str {
        "vacuum"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("vacuum", |load| given(load.vacuums.map(|n| n as f64))))
    }
}
