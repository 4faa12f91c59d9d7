//! A query of the operator's own, which gives one number.

use super::signal::{Sampling, Signal, number};
use crate::{apply::Opener, engine::Engine};

/// See the module.
pub struct Sql<E: Engine> {
    pub(super) opener: Opener<E>,
    pub(super) name: String,
    pub(super) text: String,
}

impl<E: Engine> Signal for Sql<E> {
    fn name(&self) -> &str {
        &self.name
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(async {
            let answer = self.opener.engine.ask(&self.text).await.map_err(|e| e.message)?;
            // No row and NULL are no answer: a query that finds nothing must not open the gate.
            number(&answer.ok_or("the query gave no value")?).map(Some)
        })
    }
}
