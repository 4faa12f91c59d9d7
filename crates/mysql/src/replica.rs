//! Replicas: which there are, and how far they are behind.
//!
//! The primary knows who reads its binlog, and not how far they are: that is asked of each replica itself.

use crate::{
    catalog,
    connect::{Charset, ConnectOptions},
    error::server,
    flavor::Server,
    sql::quote,
};
use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{Error, Result, Tried, plan::Finding};
use std::{collections::HashMap, time::Duration};
use tokio::sync::Mutex;

/// One that has registered with the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its `server_id`.
    pub id: u32,
    /// What it says of itself: `report_host` and `report_port`. `None`: nothing.
    pub address: Option<String>,
}

/// Whose streams may still be open.
const MIGRATIONS: u32 = 1_000;
/// A replica is given up for this reading if it does not answer in time. The steward waits 5 s for all of them.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The replicas that have registered, and how many streams of our own. None where we may not see them.
///
/// # Errors
/// A lost connection.
pub async fn registered(conn: &mut Conn, product: &Server, control: &str) -> Result<(Vec<Replica>, usize)> {
    let is_new = !product.is_mariadb() && product.version >= (8, 0, 22);
    let text = if is_new { "show replicas" } else { "show slave hosts" };
    let found = rows(conn, text).await?;
    // Those of runs that have ended, too: the server needs a moment to notice that a stream is gone.
    let ours = format!("select id from {}.migration order by id desc limit {MIGRATIONS}", quote(control));
    let ours: Vec<u32> = rows(conn, &ours)
        .await?
        .iter()
        .filter_map(|row| row.get_opt(0)?.ok())
        .map(|migration| crate::server_id(control, migration))
        .collect();
    let all: Vec<Replica> = found.iter().filter_map(replica).collect();
    let (own, others): (Vec<Replica>, Vec<Replica>) = all.into_iter().partition(|r| ours.contains(&r.id));
    Ok((others, own.len()))
}

/// What may be refused for want of a privilege, or because the table is not there.
async fn rows(conn: &mut Conn, text: &str) -> Result<Vec<Row>> {
    match conn.query(text).await {
        Ok(rows) => Ok(rows),
        Err(mysql_async::Error::Server(_)) => Ok(Vec::new()),
        Err(e) => Err(server(e, text)),
    }
}

fn replica(row: &Row) -> Option<Replica> {
    let id = row.get_opt(0)?.ok()?;
    let host = row.get_opt::<Option<String>, _>("Host")?.ok()?.filter(|host| !host.is_empty());
    let port = row.get_opt::<u16, _>("Port").and_then(Result::ok).filter(|port| *port > 0);
    let address = host.map(|host| {
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    });
    Some(Replica { id, address })
}

/// A heartbeat: what the runner writes into its migration's row several times a second, and every replica gets.
#[derive(Clone, Copy, Debug)]
pub struct Beat<'a> {
    /// The control database, quoted.
    pub control: &'a str,
    /// The migration's number.
    pub migration: i64,
}

impl Beat<'_> {
    /// When the row was written last, as this server has it, in seconds; `None`: it has no such row, or we may not see it.
    async fn last(&self, conn: &mut Conn) -> Result<Option<f64>> {
        let text = format!(
            "select cast(timestampdiff(microsecond, '2000-01-01', updated_at) as double) / 1e6 from {}.migration where id = {}",
            self.control, self.migration
        );
        Ok(rows(conn, &text).await?.first().and_then(|row| row.get_opt::<Option<f64>, _>(0)?.ok()?))
    }
}

/// Follows the lag of replicas.
#[derive(Debug)]
pub struct Watch {
    /// Addresses that the operator named; none: those that registered.
    named: Vec<String>,
    /// Connections to them, by address.
    open: Mutex<HashMap<String, (Conn, Server)>>,
}

impl Watch {
    /// Follows these replicas; none: those that register with the primary.
    pub fn new(named: &[String]) -> Watch {
        Watch { named: named.to_vec(), open: Mutex::default() }
    }

