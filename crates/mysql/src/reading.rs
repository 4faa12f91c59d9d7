//! What a new reader is sure to see, now.

use crate::{Floor, error::server, flavor::Server, gtid::GtidSet};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Result};

/// MariaDB: a snapshot and the binlog's position of it, at one moment.
const SNAPSHOT: &str = "set transaction isolation level repeatable read;\n\
    start transaction with consistent snapshot;\nshow status like 'binlog_snapshot_%';\ncommit";

/// Takes a floor. On MariaDB this begins and ends a transaction: never under `LOCK TABLES`.
///
/// # Errors
/// The server's.
pub async fn floor(conn: &mut Conn, product: &Server) -> Result<Floor> {
    if product.is_mariadb() {
        let (name, offset) = snapshot(conn).await?;
        return Ok(Floor::Place { file: file_number(&name)?, offset });
    }
    if !product.has_gtids {
        return Ok(Floor::All);
    }
    let text: Option<String> = conn
        .query_first("select @@global.gtid_executed")
        .await
        .map_err(|e| server(e, "reading the transactions that are visible"))?;
    let text = text.ok_or_else(|| Error::corrupt("the server gave no gtid_executed"))?;
    let set: GtidSet =
        text.parse().map_err(|e| Error::corrupt(format!("gtid_executed cannot be read: {e}")))?;
    Ok(Floor::Gtids(set))
}

/// MariaDB's binlog position of a consistent snapshot taken now: file and offset.
///
/// # Errors
/// The server's; `Refused` if the binlog is off.
pub async fn snapshot(conn: &mut Conn) -> Result<(String, u64)> {
    let failed = |e| server(e, "taking a snapshot with its binlog position");
    let (mut file, mut offset) = (None, None);
    let mut result = conn.query_iter(SNAPSHOT).await.map_err(failed)?;
    // One result for each statement; only the third has rows.
    while !result.is_empty() {
        for (name, value) in result.collect::<(String, String)>().await.map_err(failed)? {
            match name.to_ascii_lowercase().as_str() {
                "binlog_snapshot_file" => file = Some(value),
                "binlog_snapshot_position" => offset = value.parse().ok(),
                _ => {}
            }
        }
    }
    result.drop_result().await.map_err(failed)?;
    match (file.filter(|f| !f.is_empty()), offset) {
        (Some(file), Some(offset)) => Ok((file, offset)),
        _ => Err(Error::refused("the server tells no binlog position of a snapshot; is log_bin on?")),
    }
}

/// `bin.000012` is 12.
///
/// # Errors
/// `Corrupt` if the name has no number.
pub fn file_number(name: &str) -> Result<u64> {
    name.rsplit_once('.')
        .and_then(|(_, number)| number.parse().ok())
        .ok_or_else(|| Error::corrupt(format!("a binlog file is called {name}, without a number")))
}
