//! The shadow table: made, given its indexes, and removed.
//!
//! The shadow is the twin (see [`twin`]) with another name, in the source's schema. While rows are copied it has its key and NOT NULL,
//! nothing else; nobody but its owner may touch it. A comment says whose it is: a table of that name without it is never touched.

pub mod index;
pub mod twin;
pub mod violation;

use crate::{
    catalog::{self, Table},
    error::server,
    plan::Detail,
    sql::{literal, qualified, quote, run, table},
};
use index::{IndexKind, IndexStep, name_now};
use shadowswap_core::{
    error::{Error, Result},
    name::TableName,
    plan::Plan,
};
use tokio_postgres::Client;
use twin::Place;

/// The comment that makes a table ours.
pub fn marker(source_oid: u32, plan: &Plan, migration: i64) -> String {
    format!("shadowswap shadow of {source_oid} migration {}", crate::scope::tag(plan, migration))
}

/// Whether the shadow's name is taken, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Present {
    No,
    Ours(u32),
    Foreign,
}

async fn present(client: &Client, name: &TableName, marker: &str) -> Result<Present> {
    let text = "select c.oid, obj_description(c.oid, 'pg_class') from pg_class c\n\
        join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2";
    let row = client.query_opt(text, &[&name.schema, &name.name]).await;
    let row = row.map_err(|e| server(e, format_args!("looking for {name}")))?;
    Ok(match row {
        None => Present::No,
        Some(row) if row.get::<_, Option<&str>>(1) == Some(marker) => Present::Ours(row.get(0)),
        Some(_) => Present::Foreign,
    })
}

/// Makes the shadow, in one transaction. A shadow of this migration that is there already is left as it is.
///
/// Dropping the future may leave the transaction open: close the connection then.
///
/// # Errors
/// `Refused` if the source is not what was planned any more, or if another table has the shadow's name.
pub async fn create_shadow(client: &Client, plan: &Plan, migration: i64) -> Result<()> {
    let detail = Detail::of(plan)?;
    let marker = marker(detail.source_oid, plan, migration);
    match present(client, &plan.shadow, &marker).await? {
        Present::Ours(_) => return Ok(()),
        Present::Foreign => {
            return Err(Error::refused(format!(
                "{} is there already, and is not the shadow of this migration",
                plan.shadow
            ))
            .next("if nobody needs it, drop or rename it, then run again"));
        }
        Present::No => {}
    }
    run(client, "begin isolation level read committed; set local lock_timeout = '10s'").await?;
    let made = make(client, plan, &detail, migration, &marker).await;
    if made.is_err() {
        // The first error is the one to tell.
        drop(client.batch_execute("rollback").await);
        return made;
    }
    run(client, "commit").await.map_err(|e| e.while_trying("making the shadow"))
}

async fn make(client: &Client, plan: &Plan, detail: &Detail, migration: i64, marker: &str) -> Result<()> {
    let build = format!("shadowswap_build_{}", crate::scope::tag(plan, migration));
    let source = catalog::table(client, detail.source_oid).await?;
    if source.fingerprint() != plan.fingerprint {
        return Err(Error::refused(format!(
            "the definition of {} is not the planned one any more",
            plan.source
        ))
        .next("plan again"));
    }
    run(client, &format!("create schema {}", quote(&build))).await?;
    let bodies = crate::plan::bodies(&plan.request)?;
    let twin =
        twin::build(client, &Place::Schema(build.clone()), &source, bodies, &detail.search_path).await?;
    same_result(&detail.shadow, twin.after())?;
    for statement in trim_statements(plan, detail, twin.after(), &build) {
        run(client, &statement).await.map_err(|e| e.while_trying("making the shadow"))?;
    }
    hide(client, plan).await?;
    let shadow = table(&plan.shadow);
    run(client, &format!("comment on table {shadow} is {}", literal(marker))).await?;
    run(client, &format!("drop schema {}", quote(&build))).await
}

/// The server must have done again what it did when the plan was made.
fn same_result(planned: &Table, made: &Table) -> Result<()> {
    let columns = |t: &Table| {
        t.columns.iter().map(|c| (c.name.clone(), c.type_name.clone(), c.number)).collect::<Vec<_>>()
    };
    let indexes = |t: &Table| t.indexes.iter().map(|i| (i.name.clone(), i.tail.clone())).collect::<Vec<_>>();
    if columns(planned) == columns(made) && indexes(planned) == indexes(made) {
        return Ok(());
    }
    Err(Error::refused("the change does not give the same table now as when it was planned")
        .next("plan again"))
}

