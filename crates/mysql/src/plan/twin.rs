//! The change tried on an empty copy, in the control database: the server says what it makes of each body.
//!
//! A twin is a table like any other, because temporary tables have neither FULLTEXT indexes nor partitions nor instant changes. It has no
//! foreign keys and no triggers. Whatever happens it is dropped again; if the connection is lost, or the caller gives up, the next plan
//! drops what is left once it is an hour old.

use crate::{
    alter::Body,
    catalog::{self, Table, show},
    error::server,
    sql::{literal, quote, table},
};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    error::{Error, Kind, Result},
    name::TableName,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// What a session must set before it runs statements of a plan: the words of the operator mean the same in every session then. Waiting
/// for a lock must not make others wait for long.
pub const SETUP: &str = "set names utf8mb4, time_zone = '+00:00', lock_wait_timeout = 5, sql_quote_show_create = 1, \
    sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'";

/// The advisory lock under which the control database is made, or dropped because it was made for a trial alone.
pub const DATABASE_LOCK: &str = "shadowswap.database";

/// Others hold [`DATABASE_LOCK`] for as long as a CREATE DATABASE takes, or a whole trial.
const DATABASE_LOCK_SECONDS: u32 = 60;

/// Twins of trials that did not end are dropped once they are this old.
const STALE_SECONDS: u32 = 3600;

/// The mark of our own statements.
pub const MARK: &str = "/* shadowswap */";

/// A place for twins.
#[derive(Debug)]
pub struct Stage {
    schema: String,
    is_ours: bool,
    made: Vec<TableName>,
}

/// How the server would carry a change out in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Only the catalog changes.
    Instant,
    /// The server rebuilds or indexes the table while clients write.
    Inplace,
    /// The same, and writers wait meanwhile.
    InplaceLocked,
    /// The server copies the table, and writers wait meanwhile.
    Copy,
}

async fn run(conn: &mut Conn, text: &str, what: impl std::fmt::Display) -> Result<()> {
    conn.query_drop(text).await.map_err(|e| server(e, what))
}

/// Opens the stage: makes the control database if it is absent, and removes what earlier trials left.
///
/// # Errors
/// What the server answers.
pub async fn open(conn: &mut Conn, schema: &str) -> Result<Stage> {
    let what = format!("making room for a trial in database {schema}");
    let text = format!("select get_lock({}, {DATABASE_LOCK_SECONDS})", literal(DATABASE_LOCK));
    let got: Option<Option<u8>> = conn.query_first(text).await.map_err(|e| server(e, &what))?;
    if got.flatten() != Some(1) {
        return Err(Error::transient(format!("{what}: another plan is being made")));
    }
    let mut stage = Stage { schema: schema.to_string(), is_ours: false, made: Vec::new() };
    match stage.prepare(conn).await {
        Ok(()) => Ok(stage),
        Err(e) => {
            // The first error tells more than what may follow it.
            let _ = stage.close(conn).await;
            Err(e.while_trying(what))
        }
    }
}

async fn sweep(conn: &mut Conn, schema: &str) -> Result<()> {
    let what = "looking for what earlier trials left";
    let text = "select TABLE_NAME from information_schema.TABLES where TABLE_SCHEMA = ? and TABLE_NAME like '\\_twin\\_%' \
        and TABLE_TYPE = 'BASE TABLE' and CREATE_TIME < now() - interval ? second";
    let left: Vec<String> = conn.exec(text, (schema, STALE_SECONDS)).await.map_err(|e| server(e, what))?;
    for name in left {
        let name = TableName::new(schema, name);
        run(conn, &format!("{MARK} drop table if exists {}", table(&name)), format!("dropping {name}"))
            .await?;
    }
    Ok(())
}

impl Stage {
    async fn prepare(&mut self, conn: &mut Conn) -> Result<()> {
        let schema = self.schema.clone();
        let there: Option<String> = conn
            .exec_first(
                "select SCHEMA_NAME from information_schema.SCHEMATA where SCHEMA_NAME = ?",
                (&schema,),
            )
            .await
            .map_err(|e| server(e, "looking for the database"))?;
        if there.is_none() {
            let text = format!("{MARK} create database if not exists {}", quote(&schema));
            run(conn, &text, "making the database").await?;
            self.is_ours = true;
        }
        sweep(conn, &schema).await
    }

    /// Makes another empty twin.
    ///
    /// # Errors
    /// What the server answers; `Transient` if the source was locked for too long.
    pub async fn twin(&mut self, conn: &mut Conn, source: &TableName) -> Result<TableName> {
        let name = TableName::new(&self.schema, format!("_twin_{:012x}", number()));
        self.made.push(name.clone());
        let text = format!("{MARK} create table {} like {}", table(&name), table(source));
        run(conn, &text, format!("making an empty copy of {source} in database {}", self.schema)).await?;
        Ok(name)
    }

