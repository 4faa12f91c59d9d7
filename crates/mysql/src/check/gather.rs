//! Gathers the facts.

use super::{Facts, grants::Grants};
use crate::{catalog::Table, error::server as server_error, flavor::Server};
use mysql_async::{Conn, Row, Value, prelude::Queryable};
use shadowswap_core::{
    error::{Error, Result},
    name::TableName,
};
use std::collections::HashMap;

const VARIABLES: &str = "show global variables where Variable_name in ('log_bin', 'binlog_format', 'binlog_row_image', \
    'binlog_row_value_options', 'binlog_transaction_compression', 'read_only', 'super_read_only', 'innodb_read_only', 'sql_require_primary_key', 'wsrep_on', \
    'log_slave_updates', 'log_replica_updates', 'gtid_mode', 'group_replication_group_name', \
    'group_replication_single_primary_mode', 'binlog_expire_logs_seconds', 'expire_logs_days', 'innodb_file_per_table')";

const TABLE: &str = "select TABLE_NAME, TABLE_TYPE, TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH from information_schema.TABLES \
    where TABLE_SCHEMA = ? and TABLE_NAME = ?";

const KEYS: &str = "select CONSTRAINT_NAME, CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME \
    from information_schema.REFERENTIAL_CONSTRAINTS \
    where (CONSTRAINT_SCHEMA = ? and TABLE_NAME = ?) or (UNIQUE_CONSTRAINT_SCHEMA = ? and REFERENCED_TABLE_NAME = ?)";

const TRIGGERS: &str = "select TRIGGER_NAME, EVENT_OBJECT_TABLE from information_schema.TRIGGERS \
    where EVENT_OBJECT_SCHEMA = ? and EVENT_OBJECT_TABLE = ?";

const VIEWS: &str = "select concat(TABLE_SCHEMA, '.', TABLE_NAME) from information_schema.VIEWS \
    where locate(?, VIEW_DEFINITION) > 0";

const TAKEN: &str =
    "select TABLE_NAME from information_schema.TABLES where TABLE_SCHEMA = ? and TABLE_NAME in (?, ?, ?)";

/// Name, type, rows, bytes of the rows, bytes of the indexes.
type TableRow = (String, String, Option<u64>, Option<u64>, Option<u64>);

/// Gathers the facts. What we may not see is left out: the check of privileges tells it.
///
/// # Errors
/// What the server answers.
pub async fn gather(
    conn: &mut Conn,
    server: &Server,
    source: Table,
    shadow: TableName,
    old: TableName,
    control: &str,
) -> Result<Facts> {
    let what = "looking at the server and what hangs on the table";
    let tell = |e| server_error(e, what);
    if !server.is_mariadb() && server.version.0 >= 8 {
        // Else sizes and counters are up to a day old.
        conn.query_drop("set information_schema_stats_expiry = 0").await.map_err(tell)?;
    }
    let variables: Vec<(String, String)> = conn.query(VARIABLES).await.map_err(tell)?;
    let variables: HashMap<_, _> = variables.into_iter().map(|(n, v)| (n.to_ascii_lowercase(), v)).collect();
    let user: Option<String> = conn.query_first("select current_user()").await.map_err(tell)?;
    let grants = grants(conn, server).await?;
    let name = TableName::new(&source.schema, &source.name);
    let rows: Vec<TableRow> = conn.exec(TABLE, (&name.schema, &name.name)).await.map_err(tell)?;
    let row = rows.into_iter().find(|r| r.0 == name.name);
    let (_, kind, rows, table_bytes, index_bytes) =
        row.ok_or_else(|| Error::refused(format!("table {name} is gone")))?;
    let sentry = crate::cutover::sentry(&name);
    let Tied { keys_out, keys_in, triggers } = tied(conn, &name).await?;
    let views: Vec<String> = conn.exec(VIEWS, (crate::sql::table(&name),)).await.map_err(tell)?;
    let taken: Vec<String> =
        conn.exec(TAKEN, (&name.schema, &shadow.name, &old.name, &sentry.name)).await.map_err(tell)?;
    // Not from information_schema.PROCESSLIST: MySQL fails there (3854) as long as any statement has a character of four bytes in it.
    let sessions: Vec<Row> = conn.query("show processlist").await.map_err(tell)?;
    let command = |row: &Row| row.get::<Option<String>, _>("Command").flatten().unwrap_or_default();
    let dumps = sessions.iter().filter(|row| command(row).starts_with("Binlog Dump")).count();
    // Without PROCESS, the sessions of others are not shown; readers that never registered are in no list.
    let (registered, ours) = crate::replica::registered(conn, server, control).await?;
    let replicas = registered.len().max(dumps.saturating_sub(ours)) as u64;
    let is_replica = is_replica(conn, server).await?;
    let filters = filters(conn, server).await?;
    Ok(Facts {
        server: server.clone(),
        user: user.unwrap_or_default(),
        variables,
        grants,
        source,
        shadow,
        old,
        sentry,
        control: control.to_string(),
        kind,
        rows: rows.unwrap_or(0),
        table_bytes: table_bytes.unwrap_or(0),
        index_bytes: index_bytes.unwrap_or(0),
        keys_out,
        keys_in,
        triggers,
        views,
        replicas,
        is_replica,
        filters,
        taken,
    })
}

