//! How long a small commit takes: what every client pays for the disk, the synchronous standby and the locks of the log.

use super::signal::{Sampling, Signal};
use crate::{apply::Opener, engine::Engine};

/// See the module.
pub struct Commit<E: Engine>(pub(super) Opener<E>);

impl<E: Engine> Signal for Commit<E> {
    fn name(&self) -> &str {
        "commit"
    }

    fn sample(&mut self) -> Sampling<'_> {
        let Opener { engine, migration, .. } = &self.0;
        Box::pin(async move {
            engine.probe_commit(*migration).await.map(|took| Some(took.as_secs_f64())).map_err(|e| e.message)
        })
    }
}
