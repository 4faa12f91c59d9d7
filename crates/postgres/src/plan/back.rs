//! The way back: for each column of the old table, where its values come from while the new table is in use; and what that loses.
//!
//! A column that was taken over as it is comes back as it is. One whose type changed comes back by the server's conversion, and only if
//! what comes back would give the same value forward again: the server rounds and cuts without a word. What has no counterpart keeps its
//! value in rows that are there, and takes its default in rows that come.

use crate::{
    catalog::{Column, Table},
    plan::{
        key::{Key, keeps_apart},
        mapping::{Mapped, is_named},
    },
    sql::quote,
};
use shadowswap_core::plan::{Finding, KeyColumn, Mapping};

const CHECK: &str = "going-back";
/// What our own errors in expressions begin with.
pub const TELLS: &str = "shadowswap: ";

/// The way back, with what is to be said about it.
#[derive(Clone, Debug, Default)]
pub struct Back {
    /// One entry for each column of the old table.
    pub columns: Vec<Mapped>,
    /// Why it is not possible, and what would make it so.
    pub impossible: Vec<(String, String)>,
    /// What it may lose or stop at, and what would mend that.
    pub losses: Vec<(String, String)>,
    /// What the operator said that makes no sense.
    pub wrong: Vec<Finding>,
}

impl Back {
    /// What `plan` says. Refused only where a guard is asked for.
    pub fn findings(&self, has_guard: bool) -> Vec<Finding> {
        let mut found = self.wrong.clone();
        found.extend(self.impossible.iter().map(|(message, next)| {
            let message = format!("going back with the writes since the swap is not possible: {message}");
            if has_guard {
                Finding::refused(CHECK, message, next)
            } else {
                Finding::warning(CHECK, message, next)
            }
        }));
        found.extend(self.losses.iter().map(|(message, next)| Finding::warning(CHECK, message, next)));
        if found.is_empty() {
            let message = if has_guard {
                "going back loses nothing"
            } else {
                "going back loses nothing (with --guard)"
            };
            found.push(Finding::passed(CHECK, message));
        }
        found
    }

    /// Whether a row that was not written since the swap comes back to what it was, bit for bit.
    pub fn is_exact(&self, source: &Table, after: &Table) -> bool {
        self.columns.iter().all(|m| match m.mapping.note.as_str() {
            "same" | "renamed" | "dropped" | "generated" => true,
            "type" => m.mapping.from.as_deref().is_some_and(|from| {
                matches!((source.column(&m.column), after.column(from)), (Some(old), Some(new)) if keeps_apart(old, new))
            }),
            _ => false,
        })
    }
}

/// Works the way back out. `forward` is the projection from `source` to `after`.
pub fn project(source: &Table, after: &Table, forward: &[Mapping], set_backs: &[(String, String)]) -> Back {
    let mut back = Back::default();
    for (name, _) in set_backs {
        if source.columns.iter().all(|c| !is_named(c, name)) {
            let message = format!("--set-back {name}: the table has no such column before the change");
            back.wrong.push(Finding::refused(CHECK, message, "give the column's present name"));
        }
    }
    for column in &source.columns {
        let set = set_backs.iter().find(|(name, _)| is_named(column, name)).map(|(_, e)| e.as_str());
        let mapped = one(column, after, forward, set, &mut back);
        back.columns.push(mapped);
    }
    back
}

