//! WAL files that are finished and not archived yet.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal};
use std::time::Duration;

/// WAL files that are finished and not archived yet.
pub struct Archive(pub(super) Loads);

impl Signal for Archive {
    fn name(&self) -> &str {
        "archive"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("archive", |load| Ok(load.archive_files.map(|n| n as f64))))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
