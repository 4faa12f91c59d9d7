//! What the shadow still lacks is built: indexes and constraints, again for as long as a row from the future stands in the way.

use super::{Run, must_be_ours};
use crate::{
    apply::Opener,
    config::MaxLoad,
    engine::Engine,
    error::{Error, Kind, Result},
    failpoint::{self, Place},
    patience,
    phase::Phase,
};
use std::{collections::HashMap, sync::Arc};
use tracing::warn;

/// Tries at the index phase where the same row stood in the way of an index: it is none from the future then.
const INDEX_TRIES: u32 = 5;
/// Tries where it is another row each time. Each may take hours, and so would beginning anew.
const INDEX_TRIES_MAX: u32 = 12;

impl<E: Engine> Run<'_, E> {
    pub(super) async fn index(&mut self) -> Result<Phase> {
        if !self.opener.engine.caps().builds_indexes_late {
            return Ok(Phase::Verify);
        }
        let mut in_the_way = HashMap::new();
        for tried in 1.. {
            // Chunks of different times stand side by side; only a shadow that is a prefix of the stream is consistent in itself.
            self.catch_up().await?;
            let applier = self.halt_applying().await?;
            let (opener, desk, control) = (self.opener.clone(), self.desk.clone(), Arc::clone(&self.control));
            let gently = self.throttle.ease() < 0.5 || matches!(self.config.max_load, MaxLoad::Share(_));
            failpoint::at(Place::IndexBegins).await;
            let built = self
                .guarded(async move {
                    let Opener { engine, plan, migration, epoch } = &opener;
                    let ours = must_be_ours::<E>(&control, *migration, *epoch);
                    let built =
                        engine.finish_shadow(plan, *migration, gently, ours, |what| desk.detail(&what));
                    patience::attended(engine, (*migration, "index"), "building what the shadow lacks", built)
                        .await
                })
                .await;
            failpoint::at(Place::IndexDone).await;
            self.resume_applying(applier);
            match built {
                Ok(()) => break,
                Err(e)
                    if e.kind == Kind::Early
                        && tried < INDEX_TRIES_MAX
                        && met(&mut in_the_way, &e) < INDEX_TRIES =>
                {
                    warn!(attempt = tried, error = %e, "an index could not be built yet; catching up and trying again");
                }
                // What stands in the way after so many looks is no row from the future.
                Err(e) if e.kind == Kind::Early => return Err(Error { kind: Kind::Unfit, ..e }),
                Err(e) => return Err(e),
            }
        }
        self.catch_up().await?;
        Ok(Phase::Verify)
    }
}

/// How often this has been in the way.
fn met(before: &mut HashMap<String, u32>, e: &Error) -> u32 {
    let times = before.entry(e.message.clone()).or_default();
    *times += 1;
    *times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_in_the_way_counts_however_often_another_comes_between() {
        let mut before = HashMap::new();
        let mut look = |text: &str| met(&mut before, &Error::new(Kind::Early, text));
        assert_eq!(["a", "a", "b", "a", "b", "a"].map(&mut look), [1, 2, 1, 3, 2, 4]);
    }
}
