//! Other people's sessions at work: PostgreSQL's active backends, MySQL's `Threads_running`.

use super::signal::{Loads, Sampling, Signal};

/// Other people's sessions at work: PostgreSQL's active backends, MySQL's `Threads_running`.
pub struct Sessions(pub(super) Loads);

impl Signal for Sessions {
    fn name(&self) -> &str {
        "sessions"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("sessions", |load| Ok(Some(load.active_sessions as f64))))
    }
}
