//! The projection: for each column of the shadow, where its values come from.
//!
//! Rules, for what an ALTER TABLE in place would leave in the rows that are there:
//! 1. A column is followed by its name from body to body, and by the renames that the body's words show. The server's answer must leave
//!    nothing unexplained: a name that came was added or is a rename's new one, a name that went was dropped or is a rename's old one.
//!    Anything else is refused; a column that were taken for a new one would lose its values.
//! 2. A column that keeps its type is taken as it is. One whose type changes is taken too, where the INSERT converts as ALTER TABLE does.
//! 3. A new column: the server fills its default. One that is NOT NULL without a default: the zero value of its type.

use super::conversion::{implicit, is_zero_date, objection};
use crate::{
    alter::Body,
    catalog::{Column, Table, same_name},
    sql::quote,
};
use shadowswap_core::plan::{Finding, Mapping};

const CHECK: &str = "columns";

/// One column of the shadow.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// The source's column that it stems from.
    pub from: Option<Column>,
    /// What it becomes.
    pub to: Column,
    /// Taken over as it is, perhaps converted by the INSERT.
    pub is_plain: bool,
    /// The operator's own expression, still to be looked at by the server.
    pub is_operators: bool,
    /// For the plan.
    pub mapping: Mapping,
}

impl Mapped {
    /// The very same values: same type, character set and collation.
    pub fn is_same(&self) -> bool {
        self.is_plain && self.from.as_ref().is_some_and(|f| f.shape() == self.to.shape())
    }
}

/// The projection with what was wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    /// One entry for each column of the shadow.
    pub columns: Vec<Mapped>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A column's way through the bodies: its present state, and where it began.
#[derive(Clone, Debug)]
struct Way {
    /// The source's column.
    from: Option<Column>,
    /// All states, from the source or from its addition on.
    states: Vec<Column>,
}

/// Works the projection out. `states`: the twin before the first body and after each.
pub fn project(source: &Table, bodies: &[Body], states: &[Table], sets: &[(String, String)]) -> Projection {
    let mut all = Projection::default();
    let ways = follow(source, bodies, states, &mut all);
    for (name, _) in sets {
        if !ways.iter().any(|w| w.states.last().is_some_and(|c| is_named(c, name))) {
            let message = format!("--set {name}: the changed table has no such column");
            all.findings.push(Finding::refused(CHECK, message, "give the column's name after the change"));
        }
    }
    for way in &ways {
        let Some(to) = way.states.last() else { continue };
        let set = sets.iter().find(|(name, _)| is_named(to, name)).map(|(_, e)| e.as_str());
        let mapped = one(way, to, set, &mut all.findings);
        all.columns.push(mapped);
    }
    for column in &source.columns {
        if !ways.iter().any(|w| w.from.as_ref().is_some_and(|f| f.name == column.name)) {
            let message = format!("column {} is dropped; the old table keeps it", column.name);
            all.findings.push(Finding::passed(CHECK, message));
        }
    }
    all
}

/// Whether a name as typed for `--set` is this column.
pub fn is_named(column: &Column, typed: &str) -> bool {
    let typed = typed.trim();
    let inner = typed.strip_prefix('`').and_then(|t| t.strip_suffix('`')).map(|t| t.replace("``", "`"));
    same_name(&column.name, inner.as_deref().unwrap_or(typed))
}

fn follow(source: &Table, bodies: &[Body], states: &[Table], all: &mut Projection) -> Vec<Way> {
    let begin = |c: &Column| Way { from: Some(c.clone()), states: vec![c.clone()] };
    let mut ways: Vec<Way> = source.columns.iter().map(begin).collect();
    for (body, pair) in bodies.iter().zip(states.windows(2)) {
        let [before, after] = pair else { continue };
        let strange = unexplained(body, before, after);
        if !strange.is_empty() {
            let message = format!("`{}`: {}", body.text, strange.join("; "));
            let next = "give each rename, and each column that is dropped and added again, an --alter of its own; write names in backquotes, \
                with ADD COLUMN, DROP COLUMN, RENAME COLUMN or CHANGE COLUMN. If a column's values are to come from elsewhere: --set 'column=expression'";
            all.findings.push(Finding::refused(CHECK, message, next));
        }
        ways = after.columns.iter().map(|column| step(body, before, &ways, column)).collect();
    }
    ways
}

