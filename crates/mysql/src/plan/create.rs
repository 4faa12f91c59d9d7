//! The statements that make the shadow, and the indexes that come after the copy.
//!
//! While copying, the shadow has the index of its key, a primary key that the key implies, and what AUTO_INCREMENT needs. All others are
//! built later: the copy is faster, and a unique index must not meet values that a row is about to give up. Where replicas are not to be
//! held up by a long build, indexes of plain columns that keep nothing apart are there from the beginning: no row can break them.

use super::{detail::LateIndex, key::Key, mapping::Mapped, twin::MARK};
use crate::{
    alter::Body,
    catalog::{Index, Table, same_name},
    sql::{quote, table},
};
use shadowswap_core::name::TableName;

/// The indexes that come after the copy, in the table's order. `is_early`: only those that must.
pub fn late(source: &Table, after: &Table, mapped: &[Mapped], key: &Key, is_early: bool) -> Vec<LateIndex> {
    let kept = |i: &Index| i.name == key.shadow_index || is_implied_primary(i, key);
    let counting = after.columns.iter().find(|c| c.is_auto_increment()).map(|c| c.name.as_str());
    let serves = |i: &Index| {
        let first = i.parts.first().and_then(|p| p.column.as_deref());
        i.kind.eq_ignore_ascii_case("btree") && first.zip(counting).is_some_and(|(a, b)| same_name(a, b))
    };
    // Preferably one that keeps nothing apart.
    let needed = if counting.is_none() || after.indexes.iter().any(|i| kept(i) && serves(i)) {
        None
    } else {
        let mut serving: Vec<&Index> = after.indexes.iter().filter(|i| serves(i)).collect();
        serving.sort_by_key(|i| i.unique);
        serving.first().map(|i| i.name.clone())
    };
    let can_wait = |i: &Index| !kept(i) && needed.as_deref() != Some(i.name.as_str());
    let must_wait = |i: &Index| i.unique || i.parts.iter().any(|p| p.column.is_none());
    let is_late = |i: &&Index| can_wait(i) && (!is_early || must_wait(i));
    let make = |i: &Index| LateIndex {
        name: i.name.clone(),
        clause: format!("ADD {}", i.definition),
        unique: i.unique,
        existed_on_source: existed(source, i, mapped),
    };
    after.indexes.iter().filter(is_late).map(make).collect()
}

/// A primary key that holds every column of the key is unique wherever the key is.
fn is_implied_primary(index: &Index, key: &Key) -> bool {
    let has = |name: &str| {
        index
            .parts
            .iter()
            .any(|p| p.prefix.is_none() && p.column.as_deref().is_some_and(|c| same_name(c, name)))
    };
    index.name == "PRIMARY" && key.columns.iter().all(|k| has(&k.to))
}

/// The source has an index of the same kind over the same columns, and they are taken over as they are.
fn existed(source: &Table, index: &Index, mapped: &[Mapped]) -> bool {
    let origin = |name: &str| {
        let found = mapped.iter().find(|m| same_name(&m.to.name, name) && m.is_same())?;
        found.from.as_ref().map(|f| f.name.clone())
    };
    let parts: Option<Vec<_>> =
        index.parts.iter().map(|p| Some((origin(p.column.as_deref()?)?, p.prefix, p.descending))).collect();
    let Some(parts) = parts else { return false };
    let is_same = |i: &Index| {
        (i.unique, &i.kind) == (index.unique, &index.kind)
            && i.parts.len() == parts.len()
            && i.parts.iter().zip(&parts).all(|(p, (name, prefix, descending))| {
                p.column.as_deref().is_some_and(|c| same_name(c, name))
                    && (p.prefix, p.descending) == (*prefix, *descending)
            })
    };
    source.indexes.iter().any(is_same)
}

/// One ALTER that drops the late indexes; `None`: there are none.
pub fn drop_late(shadow: &TableName, late: &[LateIndex]) -> Option<String> {
    let clause = |i: &LateIndex| {
        if i.name == "PRIMARY" {
            "drop primary key".to_string()
        } else {
            format!("drop index {}", quote(&i.name))
        }
    };
    let clauses: Vec<String> = late.iter().map(clause).collect();
    (!clauses.is_empty()).then(|| format!("{MARK} alter table {} {}", table(shadow), clauses.join(", ")))
}

/// The statements that make the empty shadow.
pub fn statements(
    source: &TableName,
    shadow: &TableName,
    bodies: &[Body],
    late: &[LateIndex],
) -> Vec<String> {
    let mut all = vec![format!("{MARK} create table {} like {}", table(shadow), table(source))];
    all.extend(bodies.iter().map(|b| format!("{MARK} alter table {} {}", table(shadow), b.text)));
    all.extend(drop_late(shadow, late));
    all
}
