//! What differs between the databases: how a table is filled and read, how a writer's statements are sent, and what an error means.

mod mysql;
mod postgres;

use std::fmt;
use std::future::Future;

use super::ledger::{Key, Row};
use super::plan::Step;
use super::shape::TableShape;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// A connection that makes, fills and reads a load's table: `&tokio_postgres::Client` or `&mut mysql_async::Conn`.
pub trait Store: Send {
    /// The driver's.
    type Error: fmt::Debug + fmt::Display;

    /// Whose SQL it takes.
    const DIALECT: Dialect;

    /// Runs a statement.
    fn run(&mut self, sql: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Writes rows into an empty table and returns how many the server took.
    fn fill(
        &mut self,
        shape: &TableShape,
        rows: impl Iterator<Item = (Key, Row)> + Send,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Reads a table and hands each row to `take` as key and values.
    fn read(
        &mut self,
        shape: &TableShape,
        table: &str,
        take: impl FnMut(&str, &str) + Send,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Where writers connect to.
pub(super) enum Target {
    Postgres(Box<tokio_postgres::Config>),
    Mysql(mysql_async::Opts),
}

impl Target {
    /// The scheme decides which database it is.
    pub(super) fn parse(url: &str) -> Result<Target, String> {
        let rest = ["mysql://", "mariadb://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        if let Some(rest) = rest {
            return mysql::options(&format!("mysql://{rest}")).map(Target::Mysql);
        }
        let mut config: tokio_postgres::Config = url.parse().map_err(|e| format!("{e:?}"))?;
        config.application_name("load");
        Ok(Target::Postgres(Box::new(config)))
    }
}

/// Rows touched, and the row read.
pub(super) struct Answer {
    pub(super) rows: u64,
    pub(super) read: Option<String>,
}

/// A statement that did not succeed.
pub(super) struct Failure {
    /// The server's code and message.
    pub(super) what: String,
    /// All that the driver knows.
    pub(super) detail: String,
    /// Nothing more can be sent.
    pub(super) is_broken: bool,
    /// It may have happened all the same.
    pub(super) is_open: bool,
    /// The server gave way to another transaction, which clients must expect of it: a deadlock, or a lock waited for too long.
    pub(super) is_conflict: bool,
}

/// A connection and its prepared statements.
pub(super) enum Session {
    Postgres(Box<postgres::Session>),
    Mysql(Box<mysql::Session>),
}

impl Session {
    pub(super) async fn open(target: &Target, shape: &TableShape) -> Result<Session, Failure> {
        match target {
            Target::Postgres(config) => {
                let opened = Box::pin(postgres::Session::open(config, shape)).await;
                opened.map(|session| Session::Postgres(Box::new(session)))
            }
            Target::Mysql(options) => {
                let opened = Box::pin(mysql::Session::open(options, shape)).await;
                opened.map(|session| Session::Mysql(Box::new(session)))
            }
        }
    }

    pub(super) async fn send(&mut self, step: &Step) -> Result<Answer, Failure> {
        match self {
            Session::Postgres(session) => session.send(step).await,
            Session::Mysql(session) => session.send(step).await,
        }
    }

    /// False if the server did not say that it has rolled back.
    pub(super) async fn rollback(&mut self) -> bool {
        match self {
            Session::Postgres(session) => session.rollback().await,
            Session::Mysql(session) => session.rollback().await,
        }
    }

    /// Ends a session that has no answer outstanding. Dropping one closes its socket whatever it waits for.
    pub(super) async fn close(self) {
        match self {
            Session::Postgres(_) => {}
            Session::Mysql(session) => session.close().await,
        }
    }
}