fn one(column: &Column, after: &Table, forward: &[Mapping], set: Option<&str>, back: &mut Back) -> Mapped {
    let counterpart = forward.iter().find(|m| m.from.as_deref() == Some(column.name.as_str()));
    let new = counterpart.and_then(|m| after.column(&m.column));
    let mut mapped = Mapped {
        column: column.name.clone(),
        source: new.map(|c| c.number),
        is_plain: false,
        is_operators: false,
        mapping: Mapping {
            column: column.name.clone(),
            data_type: column.type_name.clone(),
            from: new.map(|c| c.name.clone()),
            from_type: new.map(|c| c.type_name.clone()),
            expression: None,
            note: "dropped".to_string(),
        },
    };
    if !column.generated.is_empty() {
        mapped.mapping.note = "generated".to_string();
        return mapped;
    }
    if let Some(set) = set {
        mapped.mapping.note = "computed".to_string();
        match crate::alter::expression(set) {
            Ok(text) => {
                mapped.is_operators = true;
                mapped.mapping.expression = Some(format!("({text})"));
            }
            Err(e) => {
                let message = format!("--set-back {}: {}", column.name, e.message);
                back.wrong.push(Finding::refused(CHECK, message, "give one SQL expression over the new row"));
            }
        }
        return mapped;
    }
    let say = format!("say --set-back '{}=expression over the new row'", column.name);
    match (counterpart, new) {
        (Some(m), Some(new)) if m.expression.as_deref() == Some(quote(&column.name).as_str()) => {
            carried(&mut mapped, column, new, back);
        }
        (Some(m), _) => {
            let how = m.expression.as_deref().unwrap_or("the server");
            back.impossible.push((
                format!(
                    "column {} is computed by {how}, which cannot be turned round by itself",
                    column.name
                ),
                say,
            ));
        }
        (None, _) => dropped(column, say, back),
    }
    mapped
}

/// A column that the new table has too.
fn carried(mapped: &mut Mapped, old: &Column, new: &Column, back: &mut Back) {
    let name = quote(&new.name);
    let is_same = (old.type_oid, old.typmod) == (new.type_oid, new.typmod);
    let say = format!("say --set-back '{}=expression over the new row' that makes such values fit", old.name);
    mapped.is_plain = is_same || holds_all(old, new);
    if is_same {
        mapped.mapping.note = if old.name == new.name { "same" } else { "renamed" }.to_string();
        mapped.mapping.expression = Some(name);
    } else if mapped.is_plain {
        mapped.mapping.note = "type".to_string();
        mapped.mapping.expression = Some(name);
        if !keeps_apart(old, new) {
            let message = format!(
                "column {}: {} becomes {}: rows written after the swap bring back what {} holds",
                old.name, old.type_name, new.type_name, new.type_name
            );
            let next = "nothing, if that is enough; rows that are not written keep what they had";
            back.losses.push((message, next.to_string()));
        }
    } else {
        mapped.mapping.note = "type".to_string();
        mapped.mapping.expression = Some(checked(old, new));
        back.losses.push((
            format!(
                "column {}: {} became {}: a value that {} cannot hold stops the guard (never the application)",
                old.name, old.type_name, new.type_name, old.type_name
            ),
            say.clone(),
        ));
    }
    if old.not_null && !new.not_null {
        let message =
            format!("column {}: NULL is allowed after the change: a NULL stops the guard", new.name);
        back.losses.push((message, say));
    }
}

