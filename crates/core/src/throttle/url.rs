//! A page that says whether copying may go on: a number, or nothing, which is 0. An answer other than 2xx is none.

use super::signal::{Sampling, Signal, number};
use crate::http;
use std::time::Duration;

/// A monitoring system is asked less often than a server's memory.
const EVERY: Duration = Duration::from_secs(2);

/// See the module.
pub struct Url {
    pub(super) name: String,
    pub(super) url: String,
}

impl Signal for Url {
    fn name(&self) -> &str {
        &self.name
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(async { number(&http::get(&self.url).await?).map(Some) })
    }

    fn every(&self) -> Duration {
        EVERY
    }
}
