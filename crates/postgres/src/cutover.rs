//! The lock, the swap, and what became of it.
//!
//! One connection holds the lock from the first request to the commit; a second one sends the marker, and the applier goes on with its
//! own session. The order under the clients' eyes: SHARE ROW EXCLUSIVE (writers wait, readers do not), drain, then ACCESS EXCLUSIVE, the
//! tables' renames and COMMIT in one round trip. Before that, unseen by clients, SHARE UPDATE EXCLUSIVE sends autovacuum away and keeps
//! other DDL out, the indexes get their final names, and the swap is noted in the control tables.

use crate::{
    Lsn, Postgres, connect::Connection, error::server, floor::Snapshot, plan::Detail, session::Session,
    sql::table,
};
use shadowswap_core::{
    Apply, Error, Kind, Locked as CoreLocked, Obstacle, Outcome, Result,
    batch::Batch,
    failpoint::{self, Place},
    name::TableName,
    plan::Plan,
};
use std::{future::Future, time::Duration};
use tokio::time::Instant;
use tokio_postgres::{Client, error::SqlState};

/// How long autovacuum may take to go away, and other DDL to end. Clients do not wait meanwhile.
const SHARE_UPDATE_WAIT: Duration = Duration::from_secs(3);
/// The part of the stall budget that waiting for writers may take; the rest is for draining and the swap.
const LOCK_SHARE: f64 = 0.5;
/// Less than this is not worth trying to take the exclusive lock.
const SWAP_MIN: Duration = Duration::from_millis(1);
/// Renames and commit together (measured: 3 to 5 ms with three indexes).
const SWAP_TAKES: Duration = Duration::from_millis(5);

/// The source, locked against writers.
pub struct Locked {
    lock: Connection,
    marker: Session,
    since: Instant,
    source: TableName,
    swap: String,
}

/// What the lock needs to know.
pub struct Request<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its PostgreSQL part.
    pub detail: &'a Detail,
    /// The quoted control schema.
    pub control: &'a str,
    /// The migration's number.
    pub migration: i64,
    /// The runner's epoch.
    pub epoch: i64,
    /// The stall budget.
    pub budget: Duration,
}

/// Takes the lock on `lock`; `marker` will send the marker. `ready` comes just before anybody waits.
pub async fn lock(
    request: Request<'_>,
    lock: Connection,
    marker: Session,
    ready: impl Future<Output = Result<()>>,
) -> Result<Locked> {
    let Request { plan, detail, control, migration, epoch, budget } = request;
    let source = table(&plan.source);
    let client = lock.client();
    // Statements are put together before anybody waits.
    let swap = crate::swap::swap_statements(client, plan, migration).await?;
    batch(client, "begin isolation level read committed", "beginning the cutover").await?;
    // Rows that refer to this one are written under the lock, so its key must stay free.
    let fence = format!("select 1 from {control}.migration where id = $1 and epoch = $2 for no key update");
    let fenced = client.query_opt(&fence, &[&migration, &epoch]).await;
    if fenced.map_err(|e| server(e, "locking the migration's control row"))?.is_none() {
        return Err(Error::superseded());
    }
    set_timeout(client, SHARE_UPDATE_WAIT).await?;
    let text = format!("lock table {source}, {} in share update exclusive mode", table(&plan.shadow));
    batch(client, &text, &format!("locking {} and the shadow against other maintenance", plan.source))
        .await
        .map_err(timed_out)?;
    still_fits(client, plan, detail).await?;
    // Prepared and run once: what the server has to learn for it, it knows before anybody waits.
    let guard = guard_text(detail.source_oid, count_tied(client, detail.source_oid).await?);
    batch(client, &guard, &format!("counting what is tied to {}", plan.source)).await?;
    for statement in &swap.before {
        batch(client, statement, &format!("renaming what belongs to {} ({statement})", plan.source))
            .await
            .map_err(timed_out)?;
    }
    batch(client, &note_text(control, plan, migration), "noting the swap in the control tables").await?;
    // Clients need not wait for the disk once more: whatever is acknowledged to them afterwards is flushed after the swap, and so with it.
    batch(client, "set local synchronous_commit = off", "setting up the cutover").await?;
    // Between two statements of ours the server would not notice for a minute that the network is gone, and writers would wait for as long.
    let idle = format!("set local idle_in_transaction_session_timeout = '{}ms'", budget.as_millis().max(1));
    batch(client, &idle, "setting up the cutover").await?;
    set_timeout(client, budget.mul_f64(LOCK_SHARE)).await?;
    ready.await?;
    let since = Instant::now();
    let text = format!("lock table {source} in share row exclusive mode");
    batch(client, &text, &format!("locking {} against writers", plan.source)).await.map_err(timed_out)?;
    let position = plan.request.guard_s.is_some().then(|| position_text(control, migration));
    let locked: Vec<String> = position.into_iter().chain(swap.locked).collect();
    Ok(Locked { lock, marker, since, source: plan.source.clone(), swap: swap_text(plan, &locked) })
}

