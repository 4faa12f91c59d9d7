//! Writing a batch: deletes, rows that give way, images.

use super::{COPY_HEADER, COPY_PIECE, COPY_TRAILER, Care, Session, UPSERTS};
use crate::{error::server, statements::Place};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use shadowswap_core::{Op, Result, batch::Batch};
use std::sync::Arc;

impl Session {
    /// Writes a batch, and keeps what only this table has of rows that have to go and come again.
    pub(super) async fn write(&mut self, batch: &Batch, care: Care) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        let Some(kept) = &statements.kept else { return self.write_rows(batch, care).await };
        // Rows that were deleted and inserted again are others: nothing of the former ones is kept.
        let fresh: Vec<&[u8]> = batch.fresh().map(|key| key.0.as_slice()).collect();
        if !fresh.is_empty() {
            self.copy_in(statements.copy_gone(), &fresh).await?;
            self.run(statements.delete(Place::Staged), &[], "deleting rows").await?;
            self.run(statements.forget_aside(kept), &[], "forgetting rows that are gone").await?;
        }
        self.write_rows(batch, care).await?;
        if care > Care::Plain || self.has_aside {
            self.run(statements.give_back(kept), &[], "giving rows back what was set aside").await?;
            self.run(statements.forget_aside(kept), &[], "forgetting rows that are gone").await?;
            let rows = self.rows(statements.has_aside(kept), &[], "looking for values set aside").await?;
            self.has_aside = rows.first().is_some_and(|row| row.get(0));
        }
        Ok(())
    }

    /// Deletes first, for all keys, and only then writes images: two rows may have swapped a unique value.
    async fn write_rows(&mut self, batch: &Batch, care: Care) -> Result<()> {
        let (mut rows, mut gone, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for (key, op) in batch.iter() {
            match op {
                Op::Upsert(row) => rows.push(row.as_slice()),
                Op::Reread => again.push(key.0.as_slice()),
                Op::Delete => {}
            }
            if care >= Care::DeletesFirst || matches!(op, Op::Delete) {
                gone.push(key.0.as_slice());
            }
        }
        let statements = Arc::clone(&self.statements);
        if !gone.is_empty() {
            self.copy_in(statements.copy_gone(), &gone).await?;
            self.delete(statements.delete(Place::Staged), care, "deleting rows").await?;
        }
        let mut images = rows.len() as u64;
        if !again.is_empty() {
            self.copy_in(statements.copy_reread(), &again).await?;
            images += self.run(statements.reread(), &[], "reading rows with unchanged values again").await?;
        }
        if !rows.is_empty() {
            self.copy_in(statements.copy_rows(), &rows).await?;
        }
        if rows.is_empty() && again.is_empty() {
            return Ok(());
        }
        if care == Care::DropsStale {
            // Every image with every row that was read again: nothing to look up by key.
            self.batch("set local enable_hashjoin = on; set local enable_seqscan = on").await?;
            for text in statements.drop_stale() {
                self.run(text, &[], "removing images that are out of date").await?;
            }
            self.batch("set local enable_hashjoin = off; set local enable_seqscan = off").await?;
        }
        if care > Care::Plain {
            for text in statements.give_way(Place::Staged) {
                self.delete(text, care, "removing rows that must give way").await?;
            }
        }
        if self.is_plain {
            return self.run(statements.insert(), &[], "inserting rows").await.map(drop);
        }
        self.upsert_after = self.upsert_after.saturating_sub(1);
        if self.upsert_after == 0
            && care < Care::DeletesFirst
            && let Some(text) = statements.update()
        {
            if self.run(text, &[], "updating rows").await? == images {
                return Ok(());
            }
            // Where rows are inserted now, they will be for a while. What was updated is written again, which is harmless.
            self.upsert_after = UPSERTS;
        }
        self.run(statements.upsert(Place::Staged), &[], "writing rows").await.map(drop)
    }

    async fn delete(&mut self, text: String, care: Care, what: &str) -> Result<()> {
        let statements = Arc::clone(&self.statements);
        let text = match &statements.kept {
            Some(kept) if care > Care::Plain => statements.set_aside(kept, &text),
            Some(_) | None => text,
        };
        self.run(text, &[], what).await.map(drop)
    }

    pub(super) async fn copy_in(&mut self, text: String, tuples: &[&[u8]]) -> Result<()> {
        let what = "sending rows to a staging table";
        let statement = self.prepare(text).await?;
        let sink = self.client().copy_in::<_, Bytes>(&statement).await.map_err(|e| server(e, what))?;
        let mut sink = std::pin::pin!(sink);
        let mut piece = BytesMut::with_capacity(COPY_PIECE + 1024);
        if self.statements.binary {
            piece.put_slice(COPY_HEADER);
        }
        // The server takes a row in as many pieces as it comes in.
        for part in tuples.iter().flat_map(|tuple| tuple.chunks(COPY_PIECE)) {
            piece.put_slice(part);
            if piece.len() >= COPY_PIECE {
                sink.feed(piece.split().freeze()).await.map_err(|e| server(e, what))?;
            }
        }
        if self.statements.binary {
            piece.put_slice(COPY_TRAILER);
        }
        sink.feed(piece.freeze()).await.map_err(|e| server(e, what))?;
        sink.as_mut().finish().await.map_err(|e| server(e, what))?;
        Ok(())
    }
}