/// Takes from the twin what is built later, and gives it the shadow's names and place.
fn trim_statements(plan: &Plan, detail: &Detail, after: &Table, build: &str) -> Vec<String> {
    let twin = qualified(build, &after.name);
    let mut all = Vec::new();
    for check in after.constraints.iter().filter(|c| c.kind == "c") {
        all.push(format!("alter table {twin} drop constraint {}", quote(&check.name)));
    }
    for index in after.indexes.iter().filter(|i| Some(i.name.as_str()) != detail.shadow_key.index.as_deref())
    {
        all.push(match &index.constraint {
            Some(_) => format!("alter table {twin} drop constraint {}", quote(&index.name)),
            None => format!("drop index {}", qualified(build, &index.name)),
        });
    }
    all.extend(after.statistics.iter().map(|s| format!("drop statistics {}", qualified(&s.schema, &s.name))));
    let key = quote(&detail.shadow_key.name);
    match &detail.shadow_key.index {
        Some(index) => all.push(format!("alter index {} rename to {key}", qualified(build, index))),
        None => {
            let columns = crate::sql::quoted_list(plan.link.key.iter().map(|k| k.to.as_str()));
            all.push(format!("create unique index {key} on {twin} ({columns})"));
        }
    }
    for s in &after.sequences {
        all.push(format!(
            "alter sequence {} rename to {}",
            qualified(&s.schema, &s.name),
            quote(&name_now(&s.name))
        ));
    }
    all.push(format!("alter table {twin} rename to {}", quote(&plan.shadow.name)));
    let moved = qualified(build, &plan.shadow.name);
    all.push(format!("alter table {moved} set schema {}", quote(&plan.shadow.schema)));
    let shadow = table(&plan.shadow);
    all.push(format!(
        "alter table {shadow} set (autovacuum_enabled = false, toast.autovacuum_enabled = false)"
    ));
    all.push(format!("alter table {shadow} owner to {}", quote(&detail.source.owner)));
    if plan.request.guard_s.is_some() {
        // In a publication from its first row on: without the key in its changes, it could not be written.
        all.push(format!("alter table {shadow} replica identity using index {key}"));
    }
    all
}

/// Takes away what default privileges gave to others.
async fn hide(client: &Client, plan: &Plan) -> Result<()> {
    let text = "select distinct case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end\n\
        from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join aclexplode(c.relacl) x\n\
        where n.nspname = $1 and c.relname = $2 and x.grantee <> c.relowner";
    let rows = client.query(text, &[&plan.shadow.schema, &plan.shadow.name]).await;
    let rows = rows.map_err(|e| server(e, "reading the shadow's privileges"))?;
    for row in rows {
        run(client, &format!("revoke all on {} from {}", table(&plan.shadow), row.get::<_, &str>(0))).await?;
    }
    Ok(())
}

/// The steps that were not done yet.
///
/// Each step is one transaction, so that its name is there or it was not done.
pub async fn missing_steps(client: &Client, plan: &Plan, detail: &Detail) -> Result<Vec<IndexStep>> {
    let text = "with t as (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2)\n\
        select x.relname::text, 'i' from t join pg_index i on i.indrelid = t.oid join pg_class x on x.oid = i.indexrelid where i.indisvalid\n\
        union all select c.conname::text, 'c' from t join pg_constraint c on c.conrelid = t.oid\n\
        union all select s.stxname::text, 's' from t join pg_statistic_ext s on s.stxrelid = t.oid";
    let rows = client.query(text, &[&plan.shadow.schema, &plan.shadow.name]).await;
    let rows = rows.map_err(|e| server(e, "looking what the shadow has"))?;
    let is_there = |name: &str, kind: &str| {
        rows.iter().any(|r| r.get::<_, &str>(0) == name && r.get::<_, &str>(1) == kind)
    };
    let missing = detail.index_steps.iter().filter(|s| {
        let kind = match s.kind {
            IndexKind::Check => "c",
            IndexKind::Statistics => "s",
            IndexKind::Index | IndexKind::Unique | IndexKind::Primary | IndexKind::Exclusion => "i",
        };
        !is_there(&s.name_now, kind)
    });
    Ok(missing.cloned().collect())
}

/// What removes the shadow, if there is one of this migration.
pub async fn abort_statements(client: &Client, plan: &Plan, migration: i64) -> Result<Vec<String>> {
    let detail = Detail::of(plan)?;
    Ok(match present(client, &plan.shadow, &marker(detail.source_oid, plan, migration)).await? {
        Present::Ours(_) => vec![format!("drop table {}", table(&plan.shadow))],
        Present::No | Present::Foreign => Vec::new(),
    })
}
