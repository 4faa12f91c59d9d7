//! Which row makes a batch fail.

use super::{Care, Session};
use shadowswap_core::{
    Change, Error, Kind, Result,
    batch::Batch,
    change::{Key, Op},
};
use std::time::Duration;

/// Longer than this is not worth waiting for: the error is told without a row's name.
const LOOK_WITHIN: Duration = Duration::from_secs(30);

impl Session {
    /// Adds the key of the row that cannot be written, if it is one row's fault. Nothing stays written.
    pub(super) async fn naming(&mut self, e: Error, batch: &Batch, care: Care) -> Error {
        if e.kind != Kind::Unfit {
            return e;
        }
        match tokio::time::timeout(LOOK_WITHIN, self.culprit(batch, care)).await {
            Ok(Some(key)) => Error { message: format!("{}\n  row: {key}", e.message), ..e },
            Ok(None) | Err(_) => e,
        }
    }

    /// By halves: of two halves that fail, the first.
    async fn culprit(&mut self, batch: &Batch, care: Care) -> Option<String> {
        let mut changes: Vec<(&Key, &Op)> = batch.iter().collect();
        while changes.len() > 1 {
            let (one, other) = changes.split_at(changes.len() / 2);
            let half = if self.fails(one, care).await { one } else { other };
            if std::ptr::eq(half, other) && !self.fails(other, care).await {
                return None;
            }
            changes = half.to_vec();
        }
        let key = changes.first()?.0.clone();
        self.key_text(&key).await.ok()
    }

    async fn fails(&mut self, changes: &[(&Key, &Op)], care: Care) -> bool {
        let mut batch = Batch::new();
        for (key, op) in changes {
            batch.push(Change { key: (*key).clone(), op: (*op).clone() });
        }
        let tried = self.tried(&batch, care).await;
        drop(self.batch("rollback").await);
        matches!(tried, Err(e) if e.kind == Kind::Unfit)
    }

    async fn tried(&mut self, batch: &Batch, care: Care) -> Result<()> {
        self.batch("begin isolation level read committed").await?;
        self.write(batch, care).await?;
        self.batch("set constraints all immediate").await
    }

    /// A key as people read it.
    async fn key_text(&mut self, key: &Key) -> Result<String> {
        self.batch("begin isolation level read committed").await?;
        let statements = std::sync::Arc::clone(&self.statements);
        self.copy_in(statements.copy_gone(), &[key.0.as_slice()]).await?;
        let rows = self.rows(statements.gone_text(), &[], "reading a key").await;
        self.batch("rollback").await?;
        rows?.first().map(|row| row.get(0)).ok_or_else(|| Error::corrupt("a staged key is not there"))
    }
}
