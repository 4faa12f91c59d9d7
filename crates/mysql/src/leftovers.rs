//! What dead runs left behind: unfinished migrations that nobody runs, and shadows and notes of migrations that are over.

use crate::{control::lock_name, error::server, prepare, sql::quote};
use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{
    Error, Phase, Result,
    engine::{Leftover, LeftoverKind},
    name::TableName,
    plan::Plan,
};

/// A migration, as far as it matters here.
struct Known {
    id: i64,
    table: TableName,
    phase: String,
    plan: String,
    idle: f64,
    notes: u64,
}

impl Known {
    fn is_over(&self) -> bool {
        self.phase.parse::<Phase>().is_ok_and(Phase::is_over)
    }
}

/// All of it. `name`: the control database.
///
/// # Errors
/// The server's.
pub async fn find(conn: &mut Conn, name: &str) -> Result<Vec<Leftover>> {
    let known = known(conn, name).await?;
    let mut found = Vec::new();
    for m in &known {
        let of = |kind, name: String, why: String, bytes| Leftover {
            kind,
            name,
            why,
            bytes,
            migration: Some(m.id),
            table: Some(m.table.clone()),
        };
        if !m.is_over() {
            let holder: Option<Option<u64>> = conn
                .exec_first("select is_used_lock(?)", (lock_name(name, &m.table),))
                .await
                .map_err(|e| server(e, "looking for a runner"))?;
            if holder.flatten().is_none() {
                let idle = m.idle / 60.0;
                let why = format!("unfinished (phase {}), and nobody has run it for {idle:.0} min", m.phase);
                found.push(of(LeftoverKind::Migration, format!("{} of {}", m.id, m.table), why, None));
            }
            continue;
        }
        // Another migration of the table makes tables of the same names.
        let is_busy = known.iter().any(|o| o.table == m.table && !o.is_over());
        if m.notes == 0 || is_busy {
            continue;
        }
        let why = format!("migration {} of {} is over ({})", m.id, m.table, m.phase);
        // A later one that was rolled back has kept its table, under the name that this one's had.
        let is_kept = known.iter().any(|o| o.table == m.table && o.id > m.id && o.phase == "rolledback");
        let plan = serde_json::from_str::<Plan>(&m.plan).ok();
        let plan = plan.filter(|_| m.phase == "aborted" && !is_kept);
        let bytes = match &plan {
            Some(plan) => size(conn, &plan.shadow).await?,
            None => None,
        };
        match (plan, bytes) {
            (Some(plan), Some(bytes)) => {
                found.push(of(LeftoverKind::Table, plan.shadow.to_string(), why, Some(bytes)));
            }
            _ => found.push(of(LeftoverKind::Rows, format!("of migration {}", m.id), why, None)),
        }
    }
    Ok(found)
}

/// Removes one of them, if it still is one.
///
/// # Errors
/// The server's; `Refused` if somebody uses it by now.
pub async fn remove(conn: &mut Conn, name: &str, leftover: &Leftover) -> Result<()> {
    let still = find(conn, name).await?;
    if !still.iter().any(|l| (l.kind, &l.name) == (leftover.kind, &leftover.name)) {
        return Err(Error::refused(format!(
            "{} is no longer left behind: somebody uses it, or removed it",
            leftover.name
        )));
    }
    let known = known(conn, name).await?;
    let Some(m) = known.iter().find(|m| Some(m.id) == leftover.migration) else { return Ok(()) };
    match leftover.kind {
        LeftoverKind::Table => {
            let plan: Plan = serde_json::from_str(&m.plan)
                .map_err(|e| Error::corrupt("the stored plan cannot be read").because(e))?;
            prepare::abort(conn, &plan, &quote(name), m.id).await
        }
        LeftoverKind::Rows => prepare::forget(conn, &quote(name), m.id).await,
        LeftoverKind::Slot | LeftoverKind::Publication | LeftoverKind::Migration => {
            Err(Error::refused(format!("{} cannot be removed like this", leftover.name)))
        }
    }
}

async fn size(conn: &mut Conn, table: &TableName) -> Result<Option<u64>> {
    let text = "select cast(coalesce(data_length, 0) + coalesce(index_length, 0) as unsigned) from information_schema.tables\n\
                where table_schema = ? and table_name = ?";
    conn.exec_first(text, (&table.schema, &table.name)).await.map_err(|e| server(e, "measuring a table"))
}

async fn known(conn: &mut Conn, name: &str) -> Result<Vec<Known>> {
    let there: Option<u8> = conn
        .exec_first(
            "select 1 from information_schema.tables where table_schema = ? and table_name = 'session'",
            (name,),
        )
        .await
        .map_err(|e| server(e, "looking for the control tables"))?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let control = quote(name);
    let text = format!(
        "select id, table_schema, table_name, phase, plan, cast(timestampdiff(second, updated_at, utc_timestamp()) as double),\n\
         (select count(*) from {control}.marker k where k.migration = m.id) + (select count(*) from {control}.session s where s.migration = m.id)\n\
         from {control}.migration m order by id"
    );
    let rows: Vec<Row> = conn.query(text).await.map_err(|e| server(e, "reading the migrations"))?;
    let read = |r: Row| -> Option<Known> {
        Some(Known {
            id: r.get_opt(0)?.ok()?,
            table: TableName::new(r.get_opt::<String, _>(1)?.ok()?, r.get_opt::<String, _>(2)?.ok()?),
            phase: r.get_opt(3)?.ok()?,
            plan: r.get_opt(4)?.ok()?,
            idle: r.get_opt(5)?.ok()?,
            notes: r.get_opt(6)?.ok()?,
        })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