    /// Each replica's address and lag now. Dropping it closes the connection that was asked.
    ///
    /// # Errors
    /// The first replica that cannot be asked, or that does not replicate.
    pub async fn lags(
        &self,
        primary: &mut Conn,
        product: &Server,
        options: &ConnectOptions,
        control: &str,
        beat: Option<Beat<'_>>,
    ) -> Result<Vec<(String, Duration)>> {
        let mut addresses = self.named.clone();
        if addresses.is_empty() {
            for replica in registered(primary, product, control).await?.0 {
                addresses.push(replica.address.ok_or_else(|| {
                    Error::refused(format!(
                        "the replica with server_id {} does not tell the primary its address (report_host)",
                        replica.id
                    ))
                })?);
            }
        }
        // Read before those of the replicas, so that none of them is ahead of it.
        let sent = match beat {
            Some(beat) => beat.last(primary).await?,
            None => None,
        };
        let beat = beat.zip(sent);
        let mut open = self.open.lock().await;
        let mut lags = Vec::new();
        for address in addresses {
            let kept = open.remove(&address);
            let asked = ask(kept, &address, options, beat);
            let asked = match tokio::time::timeout(ANSWER_WITHIN, asked).await {
                Ok(asked) => asked,
                Err(_) => Err(Error::transient(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
            };
            let (lag, conn) = asked.tried(format_args!("asking the replica {address} for its lag"))?;
            // Only a connection that has just answered is kept.
            open.insert(address.clone(), conn);
            lags.push((address, lag));
        }
        Ok(lags)
    }
}

async fn ask(
    kept: Option<(Conn, Server)>,
    address: &str,
    options: &ConnectOptions,
    beat: Option<(Beat<'_>, f64)>,
) -> Result<(Duration, (Conn, Server))> {
    let (mut conn, product) = match kept {
        Some(kept) => kept,
        None => {
            let mut conn = options.beside(address)?.connect("replica", Charset::Utf8).await?;
            let product = catalog::server(&mut conn).await?;
            (conn, product)
        }
    };
    let text = match (product.is_mariadb(), product.version >= (8, 0, 22)) {
        (true, _) => "show all slaves status",
        (false, true) => "show replica status",
        (false, false) => "show slave status",
    };
    let channels: Vec<Row> = conn.query(text).await.map_err(|e| server(e, text))?;
    if channels.is_empty() {
        return Err(Error::refused("it is no replica"));
    }
    let mut most = 0;
    for row in &channels {
        let seconds = ["Seconds_Behind_Source", "Seconds_Behind_Master"]
            .into_iter()
            .find_map(|name| row.get_opt::<Option<u64>, _>(name)?.ok())
            .flatten();
        most = most.max(seconds.ok_or_else(|| {
            Error::transient("it does not replicate now (SHOW REPLICA STATUS gives no seconds behind)")
        })?);
    }
    // Whole seconds since what is being applied now was written; nothing of what has not even arrived. The heartbeat knows both.
    let mut lag = Duration::from_secs(most);
    if let Some((beat, sent)) = beat
        && let Some(got) = beat.last(&mut conn).await?
    {
        lag = Duration::try_from_secs_f64(sent - got).unwrap_or_default();
    }
    Ok((lag, (conn, product)))
}

/// What the plan says about replicas whose lag is to hold the copy.
pub fn finding(lags: Result<Vec<(String, Duration)>>) -> Finding {
    let lags = match lags {
        Ok(lags) => lags,
        Err(e) => {
            return Finding::refused(
                "replica-lag",
                format!("--max-replica-lag: {}", e.message),
                "name the replicas by --replica HOST:PORT and let this user in there, with REPLICATION CLIENT (MySQL) or REPLICA MONITOR \
                 (MariaDB); or leave --max-replica-lag out",
            );
        }
    };
    if lags.is_empty() {
        return Finding::passed(
            "replica-lag",
            "no replica is attached now; the copy waits for those that come",
        );
    }
    let lags = lags.iter().map(|(address, lag)| format!("{address} ({} s)", lag.as_secs()));
    Finding::passed("replica-lag", format!("behind the primary: {}", lags.collect::<Vec<_>>().join(", ")))
}
