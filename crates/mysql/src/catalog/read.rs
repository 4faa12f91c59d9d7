//! Reads a table from the catalogs.

use super::{Column, Index, Part, Table, show};
use crate::{error::server, flavor::Server, sql};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    error::{Error, Result},
    name::TableName,
};
use std::collections::HashMap;

/// How often a definition that changes while it is read is read again.
const READS_MAX: usize = 5;

const COLUMNS: &str = "select COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, \
    cast(COLUMN_DEFAULT as char), EXTRA, TABLE_NAME from information_schema.COLUMNS \
    where TABLE_SCHEMA = ? and TABLE_NAME = ? order by ORDINAL_POSITION";

const PARTS: &str = "select INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, COLLATION, INDEX_TYPE, TABLE_NAME \
    from information_schema.STATISTICS where TABLE_SCHEMA = ? and TABLE_NAME = ? order by INDEX_NAME, SEQ_IN_INDEX";

/// The server as it describes itself.
///
/// # Errors
/// `Refused` if its version cannot be read.
pub async fn server_of(conn: &mut Conn) -> Result<Server> {
    let what = "asking the server for its version";
    let row: Option<(String, u8)> =
        conn.query_first("select @@version, @@lower_case_table_names").await.map_err(|e| server(e, what))?;
    let (text, lower_case) = row.ok_or_else(|| Error::transient(format!("{what}: no answer")))?;
    let mode: Option<(String, String)> =
        conn.query_first("show global variables like 'gtid_mode'").await.map_err(|e| server(e, what))?;
    let has_gtids = mode.is_some_and(|(_, mode)| mode.eq_ignore_ascii_case("on"));
    Server::parse(&text, has_gtids, lower_case)
        .ok_or_else(|| Error::refused(format!("the server says that its version is {text:?}, which is none")))
}

/// The table as the catalogs have it now; `None`: there is none, or it is a view.
///
/// The catalogs are read in several statements; a definition that changes meanwhile is read again.
///
/// # Errors
/// What the server answers; `Transient` if the definition keeps changing.
pub async fn table(conn: &mut Conn, name: &TableName) -> Result<Option<Table>> {
    let Some(mut create) = definition(conn, name).await? else { return Ok(None) };
    for _ in 0..READS_MAX {
        let columns = columns(conn, name).await?;
        let parts = parts(conn, name).await?;
        let Some(now) = definition(conn, name).await? else { return Ok(None) };
        if now == create {
            return assemble(name, create, columns, parts).map(Some);
        }
        create = now;
    }
    Err(Error::transient(format!("the definition of {name} changes while it is read")))
}

/// The table's present counter of AUTO_INCREMENT: the next number. `None`: it has none, or it stands at 1.
///
/// `CREATE TABLE … LIKE` does not copy it, and the shadow's own counter only knows the rows that are there: numbers of rows that were
/// deleted would be given again after the swap.
///
/// # Errors
/// What the server answers.
pub async fn counter(conn: &mut Conn, name: &TableName) -> Result<Option<u64>> {
    match shown(conn, name).await? {
        Some(create) => show::counter(&create),
        None => Ok(None),
    }
}

/// `SHOW CREATE TABLE` without the counter; `None`: there is no such table.
async fn definition(conn: &mut Conn, name: &TableName) -> Result<Option<String>> {
    shown(conn, name).await?.map(|create| show::without_counter(&create)).transpose()
}

async fn shown(conn: &mut Conn, name: &TableName) -> Result<Option<String>> {
    let text = format!("show create table {}", sql::table(name));
    let row: Option<mysql_async::Row> = match conn.query_first(text).await {
        Ok(row) => row,
        // No such table, no such database.
        Err(mysql_async::Error::Server(e)) if matches!(e.code, 1146 | 1049) => return Ok(None),
        Err(e) => return Err(server(e, format_args!("reading the definition of {name}"))),
    };
    // A view answers with its own columns.
    let Some(row) = row.filter(|r| r.columns_ref().get(1).is_some_and(|c| c.name_str() == "Create Table"))
    else {
        return Ok(None);
    };
    let create: String = row
        .get_opt(1)
        .and_then(std::result::Result::ok)
        .ok_or_else(|| Error::corrupt(format!("the definition of {name} is no text")))?;
    Ok(Some(create))
}

type ColumnRow =
    (String, String, String, Option<String>, Option<String>, String, Option<String>, Option<String>, String);

async fn columns(conn: &mut Conn, name: &TableName) -> Result<Vec<Column>> {
    let rows: Vec<ColumnRow> = conn
        .exec(COLUMNS, (&name.schema, &name.name))
        .await
        .map_err(|e| server(e, format_args!("reading the columns of {name}")))?;
    let of_table = rows.into_iter().filter(|r| r.8 == name.name);
    let columns =
        of_table.map(|(name, data_type, column_type, charset, collation, nullable, default, extra, _)| {
            let extra = extra.unwrap_or_default();
            let upper = extra.to_ascii_uppercase();
            Column {
                name,
                data_type: data_type.to_ascii_lowercase(),
                column_type,
                charset,
                collation,
                nullable: nullable.eq_ignore_ascii_case("yes"),
                default,
                generated: upper.contains("VIRTUAL GENERATED") || upper.contains("STORED GENERATED"),
                invisible: upper.contains("INVISIBLE"),
                extra,
            }
        });
    Ok(columns.collect())
}

type PartRow = (String, u8, Option<String>, Option<u64>, Option<String>, String, String);

async fn parts(conn: &mut Conn, name: &TableName) -> Result<Vec<PartRow>> {
    let rows: Vec<PartRow> = conn
        .exec(PARTS, (&name.schema, &name.name))
        .await
        .map_err(|e| server(e, format_args!("reading the indexes of {name}")))?;
    Ok(rows.into_iter().filter(|r| r.6 == name.name).collect())
}

fn assemble(name: &TableName, create: String, columns: Vec<Column>, rows: Vec<PartRow>) -> Result<Table> {
    let mut parts: HashMap<String, (bool, String, Vec<Part>)> = HashMap::new();
    for (index, non_unique, column, prefix, order, kind, _) in rows {
        let entry = parts.entry(index).or_insert_with(|| (non_unique == 0, kind, Vec::new()));
        entry.2.push(Part { column, prefix, descending: order.as_deref() == Some("D") });
    }
    let shown = show::parts(&create)?;
    let mut indexes = Vec::new();
    for element in &shown.elements {
        let Some(index) = show::index_name(element) else { continue };
        let (unique, kind, parts) = parts.remove(&index).ok_or_else(|| {
            Error::corrupt(format!("index {index} of {name} is in its definition, and not in the catalog"))
        })?;
        indexes.push(Index { name: index, unique, kind, parts, definition: element.clone() });
    }
    if let Some(index) = parts.keys().next() {
        return Err(Error::corrupt(format!(
            "index {index} of {name} is in the catalog, and not in its definition"
        )));
    }
    let lexed = crate::alter::lex::lex(&shown.options)?.lexemes;
    let engine = lexed.windows(3).find(|w| w.first().is_some_and(|l| l.is("engine")));
    let engine = engine.and_then(|w| w.get(2)).and_then(|l| l.name()).unwrap_or_default().to_string();
    Ok(Table { schema: name.schema.clone(), name: name.name.clone(), engine, create, columns, indexes })
}
