//! Readings for the throttle: one statement for all that the server itself knows, and replicas asked one by one where they are named.
//!
//! How far a replica is behind is worked out from where it is and from when our own server was there: `replay_lag` stands still while a
//! replica is paused, and clocks of two machines differ.

use crate::{
    connect::{ConnectOptions, Connection, Host},
    error::server,
    prepare::slot_name,
    sql::table,
};
use shadowswap_core::{
    Error, Load, Result, Tried,
    plan::{Finding, Plan},
};
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// A replica is given up for this reading if it does not answer in time. The reader waits 5 s for all of them.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Where our own server was, remembered for this many readings: an hour's. Replicas that are farther behind are as far behind as that.
const WAYPOINTS: usize = 3_600;

/// What is remembered from one reading to the next.
#[derive(Default)]
pub struct Watch {
    /// Named by the operator; none: those that the server knows.
    named: Vec<ConnectOptions>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    waypoints: VecDeque<(Instant, i64)>,
    open: HashMap<usize, Connection>,
    /// The file that was being written when archiving was first seen never to have succeeded.
    archive_from: Option<i64>,
}

/// One row of all readings.
const READINGS: &str = "select\n\
    pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,\n\
    (select count(*) from pg_stat_activity where state = 'active' and backend_type = 'client backend'\n\
     and application_name not like 'shadowswap/%'),\n\
    (select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint from pg_replication_slots where slot_name = $1),\n\
    pg_size_bytes(current_setting('max_slot_wal_keep_size')),\n\
    (select count(distinct l.pid) from pg_locks l join pg_stat_activity a using (pid)\n\
     where l.locktype = 'relation' and l.relation = to_regclass($2) and l.mode = 'ShareUpdateExclusiveLock'\n\
     and l.database = (select oid from pg_database where datname = current_database())\n\
     and coalesce(a.application_name, '') not like 'shadowswap/%'),\n\
    (select greatest(age(c.relfrozenxid), age(t.relfrozenxid))::float8 * 100 / current_setting('autovacuum_freeze_max_age')::float8\n\
     from pg_class c left join pg_class t on t.oid = c.reltoastrelid where c.oid = to_regclass($2)),\n\
    current_setting('archive_mode') <> 'off',\n\
    (select last_archived_wal from pg_stat_archiver),\n\
    pg_size_bytes(current_setting('wal_segment_size')),\n\
    (select array_agg(pg_wal_lsn_diff(r.replay_lsn, '0/0')::bigint) from pg_stat_replication r where r.state is distinct from 'backup'\n\
     and not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')),\n\
    (select sum(xact_commit + xact_rollback)::bigint from pg_stat_database)";

impl Watch {
    /// Follows these replicas; none: those that are attached.
    pub fn new(named: Vec<ConnectOptions>) -> Watch {
        Watch { named, memory: Mutex::default() }
    }

    /// All readings. Dropping it closes the connection to the replica that was being asked.
    ///
    /// # Errors
    /// The server's. What only some readings fail with is among the readings.
    pub async fn load(&self, client: &Client, plan: &Plan, migration: i64, replicas: bool) -> Result<Load> {
        let slot = slot_name(client, &crate::scope::tag(plan, migration)).await?;
        let name = table(&plan.source);
        let row = client
            .query_one(READINGS, &[&slot, &name])
            .await
            .map_err(|e| server(e, "reading the server's load"))?;
        let mut memory = self.memory.lock().await;
        let written: i64 = row.get(0);
        memory.waypoints.push_back((Instant::now(), written));
        if memory.waypoints.len() > WAYPOINTS {
            memory.waypoints.pop_front();
        }
        let retained = row.get::<_, Option<i64>>(2).unwrap_or(0).max(0);
        let keep_max: i64 = row.get(3);
        let mut load = Load {
            active_sessions: row.get::<_, i64>(1).max(0) as u64,
            ended: row.get::<_, Option<i64>>(10).and_then(|n| u64::try_from(n).ok()),
            retained_bytes: retained as u64,
            retained_percent: (keep_max > 0).then(|| retained as f64 * 100.0 / keep_max as f64),
            vacuums: Some(row.get::<_, i64>(4).max(0) as u64),
            wraparound_percent: row.get(5),
            ..Load::default()
        };
        if row.get(6) {
            let last: Option<String> = row.get(7);
            let segment: i64 = row.get(8);
            load.archive_files = Some(backlog(&mut memory, written, last.as_deref(), segment));
        }
        if replicas {
            let places = match self.named.is_empty() {
                true => Ok(row.get::<_, Option<Vec<Option<i64>>>>(9).unwrap_or_default()),
                false => self.ask(&mut memory).await,
            };
            match places.and_then(|places| behind(&memory.waypoints, &places)) {
                Ok(lag) => load.replica_lag = lag,
                Err(e) => drop(load.unreadable.insert("replica-lag", e.message)),
            }
        }
        Ok(load)
    }

