//! The statements around the swap, worked out while nobody waits.
//!
//! Every object keeps the name that it would have after an ALTER TABLE in place. Indexes, sequences and extended statistics share one
//! namespace for each schema, so the source's step aside under derived names first. CHECK and NOT NULL constraints have names of their
//! table's own and need nothing.

mod back;

pub use back::old_name_of;

use crate::{
    catalog::{self, Sequence, Table},
    error::server,
    plan::Detail,
    shadow::{
        index::{add_check, name_now, statistics_schema},
        twin,
    },
    sql::{NAME_BYTES_MAX, literal, qualified, quote, table},
};
use shadowswap_core::{
    error::Result,
    name::derived,
    plan::{Link, Plan},
};
use std::collections::HashSet;
use tokio_postgres::Client;

/// Names for what steps aside: derived, and free.
#[derive(Debug, Default)]
pub struct OldNames {
    taken: HashSet<String>,
}

impl OldNames {
    /// All names that are taken in the table's schema and in its statistics' schemas.
    async fn read(client: &Client, source: &Table) -> Result<OldNames> {
        let schemas: Vec<&str> = std::iter::once(&source.schema)
            .chain(source.statistics.iter().map(|s| &s.schema))
            .map(String::as_str)
            .collect();
        let text = "select relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = any($1) and relname like any($2)\n\
            union select stxname::text from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where n.nspname = any($1)";
        let likes = vec!["%\\_old%"];
        let rows = client
            .query(text, &[&schemas, &likes])
            .await
            .map_err(|e| server(e, "looking which names are free"))?;
        Ok(OldNames { taken: rows.iter().map(|r| r.get(0)).collect() })
    }

    fn of(&mut self, name: &str) -> String {
        let mut found = old_name(name);
        let mut n = 1;
        while !self.taken.insert(found.clone()) {
            found = derived("_", name, &format!("_old{n}"), NAME_BYTES_MAX);
            n += 1;
        }
        found
    }
}

/// What an index, sequence or statistics object of the old table is called, if nobody else is.
pub fn old_name(name: &str) -> String {
    derived("_", name, "_old", NAME_BYTES_MAX)
}

/// The statements of the swap, all of one transaction.
#[derive(Debug)]
pub struct Swap {
    /// What hinders nobody but other maintenance, before clients are locked out: renaming an index needs a lock on the index alone, of a
    /// kind that goes with reading and writing the table.
    pub before: Vec<String>,
    /// The rest, in one batch under an exclusive lock on source and shadow.
    pub locked: Vec<String>,
}

/// All statements of the swap.
///
/// # Errors
/// `Refused` if the source is gone.
pub async fn swap_statements(client: &Client, plan: &Plan, migration: i64) -> Result<Swap> {
    let detail = Detail::of(plan)?;
    let mut names = OldNames::read(client, &detail.source).await?;
    let mut swap = match &detail.later {
        None => rename_statements(plan, &detail, &mut names),
        Some(later) => {
            let (from, to) =
                (catalog::table(client, detail.source_oid).await?, comes_up(client, plan).await?);
            let mut swap = match &later.planned {
                Some(planned) => back::back_statements(plan, planned, (&to, &from), migration)?,
                None => back::forward_statements(plan, &detail, &mut names),
            };
            swap.before.extend(back::privileges_now(client, plan, &from, &to).await?);
            swap.locked.extend(back::carry_sequences(plan, &from, &to));
            if from.owner != to.owner {
                swap.locked.push(format!(
                    "alter table {} owner to {}",
                    table(&plan.source),
                    quote(&from.owner)
                ));
            }
            swap
        }
    };
    swap.locked.extend(owner_privileges(client, plan, &detail).await?);
    Ok(swap)
}

/// The table that gets the name, as it is now.
async fn comes_up(client: &Client, plan: &Plan) -> Result<Table> {
    let oid = catalog::resolve(client, &table(&plan.shadow), "").await?;
    catalog::table(client, oid).await
}

