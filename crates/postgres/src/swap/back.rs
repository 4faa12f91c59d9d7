//! The statements around a swap back, and what a swap in a later turn does besides.
//!
//! The original table gets every name again that it had, and the new one those that it had as the shadow, so that the plan as it was made
//! holds once more. Which name a part of the original table has now is not written down anywhere: it is one of those that it can have been
//! given when it stepped aside, and its definition must be the same.

use super::{GRANTS, OldNames, Swap, old_name, rename_statements};
use crate::{
    catalog::{Index, Sequence, Table},
    error::server,
    plan::Detail,
    shadow::{index::name_now, marker},
    sql::{NAME_BYTES_MAX, literal, qualified, quote, table},
};
use shadowswap_core::{
    error::{Error, Result},
    name::derived,
    plan::Plan,
};
use tokio_postgres::Client;

/// Other tables have stepped aside under the same name at most so often.
const OLD_NAMES: usize = 100;

/// What an index of the original table is called now that it has stepped aside.
///
/// # Errors
/// `Refused` if it is gone or was changed.
pub fn old_name_of(planned: &Table, now: &Table, name: &str) -> Result<String> {
    let same = |index: &Index, was: &Index| (&index.tail, index.unique) == (&was.tail, was.unique);
    let was = planned.index(name);
    let found =
        names_aside(name).find(|n| matches!((now.index(n), was), (Some(i), Some(was)) if same(i, was)));
    found.ok_or_else(|| gone("index", name, now))
}

fn names_aside(name: &str) -> impl Iterator<Item = String> {
    let numbered = (1..OLD_NAMES).map(|n| derived("_", name, &format!("_old{n}"), NAME_BYTES_MAX));
    std::iter::once(old_name(name)).chain(numbered)
}

fn gone(kind: &str, name: &str, table: &Table) -> Error {
    Error::refused(format!(
        "{kind} {name} of the old table {}.{} was dropped, renamed or changed",
        table.schema, table.name
    ))
    .next("make it again as it was, under the name that it had there; or `shadowswap finish` ends the guard")
}

fn statistics_now(planned: &Table, now: &Table, name: &str) -> Result<String> {
    let was = planned.statistics.iter().find(|s| s.name == name);
    let found = names_aside(name)
        .find(|n| now.statistics.iter().any(|s| s.name == *n && was.is_some_and(|was| was.tail == s.tail)));
    found.ok_or_else(|| gone("statistics object", name, now))
}

fn rename(kind: &str, schema: &str, from: &str, to: &str) -> String {
    format!("alter {kind} {} rename to {}", qualified(schema, from), quote(to))
}

/// All statements of a swap back. `plan` is turned, `planned` the detail as it was made; `original` and `new` are the tables as they are.
///
/// # Errors
/// `Refused` if parts of the original table are gone.
pub fn back_statements(
    plan: &Plan,
    planned: &Detail,
    (original, new): (&Table, &Table),
    migration: i64,
) -> Result<Swap> {
    let (source, after) = (&planned.source, &planned.shadow);
    let schema = source.schema.as_str();
    let mut before = Vec::new();
    for index in &new.indexes {
        let is_key = planned.shadow_key.index.as_deref() == Some(index.name.as_str());
        let to = if is_key { planned.shadow_key.name.clone() } else { name_now(&index.name) };
        before.push(rename("index", schema, &index.name, &to));
    }
    for s in &new.statistics {
        before.push(rename("statistics", &s.schema, &s.name, &name_now(&s.name)));
    }
    for index in &source.indexes {
        let now = old_name_of(source, original, &index.name)?;
        before.push(rename("index", schema, &now, &index.name));
    }
    for s in &source.statistics {
        before.push(rename("statistics", &s.schema, &statistics_now(source, original, &s.name)?, &s.name));
    }
    // Now it is the shadow again, which may be removed.
    let text = marker(planned.source_oid, plan, migration);
    before.push(format!("comment on table {} is {}", table(&plan.source), literal(&text)));

    let mut locked = vec![rename("table", schema, &plan.source.name, &plan.old.name)];
    let (moved, own): (Vec<&Sequence>, Vec<&Sequence>) =
        new.sequences.iter().partition(|s| source.sequences.iter().any(|was| was.oid == s.oid));
    for s in own {
        let was =
            after.sequences.iter().find(|was| was.column == s.column && was.is_identity == s.is_identity);
        locked.push(rename("sequence", &s.schema, &s.name, &name_now(was.map_or(&s.name, |was| &was.name))));
    }
    locked.push(rename("table", schema, &plan.shadow.name, &source.name));
    for s in source.sequences.iter().filter(|s| s.is_identity) {
        let now = original.sequences.iter().find(|now| now.oid == s.oid);
        let now = now.ok_or_else(|| gone("sequence", &s.name, original))?;
        locked.push(rename("sequence", &s.schema, &now.name, &s.name));
    }
    for s in moved {
        let was = source.sequences.iter().find(|was| was.oid == s.oid);
        let column = was
            .and_then(|was| source.numbered(was.column))
            .ok_or_else(|| gone("sequence", &s.name, original))?;
        let (name, column) = (qualified(&s.schema, &s.name), quote(&column.name));
        locked.push(format!("alter sequence {name} owned by {}.{column}", source.quoted()));
    }
    Ok(Swap { before, locked })
}

