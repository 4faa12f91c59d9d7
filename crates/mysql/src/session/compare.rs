//! Comparing rows of both tables: by ranges in one snapshot, and by single keys.

use super::{OTHER_KEY, Session, key_of, to_bound, value};
use crate::error::code;
use shadowswap_core::{Chunk, Compared, Error, Key, Result, Suspect};
use std::collections::HashMap;

impl Session {
    async fn sums(&mut self, chunk: &Chunk) -> Result<[(u64, u64); 2]> {
        let (lower, upper) = (chunk.lower.as_ref(), chunk.upper.as_ref());
        let mut sums = [(0, 0); 2];
        let texts = [self.statements.sum_source(lower, upper)?, self.statements.sum_shadow(lower, upper)?];
        for (place, text) in texts.into_iter().enumerate() {
            let rows = self.rows(text, "comparing checksums").await.map_err(|e| match code(&e) {
                Some(OTHER_KEY) => Error::refused(format!(
                    "a row is longer than the server puts together: it cannot be compared ({})",
                    e.message
                ))
                .next("nothing was swapped; SET GLOBAL max_allowed_packet to more, then run the same command again"),
                _ => e,
            })?;
            let row = rows.first().ok_or_else(|| Error::corrupt("a checksum gave no row"))?;
            sums[place] = (value(row, 0)?, value(row, 1)?);
        }
        Ok(sums)
    }

    async fn hashes(&mut self, text: String) -> Result<HashMap<Vec<String>, u64>> {
        let rows = self.rows(text, "finding the rows that differ").await?;
        rows.iter().map(|row| Ok((key_of(row, 1)?, value(row, 0)?))).collect()
    }

    pub(super) async fn compare_inner(&mut self, chunk: &Chunk, limit: usize) -> Result<Compared> {
        self.speak_text(true);
        // One snapshot for both tables.
        self.run(
            "set transaction isolation level repeatable read;\nstart transaction with consistent snapshot, read only",
            "taking a snapshot",
        )
        .await?;
        self.keeps_values(chunk).await?;
        let [source, shadow] = self.sums(chunk).await?;
        let mut compared = Compared { rows_source: source.0, rows_shadow: shadow.0, differing: Vec::new() };
        if source != shadow {
            let (lower, upper) = (chunk.lower.as_ref(), chunk.upper.as_ref());
            let text = self.statements.rows_source(lower, upper)?;
            let in_source = self.hashes(text).await?;
            let text = self.statements.rows_shadow(lower, upper, &self.source)?;
            let in_shadow = self.hashes(text).await?;
            let mut differing = Vec::new();
            for (key, hash) in &in_source {
                match in_shadow.get(key) {
                    None => differing.push(suspect(key, "missing in shadow")?),
                    Some(other) if other != hash => differing.push(suspect(key, "different")?),
                    Some(_) => {}
                }
            }
            for key in in_shadow.keys().filter(|key| !in_source.contains_key(*key)) {
                differing.push(suspect(key, "extra in shadow")?);
            }
            differing.sort_by(|a, b| a.key.cmp(&b.key));
            differing.truncate(limit);
            compared.differing = differing;
        }
        self.run("commit", "ending a snapshot").await?;
        Ok(compared)
    }

    pub(super) async fn recheck_inner(&mut self, suspects: &[Suspect]) -> Result<Vec<Suspect>> {
        if !self.is_check_staged {
            for text in self.statements.stage_check() {
                self.run(text, "making the staging tables").await?;
            }
            self.is_check_staged = true;
        }
        // Numbers of the staged keys begin anew with the table.
        for name in ["_again", "_check"] {
            self.run(self.statements.renew(name), "emptying a staging table").await?;
        }
        let head = self.statements.stage_keys("_again");
        let keys: Vec<&[u8]> = suspects.iter().map(|s| s.key.0.as_slice()).collect();
        self.listed(&head, &keys, ("(", ")"), "", "sending keys to a staging table").await?;
        self.speak_text(true);
        self.run(self.statements.fill_check(), "computing rows as they should be").await?;
        let found = self.rows(self.statements.recheck(), "looking at rows again").await?;
        let mut still = Vec::with_capacity(found.len());
        for row in &found {
            let place: u64 = value(row, 0)?;
            let (not_in_source, not_in_shadow): (bool, bool) = (value(row, 1)?, value(row, 2)?);
            let mut suspect = usize::try_from(place)
                .ok()
                .and_then(|n| n.checked_sub(1))
                .and_then(|n| suspects.get(n))
                .cloned()
                .ok_or_else(|| Error::corrupt("the server gave back a row that was not asked for"))?;
            suspect.what = match (not_in_source, not_in_shadow) {
                (true, _) => "extra in shadow",
                (false, true) => "missing in shadow",
                (false, false) => "different",
            }
            .to_string();
            still.push(suspect);
        }
        Ok(still)
    }
}

fn suspect(key: &[String], what: &str) -> Result<Suspect> {
    Ok(Suspect { key: Key(key.join(",").into_bytes()), bound: to_bound(key)?, what: what.to_string() })
}
