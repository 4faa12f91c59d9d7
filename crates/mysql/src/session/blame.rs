//! Rows that cannot be applied after a swap: they are looked at again as they are now, and named if that does not help.
//!
//! An image may be of a row that was mended since; as it is now it may fit, and every later change is still to come. So an operator who
//! is told of a row mends it and goes on.

use super::{Care, Session};
use shadowswap_core::{Change, Error, Kind, Op, Result, batch::Batch};

impl Session {
    /// Applies the batch with every row as the source has it now; `first` is what its images met.
    pub(super) async fn apply_as_it_is_now(
        &mut self,
        batch: &Batch,
        checkpoint: Option<&str>,
        first: Error,
    ) -> Result<u64> {
        let again = batch.to_read_again();
        let care = self.care;
        if !self.statements.keeps() {
            // A row that is read again may be gone, and nothing else would delete it.
            self.care = care.max(Care::DeletesFirst);
        }
        let applied = self.apply_carefully(&again, checkpoint).await;
        self.care = care;
        match applied {
            Ok(_) => {
                tracing::info!(error = %first, "rows that did not fit are carried over as they are now");
                Ok(batch.changes())
            }
            Err(e) if e.kind == Kind::Unfit => Err(self.blame(&again, e).await),
            Err(e) => Err(e),
        }
    }

    /// Names the first row at fault. Every try is rolled back.
    async fn blame(&mut self, batch: &Batch, error: Error) -> Error {
        let (from, to) = self.statements.names();
        let (from, to) = (from.to_string(), to.to_string());
        let next = format!(
            "the application goes on with {from} and notices nothing. Change the row to what {to} can hold and run the same command again: the guard \
             goes on from here; or end it with `shadowswap finish`"
        );
        match self.culprit(batch).await {
            Ok(Some((key, why))) => Error {
                message: format!(
                    "the row of {from} with the key ({key}) cannot be carried over to {to}: {}",
                    why.message
                ),
                ..why
            },
            Ok(None) | Err(_) => Error {
                message: format!("a row of {from} cannot be carried over to {to}: {}", error.message),
                ..error
            },
        }
        .next(next)
    }

    /// The shortest beginning of the batch that fails ends with the row that is at fault; its key, and what the server says.
    async fn culprit(&mut self, batch: &Batch) -> Result<Option<(String, Error)>> {
        let mut all: Vec<_> = batch.iter().filter(|(_, op)| !matches!(op, Op::Delete)).collect();
        all.sort_by_key(|(key, _)| *key);
        let (mut good, mut bad) = (0, all.len());
        let mut why = None;
        while good < bad {
            let middle = good.midpoint(bad);
            // All others are deleted: what they have now may be what a row takes over from them.
            let mut tried = Batch::new();
            for (key, _) in batch.iter() {
                tried.push(Change { key: key.clone(), op: Op::Delete });
            }
            for (key, op) in all.iter().take(middle + 1) {
                tried.push(Change { key: (*key).clone(), op: (*op).clone() });
            }
            match self.fails(&tried).await? {
                Some(e) => (bad, why) = (middle, Some(e)),
                None => good = middle + 1,
            }
        }
        let key = all.get(bad).map(|(key, _)| String::from_utf8_lossy(&key.0).into_owned());
        Ok(key.zip(why))
    }

    async fn fails(&mut self, batch: &Batch) -> Result<Option<Error>> {
        self.run("start transaction", "beginning a transaction").await?;
        let written = match self.write(batch, Care::Bare).await {
            Ok(()) => self.flush("writing rows").await,
            Err(e) => Err(e),
        };
        self.before.clear();
        self.is_text = None;
        self.run("rollback", "rolling back").await?;
        match written {
            Ok(()) => Ok(None),
            Err(e) if e.kind == Kind::Unfit => Ok(Some(e)),
            Err(e) => Err(e),
        }
    }
}
