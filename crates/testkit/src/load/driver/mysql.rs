//! MySQL and MariaDB: statements of many rows to fill a table, the text protocol to read it, prepared statements for writers.

use std::thread;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, Row as Found, Statement, Value};

use super::super::ledger::{Key, Row};
use super::super::plan::{Sql, Step};
use super::super::row::{decode, encode};
use super::super::shape::TableShape;
use super::{Answer, Dialect, Failure, Store};

/// Bytes of an insert while a table is filled; below what every server takes, and more gains nothing.
const INSERT_BYTES: usize = 512 * 1024;

/// Deadlock, and a lock waited for too long.
const CONFLICTS: [u16; 2] = [1213, 1205];

/// Errors with a SQLSTATE that does not say that the session has ended or is about to: shutdown, normal shutdown, shutdown complete,
/// killed (MariaDB, MySQL), idle for too long.
const ENDS: [u16; 6] = [1053, 1077, 1079, 1927, 3169, 4031];

/// Errors that may come after the statement took effect: of the commit itself, of writing the binary log, and of being interrupted.
const LATE: [u16; 5] = [1026, 1180, 1317, 1598, 3100];

/// The load's connections go by TCP when the URL does, and count the rows that were found, not only those that got other values.
/// Their statements are transactions of their own also where the server's default is another.
pub(super) fn options(url: &str) -> Result<Opts, String> {
    let options = crate::mysql::options(url)?.client_found_rows(true);
    Ok(options.setup(vec!["set autocommit = 1"]).into())
}

impl Store for &mut Conn {
    type Error = Error;

    const DIALECT: Dialect = Dialect::Mysql;

    async fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.query_drop(sql).await
    }

    async fn fill(
        &mut self,
        shape: &TableShape,
        rows: impl Iterator<Item = (Key, Row)> + Send,
    ) -> Result<u64, Error> {
        let names = [shape.key_names(), shape.column_names()].concat().join(", ");
        let head = format!("insert into {} ({names}) values ", shape.table);
        let (mut sql, mut taken) = (head.clone(), 0);
        for (key, row) in rows {
            sql.push_str(if sql.len() == head.len() { "(" } else { ", (" });
            for (index, value) in decode(&key).into_iter().chain(decode(&row)).enumerate() {
                sql.push_str(if index == 0 { "" } else { ", " });
                quote(&mut sql, value.as_deref());
            }
            sql.push(')');
            if sql.len() >= INSERT_BYTES {
                self.query_drop(&sql).await?;
                taken += self.affected_rows();
                sql.truncate(head.len());
            }
        }
        if sql.len() > head.len() {
            self.query_drop(&sql).await?;
            taken += self.affected_rows();
        }
        Ok(taken)
    }

    async fn read(
        &mut self,
        shape: &TableShape,
        table: &str,
        mut take: impl FnMut(&str, &str) + Send,
    ) -> Result<(), Error> {
        let names = [shape.key_names(), shape.column_names()].concat().join(", ");
        // Unprepared, so that every value arrives in the server's own spelling.
        let mut rows = self.query_iter(format!("select {names} from {table}")).await?;
        while let Some(row) = rows.next().await? {
            let mut values = texts(row);
            let rest = values.split_off(shape.key.len().min(values.len()));
            let line = |values: &[Option<String>]| encode(values.iter().map(Option::as_deref));
            take(&line(&values), &line(&rest));
        }
        Ok(())
    }
}

/// A literal of a session with the server's usual `sql_mode`, in which a backslash escapes.
fn quote(sql: &mut String, value: Option<&str>) {
    let Some(value) = value else { return sql.push_str("null") };
    sql.push('\'');
    for c in value.chars() {
        match c {
            '\'' => sql.push_str("\\'"),
            '\\' => sql.push_str("\\\\"),
            '\0' => sql.push_str("\\0"),
            c => sql.push(c),
        }
    }
    sql.push('\'');
}

/// The values of a row that arrived as text.
fn texts(row: Found) -> Vec<Option<String>> {
    let text = |value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        }),
        // Not sent in answer to what is asked here; the comparison will show it.
        other => Some(format!("{other:?}")),
    };
    row.unwrap().into_iter().map(text).collect()
}