    /// Where each of the named replicas is.
    async fn ask(&self, memory: &mut Memory) -> Result<Vec<Option<i64>>> {
        let mut places = Vec::with_capacity(self.named.len());
        for (n, options) in self.named.iter().enumerate() {
            let kept = memory.open.remove(&n);
            let asked = async {
                let connection = match kept {
                    Some(connection) => connection,
                    None => options.connect("replica").await.map_err(Error::from)?,
                };
                let text = "select case when pg_is_in_recovery() then pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint end";
                let row = connection.client().query_one(text, &[]).await;
                let place: Option<i64> = row.map_err(|e| server(e, "asking where it is"))?.get(0);
                let place = place.ok_or_else(|| Error::refused("it is no replica"))?;
                Ok((place, connection))
            };
            let asked = match tokio::time::timeout(ANSWER_WITHIN, asked).await {
                Ok(asked) => asked,
                Err(_) => Err(Error::transient(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
            };
            let host = options.hosts.first().map_or_else(String::new, Host::shown);
            let (place, connection) = asked.tried(format_args!("asking the replica {host} for its lag"))?;
            // Only a connection that has just answered is kept.
            memory.open.insert(n, connection);
            places.push(Some(place));
        }
        Ok(places)
    }

    /// What the plan says about the replicas that were named; nothing if none was.
    pub async fn finding(&self) -> Option<Finding> {
        if self.named.is_empty() {
            return None;
        }
        Some(match self.ask(&mut *self.memory.lock().await).await {
            Ok(places) => {
                Finding::passed("replica-lag", format!("{} replicas were asked, and answer", places.len()))
            }
            Err(e) => Finding::refused(
                "replica-lag",
                format!("--replica: {}", e.message),
                "name replicas as HOST:PORT or by a URL, and let this role in there",
            ),
        })
    }
}

/// How far the slowest is behind: since when our own server has been ahead of it.
fn behind(waypoints: &VecDeque<(Instant, i64)>, places: &[Option<i64>]) -> Result<Option<Duration>> {
    let mut most = None;
    for place in places {
        let place = place.ok_or_else(|| {
            Error::refused(
                "this role may not see where replicas are; grant it pg_monitor, or name them by --replica",
            )
        })?;
        let ahead = waypoints.iter().find(|(_, written)| *written > place);
        let lag = ahead.map_or(Duration::ZERO, |(at, _)| at.elapsed());
        most = most.max(Some(lag));
    }
    Ok(most)
}

/// Finished files after the one that was archived last.
fn backlog(memory: &mut Memory, written: i64, last: Option<&str>, segment: i64) -> u64 {
    let now = written / segment.max(1);
    let archived = match last.and_then(|name| number(name, segment)) {
        Some(archived) => {
            memory.archive_from = None;
            archived
        }
        // Never yet, or something else than a file of WAL: counted from here.
        None => *memory.archive_from.get_or_insert(now - 1),
    };
    (now - archived - 1).max(0) as u64
}

/// The number of a WAL file, from its name: timeline, and then in two parts.
fn number(name: &str, segment: i64) -> Option<i64> {
    let name = name.get(..24)?;
    let part = |range: std::ops::Range<usize>| i64::from_str_radix(name.get(range)?, 16).ok();
    Some(part(8..16)? * (0x1_0000_0000 / segment.max(1)) + part(16..24)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: i64 = 16 << 20;

    #[test]
    fn replica_is_behind_since_our_server_left_its_place() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let waypoints: VecDeque<_> = [(ago(30), 100), (ago(20), 200), (ago(10), 200), (now, 300)].into();
        let lag = |places: &[Option<i64>]| behind(&waypoints, places).unwrap().map(|lag| lag.as_secs());
        assert_eq!(lag(&[]), None);
        assert_eq!(lag(&[Some(300)]), Some(0));
        assert_eq!(lag(&[Some(200), Some(300)]), Some(0), "where it is, our server was until now");
        assert_eq!(lag(&[Some(150)]), Some(20));
        assert_eq!(lag(&[Some(300), Some(0)]), Some(30));
        assert!(behind(&waypoints, &[None]).is_err(), "what cannot be seen is not zero");
    }

    #[test]
    fn backlog_counts_finished_files() {
        let mut memory = Memory::default();
        let at = |file: i64| file * SEGMENT + 5;
        assert_eq!(number("000000010000000100000002", SEGMENT), Some(258));
        assert_eq!(backlog(&mut memory, at(258), Some("000000010000000100000001"), SEGMENT), 0);
        assert_eq!(
            backlog(&mut memory, at(261), Some("000000010000000100000001.00000028.backup"), SEGMENT),
            3
        );
        assert_eq!(backlog(&mut memory, at(261), Some("00000002.history"), SEGMENT), 0);
        assert_eq!(backlog(&mut memory, at(263), None, SEGMENT), 2, "nothing was ever archived");
    }
}