/// The statements of a swap forward after a swap back: what the first one added is there, and what it moved is moved again.
pub fn forward_statements(plan: &Plan, detail: &Detail, names: &mut OldNames) -> Swap {
    let mut planned = detail.clone();
    planned.shadow.constraints.clear();
    rename_statements(plan, &planned, names)
}

/// Brings the sequence that a column draws from to where the other table's was, if it is another sequence and is behind.
pub fn carry_sequences(plan: &Plan, from: &Table, to: &Table) -> Vec<String> {
    let carried = pairs(plan, from, to).into_iter().map(|(ahead, behind)| {
        // By number, for names change around this. Downwards where the sequence goes downwards; one that was never asked is nowhere yet.
        format!(
            "select pg_catalog.setval('{b}'::pg_catalog.regclass, v.a)\n\
             from (select pg_catalog.pg_sequence_last_value('{a}'::pg_catalog.regclass) as a, pg_catalog.pg_sequence_last_value('{b}'::pg_catalog.regclass) as b) v,\n\
             pg_catalog.pg_sequence s where s.seqrelid = '{b}'::pg_catalog.regclass and v.a is not null\n\
             and (v.b is null or case when s.seqincrement > 0 then v.a > v.b else v.a < v.b end)",
            a = ahead.oid,
            b = behind.oid,
        )
    });
    carried.collect()
}

/// Sequences of the same column on both sides, if they are not one and the same.
fn pairs<'a>(plan: &Plan, from: &'a Table, to: &'a Table) -> Vec<(&'a Sequence, &'a Sequence)> {
    let draws = |t: &'a Table, column: &str| {
        let number = t.column(column)?.number;
        t.sequences.iter().find(|s| s.column == number)
    };
    let columns = plan.link.columns.iter();
    columns
        .filter_map(|m| Some((draws(from, m.from.as_deref()?)?, draws(to, &m.column)?)))
        .filter(|(a, b)| a.oid != b.oid)
        .collect()
}

/// Gives the table that comes up, and its sequences, the privileges that the other one has now, and takes what that one has not.
///
/// # Errors
/// `Transient` if the catalogs cannot be read now.
pub async fn privileges_now(client: &Client, plan: &Plan, from: &Table, to: &Table) -> Result<Vec<String>> {
    let column = |number: i16| {
        let name = &from.numbered(number)?.name;
        plan.link.columns.iter().find(|m| m.from.as_ref() == Some(name)).map(|m| m.column.clone())
    };
    let mut all = same_privileges(client, (from.oid, to.oid), &to.quoted(), column).await?;
    for (ahead, behind) in pairs(plan, from, to) {
        let target = format!("sequence {}", qualified(&behind.schema, &behind.name));
        all.extend(same_privileges(client, (ahead.oid, behind.oid), &target, |_| None).await?);
    }
    Ok(all)
}

async fn same_privileges(
    client: &Client,
    (from, to): (u32, u32),
    target: &str,
    column: impl Fn(i16) -> Option<String>,
) -> Result<Vec<String>> {
    let read = async |oid: u32| {
        client.query(GRANTS, &[&oid]).await.map_err(|e| server(e, "reading the tables' privileges"))
    };
    let (has, had) = (read(from).await?, read(to).await?);
    let mut grantees: Vec<String> = had.iter().map(|r| r.get(0)).collect();
    grantees.dedup();
    let mut all: Vec<String> =
        grantees.iter().map(|who| format!("revoke all on {target} from {who}")).collect();
    for row in &has {
        let (grantee, privilege, may_grant): (&str, &str, bool) = (row.get(0), row.get(1), row.get(2));
        let columns = match row.get::<_, Option<i16>>(3) {
            None => String::new(),
            Some(number) => match column(number) {
                Some(column) => format!(" ({})", quote(&column)),
                None => continue,
            },
        };
        let option = if may_grant { " with grant option" } else { "" };
        all.push(format!("grant {privilege}{columns} on {target} to {grantee}{option}"));
    }
    Ok(all)
}
