//! What must hold before a run, and what is worth telling.
//!
//! Facts are gathered in two statements; each check is a pure function over them. A change that is carried out in place needs only the
//! general ones.

mod alter;
mod dependents;
mod names;
mod privilege;
mod replication;
mod server;
mod size;
mod table;

use crate::{catalog::Table, error::server as server_error, sql::set_search_path};
use serde::Deserialize;
use shadowswap_core::{
    error::{Error, Result},
    name::TableName,
    plan::Finding,
};
use tokio_postgres::{Client, types::Json};

pub use self::size::size;
pub use self::{
    alter::{duplicates, read, references, restarts},
    dependents::list as dependents_list,
};

/// The server, and us on it.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerFacts {
    pub version: String,
    pub version_num: i32,
    pub is_standby: bool,
    pub wal_level: String,
    pub slots_max: i64,
    pub slots: i64,
    pub senders_max: i64,
    pub senders: i64,
    pub sync_standbys: String,
    pub slot_keep_mb: Option<String>,
    pub slot_idle_timeout: Option<String>,
    pub counts_scans: bool,
    pub user: String,
    pub is_superuser: bool,
    pub may_replicate: bool,
    pub may_replicate_as: Option<String>,
    pub provider: Option<String>,
    pub database: String,
    pub may_create: bool,
    pub may_temp: bool,
    pub event_triggers: Vec<String>,
    pub prepared: Vec<Prepared>,
    pub long_transactions: Vec<LongTransaction>,
}

/// A prepared transaction.
#[derive(Clone, Debug, Deserialize)]
pub struct Prepared {
    pub gid: String,
    pub database: String,
    pub seconds: i64,
}

/// A transaction that has been open for long.
#[derive(Clone, Debug, Deserialize)]
pub struct LongTransaction {
    pub pid: i32,
    pub app: String,
    pub state: String,
    pub seconds: i64,
}

/// What hangs on the table.
#[derive(Clone, Debug, Deserialize)]
pub struct TableFacts {
    pub rows: i64,
    pub table_bytes: i64,
    pub index_bytes: i64,
    pub heap_bytes: i64,
    pub frozen_age: i64,
    pub freeze_age_max: i64,
    pub owns: bool,
    pub may_create: bool,
    pub owner_may_create: bool,
    pub may_read: bool,
    pub views: Vec<String>,
    pub functions: Vec<String>,
    pub others: Vec<String>,
    pub keys_out: Vec<String>,
    pub keys_in: Vec<String>,
    pub publications: Vec<String>,
    pub publications_all: Vec<String>,
    pub statistics_of_others: Vec<String>,
    pub extension: Option<String>,
    pub labels: Vec<String>,
    pub shadow_comment: Option<String>,
    pub old_comment: Option<String>,
}

/// Everything the checks look at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The server.
    pub server: ServerFacts,
    /// What hangs on the table.
    pub table: TableFacts,
    /// The table's definition.
    pub source: Table,
    /// The shadow's name.
    pub shadow: TableName,
    /// The old table's name.
    pub old: TableName,
}

/// Gathers the facts.
pub async fn gather(client: &Client, source: Table, shadow: TableName, old: TableName) -> Result<Facts> {
    let path = set_search_path(client, "", false).await?;
    let gathered = documents(client, &source, &shadow, &old).await;
    set_search_path(client, &path, false).await?;
    let (server, table) = gathered?;
    Ok(Facts { server, table, source, shadow, old })
}

async fn documents(
    client: &Client,
    source: &Table,
    shadow: &TableName,
    old: &TableName,
) -> Result<(ServerFacts, TableFacts)> {
    let row = client.query_one(include_str!("sql/server.sql"), &[]).await;
    let row = row.map_err(|e| server_error(e, "looking at the server"))?;
    let Json(server) = row.try_get(0).map_err(|e| server_error(e, "looking at the server"))?;
    let text = include_str!("sql/dependents.sql");
    let row = client.query_opt(text, &[&source.oid, &shadow.name, &old.name]).await;
    let row = row.map_err(|e| server_error(e, "looking what depends on the table"))?;
    let row =
        row.ok_or_else(|| Error::refused(format!("table {}.{} is gone", source.schema, source.name)))?;
    let Json(table) = row.try_get(0).map_err(|e| server_error(e, "looking what depends on the table"))?;
    Ok((server, table))
}

/// Asked whenever a stream is opened: the setting may have changed since the plan, also for a moment, as by a cluster manager that waits for
/// a standby.
///
/// # Errors
/// `Transient` if clients' commits would wait for our stream.
pub async fn stream_is_no_standby(client: &Client) -> Result<()> {
    let row = client.query_one("select current_setting('synchronous_standby_names')", &[]).await;
    let names: String = row.map_err(|e| server_error(e, "asking which standbys count"))?.get(0);
    match replication::waited_for(&names) {
        Some((message, next)) => Err(Error::transient(message).next(next)),
        None => Ok(()),
    }
}

/// What is tied to the table now and would stay with it in a swap; empty: nothing.
pub async fn tied(client: &Client, source: Table, shadow: TableName, old: TableName) -> Result<Vec<Finding>> {
    let facts = gather(client, source, shadow, old).await?;
    let mut found = dependents::check(&facts);
    found.retain(|f| f.severity == shadowswap_core::plan::Severity::Refused);
    Ok(found)
}

/// What any change needs. If one of these is refused, the change was not tried on a copy.
pub fn general(facts: &Facts) -> Vec<Finding> {
    [server::general(facts), table::kind(facts), privilege::general(facts)].concat()
}

/// What a shadow needs besides.
pub fn shadow(facts: &Facts) -> Vec<Finding> {
    let checks = [
        replication::check,
        privilege::shadow,
        dependents::check,
        table::shadow,
        names::check,
        server::transactions,
        size::check,
    ];
    checks.iter().flat_map(|check| check(facts)).collect()
}

/// Names the first few of many.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// A duration as people say it.
fn ago(seconds: i64) -> String {
    match seconds {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}
