//! A file whose being there holds the copy.

use super::{
    limit::FLAG_FILE,
    signal::{Sampling, Signal},
};
use std::{path::PathBuf, time::Duration};

/// See the module.
pub struct Flag(pub(super) PathBuf);

impl Signal for Flag {
    fn name(&self) -> &str {
        FLAG_FILE
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(async {
            match tokio::fs::try_exists(&self.0).await {
                Ok(is_there) => Ok(Some(f64::from(u8::from(is_there)))),
                Err(e) => Err(format!("{}: {e}", self.0.display())),
            }
        })
    }

    fn every(&self) -> Duration {
        Duration::from_millis(250)
    }
}
