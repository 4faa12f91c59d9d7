//! The projection: for each column of the shadow, where its values come from.
//!
//! Rules, for what an ALTER TABLE in place would leave in the rows that are there:
//! 1. A column that keeps its type is taken as it is, whatever its name.
//! 2. A type changed without USING: taken as it is too; the INSERT converts by assignment, as ALTER TABLE does. (A cast would be another
//!    thing: `'abcd'::varchar(3)` cuts silently, assignment refuses.)
//! 3. USING: its text, if at that moment every name in the table still meant what it means in the source. Else `--set` is asked for.
//! 4. A new column: what the server keeps as its value for old rows, and its default where both are the same. A default that came later
//!    is not for old rows.

use crate::{
    alter::Body,
    catalog::{Column, Table},
    shadow::twin::Twin,
    sql::{literal, quote},
};
use shadowswap_core::plan::{Finding, Mapping};

const CHECK: &str = "columns";

/// One column of the shadow.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// Its name.
    pub column: String,
    /// The number of the source's column that it stems from.
    pub source: Option<i16>,
    /// Taken over as it is.
    pub is_plain: bool,
    /// The operator's own expression, still to be looked at by the server.
    pub is_operators: bool,
    /// For the plan.
    pub mapping: Mapping,
}

/// A value for old rows that may differ from the default, to be settled by asking the server.
#[derive(Clone, Debug)]
pub struct Filled {
    /// The column.
    pub column: String,
    /// Its type.
    pub data_type: String,
    /// What the server keeps for old rows, as text.
    pub missing: String,
    /// The default after the change.
    pub default: String,
}

/// The projection with what was wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    /// One entry for each column of the shadow.
    pub columns: Vec<Mapped>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// To be settled.
    pub filled: Vec<Filled>,
}

/// Works the projection out.
pub fn project(source: &Table, twin: &Twin, sets: &[(String, String)], is_empty: bool) -> Projection {
    let mut all = Projection::default();
    for body in twin.bodies.iter().filter(|b| b.has_stray_using) {
        all.findings.push(Finding::refused(
            CHECK,
            format!("`{}` has a USING whose column is not clear", body.text),
            "write `ALTER COLUMN name TYPE type`, without U&\"\", and give the value by --set 'column=expression'",
        ));
    }
    for (body, state) in twin.bodies.iter().zip(&twin.states) {
        for u in body.usings.iter().filter(|u| state.table.column(&u.column).is_none()) {
            let next = "quote the column's name as the catalog spells it";
            let message = format!("`{}` has a USING for column {}, which is not there", body.text, u.column);
            all.findings.push(Finding::refused(CHECK, message, next));
        }
    }
    for (name, _) in sets {
        if twin.after().columns.iter().all(|c| !is_named(c, name)) {
            let next = "give the column's name after the change";
            all.findings.push(Finding::refused(
                CHECK,
                format!("--set {name}: the changed table has no such column"),
                next,
            ));
        }
    }
    for column in &twin.after().columns {
        // The twin's first columns are the source's, counted from 1.
        let origin = usize::try_from(column.number)
            .ok()
            .and_then(|n| n.checked_sub(1))
            .and_then(|n| source.columns.get(n));
        let set =
            sets.iter().find(|(name, _)| is_named(column, name)).map(|(_, expression)| expression.as_str());
        let mapped = one(source, twin, column, origin, set, is_empty, &mut all);
        all.columns.push(mapped);
    }
    for column in dropped(source, twin.after()) {
        all.findings
            .push(Finding::passed(CHECK, format!("column {column} is dropped; the old table keeps it")));
    }
    all
}

fn dropped<'a>(source: &'a Table, after: &Table) -> Vec<&'a str> {
    let kept = |n: usize| after.columns.iter().any(|c| usize::try_from(c.number) == Ok(n + 1));
    source.columns.iter().enumerate().filter(|(n, _)| !kept(*n)).map(|(_, c)| c.name.as_str()).collect()
}

/// Whether the operator means this column.
pub fn is_named(column: &Column, typed: &str) -> bool {
    let typed = typed.trim();
    if let Some(inner) = typed.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return column.name == inner.replace("\"\"", "\"");
    }
    column.name == typed || column.name == typed.to_ascii_lowercase()
}

fn one(
    source: &Table,
    twin: &Twin,
    column: &Column,
    origin: Option<&Column>,
    set: Option<&str>,
    is_empty: bool,
    all: &mut Projection,
) -> Mapped {
    let mut mapped = Mapped {
        column: column.name.clone(),
        source: origin.map(|o| o.number),
        is_plain: false,
        is_operators: false,
        mapping: Mapping {
            column: column.name.clone(),
            data_type: column.type_name.clone(),
            from: origin.map(|o| o.name.clone()),
            from_type: origin.map(|o| o.type_name.clone()),
            expression: None,
            note: String::new(),
        },
    };
    if !column.generated.is_empty() {
        mapped.mapping.note = "generated".to_string();
        if set.is_some() {
            let message = format!("--set {}: the column is generated; the server computes it", column.name);
            all.findings.push(Finding::refused(CHECK, message, "leave --set out"));
        }
        return mapped;
    }
    if let Some(expression) = set {
        operators(&mut mapped, expression, all);
        return mapped;
    }
    let outcome = match origin {
        Some(origin) => old_column(source, twin, column, origin),
        None => new_column(twin, column, is_empty),
    };
    match outcome {
        Value::Plain(note) => {
            mapped.is_plain = true;
            mapped.mapping.expression = origin.map(|o| quote(&o.name));
            mapped.mapping.note = note.to_string();
        }
        Value::Expression(text) => operators(&mut mapped, &text, all),
        Value::Constant(text) => {
            mapped.mapping.expression = Some(text);
            mapped.mapping.note = "new".to_string();
        }
        Value::Default => mapped.mapping.note = "new".to_string(),
        Value::Settle(filled) => {
            mapped.mapping.note = "new".to_string();
            all.filled.push(filled);
        }
        Value::Unknown(why) => {
            let next = format!("give it: --set '{}=expression over the present row'", column.name);
            all.findings.push(Finding::refused(CHECK, format!("column {}: {why}", column.name), next));
        }
    }
    mapped
}

