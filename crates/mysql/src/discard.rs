//! Dropping a large table without a stall.
//!
//! Deleting the rows first does not help where the server lets go of a table's pages as it comes across them (MySQL 8.0.23 and later, MariaDB
//! 10.6 and later; see WL#14100). Measured with 660 MiB in the buffer pool, 500 statements a second of others, two cores: DROP at once took
//! 0.15 s (MySQL 9.7; others waited for 0.1 s at most) and 0.19 s (MariaDB 10.11; 0.03 s). After deletions in batches of 1,000, which took 17 s
//! and 590 MB of binlog, it took 0.55 s (others: 0.46 s) and 0.20 s (0.03 s). What is left:
//!
//! 1. The adaptive hash index, where it is on, is searched for every page of the table, and older servers search the whole buffer pool.
//!    There the rows are deleted before, a little at a time, and with them their hashes. Only the keys go into the binlog, where
//!    the server lets us say so.
//! 2. One large file is unlinked at once. No statement makes a file shorter; but of a partitioned table the partitions go one by one.
//! 3. Whoever reads the table makes DROP wait, and DROP makes everybody wait who comes after: so it waits for a short time and tries again.

use crate::{
    catalog::{self, Table},
    error::{LOCK_WAIT_TIMEOUT, code, server},
    flavor::Server,
    literal::key_expression,
    sql::{quote, table},
    statements::beyond,
};
use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{Result, name::TableName};
use std::time::{Duration, Instant};

/// DROP waits for readers of the table for this long, in seconds; so do those who come after it.
const LOCK_SECONDS: u32 = 1;
/// Tries to drop it, with pauses of the same length.
const TRIES: u32 = 60;
/// Rows of one deletion at first, and at most.
const ROWS_FIRST: u64 = 200;
const ROWS_MAX: u64 = 5_000;
/// The time that one deletion should take. It is followed by a rest of the same length.
const STEP: Duration = Duration::from_millis(50);
/// The rest after a partition.
const REST: Duration = Duration::from_millis(200);

/// Drops the table in steps, if it is there.
///
/// # Errors
/// The server's; `Transient` if somebody keeps using the table.
pub async fn discard(conn: &mut Conn, name: &TableName) -> Result<()> {
    let Some(found) = catalog::table(conn, name).await? else { return Ok(()) };
    let product = catalog::server(conn).await?;
    run(conn, &format!("set session lock_wait_timeout = {LOCK_SECONDS}"), name).await?;
    if searches_pages(conn, &product).await? {
        empty(conn, name, &found).await?;
    }
    for partition in partitions(conn, name).await? {
        let text =
            format!("alter table {} truncate partition {} /* shadowswap */", table(name), quote(&partition));
        patiently(conn, &text, name).await?;
        tokio::time::sleep(REST).await;
    }
    patiently(conn, &format!("drop table if exists {} /* shadowswap */", table(name)), name).await
}

async fn run(conn: &mut Conn, text: &str, name: &TableName) -> Result<()> {
    conn.query_drop(text).await.map_err(|e| server(e, format_args!("dropping {name}")))
}

/// Tries again where somebody uses the table.
async fn patiently(conn: &mut Conn, text: &str, name: &TableName) -> Result<()> {
    for tried in 1.. {
        match run(conn, text, name).await {
            Err(e) if code(&e) == Some(LOCK_WAIT_TIMEOUT) && tried < TRIES => {
                tracing::info!(table = %name, attempt = tried, "somebody uses the table that is to be dropped");
                tokio::time::sleep(Duration::from_secs(u64::from(LOCK_SECONDS))).await;
            }
            Err(e) if code(&e) == Some(LOCK_WAIT_TIMEOUT) => {
                return Err(e.next("end the session that uses the table, then run the same command again"));
            }
            ended => return ended,
        }
    }
    Ok(())
}

/// Whether the server looks for the table's pages one by one when it is dropped.
async fn searches_pages(conn: &mut Conn, product: &Server) -> Result<bool> {
    let since = if product.is_mariadb() { (10, 6, 0) } else { (8, 0, 23) };
    if product.version < since {
        return Ok(true);
    }
    let found: Option<(String, String)> = conn
        .query_first("show global variables like 'innodb_adaptive_hash_index'")
        .await
        .map_err(|e| server(e, "asking how tables are dropped"))?;
    Ok(found.is_some_and(|(_, is_on)| is_on.eq_ignore_ascii_case("on")))
}

/// The names of a table's partitions, if it has more than one. Those of subpartitioned ones go with them.
async fn partitions(conn: &mut Conn, name: &TableName) -> Result<Vec<String>> {
    let text = "select distinct partition_name from information_schema.partitions\n\
        where table_schema = ? and table_name = ? and partition_name is not null";
    let found: Vec<String> = conn
        .exec(text, (&name.schema, &name.name))
        .await
        .map_err(|e| server(e, format_args!("looking for partitions of {name}")))?;
    Ok(if found.len() > 1 { found } else { Vec::new() })
}

/// Deletes all rows, a little at a time, with rests.
async fn empty(conn: &mut Conn, name: &TableName, found: &Table) -> Result<()> {
    // Not everybody may say so; then whole rows are in the binlog.
    drop(conn.query_drop("set session binlog_row_image = 'MINIMAL'").await);
    let key = found.index("PRIMARY").and_then(|i| i.whole_columns()).unwrap_or_default();
    let columns: Vec<String> = key.iter().map(|c| quote(c)).collect();
    let literals: Vec<String> = key.iter().filter_map(|c| found.column(c)).map(key_expression).collect();
    let (mut rows, mut lower): (u64, Option<Vec<String>>) = (ROWS_FIRST, None);
    loop {
        let above = lower.as_ref().map_or("true".to_string(), |l| beyond(&columns, l, ">", ">"));
        let began = Instant::now();
        let upper = if columns.is_empty() {
            None
        } else {
            let order = columns.join(", ");
            let text = format!(
                "select {} from {} where {above} order by {order} limit 1 offset {}",
                literals.join(", "),
                table(name),
                rows - 1
            );
            let row: Option<Row> =
                conn.query_first(text).await.map_err(|e| server(e, format_args!("dropping {name}")))?;
            row.map(|row| crate::session::key_of(&row, 0)).transpose()?
        };
        let text = match &upper {
            Some(upper) => {
                format!(
                    "delete from {} where {above} and {}",
                    table(name),
                    beyond(&columns, upper, "<", "<=")
                )
            }
            None => format!("delete from {} limit {rows}", table(name)),
        };
        run(conn, &format!("{text} /* shadowswap */"), name).await?;
        let took = began.elapsed();
        if upper.is_none() && conn.affected_rows() < rows {
            return Ok(());
        }
        lower = upper;
        rows = if took > STEP { (rows / 2).max(1) } else { (rows * 2).min(ROWS_MAX) };
        tokio::time::sleep(took).await;
    }
}