/// The part that follows from the plan alone.
pub fn rename_statements(plan: &Plan, detail: &Detail, names: &mut OldNames) -> Swap {
    let (source, after) = (&detail.source, &detail.shadow);
    let schema = source.schema.as_str();
    let rename = |kind: &str, schema: &str, from: &str, to: &str| {
        format!("alter {kind} {} rename to {}", qualified(schema, from), quote(to))
    };
    let mut before = Vec::new();
    before.extend(source.indexes.iter().map(|i| rename("index", schema, &i.name, &names.of(&i.name))));
    before.extend(
        source.statistics.iter().map(|s| rename("statistics", &s.schema, &s.name, &names.of(&s.name))),
    );
    for index in &after.indexes {
        let is_key = detail.shadow_key.index.as_deref() == Some(index.name.as_str());
        let now = if is_key { detail.shadow_key.name.clone() } else { name_now(&index.name) };
        before.push(rename("index", schema, &now, &index.name));
    }
    for s in &after.statistics {
        before.push(rename("statistics", &statistics_schema(source, s), &name_now(&s.name), &s.name));
    }
    let shadow = table(&plan.shadow);
    let comment = after.comment.as_deref().or(source.comment.as_deref());
    before.push(format!(
        "comment on table {shadow} is {}",
        comment.map_or_else(|| "null".to_string(), literal)
    ));

    let mut all = vec![rename("table", schema, &source.name, &plan.old.name)];
    let identities = source.sequences.iter().filter(|s| s.is_identity);
    let identities: Vec<(&Sequence, String)> = identities.map(|s| (s, names.of(&s.name))).collect();
    all.extend(identities.iter().map(|(s, old)| rename("sequence", &s.schema, &s.name, old)));

    all.push(rename("table", schema, &plan.shadow.name, &source.name));
    if detail.shadow_key.index.is_none() {
        all.push(format!("drop index {}", qualified(schema, &detail.shadow_key.name)));
    }
    for sequence in &after.sequences {
        let former = identities
            .iter()
            .find(|(s, _)| number_after(source, s.column) == Some(sequence.column) && sequence.is_identity);
        let name = former.map_or(sequence.name.as_str(), |(s, _)| s.name.as_str());
        all.push(rename("sequence", schema, &name_now(&sequence.name), name));
        if let Some((s, old)) = former {
            all.push(format!(
                "select pg_catalog.setval({}, last_value, is_called) from {}",
                literal(&qualified(schema, name)),
                qualified(&s.schema, old)
            ));
        }
    }
    all.extend(serial_statements(source, after));
    let table = source.quoted();
    for check in after.constraints.iter().filter(|c| c.kind == "c" && !c.validated) {
        all.push(add_check(&table, check));
        all.extend(twin::comment(
            &format!("constraint {} on {table}", quote(&check.name)),
            check.comment.as_deref(),
        ));
    }
    Swap { before, locked: all }
}

/// The number that a column of the source has in the twin, which numbers densely.
fn number_after(source: &Table, number: i16) -> Option<i16> {
    let place = source.columns.iter().position(|c| c.number == number)?;
    i16::try_from(place + 1).ok()
}

/// The sequences of `serial` columns go over to the new table, where the column is still there.
fn serial_statements(source: &Table, after: &Table) -> Vec<String> {
    let serials = source.sequences.iter().filter(|s| !s.is_identity);
    let moved = serials.filter_map(|s| {
        let column = after.numbered(number_after(source, s.column)?)?;
        Some(format!(
            "alter sequence {} owned by {}.{}",
            qualified(&s.schema, &s.name),
            source.quoted(),
            quote(&column.name)
        ))
    });
    moved.collect()
}

/// Autovacuum was off while rows were copied; now it is what it was.
fn autovacuum_statements(table: &str, after: &Table) -> Vec<String> {
    let set = |options: &[String], prefix: &str| {
        let own = options.iter().find(|o| o.starts_with("autovacuum_enabled="));
        match own {
            Some(option) => format!("alter table {table} set ({prefix}{})", twin::assignment(option)),
            None => format!("alter table {table} reset ({prefix}autovacuum_enabled)"),
        }
    };
    vec![set(&after.options, ""), set(&after.toast_options, "toast.")]
}

/// Everything that needs no exclusive lock: privileges, comments and marks. Run it after the indexes were built; it may be run again.
///
/// # Errors
/// `Transient` if the catalogs cannot be read now.
pub async fn before_swap_statements(client: &Client, plan: &Plan) -> Result<Vec<String>> {
    let detail = Detail::of(plan)?;
    let (source, after) = (&detail.source, &detail.shadow);
    let (shadow, schema) = (table(&plan.shadow), plan.shadow.schema.as_str());
    let mut all = privileges(client, plan, &detail).await?;
    // From here on the shadow may be kept in step for days.
    all.extend(autovacuum_statements(&shadow, after));
    all.extend(identity_statement(&shadow, after));
    for index in &after.indexes {
        let is_key = detail.shadow_key.index.as_deref() == Some(index.name.as_str());
        let now = if is_key { detail.shadow_key.name.clone() } else { name_now(&index.name) };
        all.extend(twin::index_extras(schema, &shadow, index, &now));
    }
    for c in after.constraints.iter().filter(|c| c.kind == "c" && c.validated) {
        all.extend(twin::comment(
            &format!("constraint {} on {shadow}", quote(&c.name)),
            c.comment.as_deref(),
        ));
    }
    for s in &after.statistics {
        let former = source.statistics.iter().find(|f| f.name == s.name);
        let now = qualified(&statistics_schema(source, s), &name_now(&s.name));
        all.extend(former.map(|f| format!("alter statistics {now} owner to {}", quote(&f.owner))));
        all.extend(twin::statistics_extras(s, &statistics_schema(source, s), &name_now(&s.name)));
    }
    if waits_for_identity(plan, &detail) {
        all.retain(|s| !is_about_identity(s));
    }
    Ok(all)
}

/// The replica identity, unless it is an index: that comes with the index, in one statement. In between there must never be none, for
/// the table may be published, and could not be written then.
fn identity_statement(name: &str, after: &Table) -> Option<String> {
    let identity = match after.identity.as_str() {
        "f" => "full",
        "n" => "nothing",
        "i" if after.indexes.iter().any(|i| i.replica_identity) => return None,
        _ => "default",
    };
    Some(format!("alter table {name} replica identity {identity}"))
}

