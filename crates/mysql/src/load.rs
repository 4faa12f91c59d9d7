//! Readings for the throttle.

use crate::{
    error::server,
    flavor::Server,
    position::{Position, file_number},
};
use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{Load, Result};
use std::{
    collections::HashMap,
    sync::PoisonError,
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
    ours: &Ours,
) -> Result<Load> {
    let (mut load, mut connected) = (Load::default(), 0);
    let text = "show global status where variable_name in ('Threads_running', 'Threads_connected', 'Innodb_history_list_length', 'Questions')";
    let found: Vec<(String, u64)> =
        conn.query(text).await.map_err(|e| server(e, "reading the server's load"))?;
    for (name, value) in found {
        if name.eq_ignore_ascii_case("Threads_running") {
            // One of them is this reading.
            load.active_sessions = value.saturating_sub(1);
        } else if name.eq_ignore_ascii_case("Threads_connected") {
            connected = value;
        } else if name.eq_ignore_ascii_case("Questions") {
            load.ended = Some(value);
        } else {
            load.undo = Some(value);
        }
    }
    if load.active_sessions > 0 {
        load.active_sessions = others(conn, load.active_sessions, connected, ours).await?;
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

/// Connections of this process, by the server's numbers, and what they are for.
pub type Ours = std::sync::Mutex<HashMap<u32, String>>;

/// A session as the server lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number.
    pub id: u32,
    /// What it is doing: `Sleep`, `Query`, `Binlog Dump`.
    pub command: String,
    /// For how many seconds.
    pub seconds: u64,
}

impl Listed {
    /// Whether it waits for its client, or is the server's own.
    pub fn rests(&self) -> bool {
        matches!(
            self.command.as_str(),
            "Sleep" | "Daemon" | "Connect" | "Slave_IO" | "Slave_SQL" | "Slave_worker"
        )
    }
}

/// All sessions that we may see.
///
/// # Errors
/// The server's.
pub async fn sessions(conn: &mut Conn) -> Result<Vec<Listed>> {
    // Not from information_schema.PROCESSLIST: MySQL fails there (3854) as long as any statement has a character of four bytes in it.
    let rows: Vec<Row> = conn.query("show processlist").await.map_err(|e| server(e, "listing sessions"))?;
    let listed = |row: &Row| {
        Some(Listed {
            id: row.get_opt("Id")?.ok()?,
            command: row.get_opt("Command")?.ok()?,
            seconds: row.get_opt::<Option<i64>, _>("Time")?.ok()?.map_or(0, |s| s.max(0) as u64),
        })
    };
    Ok(rows.iter().filter_map(listed).collect())
}

/// Of the sessions at work, those that are neither ours nor a replica's. `connected`: how many there are in all.
async fn others(conn: &mut Conn, running: u64, connected: u64, ours: &Ours) -> Result<u64> {
    let all = sessions(conn).await?;
    let at_work = all.iter().filter(|s| !s.rests());
    // After they were listed: what has connected meanwhile is among them.
    let ours = ours.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let is_known = |s: &&Listed| s.command.starts_with("Binlog Dump") || ours.contains_key(&s.id);
    let (known, strangers): (Vec<_>, Vec<_>) = at_work.partition(is_known);
    // Without PROCESS, only sessions of our own user are shown: then whoever is not known is a stranger.
    let shows_all = all.len() as u64 + 2 >= connected;
    let unseen = if shows_all { 0 } else { (running + 1).saturating_sub(known.len() as u64) };
    Ok(unseen.max(strangers.len() as u64))
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