/// A connection and its prepared statements, in the order of the shape's columns.
pub(in super::super) struct Session {
    /// None only once it is closed.
    conn: Option<Conn>,
    /// Which columns are integers: compared with text, their keys would be compared as floating-point numbers.
    key_integers: Vec<bool>,
    integers: Vec<bool>,
    insert: Statement,
    update_one: Vec<Statement>,
    update_all: Statement,
    delete: Statement,
    rekey: Statement,
    read: Statement,
}

impl Drop for Session {
    /// Closes the socket even if an answer is outstanding. On a runtime the driver would have a task wait for that answer first, so
    /// this is done where there is none.
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            thread::spawn(move || drop(conn)).join().ok();
        }
    }
}

impl Session {
    pub(super) async fn open(options: &Opts, shape: &TableShape) -> Result<Session, Failure> {
        Session::try_open(options, shape).await.map_err(|e| failure(&e, None))
    }

    async fn try_open(options: &Opts, shape: &TableShape) -> Result<Session, Error> {
        // A statement that falls out of the driver's cache is closed on the server.
        let statements = shape.columns.len() + 5;
        let options = OptsBuilder::from_opts(options.clone()).stmt_cache_size(statements);
        let mut conn = Conn::new(options).await?;
        let table = &shape.table;
        let equal = |names: &[&str], separator: &str| {
            let parts: Vec<String> = names.iter().map(|name| format!("{name} = ?")).collect();
            parts.join(separator)
        };
        let (keys, columns) = (shape.key_names(), shape.column_names());
        let this = equal(&keys, " and ");
        let names = [keys.clone(), columns.clone()].concat();
        let marks = vec!["?"; names.len()].join(", ");
        let insert =
            conn.prep(format!("insert into {table} ({}) values ({marks})", names.join(", "))).await?;
        let set = equal(&columns, ", ");
        let update_all = conn.prep(format!("update {table} set {set} where {this}")).await?;
        let mut update_one = Vec::new();
        for column in &columns {
            update_one.push(conn.prep(format!("update {table} set {column} = ? where {this}")).await?);
        }
        let delete = conn.prep(format!("delete from {table} where {this}")).await?;
        let new_key = equal(&keys, ", ");
        let rekey = conn.prep(format!("update {table} set {new_key} where {this}")).await?;
        let texts: Vec<String> = columns.iter().map(|name| format!("cast({name} as char)")).collect();
        let read = conn.prep(format!("select {} from {table} where {this}", texts.join(", "))).await?;
        let key_integers = shape.key.iter().map(|column| is_integer(&column.sql_type)).collect();
        let integers =
            shape.columns.iter().map(|column| is_integer(column.type_in(Dialect::Mysql))).collect();
        let conn = Some(conn);
        Ok(Session { conn, key_integers, integers, insert, update_one, update_all, delete, rekey, read })
    }

    pub(super) async fn send(&mut self, step: &Step) -> Result<Answer, Failure> {
        self.try_send(step).await.map_err(|e| failure(&e, Some(step)))
    }

    async fn try_send(&mut self, step: &Step) -> Result<Answer, Error> {
        let params = self.params(step);
        let Some(conn) = &mut self.conn else {
            return Err(mysql_async::DriverError::ConnectionClosed.into());
        };
        let statement = match step.sql {
            Sql::Text(text) => {
                conn.query_drop(text).await?;
                return Ok(Answer { rows: 0, read: None });
            }
            Sql::Read => {
                let rows: Vec<Found> = conn.exec(&self.read, params).await?;
                let count = rows.len() as u64;
                let first = rows.into_iter().next().map(texts);
                let read = first.map(|values| encode(values.iter().map(Option::as_deref)));
                return Ok(Answer { rows: count, read });
            }
            Sql::Insert => &self.insert,
            Sql::UpdateOne(column) => &self.update_one[column],
            Sql::UpdateAll => &self.update_all,
            Sql::Delete => &self.delete,
            Sql::Rekey => &self.rekey,
        };
        conn.exec_drop(statement, params).await?;
        Ok(Answer { rows: conn.affected_rows(), read: None })
    }

    /// The statement's values: integers as such, all else as text.
    fn params(&self, step: &Step) -> Vec<Value> {
        let (key, columns) = (&self.key_integers[..], &self.integers[..]);
        let (first, second) = match step.sql {
            Sql::Text(_) => return Vec::new(),
            Sql::Insert => (key, columns),
            Sql::UpdateAll => (columns, key),
            Sql::UpdateOne(column) => (&columns[column..=column], key),
            Sql::Rekey => (key, key),
            Sql::Delete | Sql::Read => (key, &[][..]),
        };
        let kinds = first.iter().chain(second);
        step.params.iter().zip(kinds).map(|(text, is_integer)| value(text.as_deref(), *is_integer)).collect()
    }