    /// Drops one twin early: names of constraints are unique in a database, so that two changed twins would meet.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn drop_twin(&mut self, conn: &mut Conn, name: &TableName) -> Result<()> {
        run(conn, &format!("{MARK} drop table {}", table(name)), format!("dropping {name}")).await?;
        self.made.retain(|n| n != name);
        Ok(())
    }

    /// Drops what was made.
    ///
    /// # Errors
    /// What the server answers; everything is tried.
    pub async fn close(self, conn: &mut Conn) -> Result<()> {
        let mut ended = Ok(());
        for name in &self.made {
            let text = format!("{MARK} drop table if exists {}", table(name));
            let dropped = run(conn, &text, format!("dropping {name}")).await;
            ended = ended.and(dropped);
        }
        if self.is_ours {
            ended = ended.and(self.drop_database(conn).await);
        }
        let text = format!("do release_lock({})", literal(DATABASE_LOCK));
        ended.and(run(conn, &text, "ending the trial").await)
    }

    /// Drops the database that was made for this trial, unless somebody uses it by now.
    async fn drop_database(&self, conn: &mut Conn) -> Result<()> {
        let what = format!("dropping database {}", self.schema);
        let text = "select (select count(*) from information_schema.TABLES where TABLE_SCHEMA = ?) \
            + (select count(*) from information_schema.ROUTINES where ROUTINE_SCHEMA = ?)";
        let used: Option<u64> =
            conn.exec_first(text, (&self.schema, &self.schema)).await.map_err(|e| server(e, &what))?;
        if used != Some(0) {
            return Ok(());
        }
        run(conn, &format!("{MARK} drop database if exists {}", quote(&self.schema)), what).await
    }
}

/// A number that no other trial has, here or elsewhere.
fn number() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let salt =
        (u64::from(std::process::id()) << 24) ^ COUNT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    (nanos ^ salt) & 0xffff_ffff_ffff
}

/// The twin as it is now, under the source's name.
///
/// # Errors
/// What the server answers.
pub async fn read(conn: &mut Conn, twin: &TableName, source: &TableName) -> Result<Table> {
    let found = catalog::table(conn, twin).await?;
    let mut found = found.ok_or_else(|| Error::transient(format!("{twin} was dropped by somebody else")))?;
    // MySQL names CHECK constraints after the table.
    let escaped = source.name.replace('`', "``");
    found.create = show::renamed(&found.create, &source.name)?.replace(&twin.name, &escaped);
    found.schema.clone_from(&source.schema);
    found.name.clone_from(&source.name);
    Ok(found)
}

/// Runs one body on the twin.
///
/// # Errors
/// `Refused` with the server's answer.
pub async fn change(conn: &mut Conn, twin: &TableName, source: &Table, body: &Body) -> Result<()> {
    let text = format!("{MARK} alter table {} {}", table(twin), body.text);
    let Err(e) = conn.query_drop(text).await else { return Ok(()) };
    let code = match &e {
        mysql_async::Error::Server(answer) => answer.code,
        _ => 0,
    };
    let mut error =
        server(e, format_args!("trying `alter table {} {}` on an empty copy", source.name, body.text));
    error.message = error.message.replace(&twin.name, &source.name);
    if !error.is_transient() {
        error.kind = Kind::Refused;
    }
    // CHECK constraint not found, constraint does not exist, can't drop.
    let has_checks = show::parts(&source.create)?.elements.iter().any(|e| show::constraint(e).is_some());
    if matches!(code, 3821 | 3940 | 1091) && has_checks {
        error = error.next(
            "a copy of the table has other names for its constraints: drop or change a constraint by an ALTER TABLE of its own, which changes only the catalog",
        );
    }
    Err(error)
}

/// What the server would do to carry the body out, tried on a twin that then has it.
///
/// # Errors
/// What the server answers, if it is not that an algorithm does not suit.
pub async fn algorithm(conn: &mut Conn, twin: &TableName, source: &Table, body: &Body) -> Result<Algorithm> {
    let tries = [
        ("algorithm=instant", Algorithm::Instant),
        ("algorithm=inplace, lock=none", Algorithm::Inplace),
        ("algorithm=inplace, lock=shared", Algorithm::InplaceLocked),
    ];
    for (clause, algorithm) in tries {
        let text = format!("{MARK} alter table {} {clause}, {}", table(twin), body.text);
        match conn.query_drop(text).await {
            Ok(()) => return Ok(algorithm),
            Err(e @ (mysql_async::Error::Io(_) | mysql_async::Error::Driver(_))) => {
                return Err(server(e, "asking how the server would make the change"));
            }
            Err(_) => {}
        }
    }
    change(conn, twin, source, body).await?;
    Ok(Algorithm::Copy)
}