/// The new table's own replica identity does not carry the key, so it comes when nothing is kept in step any more.
fn waits_for_identity(plan: &Plan, detail: &Detail) -> bool {
    plan.request.guard_s.is_some() && !detail.shadow_identity_has_key
}

fn is_about_identity(statement: &str) -> bool {
    statement.starts_with("alter table ") && statement.contains(" replica identity ")
}

/// What gives the new table its own replica identity in the end, where that could not be done before.
pub fn last_identity(plan: &Plan, detail: &Detail) -> Option<String> {
    if !waits_for_identity(plan, detail) {
        return None;
    }
    let (name, after) = (table(&plan.source), &detail.shadow);
    let identity = match after.identity.as_str() {
        "f" => "full".to_string(),
        "n" => "nothing".to_string(),
        "i" => format!("using index {}", quote(&after.indexes.iter().find(|i| i.replica_identity)?.name)),
        _ => "default".to_string(),
    };
    Some(format!("alter table only {name} replica identity {identity}"))
}

/// Grants of the source: grantee, privileges, with grant option, column if it is a column's.
const GRANTS: &str = "
with t as (select * from pg_class where oid = $1),
g as (
    select x.grantee, x.privilege_type, x.is_grantable, null::int2 as column
    from t cross join aclexplode(t.relacl) x where x.grantee <> t.relowner
    union all
    select x.grantee, x.privilege_type, x.is_grantable, a.attnum
    from t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    cross join aclexplode(a.attacl) x
)
select case when g.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end, g.privilege_type, g.is_grantable, g.column
from g order by 1, 4 nulls first, 2";

async fn privileges(client: &Client, plan: &Plan, detail: &Detail) -> Result<Vec<String>> {
    let mut all = grants(client, detail, detail.source_oid, &table(&plan.shadow)).await?;
    for sequence in &detail.shadow.sequences {
        let former = detail.source.sequences.iter().find(|s| {
            s.is_identity
                && sequence.is_identity
                && number_after(&detail.source, s.column) == Some(sequence.column)
        });
        if let Some(former) = former {
            let now = qualified(&plan.shadow.schema, &name_now(&sequence.name));
            all.extend(grants(client, detail, former.oid, &format!("sequence {now}")).await?);
        }
    }
    Ok(all)
}

async fn grants(client: &Client, detail: &Detail, oid: u32, target: &str) -> Result<Vec<String>> {
    let rows =
        client.query(GRANTS, &[&oid]).await.map_err(|e| server(e, "reading the table's privileges"))?;
    let statements = rows.iter().filter_map(|row| {
        let (grantee, privilege, may_grant): (&str, &str, bool) = (row.get(0), row.get(1), row.get(2));
        let columns = match row.get::<_, Option<i16>>(3) {
            None => String::new(),
            Some(number) => {
                let column = detail.shadow.numbered(number_after(&detail.source, number)?)?;
                format!(" ({})", quote(&column.name))
            }
        };
        let option = if may_grant { " with grant option" } else { "" };
        Some(format!("grant {privilege}{columns} on {target} to {grantee}{option}"))
    });
    Ok(statements.collect())
}

/// An owner who gave up privileges of his own gives them up on the new table too: in the swap, for we may be working under his name.
async fn owner_privileges(client: &Client, plan: &Plan, detail: &Detail) -> Result<Vec<String>> {
    let text = "select quote_ident(pg_get_userbyid(c.relowner)),\n\
        (select coalesce(array_agg(x.privilege_type order by 1), '{}') from aclexplode(c.relacl) x where x.grantee = c.relowner),\n\
        (select array_agg(x.privilege_type order by 1) from aclexplode(acldefault('r', c.relowner)) x where x.grantee = c.relowner)\n\
        from pg_class c where c.oid = $1 and c.relacl is not null";
    let row = client
        .query_opt(text, &[&detail.source_oid])
        .await
        .map_err(|e| server(e, "reading the owner's privileges"))?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let (owner, has, all): (&str, Vec<String>, Vec<String>) = (row.get(0), row.get(1), row.get(2));
    if all.iter().all(|p| has.contains(p)) {
        return Ok(Vec::new());
    }
    let target = table(&plan.source);
    let mut statements = vec![format!("revoke all on {target} from {owner}")];
    if !has.is_empty() {
        statements.push(format!("grant {} on {target} to {owner}", has.join(", ")));
    }
    Ok(statements)
}

/// What removes the old table. Ask the catalog first whether the table of that name is the one that was the source.
pub fn drop_old_statements(plan: &Plan) -> Vec<String> {
    vec![format!("drop table {}", table(&plan.old))]
}

/// The columns that the copy fills, and their expressions, for people.
pub fn columns_text(link: &Link) -> (String, String) {
    let filled = link.columns.iter().filter_map(|c| Some((c.column.as_str(), c.expression.as_deref()?)));
    let (names, values): (Vec<&str>, Vec<&str>) = filled.unzip();
    (crate::sql::quoted_list(names), values.join(", "))
}

#[cfg(test)]
mod tests;