    pub(super) async fn rollback(&mut self) -> bool {
        match &mut self.conn {
            Some(conn) => conn.query_drop("rollback").await.is_ok(),
            None => false,
        }
    }

    pub(super) async fn close(mut self: Box<Self>) {
        if let Some(conn) = self.conn.take() {
            // It is done with; the server notices either way.
            conn.disconnect().await.ok();
        }
    }
}

fn is_integer(sql_type: &str) -> bool {
    const TYPES: [&str; 6] = ["tinyint", "smallint", "mediumint", "int", "integer", "bigint"];
    let lower = sql_type.to_ascii_lowercase();
    let name = lower.split(|c: char| !c.is_ascii_alphanumeric()).next();
    name.is_some_and(|name| TYPES.contains(&name))
}

fn value(text: Option<&str>, is_integer: bool) -> Value {
    let Some(text) = text else { return Value::NULL };
    let as_bytes = || Value::Bytes(text.as_bytes().to_vec());
    if !is_integer {
        return as_bytes();
    }
    let signed = text.parse().map(Value::Int);
    signed.or_else(|_| text.parse().map(Value::UInt)).unwrap_or_else(|_| as_bytes())
}

fn failure(error: &Error, step: Option<&Step>) -> Failure {
    let detail = format!("{error:?}");
    let Error::Server(e) = error else {
        let what = format!("connection lost: {error}");
        return Failure { what, detail, is_broken: true, is_open: true, is_conflict: false };
    };
    let is_conflict = CONFLICTS.contains(&e.code);
    let is_broken = e.state.starts_with("08") || ENDS.contains(&e.code);
    // An error answer means that it did not happen, except for those that end the session or come late; at a commit only refusals
    // of the transaction itself are sure.
    let is_refusal = is_conflict || e.state.starts_with("40") || e.state.starts_with("23");
    let is_commit = step.is_some_and(|step| step.sql == Sql::Text("commit"));
    let is_open = is_broken || LATE.contains(&e.code) || (is_commit && !is_refusal);
    let what = format!("{} {} {}", e.code, e.state, e.message);
    Failure { what, detail, is_broken, is_open, is_conflict }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_travel_as_integers_and_the_rest_as_text() {
        for (sql_type, is) in
            [("BIGINT unsigned", true), ("int(11)", true), ("interval", false), ("point", false)]
        {
            assert_eq!(is_integer(sql_type), is, "{sql_type}");
        }
        assert_eq!(value(Some("-5"), true), Value::Int(-5));
        assert_eq!(value(Some("18446744073709551615"), true), Value::UInt(u64::MAX));
        assert_eq!(value(Some("5"), false), Value::Bytes(b"5".to_vec()));
        assert_eq!(value(None, true), Value::NULL);
    }

    #[test]
    fn conflicts_are_certain_and_lost_answers_are_open() {
        let server = |code, state: &str| {
            let message = String::new();
            Error::Server(mysql_async::ServerError { code, message, state: state.to_owned() })
        };
        let of = |error: Error, text| {
            let step = Step { sql: text, params: Vec::new() };
            let failed = failure(&error, Some(&step));
            (failed.is_broken, failed.is_open, failed.is_conflict)
        };
        let commit = Sql::Text("commit");
        assert_eq!(of(server(1213, "40001"), Sql::Insert), (false, false, true));
        assert_eq!(of(server(1205, "HY000"), commit), (false, false, true));
        assert_eq!(of(server(1062, "23000"), Sql::Insert), (false, false, false));
        assert_eq!(of(server(1146, "42S02"), Sql::Insert), (false, false, false));
        assert_eq!(of(server(1290, "HY000"), commit), (false, true, false));
        assert_eq!(of(server(1180, "HY000"), Sql::Insert), (false, true, false));
        assert_eq!(of(server(1053, "08S01"), Sql::Insert), (true, true, false));
        assert_eq!(of(server(1927, "70100"), Sql::Insert), (true, true, false));
        assert_eq!(of(mysql_async::DriverError::ConnectionClosed.into(), Sql::Read), (true, true, false));
    }
}
