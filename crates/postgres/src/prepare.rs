//! Everything around the copy that has a name on the server: publication, slot, shadow, indexes; and its removal.
//!
//! Order matters in `prepare`: publication, then slot, then nothing more is ever changed about either. Servers before the 2025 minor
//! releases lose changes of a table that is added to a publication under open transactions.

use crate::{
    Lsn, Snapshot,
    connect::Connection,
    error::server,
    plan::Detail,
    scope,
    shadow::index::IndexStep,
    sql::{literal, qualified, quote, run, table},
};
use shadowswap_core::{
    Error, Kind, Result,
    failpoint::{self, Place},
    name::TableName,
    plan::Plan,
};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio_postgres::{Client, GenericClient, error::SqlState};

/// The first pause between looks at something that takes its time.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Statements on the hot table wait this long for their lock, and try again.
const LOCK_WAIT: Duration = Duration::from_millis(100);
/// Tries at such a lock.
const LOCK_TRIES: u32 = 100;

/// The publication of a migration: of the source; and of the shadow, for the way back.
pub fn publication_name(tag: &str, is_back: bool) -> String {
    format!("shadowswap_{tag}{}", if is_back { "_back" } else { "" })
}

/// The slot of a migration. Slots belong to the whole server, so that the database is part of the name.
pub async fn slot_name(client: &Client, tag: &str) -> Result<String> {
    let row = client.query_one("select oid from pg_database where datname = current_database()", &[]).await;
    let oid: u32 = row.map_err(|e| server(e, "reading the database's number"))?.get(0);
    Ok(format!("shadowswap_{oid}_{tag}"))
}

/// pgoutput's options.
pub fn stream_options(detail: &Detail, publication: &str) -> Vec<(String, String)> {
    let version = detail.server_version_num / 10_000;
    let mut options = vec![
        ("proto_version".to_string(), if version >= 14 { "2" } else { "1" }.to_string()),
        ("publication_names".to_string(), quote(publication)),
    ];
    if version >= 14 {
        options.push(("streaming".to_string(), "on".to_string()));
        options.push(("messages".to_string(), "on".to_string()));
    }
    if detail.binary {
        options.push(("binary".to_string(), "on".to_string()));
    }
    options
}

async fn is_there(client: &Client, text: &str, name: &str) -> Result<bool> {
    let row =
        client.query_one(text, &[&name]).await.map_err(|e| server(e, format_args!("looking for {name}")))?;
    Ok(row.get(0))
}

const SLOT_EXISTS: &str = "select exists (select from pg_replication_slots where slot_name = $1)";
const PUBLICATION_EXISTS: &str = "select exists (select from pg_publication where pubname = $1)";

/// Makes publication, slot and shadow, each where it is not there yet.
pub async fn prepare(
    client: &mut Client,
    plan: &Plan,
    detail: &Detail,
    control: &str,
    migration: i64,
) -> Result<()> {
    if let Some(statement) = &detail.set_identity {
        with_short_lock(client, statement).await?;
        failpoint::at(Place::IdentitySet).await;
    }
    let tag = scope::tag(plan, migration);
    publish(client, &publication_name(&tag, false), &plan.source).await?;
    failpoint::at(Place::Published).await;
    if plan.request.guard_s.is_some() {
        // All that the stream is ever asked for is there before it begins.
        crate::shadow::create_shadow(client, plan, migration).await?;
        publish(client, &publication_name(&tag, true), &plan.shadow).await?;
        failpoint::at(Place::PublishedBack).await;
    }
    let slot = slot_name(client, &tag).await?;
    if !is_there(client, SLOT_EXISTS, &slot).await? {
        let made = client
            .query_one("select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot])
            .await;
        made.map_err(|e| server(e, format_args!("making the replication slot {slot}")))?;
    }
    failpoint::at(Place::SlotMade).await;
    // From here on the slot is never ahead of the checkpoint.
    let text = format!(
        "update {control}.checkpoint c set position = s.confirmed_flush_lsn::text from pg_replication_slots s\n\
         where c.migration = $1 and c.position is null and s.slot_name = $2"
    );
    let noted = client.execute(&text, &[&migration, &slot]).await;
    noted.map_err(|e| server(e, "noting where the change stream begins"))?;
    failpoint::at(Place::BeginNoted).await;
    all_before_are_visible(client).await?;
    crate::shadow::create_shadow(client, plan, migration).await?;
    failpoint::at(Place::ShadowMade).await;
    Ok(())
}

async fn publish(client: &Client, publication: &str, name: &TableName) -> Result<()> {
    if !is_there(client, PUBLICATION_EXISTS, publication).await? {
        let (publication, name) = (quote(publication), table(name));
        return run(client, &format!("create publication {publication} for table only {name} with (publish = 'insert, update, delete, truncate')"))
            .await;
    }
    // Of versions that did not tell control schemas apart, another one's has the same name.
    let text = "select coalesce(bool_and(r.prrelid = $2::text::regclass) and count(*) = 1, false)\n\
                from pg_publication p left join pg_publication_rel r on r.prpubid = p.oid where p.pubname = $1";
    let row = client.query_one(text, &[&publication, &table(name)]).await;
    if row.map_err(|e| server(e, format_args!("looking at the publication {publication}")))?.get(0) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "there is a publication {publication} already, and it is not of {name}: it belongs to a migration in another control schema of \
         this database, or was left behind by one"
    ))
    .next("nothing was copied. End that migration (`shadowswap finish` or `abort` with its --control-schema), or drop the publication and its slot by hand if nobody uses them; then run again"))
}

