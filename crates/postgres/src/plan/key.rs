//! Which key the run goes by.
//!
//! A key must be unique and never NULL on both sides, and its values must stay apart and in order when they become the shadow's: a chunk
//! is a range of it on both sides, and two rows that met in one key would be one row lost.

use crate::{
    catalog::{Column, Index, Table},
    plan::mapping::Mapped,
};
use shadowswap_core::plan::KeyColumn;

/// The chosen key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The source's index.
    pub index: Index,
    /// Its columns on both sides.
    pub columns: Vec<KeyColumn>,
    /// The altered twin's index over the same columns, if it has one.
    pub shadow_index: Option<String>,
    /// See [`crate::plan::Detail::key_is_bytewise`].
    pub is_bytewise: bool,
    /// A column's collation changes.
    pub collation_changes: bool,
}

/// Chooses the key, or says for each unique index why it is none.
pub fn choose(source: &Table, after: &Table, mapped: &[Mapped]) -> Result<Key, Vec<String>> {
    let mut candidates: Vec<&Index> = source.indexes.iter().filter(|i| i.unique).collect();
    candidates.sort_by_key(|i| {
        let is_primary = i.constraint.as_ref().is_some_and(|c| c.kind == "p");
        (!i.immediate, !is_primary, !i.replica_identity, i.keys.len(), i.name.clone())
    });
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

/// Whether an index is fit to be a key as it stands, without regard to the change.
fn is_plain_unique(table: &Table, index: &Index) -> Result<(), String> {
    if !index.valid {
        return Err("not valid".to_string());
    }
    if index.method != "btree" || index.predicate.is_some() {
        return Err("partial, or no btree".to_string());
    }
    if index.keys.iter().any(|k| !k.plain) {
        return Err("has expressions, or an order, operator class or collation that is not its columns' own"
            .to_string());
    }
    let nullable = index.keys.iter().filter_map(|k| table.numbered(k.number)).find(|c| !c.not_null);
    nullable.map_or(Ok(()), |c| Err(format!("column {} may be NULL", c.name)))
}

fn usable(source: &Table, after: &Table, mapped: &[Mapped], index: &Index) -> Result<Key, String> {
    is_plain_unique(source, index)?;
    let mut columns = Vec::new();
    let (mut is_bytewise, mut collation_changes) = (true, false);
    for key in &index.keys {
        let from = source.numbered(key.number).ok_or("its columns cannot be read")?;
        let to = mapped.iter().find(|m| m.source == Some(from.number));
        let to = to.ok_or_else(|| format!("column {} is dropped", from.name))?;
        if !to.is_plain {
            return Err(format!(
                "column {} is computed (USING or --set), so that its values might meet",
                from.name
            ));
        }
        let after = after.column(&to.column).ok_or("its columns cannot be read")?;
        if !keeps_apart(from, after) {
            let (old, new) = (&from.type_name, &after.type_name);
            return Err(format!(
                "column {} changes from {old} to {new}, which may not keep its values apart and in order",
                from.name
            ));
        }
        if !after.not_null {
            return Err(format!("column {} may be NULL after the change", after.name));
        }
        is_bytewise &= is_bytewise_type(from);
        collation_changes |= from.collation != after.collation;
        columns.push(KeyColumn {
            from: from.name.clone(),
            from_type: from.type_name.clone(),
            to: after.name.clone(),
            to_type: after.type_name.clone(),
        });
    }
    let shadow_index = over(after, &columns);
    Ok(Key { index: index.clone(), columns, shadow_index, is_bytewise, collation_changes })
}

/// The index of the altered twin that keeps exactly these columns unique.
fn over(after: &Table, columns: &[KeyColumn]) -> Option<String> {
    let fits = |index: &&Index| {
        index.unique
            && index.immediate
            && is_plain_unique(after, index).is_ok()
            && index.keys.len() == columns.len()
            && index
                .keys
                .iter()
                .all(|k| after.numbered(k.number).is_some_and(|c| columns.iter().any(|key| key.to == c.name)))
    };
    let mut found: Vec<&Index> = after.indexes.iter().filter(fits).collect();
    found.sort_by_key(|i| i.constraint.as_ref().is_none_or(|c| c.kind != "p"));
    found.first().map(|i| i.name.clone())
}

/// Whether different values stay different and in order when one type's become the other's by assignment.
pub fn keeps_apart(from: &Column, to: &Column) -> bool {
    if from.base == to.base {
        return from.collation == to.collation;
    }
    let (old, new) = (from.base.as_str(), to.base.as_str());
    let is_integer = |t: &str| matches!(t, "smallint" | "integer" | "bigint");
    // numeric(p,0) holds whole numbers only; a value that does not fit is an error, not another value.
    let is_whole = |t: &str| is_integer(t) || t.starts_with("numeric(") && t.ends_with(",0)");
    if is_whole(old) && (is_whole(new) || new == "numeric") {
        return true;
    }
    if (old, new) == ("real", "double precision") {
        return true;
    }
    // A shorter varchar cuts trailing spaces off without an error.
    let length = |t: &str| match t {
        "text" | "character varying" => Some(u32::MAX),
        t => t
            .strip_prefix("character varying(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|n| n.parse().ok()),
    };
    match (length(old), length(new)) {
        (Some(old), Some(new)) => old <= new && from.collation == to.collation,
        _ => false,
    }
}

/// Whether equal values of this type are equal in every byte.
pub fn is_bytewise_type(column: &Column) -> bool {
    let name = column.base.split('(').next().unwrap_or_default();
    const SAME_BYTES: [&str; 14] = [
        "smallint",
        "integer",
        "bigint",
        "uuid",
        "text",
        "character varying",
        "bytea",
        "boolean",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "oid",
        "inet",
        "name",
    ];
    SAME_BYTES.contains(&name) && column.deterministic
}
