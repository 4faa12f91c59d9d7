//! Which key the run goes by.
//!
//! A key must be unique and never NULL on both sides, and its values must stay apart and in order when they become the shadow's: a chunk
//! is a range of it on both sides, and two rows that met in one key would be one row lost.

use super::{conversion::keeps_apart, mapping::Mapped};
use crate::catalog::{Index, Table, same_name};
use shadowswap_core::plan::KeyColumn;

/// The chosen key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The source's index.
    pub index: String,
    /// The shadow's index over the same columns.
    pub shadow_index: String,
    /// Its columns on both sides.
    pub columns: Vec<KeyColumn>,
    /// The shadow's index has them in the same order.
    pub keeps_order: bool,
}

/// Chooses the key, or says for each unique index why it is none.
pub fn choose(source: &Table, after: &Table, mapped: &[Mapped]) -> Result<Key, Vec<String>> {
    let mut candidates: Vec<&Index> = source.indexes.iter().filter(|i| i.unique).collect();
    candidates.sort_by_key(|i| (i.name != "PRIMARY", i.parts.len()));
    let mut reasons = Vec::new();
    for index in candidates {
        match usable(source, after, mapped, index) {
            Ok(key) => return Ok(key),
            Err(reason) => reasons.push(format!("{}: {reason}", index.name)),
        }
    }
    if reasons.is_empty() {
        reasons.push("the table has no primary key and no unique index".to_string());
    }
    Err(reasons)
}

/// Its columns, if it keeps whole columns unique that are never NULL, in one direction.
fn plain_unique<'a>(table: &Table, index: &'a Index) -> Result<Vec<&'a str>, String> {
    if !index.kind.eq_ignore_ascii_case("btree") || index.definition.contains("WITHOUT OVERLAPS") {
        return Err("no index in the order of its columns".to_string());
    }
    let columns = index.whole_columns().ok_or("has expressions, or only the beginnings of columns")?;
    let is_mixed =
        index.parts.windows(2).any(|w| w.first().map(|p| p.descending) != w.last().map(|p| p.descending));
    if is_mixed {
        return Err("sorts some columns up and some down".to_string());
    }
    let nullable = columns.iter().find(|c| table.column(c).is_none_or(|c| c.nullable));
    nullable.map_or(Ok(columns.clone()), |c| Err(format!("column {c} may be NULL")))
}

fn usable(source: &Table, after: &Table, mapped: &[Mapped], index: &Index) -> Result<Key, String> {
    let mut columns = Vec::new();
    for name in plain_unique(source, index)? {
        let from = source.column(name).ok_or("its columns cannot be read")?;
        if from.generated {
            return Err(format!("column {name} is generated, and not in the change stream"));
        }
        let found = mapped.iter().find(|m| m.from.as_ref().is_some_and(|f| f.name == from.name));
        let found = found.ok_or_else(|| format!("column {name} is dropped"))?;
        if !found.is_plain {
            return Err(format!("column {name} is computed, so that its values might meet"));
        }
        let to = &found.to;
        if !keeps_apart(from, to) {
            let (old, new) = (&from.column_type, &to.column_type);
            return Err(if from.shape() == to.shape() {
                format!("column {name} is {old}, by which rows cannot be named")
            } else {
                format!(
                    "column {name} changes from {old} to {new}, which may not keep its values apart and in order"
                )
            });
        }
        if to.nullable {
            return Err(format!("column {} may be NULL after the change", to.name));
        }
        columns.push(KeyColumn {
            from: from.name.clone(),
            from_type: from.column_type.clone(),
            to: to.name.clone(),
            to_type: to.column_type.clone(),
        });
    }
    let (shadow_index, keeps_order) =
        over(after, &columns).ok_or("the changed table has no unique index over the same columns")?;
    Ok(Key { index: index.name.clone(), shadow_index, columns, keeps_order })
}

/// The key of the way back: the same columns, in the order of an index of the changed table's. Values that do not fit the old types are an
/// error of the server's, or found before they are written; those that do stay apart.
pub fn turned(new: &Table, forward: &[KeyColumn]) -> Option<(String, Vec<KeyColumn>)> {
    let (index, _) = over(new, forward)?;
    let columns = new.index(&index)?.whole_columns()?;
    let back = columns.iter().map(|name| {
        let k = forward.iter().find(|k| same_name(&k.to, name))?;
        Some(KeyColumn {
            from: k.to.clone(),
            from_type: k.to_type.clone(),
            to: k.from.clone(),
            to_type: k.from_type.clone(),
        })
    });
    Some((index, back.collect::<Option<Vec<_>>>()?))
}

/// The changed table's index that keeps exactly these columns unique, and whether they are in the same order.
fn over(after: &Table, key: &[KeyColumn]) -> Option<(String, bool)> {
    let mut found = Vec::new();
    for index in after.indexes.iter().filter(|i| i.unique) {
        let Ok(columns) = plain_unique(after, index) else { continue };
        let is_same_set =
            columns.len() == key.len() && key.iter().all(|k| columns.iter().any(|c| same_name(c, &k.to)));
        if is_same_set {
            let in_order = columns.iter().zip(key).all(|(c, k)| same_name(c, &k.to));
            found.push((!in_order, index.name != "PRIMARY", index.name.clone()));
        }
    }
    found.sort();
    found.into_iter().next().map(|(out_of_order, _, name)| (name, !out_of_order))
}