fn changed(plan: &Plan) -> Error {
    let was = if plan.turn > 0 { "the one that it had after the swap" } else { "the planned one" };
    let next = if plan.turn > 0 {
        "nothing was swapped by this; give it that definition again, or stop the run and start it again: it works the way back out anew"
    } else {
        "nothing was swapped, and what was made is removed; plan and run again"
    };
    Error::new(Kind::Unfit, format!("the definition of {} is not {was} any more", plan.source)).next(next)
}

/// The source must be as planned, with nothing tied to it that the swap would leave behind.
async fn still_fits(client: &Client, plan: &Plan, detail: &Detail) -> Result<()> {
    let source = crate::catalog::table(client, detail.source_oid).await?;
    if source.fingerprint() != plan.fingerprint {
        return Err(changed(plan));
    }
    let tied = crate::check::tied(client, source, plan.shadow.clone(), plan.old.clone()).await?;
    match tied.first() {
        None => Ok(()),
        Some(first) => {
            let what = tied.iter().map(|f| f.message.as_str()).collect::<Vec<_>>().join("; ");
            let since = if plan.turn > 0 { "since the swap" } else { "during the run" };
            let done = if plan.turn > 0 {
                "nothing was swapped by this"
            } else {
                "nothing was swapped, and what was made for the run is removed"
            };
            let next = first.next.as_deref().unwrap_or("plan and run again");
            Err(Error::new(Kind::Unfit, format!("made on {} {since}: {what}", plan.source))
                .next(format!("{done}; {next}")))
        }
    }
}

/// Everything that the catalogs tie to the table. A view takes no lock that would keep it out: it is counted again in the swap.
async fn count_tied(client: &Client, oid: u32) -> Result<i64> {
    let text = "select count(*) from pg_depend where refclassid = 'pg_class'::regclass and refobjid = $1";
    let row =
        client.query_one(text, &[&oid]).await.map_err(|e| server(e, "counting what is tied to the table"))?;
    Ok(row.get(0))
}

/// Fails with a division by zero if something was tied to the table, or untied, since it was counted.
fn guard_text(oid: u32, tied: i64) -> String {
    format!(
        "prepare shadowswap_guard as select 1 / (count(*) = {tied})::integer from pg_catalog.pg_depend\n\
         where refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and refobjid = {oid};\n\
         execute shadowswap_guard"
    )
}

/// Takes effect with the swap's commit, or not at all. A swap forward begins the guard's time anew.
fn note_text(control: &str, plan: &Plan, migration: i64) -> String {
    let (phase, guard, what) = if plan.is_turned() {
        ("ready", "", "swapped back")
    } else {
        ("guard", ", guard_until = null", "swapped")
    };
    format!(
        "update {control}.migration set phase = '{phase}', turn = {}, updated_at = clock_timestamp(){guard} where id = {migration};\n\
         insert into {control}.event (migration, who, what) values ({migration}, 'runner', '{what}')",
        plan.turn + 1
    )
}

