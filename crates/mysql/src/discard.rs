//! Dropping a large table.

use crate::{error::server, sql::table};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Result, name::TableName};

/// Drops the table, if it is there.
///
/// # Errors
/// The server's.
pub async fn discard(conn: &mut Conn, name: &TableName) -> Result<()> {
    let text = format!("drop table if exists {} /* shadowswap */", table(name));
    conn.query_drop(text).await.map_err(|e| server(e, format_args!("dropping {name}")))
}