/// Whether the old type has every value of the new one.
fn holds_all(old: &Column, new: &Column) -> bool {
    let rank = |c: &Column| ["smallint", "integer", "bigint"].iter().position(|t| *t == c.base);
    match (rank(old), rank(new)) {
        (Some(old), Some(new)) => old >= new,
        (None, None) => keeps_apart(new, old),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The value in the old type; an error that names it where it would not be the same again.
fn checked(old: &Column, new: &Column) -> String {
    let name = quote(&new.name);
    let converted = format!("({name})::{}", old.type_name);
    let again = format!("({converted})::{}", new.type_name);
    // What has no equality of its own is compared as text.
    let is_same = if ["json", "xml", "point", "box", "polygon", "path", "line", "circle"]
        .contains(&new.base.as_str())
    {
        format!("({again})::text = ({name})::text")
    } else {
        format!("({again}) = ({name})")
    };
    // There is no function that fails with a text of ours, but a text that is no number does.
    let tag = crate::sql::literal(&format!("{TELLS}column {} has the value ", new.name));
    let tail = crate::sql::literal(&format!(", which {} cannot hold", old.type_name));
    format!(
        "case when ({name}) is null or {is_same} then {converted} else ({tag} || ({name})::text || {tail})::integer::text::{} end",
        old.type_name
    )
}

fn dropped(column: &Column, say: String, back: &mut Back) {
    let has_value = column.default.is_some() || !column.identity.is_empty();
    if column.not_null && !has_value {
        let message = format!(
            "column {} is dropped, is NOT NULL and has no default for rows written after the swap",
            column.name
        );
        back.impossible.push((message, say));
        return;
    }
    let value = match &column.default {
        Some(default) => format!("its default ({default})"),
        None if has_value => "a value of its sequence".to_string(),
        None => "NULL".to_string(),
    };
    back.losses.push((
        format!("column {} is dropped: rows written after the swap get {value} when going back", column.name),
        say,
    ));
}

/// What the tables' other parts say: a key that both have, and what the old table forbids and the new one allows.
pub fn constraints(back: &mut Back, source: &Table, after: &Table, key: Option<&Key>) {
    let Some(key) = key else { return };
    let names = key.columns.iter().map(|k| k.from.as_str()).collect::<Vec<_>>().join(", ");
    if key.shadow_index.is_none() {
        back.impossible.push((
            format!("the changed table has no unique index over the key ({names}) that is checked at once"),
            "keep one, at least for as long as going back should be possible".to_string(),
        ));
    }
    for k in &key.columns {
        if let (Some(old), Some(new)) = (source.column(&k.from), after.column(&k.to))
            && key_type(old, new).is_none()
        {
            back.impossible.push((
                format!(
                    "the key column {} becomes {}, in which keys may be that {} takes for others",
                    k.from, k.to_type, k.from_type
                ),
                "leave the key's type as it is, or change it by a run without --guard".to_string(),
            ));
        }
    }
    let columns = |t: &Table, i: &crate::catalog::Index| {
        let mut names: Vec<String> = i
            .keys
            .iter()
            .map(|k| t.numbered(k.number).map_or_else(|| k.text.clone(), |c| c.name.clone()))
            .collect();
        names.sort();
        names
    };
    let renamed = |name: &str| {
        let carried = back.columns.iter().find(|m| m.column == name && m.mapping.note != "computed")?;
        carried.mapping.from.clone()
    };
    for index in source.indexes.iter().filter(|i| i.unique && i.valid) {
        let wanted: Option<Vec<String>> = columns(source, index).iter().map(|c| renamed(c)).collect();
        let wanted = wanted.map(|mut w| {
            w.sort();
            w
        });
        let is_kept = after
            .indexes
            .iter()
            .any(|i| i.unique && i.predicate == index.predicate && Some(columns(after, i)) == wanted);
        if !is_kept && index.predicate.is_none() && index.keys.iter().all(|k| k.number != 0) {
            back.losses.push((
                format!(
                    "unique index {} is not on the changed table: rows that it forbids stop the guard",
                    index.name
                ),
                "nothing, if there are none".to_string(),
            ));
        }
    }
    for c in source.constraints.iter().filter(|c| c.kind == "c") {
        if !after.constraints.iter().any(|a| a.kind == "c" && (a.def == c.def || a.name == c.name)) {
            back.losses.push((
                format!(
                    "constraint {} ({}) is not on the changed table: rows that it forbids stop the guard",
                    c.name, c.def
                ),
                "nothing, if there are none".to_string(),
            ));
        }
    }
}

/// In which type keys are compared on the way back: one in which every key of both is itself. None: there is none that an index knows.
fn key_type(old: &Column, new: &Column) -> Option<String> {
    let is_integer = |t: &str| matches!(t, "smallint" | "integer" | "bigint");
    let is_text = |t: &str| t == "text" || t == "character varying" || t.starts_with("character varying(");
    if old.base == new.base {
        Some(old.type_name.clone())
    } else if is_integer(&old.base) && is_integer(&new.base) {
        Some("bigint".to_string())
    } else if is_text(&old.base) && is_text(&new.base) {
        Some("text".to_string())
    } else {
        None
    }
}

/// The key the other way round.
pub fn key(forward: &[KeyColumn], source: &Table, after: &Table) -> Option<Vec<KeyColumn>> {
    let columns = forward.iter().map(|k| {
        let to_type = key_type(source.column(&k.from)?, after.column(&k.to)?)?;
        Some(KeyColumn { from: k.to.clone(), from_type: k.to_type.clone(), to: k.from.clone(), to_type })
    });
    columns.collect()
}

#[cfg(test)]
mod tests;