fn step(body: &Body, before: &Table, ways: &[Way], column: &Column) -> Way {
    let renamed = body.renames.iter().find(|(_, new)| same_name(new, &column.name)).map(|(old, _)| old);
    let old = renamed.unwrap_or(&column.name);
    let former = ways.iter().find(|w| w.states.last().is_some_and(|c| same_name(&c.name, old)));
    match former.filter(|_| before.column(old).is_some()) {
        Some(way) => {
            let mut way = way.clone();
            way.states.push(column.clone());
            way
        }
        None => Way { from: None, states: vec![column.clone()] },
    }
}

/// What the server did that the body's words do not explain.
fn unexplained(body: &Body, before: &Table, after: &Table) -> Vec<String> {
    let has = |names: &[String], name: &str| names.iter().any(|n| same_name(n, name));
    let olds: Vec<String> = body.renames.iter().map(|r| r.0.clone()).collect();
    let news: Vec<String> = body.renames.iter().map(|r| r.1.clone()).collect();
    let mut strange = Vec::new();
    for (n, name) in olds.iter().enumerate() {
        if before.column(name).is_none() {
            strange.push(format!("it names {name} anew, which is no column"));
        } else if after.column(name).is_some() && !has(&news, name) {
            strange.push(format!("it names {name} anew, and a column of that name is there afterwards"));
        }
        if has(olds.get(..n).unwrap_or_default(), name) {
            strange.push(format!("it names {name} anew twice"));
        }
    }
    for (n, name) in news.iter().enumerate() {
        if after.column(name).is_none() {
            strange.push(format!("column {name} should have come of a rename, and is not there"));
        }
        if has(news.get(..n).unwrap_or_default(), name) {
            strange.push(format!("two columns are given the name {name}"));
        }
        if has(&body.added, name) {
            strange.push(format!("column {name} is both added and given as a new name"));
        }
    }
    for name in body.dropped.iter().filter(|n| before.column(n).is_some()) {
        if has(&olds, name) {
            strange.push(format!("column {name} is both dropped and named anew"));
        } else if after.column(name).is_some() && !has(&news, name) {
            strange.push(format!("column {name} is dropped, and there afterwards"));
        }
    }
    for column in after.columns.iter().filter(|c| before.column(&c.name).is_none()) {
        if !has(&body.added, &column.name) && !has(&news, &column.name) {
            strange.push(format!("column {} came, and it is not clear whence", column.name));
        }
    }
    for column in before.columns.iter().filter(|c| after.column(&c.name).is_none()) {
        if !has(&body.dropped, &column.name) && !has(&olds, &column.name) {
            strange.push(format!("column {} went, and it is not clear whither", column.name));
        }
    }
    strange
}

fn one(way: &Way, to: &Column, set: Option<&str>, findings: &mut Vec<Finding>) -> Mapped {
    let from = way.from.as_ref();
    let mut mapped = Mapped {
        from: way.from.clone(),
        to: to.clone(),
        is_plain: false,
        is_operators: false,
        mapping: Mapping {
            column: to.name.clone(),
            data_type: to.column_type.clone(),
            from: from.map(|f| f.name.clone()),
            from_type: from.map(|f| f.column_type.clone()),
            expression: None,
            note: String::new(),
        },
    };
    if to.generated {
        mapped.mapping.note = "generated".to_string();
        if set.is_some() {
            let message = format!("--set {}: the column is generated; the server computes it", to.name);
            findings.push(Finding::refused(CHECK, message, "leave --set out"));
        }
        return mapped;
    }
    if let Some(expression) = set {
        mapped.mapping.note = "computed".to_string();
        match crate::alter::expression(expression) {
            Ok(text) => {
                mapped.is_operators = true;
                mapped.mapping.expression = Some(format!("({text})"));
            }
            Err(e) => {
                let message = format!("column {}: {}", to.name, e.message);
                findings.push(Finding::refused(
                    CHECK,
                    message,
                    "give one SQL expression over the present row",
                ));
            }
        }
        return mapped;
    }
    match from {
        Some(from) => old_column(way, from, to, &mut mapped, findings),
        None => new_column(way, to, &mut mapped, findings),
    }
    mapped
}

