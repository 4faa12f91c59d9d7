//! Which version the control tables have, and how they come to this one.

use crate::{
    error::server,
    sql::{literal, quote},
};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Result, control::SCHEMA_VERSION};

/// The version that is written there; `None`: there are no tables, or another first run is making them, whose version comes last.
pub async fn written(conn: &mut Conn, name: &str) -> Result<Option<i32>> {
    let found: Option<u8> = conn
        .exec_first(
            "select 1 from information_schema.tables where table_schema = ? and table_name = 'version'",
            (name,),
        )
        .await
        .map_err(|e| server(e, format_args!("looking for the control tables in database {name}")))?;
    if found.is_none() {
        return Ok(None);
    }
    let version: Option<Option<i32>> = conn
        .query_first(format!("select max(version) from {}.version", quote(name)))
        .await
        .map_err(|e| server(e, "reading the control tables' version"))?;
    Ok(version.flatten())
}

/// Makes the tables.
pub async fn make(conn: &mut Conn, name: &str) -> Result<()> {
    let schema = quote(name);
    let mut statements = vec![format!("create database if not exists {schema}")];
    statements.extend(split(include_str!("../sql/control.sql"), &schema));
    statements.extend(split(include_str!("../sql/steer.sql"), &schema));
    statements.push(format!(
        "insert into {schema}.version select {SCHEMA_VERSION} from dual where not exists (select 1 from {schema}.version)"
    ));
    let next = format!(
        "grant this user all privileges on {schema}.*, or make that database for it, or name another with --control-schema"
    );
    alone(conn, statements).await.map_err(|e| {
        e.while_trying(format_args!("making the control tables in database {name}")).next(next)
    })?;
    view(conn, &schema).await;
    Ok(())
}

/// The statements of a text.
fn split(text: &str, schema: &str) -> Vec<String> {
    let text = text.replace("{control}", schema);
    text.split(';').map(|s| s.trim().to_string()).filter(|s| !s.is_empty()).collect()
}

/// The view for applications is a convenience: a user who may not create views makes all the rest.
async fn view(conn: &mut Conn, schema: &str) {
    let text = include_str!("../sql/state.sql").replace("{control}", schema);
    if let Err(e) = conn.query_drop(text).await {
        tracing::warn!(error = %e, "the view {schema}.state could not be made; grant CREATE VIEW to have it");
    }
}

/// Brings tables of an older version to this one. DDL commits by itself here: what an earlier try has done is seen by its columns, and the
/// version comes last.
pub async fn upgrade(conn: &mut Conn, name: &str) -> Result<()> {
    let schema = quote(name);
    let what = format!("bringing the control tables in database {name} to version {SCHEMA_VERSION}");
    let found: Vec<String> = conn
        .exec(
            "select concat(table_name, '.', column_name) from information_schema.columns where table_schema = ? and column_name in ('turn', 'guard_from')",
            (name,),
        )
        .await
        .map_err(|e| server(e, &what))?;
    let lacks = |column: &str| found.iter().all(|f| f != column);
    let mut statements = Vec::new();
    if lacks("migration.turn") {
        statements.push(format!(
            "alter table {schema}.migration add column turn bigint not null default 0, add column swap_position longtext,\n\
             add column guard_until datetime(3), modify column unfinished tinyint\n\
             generated always as (case when phase in ('done', 'aborted', 'rolledback') then null else 1 end) stored"
        ));
    }
    if lacks("migration.guard_from") {
        statements.push(format!("alter table {schema}.migration add column guard_from datetime(3)"));
        // Before version 3 a guard did not know when it had begun, only when it ends.
        statements.push(format!(
            "update {schema}.migration set guard_from = guard_until - interval cast(json_extract(plan, '$.request.guard_s') as unsigned) second\n\
             where guard_until > utc_timestamp(3)"
        ));
    }
    if lacks("checkpoint.turn") {
        statements.push(format!("alter table {schema}.checkpoint add column turn bigint not null default 0"));
    }
    statements.extend(split(include_str!("../sql/steer.sql"), &schema));
    statements.push(format!("update {schema}.version set version = {SCHEMA_VERSION}"));
    alone(conn, statements).await.map_err(|e| e.while_trying(what))?;
    view(conn, &schema).await;
    Ok(())
}

/// Two first runs at once: the lock lets one do this, and the other find it done.
async fn alone(conn: &mut Conn, statements: Vec<String>) -> Result<()> {
    let lock = literal(crate::plan::twin::DATABASE_LOCK);
    let taken: Option<Option<u8>> = conn
        .query_first(format!("select get_lock({lock}, 30)"))
        .await
        .map_err(|e| server(e, "waiting for another first run"))?;
    if taken.flatten() != Some(1) {
        return Err(Error::transient("another run has been making the control tables for 30 s"));
    }
    for statement in statements {
        let first = statement.lines().next().unwrap_or_default().to_string();
        conn.query_drop(statement).await.map_err(|e| server(e, first))?;
    }
    conn.query_drop(format!("do release_lock({lock})")).await.map_err(|e| server(e, "letting others go on"))
}