/// Waits until every transaction that was running is over for new readers too.
///
/// The stream carries what commits after the slot's starting point. A transaction may commit just before that point and still be
/// invisible, for as long as it waits for its synchronous standby: neither the stream nor a chunk would have it.
async fn all_before_are_visible(client: &Client) -> Result<()> {
    let snapshot = || async {
        let row = client.query_one("select pg_current_snapshot()::text", &[]).await;
        Snapshot::parse(row.map_err(|e| server(e, "taking a snapshot"))?.get(0))
    };
    let then = snapshot().await?.xmax;
    let mut pause = LOOK_FIRST;
    while snapshot().await?.xmin < then {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
    Ok(())
}

/// Runs a statement that needs a short exclusive lock on the hot table, without ever making clients wait for long.
pub async fn with_short_lock(client: &Client, statement: &str) -> Result<()> {
    let text =
        format!("begin;\nset local lock_timeout = '{}ms';\n{statement};\ncommit", LOCK_WAIT.as_millis());
    let mut pause = LOOK_FIRST;
    for _ in 1..LOCK_TRIES {
        match client.batch_execute(&text).await {
            Ok(()) => return Ok(()),
            Err(e) => {
                drop(client.batch_execute("rollback").await);
                if e.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
                    return Err(server(e, statement));
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
    let tries = LOCK_TRIES;
    Err(Error::new(
        Kind::Budget,
        format!("no lock for {statement:?} in {tries} tries of {} ms", LOCK_WAIT.as_millis()),
    )
    .next("end the long transactions on this table, then run again"))
}

/// The slot must be there and whole. A reader of a former runner is sent away.
pub async fn check_slot(client: &Client, slot: &str) -> Result<()> {
    let mut pause = LOOK_FIRST;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let row = client
            .query_opt(
                "select active_pid, coalesce(wal_status, '') from pg_replication_slots where slot_name = $1",
                &[&slot],
            )
            .await
            .map_err(|e| server(e, format_args!("looking at the replication slot {slot}")))?;
        let Some(row) = row else { return Err(lost(slot, "is gone")) };
        if row.get::<_, String>(1) == "lost" {
            return Err(lost(slot, "has lost the WAL that it needs"));
        }
        let Some(pid) = row.get::<_, Option<i32>>(0) else { return Ok(()) };
        client
            .execute("select pg_terminate_backend($1)", &[&pid])
            .await
            .map_err(|e| server(e, format_args!("ending the former reader {pid} of slot {slot}")))?;
        if tokio::time::Instant::now() > deadline {
            return Err(Error::transient(format!(
                "the former reader {pid} of the replication slot {slot} did not end within 60 s"
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// What the slot has left behind must be applied: one that was made anew under the same name, or moved, looks like any other.
///
/// # Errors
/// `Corrupt` if changes are missing.
pub async fn nothing_is_missing(client: &Client, slot: &str, applied: Lsn) -> Result<()> {
    let text = "select confirmed_flush_lsn::text, confirmed_flush_lsn > $2::text::pg_lsn, pg_current_wal_insert_lsn() < $2::text::pg_lsn\n\
                from pg_replication_slots where slot_name = $1";
    let row = client.query_opt(text, &[&slot, &applied.to_string()]).await;
    let row = row.map_err(|e| server(e, format_args!("looking at the replication slot {slot}")))?;
    match row.map(|row| (row.get::<_, Option<String>>(0), row.get::<_, Option<bool>>(1), row.get(2))) {
        // It would be silent until it comes there, and then leave out what came before.
        Some((_, _, true)) => Err(lost(
            slot,
            &format!(
                "is of a server that has not come to {applied}, where this migration is: it is another server, or was restored"
            ),
        )),
        Some((Some(_), Some(false), _)) => Ok(()),
        Some((begins, _, _)) => Err(lost(
            slot,
            &format!(
                "begins at {}, and changes are applied up to {applied}: it was moved, or dropped and made again",
                begins.as_deref().unwrap_or("no position")
            ),
        )),
        None => Err(lost(slot, "is gone")),
    }
}

fn lost(slot: &str, what: &str) -> Error {
    Error::corrupt(format!(
        "the replication slot {slot} {what}: changes are missing, the shadow cannot be trusted any more"
    ))
    .next("nothing was swapped; `shadowswap abort` removes the shadow, then run again")
}

/// Whether the slot still has all that was committed behind this position. What was confirmed is forgotten, and a stream that is asked for
/// from before that begins there without a word.
pub async fn keeps(client: &Client, slot: &str, from: Option<&Lsn>) -> Result<bool> {
    // Nothing was applied yet: nobody noted where it began.
    let Some(from) = from else { return Ok(false) };
    let text = "select coalesce(confirmed_flush_lsn <= $2::text::pg_lsn, false) from pg_replication_slots where slot_name = $1";
    let row = client.query_opt(text, &[&slot, &from.to_string()]).await;
    let row =
        row.map_err(|e| server(e, format_args!("asking what the replication slot {slot} still has")))?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// The number that a cluster got when it was made, and that its standbys share; empty where this role may not ask for it.
pub async fn cluster(client: &Client) -> Result<String> {
    let failed = |e| server(e, "asking which server this is");
    let may = "select has_function_privilege('pg_control_system()', 'execute')";
    if !client.query_one(may, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(String::new());
    }
    let text = "select system_identifier::text from pg_control_system()";
    match client.query_one(text, &[]).await {
        Ok(row) => Ok(row.get(0)),
        // Some services do not let anybody ask.
        Err(e) if e.as_db_error().is_some() => Ok(String::new()),
        Err(e) => Err(failed(e)),
    }
}

/// Positions of one cluster mean nothing to another, whatever slots it has.
///
/// # Errors
/// `Corrupt` if the migration began on another one.
pub async fn is_same_cluster(client: &Client, began_on: &str) -> Result<()> {
    let now = cluster(client).await?;
    if began_on.is_empty() || now.is_empty() || now == began_on {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "this is another server (system identifier {now}) than the one that the migration began on ({began_on}): changes are missing, the \
         shadow cannot be trusted any more"
    ))
    .next("nothing was swapped; `shadowswap abort` removes the shadow, then run again"))
}

/// The cluster and its timeline: a standby that was promoted has another one, and may lack what its primary had sent us.
pub async fn origin(client: &Client) -> Result<String> {
    // A promoted server writes its checkpoint later; the name of the present WAL file has the timeline at once.
    let text = "select (select system_identifier from pg_control_system())::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)";
    let row = client.query_one(text, &[]).await.map_err(|e| server(e, "asking which server this is"))?;
    Ok(row.get(0))
}

/// Where the stream of a later turn goes on: at the swap that began it, or where it was read to since.
///
/// # Errors
/// `Corrupt` if the slot has left the swap behind it before this turn's stream was ever opened: changes would be missing.
pub async fn turn_begins(
    client: &Client,
    control: &str,
    migration: i64,
    turn: i64,
    slot: &str,
    applied: Option<&Lsn>,
) -> Result<Lsn> {
    let text = format!(
        "select m.swap_position, c.turn < $2, s.confirmed_flush_lsn > m.swap_position::pg_lsn\n\
         from {control}.migration m join {control}.checkpoint c on c.migration = m.id, pg_replication_slots s where m.id = $1 and s.slot_name = $3"
    );
    let row = client.query_one(&text, &[&migration, &turn, &slot]).await;
    let row = row.map_err(|e| server(e, "looking where the change stream goes on"))?;
    let position: Option<String> = row.get(0);
    let position = position.and_then(|p| p.parse::<Lsn>().ok());
    let position =
        position.ok_or_else(|| Error::corrupt("the control tables do not say where the swap was"))?;
    let (is_first, is_behind): (bool, Option<bool>) = (row.get(1), row.get(2));
    if is_first && is_behind != Some(false) {
        return Err(Error::corrupt(format!(
            "the replication slot {slot} was moved beyond the swap at {position}: changes since then may be missing"
        )));
    }
    if !is_first {
        return Ok(applied.copied().map_or(position, |applied| position.max(applied)));
    }
    // Whatever the former turn applied, this one begins at the swap.
    let text = format!(
        "update {control}.checkpoint c set turn = $2, position = m.swap_position\n\
         from {control}.migration m where m.id = c.migration and c.migration = $1 and c.turn < $2"
    );
    let noted = client.execute(&text, &[&migration, &turn]).await;
    noted.map_err(|e| server(e, "noting where the change stream goes on"))?;
    failpoint::at(Place::TurnBegun).await;
    Ok(position)
}

/// Builds what the shadow still lacks, and everything that needs no lock. Gently: without a second session.
pub async fn finish_shadow(
    (one, two): (&Connection, Option<&Connection>),
    plan: &Plan,
    detail: &Detail,
    control: &str,
    migration: i64,
    report: impl Fn(String) + Send + Sync,
) -> Result<()> {
    let gently = two.is_none();
    for connection in std::iter::once(one).chain(two) {
        let text = "select set_config('maintenance_work_mem', greatest(pg_size_bytes(current_setting('maintenance_work_mem')), $2)::text || 'B', false),\n\
                    set_config('search_path', $1, false),\n\
                    case when $3 then set_config('max_parallel_maintenance_workers', '0', false) end";
        let prepared = connection.client().execute(text, &[&detail.search_path, &SORT_BYTES, &gently]).await;
        prepared.map_err(|e| server(e, "setting up the index session"))?;
    }
    let client = one.client();
    let missing = crate::shadow::missing_steps(client, plan, detail).await?;
    // CREATE INDEX tolerates another one on the same table; a constraint wants the table alone.
    let (indexes, rest): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|s| s.statement.get(..6).is_some_and(|t| t.eq_ignore_ascii_case("create")));
    let queue = Mutex::new(indexes.into_iter());
    let second = async {
        match two {
            Some(two) => build(two.client(), plan, &queue, &report).await,
            None => Ok(()),
        }
    };
    let (first, second) = tokio::join!(build(client, plan, &queue, &report), second);
    first.and(second)?;
    build(client, plan, &Mutex::new(rest.into_iter()), &report).await?;
    report("setting owner, privileges and comments".to_string());
    for statement in crate::swap::before_swap_statements(client, plan).await? {
        run(client, &statement).await?;
    }
    failpoint::at(Place::TrimSet).await;
    report("gathering statistics".to_string());
    run(client, &format!("analyze {}", table(&plan.shadow))).await?;
    // Whatever was copied is older than this: a snapshot from before would not see all of it after the swap.
    let text = format!(
        "update {control}.migration set settled_xid = pg_snapshot_xmax(pg_current_snapshot())::text::bigint where id = $1"
    );
    client
        .execute(&text, &[&migration])
        .await
        .map_err(|e| server(e, "noting when the shadow was complete"))?;
    Ok(())
}

/// Memory for sorting an index, at least: two at a time, as the blocking ALTER would have it for one.
const SORT_BYTES: i64 = 128 << 20;

/// Builds what is in the queue, one after the other.
async fn build(
    client: &Client,
    plan: &Plan,
    queue: &Mutex<std::vec::IntoIter<IndexStep>>,
    report: &(impl Fn(String) + Send + Sync),
) -> Result<()> {
    loop {
        let Some(step) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { return Ok(()) };
        report(format!("building {}", step.name));
        let Err(e) = client.batch_execute(&step.statement).await else {
            failpoint::at(Place::IndexBuilt).await;
            continue;
        };
        // Two chunks of different times, or a row that was read again, may have brought a value from the future.
        let collides = matches!(e.code(), Some(c) if *c == SqlState::UNIQUE_VIOLATION || *c == SqlState::EXCLUSION_VIOLATION);
        let early = collides && step.existed_on_source;
        let error = crate::shadow::violation::explain(client, plan, e, Some(&step)).await;
        return Err(if early { Error { kind: Kind::Early, ..error } } else { error });
    }
}

async fn drop_stream(client: &Client, tag: &str) -> Result<()> {
    // The slot is gone from the disk at once. This commit flushes the swap before that.
    for is_back in [false, true] {
        let name = quote(&publication_name(tag, is_back));
        run(client, &format!("drop publication if exists {name}")).await?;
        failpoint::at(Place::Unpublished).await;
    }
    let slot = slot_name(client, tag).await?;
    if is_there(client, SLOT_EXISTS, &slot).await? {
        match check_slot(client, &slot).await {
            // A slot that has lost its WAL is dropped all the same.
            Ok(()) => {}
            Err(e) if e.kind == Kind::Corrupt => {}
            Err(e) => return Err(e),
        }
        let dropped = client.execute("select pg_drop_replication_slot($1)", &[&slot]).await;
        dropped.map_err(|e| server(e, format_args!("dropping the replication slot {slot}")))?;
        failpoint::at(Place::SlotDropped).await;
    }
    Ok(())
}

/// Removes what values were set aside in.
pub async fn drop_kept(client: &Client, control: &str, migration: i64) -> Result<()> {
    let text = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace\n\
                where n.nspname = $1 and c.relkind = 'r' and starts_with(c.relname, $2)";
    let prefix = crate::statements::kept::prefix(migration);
    let rows = client.query(text, &[&control, &prefix]).await;
    for row in rows.map_err(|e| server(e, "looking for values set aside"))? {
        run(client, &format!("drop table {}", qualified(control, row.get(0)))).await?;
    }
    Ok(())
}

/// Removes the stream and, if asked, the old table.
pub async fn clean_up(
    client: &Client,
    plan: &Plan,
    detail: &Detail,
    migration: i64,
    drop_old: bool,
) -> Result<()> {
    drop_stream(client, &scope::tag(plan, migration)).await?;
    if plan.turn > 0 && !plan.is_turned() {
        // It is nobody's shadow any more.
        if !crate::shadow::abort_statements(client, plan, migration).await?.is_empty() {
            let text =
                literal(&format!("made by shadowswap, migration {migration}; kept after it was rolled back"));
            run(client, &format!("comment on table {} is {text}", table(&plan.shadow))).await?;
        }
        if let Some(statement) = &detail.restore_identity {
            with_short_lock(client, statement).await?;
        }
        return Ok(());
    }
    if let Some(statement) = crate::swap::last_identity(plan, detail) {
        with_short_lock(client, &statement).await?;
    }
    if !drop_old {
        if let Some(statement) = &detail.restore_identity_old {
            with_short_lock(client, statement).await?;
        }
        return Ok(());
    }
    drop_old_table(client, plan, detail).await.map(drop)
}

/// Drops the table that was the source, whatever may have its name now. False: there is none.
pub async fn drop_old_table(client: &Client, plan: &Plan, detail: &Detail) -> Result<bool> {
    let text = "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1 and c.relname = $2 and n.nspname = $3";
    let row = client.query_opt(text, &[&detail.source_oid, &plan.old.name, &plan.old.schema]).await;
    if row.map_err(|e| server(e, "looking for the old table"))?.is_none() {
        return Ok(false);
    }
    for statement in crate::swap::drop_old_statements(plan) {
        with_short_lock(client, &statement).await?;
        failpoint::at(Place::OldDropped).await;
    }
    Ok(true)
}

/// Removes everything that was made, and leaves the source as it was.
pub async fn abort(client: &Client, plan: &Plan, detail: &Detail, migration: i64) -> Result<()> {
    drop_stream(client, &scope::tag(plan, migration)).await?;
    for statement in crate::shadow::abort_statements(client, plan, migration).await? {
        run(client, &statement).await?;
        failpoint::at(Place::ShadowDropped).await;
    }
    if let Some(statement) = &detail.restore_identity {
        with_short_lock(client, statement).await?;
    }
    Ok(())
}

/// A way to the server and back may take so long.
const IDLE_MIN: Duration = Duration::from_secs(1);
/// Noted within the transaction that changes the table in place.
const IN_PLACE: &str = "changed in place";

/// Makes the change in place, once, unless it is made.
///
/// # Errors
/// `Budget` if the lock was not to be had; `Superseded` if the epoch is over.
pub async fn direct(
    client: &mut Client,
    plan: &Plan,
    detail: &Detail,
    control: &str,
    (migration, epoch): (i64, i64),
    budget: Duration,
) -> Result<()> {
    let transaction = client.transaction().await.map_err(|e| server(e, "beginning the change"))?;
    // Clients wait while we say nothing under the lock, too; on the way to us an answer may take its time.
    let idle = format!("{}ms", budget.max(IDLE_MIN).as_millis());
    let setup = "select set_config('search_path', $2, true), set_config('idle_in_transaction_session_timeout', $1, true)";
    transaction
        .execute(setup, &[&idle, &detail.search_path])
        .await
        .map_err(|e| server(e, "setting the time limits"))?;
    // Whoever takes over waits for this row, or is seen here.
    let ours = format!("select 1 from {control}.migration where id = $1 and epoch = $2 for share");
    let ours = transaction.query(&ours, &[&migration, &epoch]).await;
    if ours.map_err(|e| server(e, "looking who runs the migration"))?.is_empty() {
        return Err(Error::superseded());
    }
    if is_made(&transaction, control, migration).await? {
        return Ok(());
    }
    let begun = Instant::now();
    for body in &plan.request.alters {
        // Under the lock of the first statement, clients wait for what the others wait for, too.
        let left = budget.saturating_sub(begun.elapsed());
        if left < Duration::from_millis(1) {
            let message = "nothing was left of the stall budget for the next statement";
            return Err(Error::new(Kind::Budget, message));
        }
        let left = format!("{}ms", left.as_millis());
        let limits =
            "select set_config(name, $1, true) from unnest(array['lock_timeout', 'statement_timeout']) name";
        transaction.execute(limits, &[&left]).await.map_err(in_time("setting the time limits"))?;
        let text = format!("alter table {} {body}", table(&plan.source));
        transaction.execute(&text, &[]).await.map_err(in_time("changing the table in place"))?;
    }
    let text = format!("insert into {control}.event (migration, who, what) values ($1, 'runner', $2)");
    transaction.execute(&text, &[&migration, &IN_PLACE]).await.map_err(in_time("noting the change"))?;
    failpoint::at(Place::InPlaceMade).await;
    transaction.commit().await.map_err(|e| server(e, "committing the change"))
}

/// What the server ended because it took too long is a matter of the budget.
fn in_time(what: &str) -> impl Fn(tokio_postgres::Error) -> Error + '_ {
    move |e| {
        let late = [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED];
        let is_late = e.code().is_some_and(|code| late.contains(code));
        let error = server(e, what);
        if is_late { Error { kind: Kind::Budget, ..error } } else { error }
    }
}

/// Whether the change in place is made.
///
/// # Errors
/// The server's.
pub async fn is_made(client: &impl GenericClient, control: &str, migration: i64) -> Result<bool> {
    let text = format!("select 1 from {control}.event where migration = $1 and what = $2 limit 1");
    let found = client.query_opt(&text, &[&migration, &IN_PLACE]).await;
    Ok(found.map_err(|e| server(e, "reading events"))?.is_some())
}
