//! PostgreSQL: `COPY` in and out, and statements whose parameters travel as text.

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt, pin_mut};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

use super::super::ledger::{Key, Row};
use super::super::plan::{Sql, Step};
use super::super::row::{cut, encode};
use super::super::shape::TableShape;
use super::{Answer, Dialect, Failure, Store};

/// Bytes gathered before they are sent to the server.
const COPY_CHUNK: usize = 64 * 1024;

impl Store for &Client {
    type Error = Error;

    const DIALECT: Dialect = Dialect::Postgres;

    async fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.batch_execute(sql).await
    }

    async fn fill(
        &mut self,
        shape: &TableShape,
        rows: impl Iterator<Item = (Key, Row)> + Send,
    ) -> Result<u64, Error> {
        let names = [shape.key_names(), shape.column_names()].concat().join(", ");
        let sql = format!("copy {} ({names}) from stdin", shape.table);
        let sink = self.copy_in::<_, Bytes>(&sql).await?;
        pin_mut!(sink);
        let mut buffer = String::new();
        for (key, row) in rows {
            buffer.extend([&*key, "\t", &*row, "\n"]);
            if buffer.len() >= COPY_CHUNK {
                sink.send(Bytes::from(std::mem::take(&mut buffer))).await?;
            }
        }
        if !buffer.is_empty() {
            sink.send(Bytes::from(buffer)).await?;
        }
        sink.finish().await
    }

    async fn read(
        &mut self,
        shape: &TableShape,
        table: &str,
        mut take: impl FnMut(&str, &str) + Send,
    ) -> Result<(), Error> {
        let names = [shape.key_names(), shape.column_names()].concat();
        let list: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
        let stream =
            self.copy_out(&format!("copy (select {} from {table}) to stdout", list.join(", "))).await?;
        pin_mut!(stream);
        // The server sends one row a message, which the protocol says must not be relied on.
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(bytes) = stream.try_next().await? {
            buffer.extend_from_slice(&bytes);
            let mut start = 0;
            while let Some(length) = buffer[start..].iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&buffer[start..start + length]);
                let (key, row) =
                    cut(&line, shape.key.len()).expect("a row has as many values as were selected");
                take(key, row);
                start += length + 1;
            }
            buffer.drain(..start);
        }
        Ok(())
    }
}

/// A connection and its prepared statements, in the order of the shape's columns.
pub(in super::super) struct Session {
    client: Client,
    connection: JoinHandle<()>,
    insert: Statement,
    update_one: Vec<Statement>,
    update_all: Statement,
    delete: Statement,
    rekey: Statement,
    read: Statement,
}

