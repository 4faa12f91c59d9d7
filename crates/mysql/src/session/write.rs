//! Writing a batch: images, rows that are read again, and rows that go.

use super::{Care, ROWS_NAMED, STATEMENT_BYTES, Session, TEXT_SHARE};
use crate::statements::KEPT;
use shadowswap_core::{Op, Result, batch::Batch};
use std::sync::Arc;

/// What may have gone through the staging tables before they are made new. With little, that is done often, and takes milliseconds each
/// time; with much, emptying them passes over everything that they had.
const STAGED_BYTES_MAX: usize = 4 << 20;

/// What items take in a staging table, about.
fn weight(items: &[&[u8]]) -> usize {
    items.iter().map(|item| item.len() + 64).sum()
}

impl Session {
    /// Whether the row is read again from the source rather than sent. An image that the server would not take in one statement is: a row
    /// may be longer than a packet, and an image is longer than its row.
    fn is_read_again(&self, op: &Op) -> bool {
        match op {
            Op::Upsert(row) => row.len() > self.packet_bytes - self.packet_bytes / TEXT_SHARE,
            Op::Reread => true,
            Op::Delete => false,
        }
    }

    /// Deletes first, for all keys, and only then writes: two rows may have swapped a unique value.
    pub(super) async fn write(&mut self, batch: &Batch, care: Care) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        let keeps = statements.keeps();
        let (mut rows, mut gone, mut again) = (Vec::new(), Vec::new(), Vec::new());
        // Rows of two times may own the same value; of one time they do not.
        let all_again = care == Care::GivesWay && batch.iter().any(|(_, op)| self.is_read_again(op));
        for (key, op) in batch.iter() {
            let is_again = self.is_read_again(op) || (all_again && !matches!(op, Op::Delete));
            match op {
                Op::Upsert(_) | Op::Reread if is_again => again.push(key.0.as_slice()),
                Op::Upsert(row) => rows.push(row.as_slice()),
                Op::Reread | Op::Delete => {}
            }
            // A row that is read again may be gone by then.
            if care >= Care::DeletesFirst || (is_again && !keeps) || matches!(op, Op::Delete) {
                gone.push(key.0.as_slice());
            }
        }
        // Rows that were deleted and inserted again are others: nothing of the former ones is kept.
        let fresh: Vec<&[u8]> = batch.fresh().filter(|_| keeps).map(|key| key.0.as_slice()).collect();
        if !fresh.is_empty() {
            self.delete(&fresh).await?;
        }
        let sets_aside = keeps && care >= Care::DeletesFirst && !gone.is_empty();
        if sets_aside {
            self.stage_keys("_gone", &gone).await?;
            self.then(&statements.empty(KEPT));
            self.run(statements.set_aside(), "setting values aside").await?;
            self.write_then(statements.delete_staged().as_bytes(), "deleting rows").await?;
        } else if !gone.is_empty() {
            self.delete(&gone).await?;
        }
        if !again.is_empty() {
            self.write_again(&again, care).await?;
        }
        if !rows.is_empty() {
            self.write_rows(&rows, care).await?;
        }
        if sets_aside {
            self.run(statements.put_back(), "putting values back").await?;
        }
        Ok(())
    }

    async fn delete(&mut self, gone: &[&[u8]]) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        if let Some((head, tail)) = statements.delete_listed() {
            return self.listed(&head, gone, ("", ""), &tail, "deleting rows").await;
        }
        self.stage_keys("_gone", gone).await?;
        self.write_then(statements.delete_staged().as_bytes(), "deleting rows").await
    }

    /// Writes rows as they are in the source by now. Of those that nothing deleted before, the source may have none any more.
    async fn write_again(&mut self, keys: &[&[u8]], care: Care) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        self.stage_keys("_again", keys).await?;
        if statements.keeps() && care < Care::DeletesFirst {
            self.then(&statements.empty("_gone"));
            self.run(statements.stage_gone(), "looking for rows that are gone").await?;
            self.run(statements.delete_staged(), "deleting rows").await?;
        }
        if self.gives_way(care) {
            for text in statements.give_way() {
                self.run(text, "removing rows that must give way").await?;
            }
        }
        self.speak_text(true);
        self.keeps_applied(statements.unfaithful_again(ROWS_NAMED)).await?;
        let overwrites = care < Care::Bare;
        let text = statements.write_again(overwrites);
        self.write_then(text.as_bytes(), "writing rows that were read again").await
    }

    /// Writes images.
    async fn write_rows(&mut self, rows: &[&[u8]], care: Care) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        // A key that was just deleted may be brought back by a chunk that commits at this moment.
        let overwrites = care < Care::Bare;
        if care < Care::GivesWay
            && let Some((head, tail)) = statements.straight(overwrites)
        {
            return self.listed(&head, rows, ("(", ")"), &tail, "writing rows").await;
        }
        self.then(&statements.empty("_row"));
        self.staged_bytes += weight(rows);
        self.listed(&statements.stage_rows(), rows, ("(", ")"), "", "sending rows to a staging table")
            .await?;
        if self.gives_way(care) {
            self.give_way_to_staged().await?;
        }
        self.speak_text(true);
        self.keeps_applied(statements.unfaithful_staged(ROWS_NAMED)).await?;
        self.write_then(statements.write_staged(overwrites).as_bytes(), "writing rows").await
    }

    /// Makes the staging tables new once much has gone through them. Between transactions only.
    pub(super) async fn renew_staging(&mut self) -> Result<()> {
        if self.staged_bytes > STAGED_BYTES_MAX {
            for text in self.statements.renew_staging() {
                self.run(text, "emptying a staging table").await?;
            }
            self.staged_bytes = 0;
        }
        Ok(())
    }

    /// Rows that keep values of their own would lose them.
    fn gives_way(&self, care: Care) -> bool {
        care >= Care::GivesWay && !self.statements.keeps()
    }

    pub(super) async fn give_way_to_staged(&mut self) -> Result<()> {
        for text in self.statements.give_way_to_staged() {
            let rows = self.run(text, "removing rows that must give way").await?;
            tracing::debug!(rows, "rows of another time gave way");
        }
        Ok(())
    }

    pub(super) async fn stage_keys(&mut self, name: &str, keys: &[&[u8]]) -> Result<()> {
        let empty = self.statements.empty(name);
        self.then(&empty);
        self.staged_bytes += weight(keys);
        let head = self.statements.stage_keys(name);
        self.listed(&head, keys, ("(", ")"), "", "sending keys to a staging table").await
    }

    /// Statements with as many items as fit.
    pub(super) async fn listed(
        &mut self,
        head: &str,
        items: &[&[u8]],
        around: (&str, &str),
        tail: &str,
        what: &str,
    ) -> Result<()> {
        self.speak_text(false);
        let most = self.statement_bytes();
        let mut text: Vec<u8> = Vec::with_capacity(STATEMENT_BYTES.min(items.len() * 64) + 1024);
        for item in items {
            if text.len() + item.len() > most && !text.is_empty() {
                text.extend_from_slice(tail.as_bytes());
                self.write_then(&std::mem::take(&mut text), what).await?;
            }
            if text.is_empty() {
                text.extend_from_slice(head.as_bytes());
            } else {
                text.push(b',');
            }
            text.extend_from_slice(around.0.as_bytes());
            text.extend_from_slice(item);
            text.extend_from_slice(around.1.as_bytes());
        }
        if text.is_empty() {
            return Ok(());
        }
        text.extend_from_slice(tail.as_bytes());
        self.write_then(&text, what).await
    }

    /// The same of rows that are about to be written.
    async fn keeps_applied(&mut self, text: Option<String>) -> Result<()> {
        match text {
            Some(text) => self.unfaithful(text, "the type in the other table").await,
            None => Ok(()),
        }
    }
}