fn ask(to: &Column, why: &str) -> Finding {
    let next = format!("give it: --set '{}=expression over the present row'", to.name);
    Finding::refused(CHECK, format!("column {}: {why}", to.name), next)
}

fn old_column(way: &Way, from: &Column, to: &Column, mapped: &mut Mapped, findings: &mut Vec<Finding>) {
    let changes =
        way.states.windows(2).filter(|w| w.first().map(Column::shape) != w.last().map(Column::shape));
    let was_generated = way.states.iter().any(|c| c.generated);
    mapped.is_plain = true;
    mapped.mapping.expression = Some(quote(&from.name));
    mapped.mapping.note = match changes.count() {
        0 if from.name == to.name => "same".to_string(),
        0 => "renamed".to_string(),
        1 => {
            if let Some(why) = objection(from, to) {
                let why = format!("it changes from {} to {}, {why}", from.column_type, to.column_type);
                findings.push(ask(to, &why));
            }
            "type".to_string()
        }
        _ => {
            findings.push(ask(to, "its type changes more than once"));
            "type".to_string()
        }
    };
    // A stored generated column that becomes an ordinary one keeps its values; anything more is not followed.
    if was_generated && !(from.generated && mapped.is_same() && way.states.len() == 2) {
        findings.push(ask(to, "it is generated at one time and not at another"));
    }
    if to.is_auto_increment() && from.nullable {
        findings.push(ask(to, "it may be NULL now, and AUTO_INCREMENT would number such rows"));
    }
}

fn new_column(way: &Way, to: &Column, mapped: &mut Mapped, findings: &mut Vec<Finding>) {
    mapped.mapping.note = "new".to_string();
    if way.states.iter().any(|c| {
        (c.shape(), c.nullable, &c.default, &c.extra, c.generated)
            != (to.shape(), to.nullable, &to.default, &to.extra, to.generated)
    }) {
        findings.push(ask(to, "it is added, and its definition changes again later"));
        return;
    }
    let has_default = to.default.is_some() || to.extra.to_ascii_uppercase().contains("DEFAULT_GENERATED");
    if to.nullable || has_default || to.is_auto_increment() {
        if has_default && is_computed_default(to) {
            let message = format!(
                "column {} has a default that the server computes for each row: rows that change meanwhile may get another value",
                to.name
            );
            findings.push(Finding::warning(
                CHECK,
                message,
                format!("if that matters: --set '{}=expression over the present row'", to.name),
            ));
        }
        return;
    }
    match implicit(to) {
        Ok(value) => {
            mapped.mapping.expression = Some(value);
            if is_zero_date(to) {
                let message = format!(
                    "column {} is NOT NULL without a default: present rows get the zero date",
                    to.name
                );
                let next =
                    format!("give it a DEFAULT, or --set '{}=expression over the present row'", to.name);
                findings.push(Finding::warning(CHECK, message, next));
            }
        }
        Err(why) => findings.push(ask(to, why)),
    }
}

/// A default that is an expression: MySQL says so; MariaDB shows a call.
fn is_computed_default(column: &Column) -> bool {
    let extra = column.extra.to_ascii_uppercase();
    let default = column.default.as_deref().unwrap_or_default();
    extra.contains("DEFAULT_GENERATED") || (!default.starts_with('\'') && default.contains('('))
}

#[cfg(test)]
mod tests;
