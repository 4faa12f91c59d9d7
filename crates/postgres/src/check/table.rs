//! What kind of table it is.

use super::Facts;
use shadowswap_core::plan::Finding;

/// From this part of the limit on, an autovacuum that does not give way is near.
const FROZEN_SHARE: f64 = 0.9;

pub fn kind(facts: &Facts) -> Vec<Finding> {
    let source = &facts.source;
    let what = match (source.kind.as_str(), source.persistence.as_str()) {
        ("r", "p") if source.is_partition => Some("a partition"),
        ("r", "p") if source.inherits => Some("part of an inheritance tree"),
        ("r", "p") if source.of_type => Some("a typed table"),
        ("r", "p") => None,
        ("r", "u") => Some("an unlogged table: its changes are in no stream"),
        ("r", _) => Some("a temporary table"),
        ("p", _) => Some("a partitioned table"),
        ("f", _) => Some("a foreign table"),
        ("v", _) => Some("a view"),
        ("m", _) => Some("a materialized view"),
        ("S", _) => Some("a sequence"),
        ("i" | "I", _) => Some("an index"),
        _ => Some("no ordinary table"),
    };
    match what {
        Some(what) => vec![Finding::refused(
            "table-kind",
            format!("{}.{} is {what}", source.schema, source.name),
            "only ordinary, permanent tables can be changed",
        )],
        None => vec![Finding::passed("table-kind", "an ordinary table")],
    }
}

pub fn shadow(facts: &Facts) -> Vec<Finding> {
    let source = &facts.source;
    let mut found = Vec::new();
    for index in source.indexes.iter().filter(|i| !i.valid) {
        found.push(Finding::warning(
            "invalid-index",
            format!(
                "index {} is not valid (a failed CREATE INDEX CONCURRENTLY?); the new table will not have it",
                index.name
            ),
            "drop it, or rebuild it first with REINDEX INDEX CONCURRENTLY",
        ));
    }
    for c in source.constraints.iter().filter(|c| c.kind == "n" && !c.validated) {
        found.push(Finding::refused(
            "not-null",
            format!("NOT NULL constraint {} is NOT VALID: rows may still be NULL", c.name),
            format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", source.quoted(), crate::sql::quote(&c.name)),
        ));
    }
    let limit = facts.table.freeze_age_max as f64 * FROZEN_SHARE;
    if facts.table.frozen_age as f64 > limit {
        found.push(Finding::warning(
            "wraparound",
            format!("the table's oldest transaction is {} transactions old: an autovacuum that gives way to nobody is near", facts.table.frozen_age),
            format!("VACUUM (FREEZE) {} first", source.quoted()),
        ));
    }
    found
}