/// Where the next turn's stream begins. Taken when both tables are locked: what was written to the table that comes up is committed
/// before it, and whatever a client writes to it afterwards is committed after it.
fn position_text(control: &str, migration: i64) -> String {
    format!(
        "update {control}.migration set swap_position = pg_catalog.pg_current_wal_insert_lsn()::text where id = {migration}"
    )
}

fn swap_text(plan: &Plan, statements: &[String]) -> String {
    let (source, shadow) = (table(&plan.source), table(&plan.shadow));
    let mut text =
        format!("lock table {source}, {shadow} in access exclusive mode;\nexecute shadowswap_guard;\n");
    for statement in statements {
        text.push_str(statement.trim_end_matches(';'));
        text.push_str(";\n");
    }
    text.push_str("commit;");
    text
}

async fn batch(client: &Client, text: &str, what: &str) -> Result<()> {
    client.batch_execute(text).await.map_err(|e| server(e, what))
}

async fn set_timeout(client: &Client, timeout: Duration) -> Result<()> {
    let ms = timeout.as_millis().max(1);
    batch(client, &format!("set local lock_timeout = '{ms}ms'"), "setting the lock timeout").await
}

/// A lock that was not to be had in time is a matter of the budget; so is a deadlock with a client over it.
fn timed_out(e: Error) -> Error {
    let code = e
        .source
        .as_deref()
        .and_then(|s| s.downcast_ref::<tokio_postgres::Error>())
        .and_then(|e| e.code())
        .cloned();
    match code {
        Some(c) if c == SqlState::LOCK_NOT_AVAILABLE || c == SqlState::T_R_DEADLOCK_DETECTED => {
            Error { kind: Kind::Budget, ..e }
        }
        Some(_) | None => e,
    }
}

impl Locked {
    /// A rollback lets go at once; if it cannot be sent, closing the connection does the same.
    async fn let_go(&self) {
        drop(
            tokio::time::timeout(Duration::from_secs(1), self.lock.client().batch_execute("rollback")).await,
        );
    }
}

impl Apply<Postgres> for Locked {
    async fn floor(&mut self) -> Result<Snapshot> {
        self.marker.floor().await
    }

    async fn apply(&mut self, batch: &Batch, checkpoint: Option<&Lsn>) -> Result<u64> {
        self.marker.apply(batch, checkpoint).await
    }

    async fn mark(&mut self, token: u64) -> Result<()> {
        self.marker.mark(token).await
    }
}

impl CoreLocked<Postgres> for Locked {
    fn since(&self) -> Instant {
        self.since
    }

    async fn swap(&mut self, deadline: Duration) -> Result<()> {
        let budget = |what: &str| Error::new(Kind::Budget, format!("{what} within the stall budget"));
        if deadline < SWAP_MIN {
            self.let_go().await;
            return Err(budget("nothing was left for the swap"));
        }
        // What the renames and the commit take comes out of the budget too.
        let patience = deadline.saturating_sub(SWAP_TAKES).as_millis().max(1);
        let text = format!("set local lock_timeout = '{patience}ms';\n{}", self.swap);
        let swap = self.lock.client().batch_execute(&text);
        let (swapped, ()) = tokio::join!(biased; swap, failpoint::at(Place::SwapSent));
        match swapped {
            Ok(()) => Ok(()),
            Err(e) => {
                let refused = e.code().is_some();
                let error = if e.code() == Some(&SqlState::DIVISION_BY_ZERO) {
                    Error::new(
                        Kind::Budget,
                        format!("something was tied to {}, or untied, at this moment", self.source),
                    )
                } else {
                    timed_out(server(e, "swapping the tables"))
                };
                if refused && !error.is_transient() {
                    // The server answered with an error, so the transaction is over and nothing was swapped.
                    self.let_go().await;
                    return Err(error);
                }
                Err(Error { kind: Kind::Ambiguous, ..error })
            }
        }
    }

