//! What dead runs left behind: slots first, for they have the server keep its WAL.
//!
//! Only what has one of our names and belongs to no unfinished migration is one, and a table only if it carries our mark, too.

use crate::{
    error::server,
    scope, shadow,
    sql::{quote, table},
};
use shadowswap_core::{
    Error, Phase, Result,
    engine::{Leftover, LeftoverKind},
    name::TableName,
    plan::Plan,
};
use tokio_postgres::Client;

/// A migration, as far as it matters here.
struct Known {
    id: i64,
    table: TableName,
    phase: String,
    plan: String,
    is_run: bool,
    idle: f64,
}

impl Known {
    fn is_over(&self) -> bool {
        self.phase.parse::<Phase>().is_ok_and(Phase::is_over)
    }
}

/// All of it. `control`: the control schema, quoted.
///
/// # Errors
/// The server's.
pub async fn find(client: &Client, control: &str) -> Result<Vec<Leftover>> {
    let known = known(client, control).await?;
    let text = "select slot_name, active, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint,\n\
                (select oid from pg_database where datname = current_database()) from pg_replication_slots\n\
                where database = current_database() and slot_type = 'logical' and slot_name like 'shadowswap\\_%'";
    let slots = client.query(text, &[]).await.map_err(|e| server(e, "looking at the replication slots"))?;
    let mut found = Vec::new();
    let ours = Ours::of(client, control).await?;
    for row in &slots {
        let (name, active, bytes): (String, bool, i64) = (row.get(0), row.get(1), row.get(2));
        let oid: u32 = row.get(3);
        let Some(id) = name.strip_prefix(&format!("shadowswap_{oid}_")).and_then(|tag| ours.number(tag))
        else {
            continue;
        };
        let migration = known.iter().find(|m| m.id == id);
        if active || migration.is_some_and(|m| !m.is_over()) {
            continue;
        }
        found.push(leftover(LeftoverKind::Slot, name, why(id, migration), Some(bytes), id, migration));
    }
    let text =
        "select pubname from pg_publication where pubname ~ '^shadowswap_(c[0-9a-f]{7}_)?[0-9]+(_back)?$'";
    let publications = client.query(text, &[]).await.map_err(|e| server(e, "looking at the publications"))?;
    for row in &publications {
        let name: String = row.get(0);
        let tag = name.strip_prefix("shadowswap_").map(|tag| tag.strip_suffix("_back").unwrap_or(tag));
        let Some(id) = tag.and_then(|tag| ours.number(tag)) else { continue };
        let migration = known.iter().find(|m| m.id == id);
        if migration.is_none_or(Known::is_over) {
            found.push(leftover(LeftoverKind::Publication, name, why(id, migration), None, id, migration));
        }
    }
    for m in known.iter().filter(|m| m.phase == "aborted") {
        // Of another version, or of a plan that never got so far.
        let Ok(plan) = serde_json::from_str::<Plan>(&m.plan) else { continue };
        if ours.number(&scope::tag(&plan, m.id)).is_none() {
            continue;
        }
        let Ok(statements) = shadow::abort_statements(client, &plan, m.id).await else { continue };
        if !statements.is_empty() {
            let text = "select pg_total_relation_size(to_regclass($1))";
            let row = client.query_one(text, &[&table(&plan.shadow)]).await;
            let bytes = row.map_err(|e| server(e, "measuring a table"))?.get::<_, Option<i64>>(0);
            let name = plan.shadow.to_string();
            found.push(leftover(LeftoverKind::Table, name, why(m.id, Some(m)), bytes, m.id, Some(m)));
        }
    }
    for m in known.iter().filter(|m| !m.is_over() && !m.is_run) {
        let tag = serde_json::from_str::<Plan>(&m.plan)
            .map_or_else(|_| m.id.to_string(), |plan| scope::tag(&plan, m.id));
        let is_its = |row: &&tokio_postgres::Row| {
            row.get::<_, String>(0) == format!("shadowswap_{}_{tag}", row.get::<_, u32>(3))
        };
        let bytes = slots.iter().find(is_its);
        let bytes = bytes.map(|row| row.get::<_, i64>(2));
        let why =
            format!("unfinished (phase {}), and nobody has run it for {:.0} min", m.phase, m.idle / 60.0);
        let name = format!("{} of {}", m.id, m.table);
        found.push(leftover(LeftoverKind::Migration, name, why, bytes, m.id, Some(m)));
    }
    Ok(found)
}