/// Our grants, with those of the roles that are active.
async fn grants(conn: &mut Conn, server: &Server) -> Result<Grants> {
    let what = "reading what this user may do";
    let roles: Option<Option<String>> =
        conn.query_first("select current_role()").await.map_err(|e| server_error(e, what))?;
    // MySQL gives a quoted list, or NONE; MariaDB shows the role's grants without being asked.
    let roles = roles.flatten().filter(|r| !server.is_mariadb() && r.contains('`'));
    let text = match roles {
        Some(roles) => format!("show grants for current_user() using {roles}"),
        None => "show grants".to_string(),
    };
    let lines: Vec<String> = conn.query(text).await.map_err(|e| server_error(e, what))?;
    Ok(Grants::read(&lines))
}

/// `None`: the answer is refused for want of a privilege, or unknown to this version.
async fn ask(conn: &mut Conn, text: &str) -> Result<Option<Vec<Row>>> {
    match conn.query(text).await {
        Ok(rows) => Ok(Some(rows)),
        Err(mysql_async::Error::Server(_)) => Ok(None),
        Err(e) => Err(server_error(e, text)),
    }
}

async fn is_replica(conn: &mut Conn, server: &Server) -> Result<bool> {
    let text = if !server.is_mariadb() && server.version >= (8, 0, 22) {
        "show replica status"
    } else {
        "show slave status"
    };
    Ok(ask(conn, text).await?.is_some_and(|rows| !rows.is_empty()))
}

/// `--binlog-do-db` and `--binlog-ignore-db`.
async fn filters(conn: &mut Conn, server: &Server) -> Result<Option<(Vec<String>, Vec<String>)>> {
    let text = if !server.is_mariadb() && server.version >= (8, 2, 0) {
        "show binary log status"
    } else {
        "show master status"
    };
    let Some(rows) = ask(conn, text).await? else { return Ok(None) };
    let Some(row) = rows.first() else { return Ok(Some((Vec::new(), Vec::new()))) };
    let list = |at: usize| match row.as_ref(at) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes)
            .split(',')
            .map(|n| n.trim().to_string())
            .filter(|n| !n.is_empty())
            .collect(),
        Some(_) | None => Vec::new(),
    };
    Ok(Some((list(2), list(3))))
}

/// What is tied to a table itself and not to its name, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tied {
    /// Foreign keys of the table.
    pub keys_out: Vec<String>,
    /// Foreign keys to the table.
    pub keys_in: Vec<String>,
    /// Its triggers.
    pub triggers: Vec<String>,
}

/// Looks for what is tied to a table.
///
/// # Errors
/// The server's.
pub async fn tied(conn: &mut Conn, name: &TableName) -> Result<Tied> {
    let tell = |e| server_error(e, format!("looking for what is tied to {name}"));
    let keys: Vec<(String, String, String, String, String)> =
        conn.exec(KEYS, (&name.schema, &name.name, &name.schema, &name.name)).await.map_err(tell)?;
    let is_same = |schema: &str, table: &str| schema == name.schema && table == name.name;
    let outgoing = keys.iter().filter(|k| is_same(&k.1, &k.2));
    let incoming = keys.iter().filter(|k| is_same(&k.3, &k.4) && !is_same(&k.1, &k.2));
    let triggers: Vec<(String, String)> =
        conn.exec(TRIGGERS, (&name.schema, &name.name)).await.map_err(tell)?;
    Ok(Tied {
        keys_out: outgoing.map(|k| format!("{} (to {}.{})", k.0, k.3, k.4)).collect(),
        keys_in: incoming.map(|k| format!("{} (of {}.{})", k.0, k.1, k.2)).collect(),
        triggers: triggers.into_iter().filter(|t| t.1 == name.name).map(|t| t.0).collect(),
    })
}
