//! The indexes and constraints that the shadow gets after the copy.
//!
//! Each is built under a derived name, for the source still has the final one; CHECK constraints have names of the table's own and get
//! theirs at once. CHECK constraints that are NOT VALID come in the swap: they cost nothing there, and a change that is older than the
//! constraint cannot fail on them.

use crate::{
    catalog::{Constraint, Index, Statistics, Table},
    shadow::twin,
    sql::{NAME_BYTES_MAX, literal, quote},
};
use serde::{Deserialize, Serialize};
use shadowswap_core::{
    error::Result,
    name::{TableName, derived},
    plan::KeyColumn,
};

/// What a step builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexKind {
    /// An index that is not unique.
    Index,
    /// A unique index or constraint.
    Unique,
    /// The primary key.
    Primary,
    /// An exclusion constraint.
    Exclusion,
    /// A CHECK constraint.
    Check,
    /// Extended statistics.
    Statistics,
}

/// One index or constraint of the shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStep {
    /// Its name after the swap.
    pub name: String,
    /// Its name on the shadow.
    pub name_now: String,
    /// What it is.
    pub kind: IndexKind,
    /// What builds it: one transaction, whether one statement or several.
    pub statement: String,
    /// The source has the same.
    pub existed_on_source: bool,
    /// Names up to ten rows that it does not hold for, as text in one column.
    pub violation_query: Option<String>,
}

/// The name that an index, sequence or statistics object has while its table is the shadow.
pub fn name_now(name: &str) -> String {
    derived("_", name, "_shadow", NAME_BYTES_MAX)
}

/// All steps, in the order in which they run.
pub fn steps(
    source: &Table,
    after: &Table,
    shadow: &TableName,
    key: &[KeyColumn],
    key_index: Option<&str>,
) -> Result<Vec<IndexStep>> {
    let target = crate::sql::table(shadow);
    let named = KeyText::new(key);
    let mut all = Vec::new();
    for index in after.indexes.iter().filter(|i| Some(i.name.as_str()) != key_index) {
        all.push(index_step(source, index, &target, &named)?);
    }
    for check in after.constraints.iter().filter(|c| c.kind == "c" && c.validated) {
        all.push(check_step(source, check, &target, &named));
    }
    for statistics in &after.statistics {
        all.push(statistics_step(source, statistics, &target)?);
    }
    // Uniqueness first: it is what most often fails, and then nothing else was built in vain.
    all.sort_by_key(|s| match s.kind {
        IndexKind::Primary => 0,
        IndexKind::Unique => 1,
        IndexKind::Exclusion => 2,
        IndexKind::Check => 3,
        IndexKind::Index => 4,
        IndexKind::Statistics => 5,
    });
    Ok(all)
}

/// The key of a row of the shadow, as text for people.
struct KeyText(String);

impl KeyText {
    fn new(key: &[KeyColumn]) -> KeyText {
        let parts = key.iter().map(|k| {
            format!("{} || coalesce(s.{}::text, 'null')", literal(&format!("{}=", k.to)), quote(&k.to))
        });
        KeyText(parts.collect::<Vec<_>>().join(" || ', ' || "))
    }
}

fn index_step(source: &Table, index: &Index, target: &str, key: &KeyText) -> Result<IndexStep> {
    let now = name_now(&index.name);
    let constraint = index.constraint.as_ref().map(|c| c.kind.as_str());
    let kind = match constraint {
        Some("p") => IndexKind::Primary,
        Some("x") => IndexKind::Exclusion,
        Some(_) => IndexKind::Unique,
        None if index.unique => IndexKind::Unique,
        None => IndexKind::Index,
    };
    let mut statements = twin::index_statements(target, index, &now)?;
    let former = source.index(&index.name);
    let tablespace = index.tablespace.as_ref().or(former.and_then(|f| f.tablespace.as_ref()));
    if let Some(tablespace) = tablespace {
        statements.insert(0, format!("set local default_tablespace = {}", literal(tablespace)));
    }
    Ok(IndexStep {
        name: index.name.clone(),
        name_now: now,
        kind,
        statement: statements.join(";\n"),
        existed_on_source: former.is_some_and(|f| (&f.tail, f.unique) == (&index.tail, index.unique)),
        violation_query: matches!(kind, IndexKind::Primary | IndexKind::Unique)
            .then(|| duplicates(index, target, key))
            .filter(|_| index.method == "btree"),
    })
}

/// Rows that share their values with another one.
fn duplicates(index: &Index, target: &str, key: &KeyText) -> String {
    let values = index.keys.iter().map(|k| k.text.as_str()).collect::<Vec<_>>();
    let list = values.join(", ");
    let mut conditions = index.predicate.iter().map(|p| format!("({p})")).collect::<Vec<_>>();
    if !index.tail.as_deref().is_some_and(|t| t.contains("NULLS NOT DISTINCT")) {
        conditions.extend(values.iter().map(|v| format!("({v}) is not null")));
    }
    let condition = if conditions.is_empty() { "true".to_string() } else { conditions.join(" and ") };
    let shown = values
        .iter()
        .map(|v| format!("coalesce(({v})::text, 'null')"))
        .collect::<Vec<_>>()
        .join(" || ', ' || ");
    format!(
        "select d.shown || ': ' || string_agg(d.key, ' and ' order by d.key)\n\
         from (select {shown} as shown, {key} as key, count(*) over (partition by {list}) as n, row_number() over (partition by {list}) as r\n\
         from {target} as s where {condition}) d\n\
         where d.n > 1 and d.r <= 3 group by d.shown limit 10",
        key = key.0,
    )
}

fn check_step(source: &Table, check: &Constraint, target: &str, key: &KeyText) -> IndexStep {
    let expression = check.expression.as_deref().unwrap_or("true");
    let former = source.constraints.iter().find(|c| c.kind == "c" && c.name == check.name);
    IndexStep {
        name: check.name.clone(),
        name_now: check.name.clone(),
        kind: IndexKind::Check,
        statement: add_check(target, check),
        existed_on_source: former.is_some_and(|f| f.def == check.def),
        violation_query: Some(format!(
            "select {} from {target} as s where not ({expression}) limit 10",
            key.0
        )),
    }
}

/// What adds a CHECK constraint.
pub fn add_check(target: &str, check: &Constraint) -> String {
    format!("alter table {target} add constraint {} {}", quote(&check.name), check.def)
}

fn statistics_step(source: &Table, s: &Statistics, target: &str) -> Result<IndexStep> {
    let former = source.statistics.iter().find(|f| f.name == s.name);
    let schema = statistics_schema(source, s);
    let now = name_now(&s.name);
    Ok(IndexStep {
        name: s.name.clone(),
        statement: twin::statistics_statement(target, s, &schema, &now)?,
        name_now: now,
        kind: IndexKind::Statistics,
        existed_on_source: former.is_some_and(|f| f.tail == s.tail),
        violation_query: None,
    })
}

/// Where a statistics object belongs: the twin has all of them in its own schema.
pub fn statistics_schema(source: &Table, s: &Statistics) -> String {
    let former = source.statistics.iter().find(|f| f.name == s.name);
    former.map_or_else(|| source.schema.clone(), |f| f.schema.clone())
}