impl Drop for Session {
    /// Closes the socket even if an answer is outstanding; a connection whose client is gone would wait for it.
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Session {
    pub(super) async fn open(config: &Config, shape: &TableShape) -> Result<Session, Failure> {
        Session::try_open(config, shape).await.map_err(|e| failure(&e, None))
    }

    pub(super) async fn send(&self, step: &Step) -> Result<Answer, Failure> {
        self.try_send(step).await.map_err(|e| {
            let failed = failure(&e, Some(step));
            Failure { is_broken: failed.is_broken || self.client.is_closed(), ..failed }
        })
    }

    pub(super) async fn rollback(&self) -> bool {
        self.client.batch_execute("rollback").await.is_ok()
    }

    async fn try_open(config: &Config, shape: &TableShape) -> Result<Session, Error> {
        let (client, connection) = config.connect(NoTls).await?;
        let connection = tokio::spawn(async move {
            // Its error reaches the client's own calls.
            connection.await.ok();
        });
        let table = &shape.table;
        let types = |key_first: bool| {
            let key = shape.key.iter().map(|column| (&column.name, &column.sql_type));
            let values = shape.columns.iter().map(|column| (&column.name, &column.sql_type));
            if key_first { key.chain(values).collect::<Vec<_>>() } else { values.chain(key).collect() }
        };
        // Parameters travel as text, whatever the column's type is.
        let value = |index: usize, sql_type: &str| format!("${index}::text::{sql_type}");
        let key_from = |first: usize| {
            let parts = shape.key.iter().enumerate();
            parts
                .map(|(i, c)| format!("{} = {}", c.name, value(first + i, &c.sql_type)))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        let names = [shape.key_names(), shape.column_names()].concat().join(", ");
        let all = types(true);
        let values: Vec<String> = all.iter().enumerate().map(|(i, (_, t))| value(i + 1, t)).collect();
        let insert =
            client.prepare(&format!("insert into {table} ({names}) values ({})", values.join(", "))).await?;
        let count = shape.columns.len();
        let sets = types(false)
            .iter()
            .take(count)
            .enumerate()
            .map(|(i, (n, t))| format!("{n} = {}", value(i + 1, t)))
            .collect::<Vec<_>>();
        let update_all = format!("update {table} set {} where {}", sets.join(", "), key_from(count + 1));
        let update_all = client.prepare(&update_all).await?;
        let mut update_one = Vec::new();
        for column in &shape.columns {
            let set = format!("{} = {}", column.name, value(1, &column.sql_type));
            update_one
                .push(client.prepare(&format!("update {table} set {set} where {}", key_from(2))).await?);
        }
        let delete = client.prepare(&format!("delete from {table} where {}", key_from(1))).await?;
        let keys =
            shape.key.iter().enumerate().map(|(i, c)| format!("{} = {}", c.name, value(i + 1, &c.sql_type)));
        let new_key = keys.collect::<Vec<_>>().join(", ");
        let rekey = format!("update {table} set {new_key} where {}", key_from(shape.key.len() + 1));
        let rekey = client.prepare(&rekey).await?;
        let texts: Vec<String> =
            shape.columns.iter().map(|column| format!("{}::text", column.name)).collect();
        let read = format!("select {} from {table} where {}", texts.join(", "), key_from(1));
        let read = client.prepare(&read).await?;
        Ok(Session { client, connection, insert, update_one, update_all, delete, rekey, read })
    }

    async fn try_send(&self, step: &Step) -> Result<Answer, Error> {
        let params: Vec<&(dyn ToSql + Sync)> =
            step.params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let statement = match step.sql {
            Sql::Text(text) => {
                self.client.batch_execute(text).await?;
                return Ok(Answer { rows: 0, read: None });
            }
            Sql::Read => {
                let rows = self.client.query(&self.read, &params).await?;
                let line = rows.first().map(|row| {
                    let values: Vec<Option<&str>> = (0..row.len()).map(|index| row.get(index)).collect();
                    encode(values)
                });
                return Ok(Answer { rows: rows.len() as u64, read: line });
            }
            Sql::Insert => &self.insert,
            Sql::UpdateOne(column) => &self.update_one[column],
            Sql::UpdateAll => &self.update_all,
            Sql::Delete => &self.delete,
            Sql::Rekey => &self.rekey,
        };
        let rows = self.client.execute(statement, &params).await?;
        Ok(Answer { rows, read: None })
    }
}

fn failure(error: &Error, step: Option<&Step>) -> Failure {
    Failure {
        what: describe(error),
        detail: format!("{error:?}"),
        is_broken: is_broken(error),
        is_open: may_have_happened(error, step),
        // Writers have their own keys each, so PostgreSQL has no reason to let one give way.
        is_conflict: false,
    }
}

/// Whether the server may have done it although it did not say so. An error answer means that it did not, except for those
/// that end the session; at a commit only refusals of the transaction itself are sure.
fn may_have_happened(error: &Error, step: Option<&Step>) -> bool {
    let Some(code) = error.code() else { return true };
    let is_refusal = code.code().starts_with("40") || code.code().starts_with("23");
    is_broken(error) || (step.is_some_and(|step| step.sql == Sql::Text("commit")) && !is_refusal)
}

/// Errors after which the session is no more: connection exceptions, and shutdown or crash of the server.
fn is_broken(error: &Error) -> bool {
    error.code().is_none_or(|code| code.code().starts_with("08") || code.code().starts_with("57P"))
}

fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(e) => format!("{} {}", e.code().code(), e.message()),
        None => format!("connection lost: {error}"),
    }
}