    async fn release(self) {
        self.let_go().await;
    }
}

/// Who would keep us from the lock, or see an empty table after the swap.
pub async fn obstacles(
    client: &Client,
    plan: &Plan,
    detail: &Detail,
    control: &str,
    migration: i64,
) -> Result<Vec<Obstacle>> {
    still_fits(client, plan, detail).await?;
    let text = format!(
        "select a.pid, coalesce(a.application_name, ''), a.backend_type, coalesce(a.state, ''),\n\
         coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8,\n\
         coalesce(case when (n.xmax & ~4294967295) | a.backend_xmin::text::bigint > n.xmax\n\
         then ((n.xmax & ~4294967295) | a.backend_xmin::text::bigint) - 4294967296\n\
         else (n.xmax & ~4294967295) | a.backend_xmin::text::bigint end < m.settled_xid, false),\n\
         exists (select from pg_locks l where l.pid = a.pid and l.relation = $1::oid and l.mode <> 'AccessShareLock' and l.granted)\n\
         from pg_stat_activity a, {control}.migration m,\n\
         (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xmax) n\n\
         where m.id = $2 and a.pid <> pg_backend_pid() and a.application_name not like 'shadowswap/%'\n\
         and a.datname = current_database() and a.backend_type in ('client backend', 'autovacuum worker')"
    );
    let rows = client
        .query(&text, &[&detail.source_oid, &migration])
        .await
        .map_err(|e| server(e, "looking who is in the way"))?;
    let mut found = Vec::new();
    for row in rows {
        let (pid, app, kind, state): (i32, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let age: f64 = row.get(4);
        let (old_snapshot, locks): (bool, bool) = (row.get(5), row.get(6));
        let is_client = kind == "client backend";
        let who =
            if app.is_empty() { format!("pid {pid} ({kind})") } else { format!("pid {pid} (app={app})") };
        if is_client && old_snapshot {
            let what = format!(
                "a snapshot older than the copy, held for {age:.0} s: it would see an empty table after the swap"
            );
            found.push(Obstacle { who, what, blocks: true });
        } else if is_client && locks && age > 1.0 {
            let what = format!("a transaction that wrote to the table, {state} for {age:.0} s");
            found.push(Obstacle { who, what, blocks: true });
        }
    }
    Ok(found)
}

/// Whether the swap took place. The control row is locked first, which waits for a swap that is still on its way.
pub async fn outcome(
    client: &Client,
    plan: &Plan,
    detail: &Detail,
    control: &str,
    migration: i64,
) -> Result<Outcome> {
    let text = format!(
        "select turn, phase in ('guard', 'done') from {control}.migration where id = $1 for no key update"
    );
    let row = client
        .query_one(&text, &[&migration])
        .await
        .map_err(|e| server(e, "looking whether the swap took place"))?;
    let (turn, is_after): (i64, bool) = (row.get(0), row.get(1));
    // What wrote an older version's tables did not count.
    let is_odd = turn % 2 != 0 || (turn == 0 && is_after);
    let recorded = is_odd != detail.is_turned();
    let row = client
        .query_one("select coalesce(to_regclass($1)::oid, 0::oid)", &[&table(&plan.source)])
        .await
        .map_err(|e| server(e, "looking which table has the name now"))?;
    let is_source = row.get::<_, u32>(0) == detail.source_oid;
    match (recorded, is_source) {
        (true, false) => Ok(Outcome::Swapped),
        (false, true) => Ok(Outcome::NotSwapped),
        (true, true) | (false, false) => Err(Error::corrupt(format!(
            "the control tables say that {} was {}swapped, the catalog says otherwise",
            plan.source,
            if recorded { "" } else { "not " }
        ))
        .next("look at the tables before anything else; somebody renamed them by hand, or restored one of the two")),
    }
}
