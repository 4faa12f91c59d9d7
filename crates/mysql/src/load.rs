//! Readings for the throttle.

use crate::{
    error::server,
    flavor::Server,
    position::{Position, file_number},
};
use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{Load, Result};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// The list of binlogs is asked for this often: the server opens each of them for it.
const BINLOGS_EVERY: Duration = Duration::from_secs(5);

/// What is remembered from one reading to the next.
#[derive(Debug, Default)]
pub struct Memory {
    binlogs: Option<(Instant, Vec<(u64, u64)>)>,
}

/// All that the server itself knows. What needs a privilege that this user lacks is among the readings that failed.
///
/// # Errors
/// The server's.
pub async fn load(
    conn: &mut Conn,
    product: &Server,
    control: &str,
    migration: i64,
    memory: &mut Memory,
) -> Result<Load> {
    let mut load = Load::default();
    let text = "show global status where variable_name in ('Threads_running', 'Innodb_history_list_length', 'Questions')";
    let found: Vec<(String, u64)> =
        conn.query(text).await.map_err(|e| server(e, "reading the server's load"))?;
    for (name, value) in found {
        if name.eq_ignore_ascii_case("Threads_running") {
            // One of them is this reading.
            load.active_sessions = value.saturating_sub(1);
        } else if name.eq_ignore_ascii_case("Questions") {
            load.ended = Some(value);
        } else {
            load.undo = Some(value);
        }
    }
    if !product.is_mariadb() {
        match undo(conn).await? {
            Ok(length) => load.undo = Some(length),
            Err(why) => drop(load.unreadable.insert("undo", why)),
        }
    }
    retained(conn, control, migration, memory, &mut load).await?;
    Ok(load)
}

/// Of the sessions at work, those that are neither ours nor a replica's.
///
/// # Errors
/// The server's.
pub async fn others(conn: &mut Conn, running: u64, ours: &HashSet<u32>) -> Result<u64> {
    let connected: Option<(String, u64)> = conn
        .query_first("show global status like 'Threads_connected'")
        .await
        .map_err(|e| server(e, "counting sessions"))?;
    // Not from information_schema.PROCESSLIST: MySQL fails there (3854) as long as any statement has a character of four bytes in it.
    let rows: Vec<Row> = conn.query("show processlist").await.map_err(|e| server(e, "listing sessions"))?;
    let at_work = rows.iter().filter_map(|row| session(row, ours));
    let (known, strangers): (Vec<_>, Vec<_>) = at_work.partition(|is_known| *is_known);
    // Without PROCESS, only sessions of our own user are shown: then whoever is not known is a stranger.
    let shows_all = rows.len() as u64 + 2 >= connected.map_or(0, |(_, n)| n);
    let unseen = if shows_all { 0 } else { (running + 1).saturating_sub(known.len() as u64) };
    Ok(unseen.max(strangers.len() as u64))
}

/// Whether a session at work is one of ours, or a replica's; `None`: it rests, or is the server's own.
fn session(row: &Row, ours: &HashSet<u32>) -> Option<bool> {
    let id: u64 = row.get_opt("Id")?.ok()?;
    let command: String = row.get_opt("Command")?.ok()?;
    match command.as_str() {
        "Sleep" | "Daemon" | "Connect" | "Slave_IO" | "Slave_SQL" | "Slave_worker" => None,
        _ if command.starts_with("Binlog Dump") => Some(true),
        _ => Some(u32::try_from(id).is_ok_and(|id| ours.contains(&id))),
    }
}

/// The history list, which MySQL shows only here.
async fn undo(conn: &mut Conn) -> Result<Result<u64, String>> {
    let text = "select `count` from information_schema.innodb_metrics where name = 'trx_rseg_history_len' and status = 'enabled'";
    match conn.query_first::<i64, _>(text).await {
        Ok(Some(length)) => Ok(Ok(length.max(0) as u64)),
        Ok(None) => {
            Ok(Err("the counter trx_rseg_history_len is disabled (innodb_monitor_enable)".to_string()))
        }
        Err(mysql_async::Error::Server(e)) => Ok(Err(format!("{}; grant PROCESS", e.message))),
        Err(e) => Err(server(e, "reading the history list's length")),
    }
}

/// What lies in binlogs after the place applied last, and how long ago that was, of the time after which the server removes binlogs.
async fn retained(
    conn: &mut Conn,
    control: &str,
    migration: i64,
    memory: &mut Memory,
    load: &mut Load,
) -> Result<()> {
    let text = format!(
        "select c.position, cast(timestampdiff(microsecond, coalesce(c.applied_at, m.started_at), utc_timestamp(6)) as double) / 1e6\n\
         from {control}.checkpoint c join {control}.migration m on m.id = c.migration where m.id = {migration}"
    );
    let row: Option<Row> = conn.query_first(text).await.map_err(|e| server(e, "reading the checkpoint"))?;
    let (position, age) = row.map_or((None, None), |row| {
        (
            row.get_opt::<Option<String>, _>(0).and_then(Result::ok).flatten(),
            row.get_opt::<Option<f64>, _>(1).and_then(Result::ok).flatten(),
        )
    });
    if let (Some(age), Some(expires)) = (age, expires(conn).await?) {
        load.retained_percent = Some(age.max(0.0) * 100.0 / expires);
    }
    let is_old = memory.binlogs.as_ref().is_none_or(|(at, _)| at.elapsed() > BINLOGS_EVERY);
    if is_old {
        match conn.query::<Row, _>("show binary logs").await {
            Ok(rows) => memory.binlogs = Some((Instant::now(), rows.iter().filter_map(file).collect())),
            Err(mysql_async::Error::Server(e)) => drop(load.unreadable.insert("retained", e.message)),
            Err(e) => return Err(server(e, "listing the binlogs")),
        }
    }
    let position = position.and_then(|text| text.parse::<Position>().ok());
    let number = position.as_ref().and_then(|p| file_number(&p.file).ok());
    if let (Some(p), Some(number), Some((_, files))) = (position, number, &memory.binlogs) {
        let after: u64 = files.iter().filter(|(n, _)| *n >= number).map(|(_, bytes)| bytes).sum();
        load.retained_bytes = after.saturating_sub(p.offset);
    }
    Ok(())
}

/// A binlog's number and size.
fn file(row: &Row) -> Option<(u64, u64)> {
    let name: String = row.get_opt(0)?.ok()?;
    Some((file_number(&name).ok()?, row.get_opt(1)?.ok()?))
}

/// Seconds after which binlogs are removed; `None`: never.
async fn expires(conn: &mut Conn) -> Result<Option<f64>> {
    let text =
        "show global variables where variable_name in ('binlog_expire_logs_seconds', 'expire_logs_days')";
    let found: Vec<(String, f64)> =
        conn.query(text).await.map_err(|e| server(e, "reading when binlogs expire"))?;
    let seconds = found.into_iter().map(|(name, value)| match name.as_str() {
        "expire_logs_days" => value * 86_400.0,
        _ => value,
    });
    Ok(seconds.filter(|s| *s > 0.0).reduce(f64::min))
}
