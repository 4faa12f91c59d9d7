//! What the server keeps for us, of what it is willing to keep: bytes of `max_slot_wal_keep_size`, or time of `binlog_expire_logs_seconds`.

use super::signal::{LOOK_EVERY, Loads, Sampling, Signal};
use std::time::Duration;

/// What the server keeps for us, of what it is willing to keep: bytes of `max_slot_wal_keep_size`, or time of `binlog_expire_logs_seconds`.
pub struct SlotBudget(pub(super) Loads);

impl Signal for SlotBudget {
    fn name(&self) -> &str {
        "slot-budget"
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(self.0.read("slot-budget", |load| Ok(load.retained_percent)))
    }

    fn every(&self) -> Duration {
        LOOK_EVERY
    }
}
