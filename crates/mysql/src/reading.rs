//! What a new reader is sure to see, now; and on which server.

use crate::{Floor, Position, error::server, flavor::Server, gtid::GtidSet, position::file_number};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Result, patience};
use std::time::Duration;

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
    executed(conn).await.map(Floor::Gtids)
}

/// MySQL: the transactions that new readers see.
async fn executed(conn: &mut Conn) -> Result<GtidSet> {
    let text: Option<String> = conn
        .query_first("select @@global.gtid_executed")
        .await
        .map_err(|e| server(e, "reading the transactions that are visible"))?;
    let text = text.ok_or_else(|| Error::corrupt("the server gave no gtid_executed"))?;
    text.parse().map_err(|e| Error::corrupt(format!("gtid_executed cannot be read: {e}")))
}

/// The GTIDs of a position at the binlog's present end; without GTIDs, which server's binlog it is.
///
/// # Errors
/// The server's.
pub async fn gtids(conn: &mut Conn, product: &Server) -> Result<String> {
    if product.is_mariadb() {
        let found: Option<String> = conn
            .query_first("select @@global.gtid_binlog_pos")
            .await
            .map_err(|e| server(e, "reading the transactions that are in the binlog"))?;
        return Ok(found.unwrap_or_default());
    }
    if product.has_gtids { executed(conn).await.map(|set| set.to_string()) } else { identity(conn).await }
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

/// Which server's binlog a position without GTIDs speaks of: `@` and its UUID. Empty where the server has none.
async fn identity(conn: &mut Conn) -> Result<String> {
    let found: Option<(String, String)> = conn
        .query_first("show global variables like 'server_uuid'")
        .await
        .map_err(|e| server(e, "asking the server for its UUID"))?;
    Ok(found.map_or_else(String::new, |(_, uuid)| format!("@{uuid}")))
}

/// How long a transaction may take to be committed that is in the binlog: as long as it waits for its semi-synchronous replica.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
const KNOWN_LOOK: Duration = Duration::from_millis(200);

/// A server that was restored, or is another one, sends its own transactions from their beginning, and not those that it never had.
async fn knows(conn: &mut Conn, from: &Position) -> Result<()> {
    let text = "select gtid_subset(?, @@global.gtid_executed), gtid_subtract(?, @@global.gtid_executed)";
    let deadline = tokio::time::Instant::now() + patience::scaled(KNOWN_WITHIN);
    loop {
        let found: Option<(bool, String)> = conn
            .exec_first(text, (&from.gtids, &from.gtids))
            .await
            .map_err(|e| server(e, "asking whether the server has what was applied"))?;
        let Some((false, unknown)) = found else { return Ok(()) };
        if tokio::time::Instant::now() > deadline {
            return Err(Error::corrupt(format!(
                "this server never had transactions that this migration has applied ({}): it is another server, was restored, or its \
                 GTIDs were reset; changes may be missing, the shadow cannot be trusted any more",
                unknown.chars().take(200).collect::<String>()
            ))
            .next("nothing was swapped; if it is a replica that is still catching up, run again later; else `shadowswap abort`, then run again"));
        }
        tokio::time::sleep(KNOWN_LOOK).await;
    }
}

/// Which server this is: its UUID; MariaDB has none, and is known by its number, which no replica of it has.
///
/// # Errors
/// The server's.
pub async fn origin(conn: &mut Conn) -> Result<String> {
    let uuid = identity(conn).await?;
    if !uuid.is_empty() {
        return Ok(uuid);
    }
    let text = "select concat('server_id ', @@server_id)";
    let found: Option<String> =
        conn.query_first(text).await.map_err(|e| server(e, "asking which server this is"))?;
    found.ok_or_else(|| Error::corrupt("the server does not say which one it is"))
}

/// A place in another server's binlog means nothing here: a replica that took over numbers its files in its own way.
///
/// # Errors
/// `Corrupt` if GTIDs say that this is another history.
/// `Refused` if this is not the server that the position is of.
pub async fn is_same_server(conn: &mut Conn, product: &Server, from: &Position) -> Result<()> {
    if !from.gtids.starts_with('@') {
        // Noted without a name by an older version: nothing to compare.
        return if product.has_gtids && !product.is_mariadb() { knows(conn, from).await } else { Ok(()) };
    }
    let now = identity(conn).await?;
    if now == from.gtids {
        return Ok(());
    }
    let uuid = |identity: &str| identity.trim_start_matches('@').to_string();
    Err(Error::refused(format!(
        "this is another server than the one where the migration began: its UUID is {}, that one's {}; without GTIDs a place in the \
         binlog ({}:{}) means nothing on another server",
        uuid(&now),
        uuid(&from.gtids),
        from.file,
        from.offset
    ))
    .next("nothing was swapped; go on where the migration began, or `shadowswap abort` here and run again (with gtid_mode=ON it could go on)"))
}