/// Removes one of them, if it still is one.
///
/// # Errors
/// The server's; `Refused` if somebody uses it by now.
pub async fn remove(client: &Client, control: &str, leftover: &Leftover) -> Result<()> {
    let still = find(client, control).await?;
    if !still.iter().any(|l| (l.kind, &l.name) == (leftover.kind, &leftover.name)) {
        return Err(Error::refused(format!(
            "{} is no longer left behind: somebody uses it, or removed it",
            leftover.name
        )));
    }
    let what = format!("removing {}", leftover.name);
    match leftover.kind {
        LeftoverKind::Slot => {
            let dropped = client.execute("select pg_drop_replication_slot($1)", &[&leftover.name]).await;
            dropped.map(drop).map_err(|e| server(e, what))
        }
        LeftoverKind::Publication => {
            let text = format!("drop publication if exists {}", quote(&leftover.name));
            client.batch_execute(&text).await.map_err(|e| server(e, what))
        }
        LeftoverKind::Table => {
            let known = known(client, control).await?;
            let plan = known.iter().find(|m| Some(m.id) == leftover.migration).map(|m| &m.plan);
            let Some(Ok(plan)) = plan.map(|text| serde_json::from_str::<Plan>(text)) else { return Ok(()) };
            let Some(id) = leftover.migration else { return Ok(()) };
            for statement in shadow::abort_statements(client, &plan, id).await? {
                client.batch_execute(&statement).await.map_err(|e| server(e, &what))?;
            }
            Ok(())
        }
        LeftoverKind::Migration | LeftoverKind::Rows => {
            Err(Error::refused(format!("{} cannot be removed like this", leftover.name)))
        }
    }
}

fn leftover(
    kind: LeftoverKind,
    name: String,
    why: String,
    bytes: Option<i64>,
    id: i64,
    migration: Option<&Known>,
) -> Leftover {
    let bytes = bytes.map(|b| b.max(0) as u64);
    Leftover { kind, name, why, bytes, migration: Some(id), table: migration.map(|m| m.table.clone()) }
}

fn why(id: i64, migration: Option<&Known>) -> String {
    match migration {
        Some(m) => format!("migration {id} of {} is over ({})", m.table, m.phase),
        None => format!("no migration {id} is known"),
    }
}

/// Which names are this control schema's.
struct Ours {
    scope: String,
    /// No other control schema can have made names without anything added.
    is_alone: bool,
}

impl Ours {
    async fn of(client: &Client, control: &str) -> Result<Ours> {
        let name = scope::unquoted(control);
        let text = "select n.nspname::text from pg_namespace n where n.nspname <> $1 and 6 = (\n\
                    select count(*) from pg_class c where c.relnamespace = n.oid and c.relkind = 'r'\n\
                    and c.relname in ('version', 'migration', 'checkpoint', 'chunk', 'event', 'command'))";
        let others = client.query(text, &[&name]).await;
        let mut is_alone = true;
        for row in others.map_err(|e| server(e, "looking for other control schemas"))? {
            let other: String = row.get(0);
            // Those without anything added are of the default schema, or of a version that added nothing. What cannot be read may be one.
            let text = format!(
                "select exists (select from {}.migration where coalesce(plan::json -> 'detail' ->> 'scope', '') = '')",
                quote(&other)
            );
            let has_none = client.query_one(&text, &[]).await.is_ok_and(|row| !row.get::<_, bool>(0));
            if !has_none {
                is_alone = false;
                tracing::warn!(
                    "the schema {other} has control tables, too: slots, publications and shadows that may be its own are left alone"
                );
            }
        }
        Ok(Ours { scope: scope::of(&name), is_alone })
    }

    /// The migration's number, if what stands in a name is one of ours.
    fn number(&self, tag: &str) -> Option<i64> {
        let (number, is_ours) = match tag.strip_prefix(&self.scope).filter(|_| !self.scope.is_empty()) {
            Some(number) => (number, true),
            None => (tag, self.is_alone),
        };
        number.parse().ok().filter(|_| is_ours)
    }
}

async fn known(client: &Client, control: &str) -> Result<Vec<Known>> {
    let scope = scope::of(&scope::unquoted(control));
    let there =
        client.query_one("select to_regclass($1) is not null", &[&format!("{control}.migration")]).await;
    if !there.map_err(|e| server(e, "looking for the control tables"))?.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let text = format!(
        "select id, table_schema, table_name, phase, plan, extract(epoch from clock_timestamp() - updated_at)::float8,\n\
         exists (select from pg_stat_activity where application_name like 'shadowswap/% #{scope}' || id and datname = current_database())\n\
         from {control}.migration order by id"
    );
    let rows = client.query(&text, &[]).await.map_err(|e| server(e, "reading the migrations"))?;
    Ok(rows
        .iter()
        .map(|r| Known {
            id: r.get(0),
            table: TableName::new(r.get::<_, String>(1), r.get::<_, String>(2)),
            phase: r.get(3),
            plan: r.get(4),
            idle: r.get(5),
            is_run: r.get(6),
        })
        .collect())
}
