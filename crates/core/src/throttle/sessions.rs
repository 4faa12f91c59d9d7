//! Other people's sessions at work: PostgreSQL's active backends, MySQL's `Threads_running`.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal};
use std::time::Duration;

/// Other people's sessions at work: PostgreSQL's active backends, MySQL's `Threads_running`.
pub struct Sessions(pub(super) Loads);

impl Signal for Sessions {
    fn name(&self) -> &str {
        "sessions"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("sessions", |load| Ok(Some(load.active_sessions as f64))))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