fn operators(mapped: &mut Mapped, expression: &str, all: &mut Projection) {
    mapped.mapping.note = "computed".to_string();
    match crate::alter::expression(expression) {
        Ok(text) => {
            mapped.is_operators = true;
            mapped.mapping.expression = Some(format!("({text})"));
        }
        Err(e) => {
            let message = format!("column {}: {}", mapped.column, e.message);
            all.findings.push(Finding::refused(
                CHECK,
                message,
                "give one SQL expression over the present row",
            ));
        }
    }
}

enum Value {
    Plain(&'static str),
    Expression(String),
    Constant(String),
    Default,
    Settle(Filled),
    Unknown(String),
}

fn using<'a>(body: &'a Body, column: Option<&Column>) -> Option<&'a str> {
    let column = column?;
    body.usings.iter().rev().find(|u| u.column == column.name).map(|u| u.expression.as_str())
}

fn old_column(source: &Table, twin: &Twin, column: &Column, origin: &Column) -> Value {
    let mut conversions = Vec::new();
    for (at, body) in twin.bodies.iter().enumerate() {
        let before = twin.states.get(at).and_then(|s| s.table.numbered(column.number));
        let after = twin.states.get(at + 1).and_then(|s| s.table.numbered(column.number));
        let shape = |c: Option<&Column>| c.map(|c| (c.type_oid, c.typmod, c.collation.clone()));
        let expression = using(body, before);
        if expression.is_some() || shape(before) != shape(after) {
            conversions.push((at, expression));
        }
    }
    match conversions.as_slice() {
        [] if column.name == origin.name => Value::Plain("same"),
        [] => Value::Plain("renamed"),
        [(_, None)] => Value::Plain("type"),
        [(at, Some(expression))] => match twin.states.get(*at) {
            Some(state) if means_the_same(source, &state.table) => {
                Value::Expression((*expression).to_string())
            }
            Some(_) | None => Value::Unknown(
                "its USING comes after other columns changed, so that its names may mean other values"
                    .to_string(),
            ),
        },
        _ => Value::Unknown("its type changes more than once".to_string()),
    }
}

/// Whether every column name, used on this state of the twin, means the same value as on the source.
fn means_the_same(source: &Table, state: &Table) -> bool {
    state.columns.iter().all(|c| {
        let origin =
            usize::try_from(c.number).ok().and_then(|n| n.checked_sub(1)).and_then(|n| source.columns.get(n));
        match origin {
            Some(o) => (&o.name, o.type_oid, o.typmod) == (&c.name, c.type_oid, c.typmod),
            None => source.column(&c.name).is_none(),
        }
    })
}

fn new_column(twin: &Twin, column: &Column, is_empty: bool) -> Value {
    let found = twin.states.iter().position(|s| s.table.numbered(column.number).is_some());
    let Some((at, first)) = found.and_then(|n| Some((n, twin.states.get(n)?.table.numbered(column.number)?)))
    else {
        return Value::Unknown("it cannot be followed through the change".to_string());
    };
    let later = twin.bodies.get(at..).unwrap_or_default();
    let was_converted =
        later.iter().any(|b| b.usings.iter().any(|u| u.column == first.name || u.column == column.name));
    if was_converted || (first.type_oid, first.typmod) != (column.type_oid, column.typmod) {
        return Value::Unknown("it is added and then converted".to_string());
    }
    if !column.identity.is_empty() {
        return Value::Default;
    }
    let same_default =
        first.default == column.default && first.identity.is_empty() && first.generated.is_empty();
    let null = || Value::Constant(format!("null::{}", column.type_name));
    match (&first.default, &first.missing) {
        (Some(_), Some(missing)) => {
            let missing = missing.clone();
            match &column.default {
                Some(default) => Value::Settle(Filled {
                    column: column.name.clone(),
                    data_type: column.type_name.clone(),
                    missing,
                    default: default.clone(),
                }),
                None => Value::Constant(format!("{}::{}", literal(&missing), column.type_name)),
            }
        }
        (Some(_), None) => {
            let file = |n: usize| twin.states.get(n).and_then(|s| s.table.filenode);
            let was_rewritten = at > 0 && file(at - 1) != file(at);
            let was_set =
                at > 0 && twin.bodies.get(at - 1).is_some_and(|b| b.set_defaults.contains(&first.name));
            match (was_rewritten, was_set) {
                (false, _) => null(),
                (true, true) => Value::Unknown(
                    "its default is set apart from the column, so that it is not clear what present rows get"
                        .to_string(),
                ),
                (true, false) if same_default => Value::Default,
                (true, false) => Value::Unknown("its default changes after it was added".to_string()),
            }
        }
        (None, _) if !first.identity.is_empty() || !first.generated.is_empty() => {
            Value::Unknown("its values are generated at first and not later".to_string())
        }
        (None, _) if column.not_null && !is_empty => {
            Value::Unknown("it is NOT NULL and has no default for present rows".to_string())
        }
        (None, _) if column.default.is_some() => null(),
        (None, _) => Value::Default,
    }
}
