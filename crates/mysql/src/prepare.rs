//! Everything around the copy that has a name on the server: the position to begin at, the shadow, its indexes; and their removal.

use crate::{
    Floor, Position, cutover,
    error::{DUPLICATE, code, server},
    flavor::Server,
    names,
    plan::{Detail, LateIndex},
    position::file_number,
    reading,
    sql::{literal, quote, table},
    stream::Changes,
};
use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{
    Error, Kind, Result,
    failpoint::{self, Place},
    plan::Plan,
};
use std::time::Duration;

/// The first pause between looks at something that takes its time.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(500);
/// The event that says that a table of the shadow's name is ours from now on.
const MAKING: &str = "making the shadow";
/// The event that says that XA transactions may have been prepared when the stream began.
const UNSEEN_XA: &str = "prepared XA transactions could not be seen";
/// How long prepared XA transactions may take to be decided.
const PREPARED_END_WITHIN: Duration = Duration::from_secs(30);
/// Memory of the server's that building indexes may take, in bytes.
const DDL_BUFFER_BYTES: u32 = 64 << 20;
/// A prepared XA transaction: format, lengths of the two parts of its name, and both parts.
type Xid = (i64, i64, i64, Vec<u8>);
/// Rows named where an index finds duplicates.
const ROWS_NAMED: u32 = 5;

async fn run(conn: &mut Conn, text: &str) -> Result<()> {
    conn.query_drop(text).await.map_err(|e| server(e, text.lines().next().unwrap_or_default()))
}

/// Notes where the stream begins and makes the shadow, each where it is not there yet.
pub async fn prepare(
    conn: &mut Conn,
    plan: &Plan,
    detail: &Detail,
    control: &str,
    migration: i64,
) -> Result<()> {
    if detail.server.is_mariadb() && !cutover::can_be_proven(plan) {
        return Err(Error::refused(format!(
            "the names of {} and its shadow {} do not sort as the swap on {} needs it",
            plan.source, plan.shadow, detail.server
        ))
        .next("rename the table to a shorter name first"));
    }
    if begins_at(conn, control, migration).await?.is_none() {
        let position = Changes::start_position(conn, &detail.server).await?;
        // The GTIDs are asked for after the place, and may be ahead of it; of this one they are not.
        let end = Changes::start_position(conn, &detail.server).await?;
        all_before_are_visible(conn, &detail.server, &end).await?;
        if !none_is_prepared(conn).await? {
            note(conn, control, migration, UNSEEN_XA).await?;
        }
        let text = format!(
            "update {control}.checkpoint set position = {} where migration = {migration} and position is null",
            literal(&position.to_string())
        );
        run(conn, &text).await?;
        failpoint::at(Place::BeginNoted).await;
    }
    make_shadow(conn, plan, detail, control, migration).await?;
    failpoint::at(Place::ShadowMade).await;
    Ok(())
}

/// Notes an event.
///
/// # Errors
/// The server's.
pub async fn note(conn: &mut Conn, control: &str, migration: i64, what: &str) -> Result<()> {
    let text = format!(
        "insert into {control}.event (migration, at, who, what) values ({migration}, utc_timestamp(3), 'runner', {})",
        literal(what)
    );
    run(conn, &text).await
}

/// Whether it was noted.
///
/// # Errors
/// The server's.
pub async fn is_noted(conn: &mut Conn, control: &str, migration: i64, what: &str) -> Result<bool> {
    let text = format!(
        "select 1 from {control}.event where migration = {migration} and what = {} limit 1",
        literal(what)
    );
    let found: Option<u8> = conn.query_first(text).await.map_err(|e| server(e, "reading events"))?;
    Ok(found.is_some())
}

/// Whether XA transactions may have been prepared when the stream began.
///
/// # Errors
/// The server's.
pub async fn fears_xa(conn: &mut Conn, control: &str, migration: i64) -> Result<bool> {
    is_noted(conn, control, migration, UNSEEN_XA).await
}

/// The position of the checkpoint.
pub async fn begins_at(conn: &mut Conn, control: &str, migration: i64) -> Result<Option<Position>> {
    let text = format!("select position from {control}.checkpoint where migration = {migration}");
    let found: Option<Option<String>> =
        conn.query_first(text).await.map_err(|e| server(e, "reading the checkpoint"))?;
    let position = found.flatten().map(|p| p.parse::<Position>()).transpose();
    position.map_err(|e| Error::corrupt(format!("the checkpoint's position cannot be read: {e}")))
}

/// Waits until new readers see every transaction before the position. One that is in the binlog may still be invisible, for as long
/// as it waits for its semi-synchronous replica: neither the stream nor a chunk would have it.
async fn all_before_are_visible(conn: &mut Conn, product: &Server, position: &Position) -> Result<()> {
    let mut pause = LOOK_FIRST;
    loop {
        match reading::floor(conn, product).await? {
            Floor::Place { file, offset }
                if (file, offset) < (file_number(&position.file)?, position.offset) => {}
            // With GTIDs the position is what is visible; without, reads wait for what is not.
            Floor::Place { .. } | Floor::Gtids(_) | Floor::All => return Ok(()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// An XA transaction that is prepared now is in the binlog already and in no table yet: neither the stream nor the copy would have it.
/// (One that is decided from the position on until now is in the copy, and one that is prepared from now on is in the stream.) False: it
/// cannot be seen.
async fn none_is_prepared(conn: &mut Conn) -> Result<bool> {
    let mut pause = LOOK_FIRST;
    let deadline = tokio::time::Instant::now() + PREPARED_END_WITHIN;
    let mut undecided: Option<Vec<Xid>> = None;
    loop {
        match conn.query::<Xid, _>("xa recover").await {
            Ok(found) => {
                let now = match &undecided {
                    Some(before) => before.iter().filter(|x| found.contains(x)).cloned().collect(),
                    None => found,
                };
                if now.is_empty() {
                    return Ok(true);
                }
                if tokio::time::Instant::now() >= deadline {
                    return Err(Error::refused(format!(
                        "{} XA transactions have been prepared for {} s and are not decided",
                        now.len(),
                        PREPARED_END_WITHIN.as_secs()
                    ))
                    .next("commit or roll them back (XA RECOVER shows them), and run again"));
                }
                undecided = Some(now);
            }
            // MySQL shows them only to who may end them.
            Err(mysql_async::Error::Server(_)) => {
                tracing::warn!(
                    "prepared XA transactions cannot be seen (XA_RECOVER_ADMIN); the commit of one that may have rows of this table will stop the run"
                );
                return Ok(false);
            }
            Err(e) => return Err(server(e, "looking for prepared XA transactions")),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

async fn has(conn: &mut Conn, schema: &str, name: &str) -> Result<bool> {
    let text = "select 1 from information_schema.tables where table_schema = ? and table_name = ?";
    let found: Option<u8> = conn
        .exec_first(text, (schema, name))
        .await
        .map_err(|e| server(e, format_args!("looking for {schema}.{name}")))?;
    Ok(found.is_some())
}

async fn make_shadow(
    conn: &mut Conn,
    plan: &Plan,
    detail: &Detail,
    control: &str,
    migration: i64,
) -> Result<()> {
    let shadow = table(&plan.shadow);
    let is_ours = is_noted(conn, control, migration, MAKING).await?;
    if has(conn, &plan.shadow.schema, &plan.shadow.name).await? {
        let row: Option<Row> = conn
            .query_first(format!("select 1 from {shadow} limit 1"))
            .await
            .map_err(|e| server(e, "looking at the shadow"))?;
        if !is_ours || row.is_some() {
            return Err(Error::refused(format!("there is a table {} already", plan.shadow))
                .next("rename or drop it if nobody needs it, and run again"));
        }
        // An earlier try ended half way; nothing was copied yet.
        run(conn, &format!("drop table {shadow} /* shadowswap */")).await?;
    }
    note(conn, control, migration, MAKING).await?;
    failpoint::at(Place::MakingNoted).await;
    for statement in &detail.create {
        run(conn, statement).await?;
        failpoint::at(Place::PartMade).await;
    }
    Ok(())
}

/// Builds what the shadow still lacks, and gathers statistics.
pub async fn finish_shadow(
    conn: &mut Conn,
    plan: &Plan,
    detail: &Detail,
    gently: bool,
    report: impl Fn(String) + Send + Sync,
) -> Result<()> {
    let now = crate::catalog::table(conn, &plan.shadow).await?.ok_or_else(|| {
        Error::corrupt(format!("the shadow {} is gone", plan.shadow))
            .next("`shadowswap abort`, then run again")
    })?;
    let missing: Vec<&LateIndex> =
        detail.late.iter().filter(|l| now.indexes.iter().all(|i| i.name != l.name)).collect();
    // One statement reads the rows once for all of them. The server builds one FULLTEXT index at a time.
    let is_apart = |l: &LateIndex| gently || l.clause.to_ascii_uppercase().contains("FULLTEXT");
    let (apart, together): (Vec<&LateIndex>, Vec<&LateIndex>) =
        missing.into_iter().partition(|l| is_apart(l));
    let mut steps: Vec<Vec<&LateIndex>> = apart.into_iter().map(|l| vec![l]).collect();
    if !together.is_empty() {
        steps.insert(0, together);
    }
    // Only MySQL has these. With its own megabyte the sort makes many runs, which it reads and writes again.
    let threads = if gently { 1 } else { 2 };
    for setting in [
        format!("innodb_ddl_buffer_size = {DDL_BUFFER_BYTES}"),
        format!("innodb_ddl_threads = {threads}"),
        format!("innodb_parallel_read_threads = {threads}"),
    ] {
        drop(conn.query_drop(format!("set session {setting}")).await);
    }
    for step in steps {
        report(format!("building {}", step.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", ")));
        let clauses = step.iter().map(|l| l.clause.as_str()).collect::<Vec<_>>().join(", ");
        let text = format!("alter table {} {clauses} /* shadowswap */", table(&plan.shadow));
        if let Err(e) = conn.query_drop(text).await {
            let error = server(e, format_args!("building indexes on {}", plan.shadow));
            return Err(if code(&error) == Some(DUPLICATE) {
                duplicates(conn, plan, detail, &step, error).await
            } else {
                error
            });
        }
        failpoint::at(Place::IndexBuilt).await;
    }
    report("gathering statistics".to_string());
    let analyzed: Vec<Row> = conn
        .query(format!("analyze table {} /* shadowswap */", table(&plan.shadow)))
        .await
        .map_err(|e| server(e, "gathering statistics"))?;
    drop(analyzed);
    Ok(())
}

/// Names the rows that a unique index does not allow. Where the source has that index too, they are rows of two times: later changes
/// are still to come.
async fn duplicates(
    conn: &mut Conn,
    plan: &Plan,
    detail: &Detail,
    step: &[&LateIndex],
    error: Error,
) -> Error {
    for late in step.iter().filter(|l| l.unique) {
        let index = detail.shadow.indexes.iter().find(|i| i.name == late.name);
        let columns: Option<Vec<String>> =
            index.and_then(|i| i.parts.iter().map(|p| p.column.as_deref().map(quote)).collect());
        let Some(columns) = columns.map(|c| c.join(", ")) else { continue };
        let key = plan.link.key.iter().map(|k| quote(&k.to)).collect::<Vec<_>>().join(", ");
        let text = format!(
            "select concat_ws(', ', {columns}), group_concat(concat_ws(', ', {key}) separator ' and '), count(*) from {}\n\
             group by {columns} having count(*) > 1 limit {ROWS_NAMED}",
            table(&plan.shadow)
        );
        let Ok(found) = conn.query::<(Option<String>, Option<String>, u64), _>(text).await else { continue };
        if found.is_empty() {
            continue;
        }
        if late.existed_on_source {
            return Error { kind: Kind::Early, ..error };
        }
        let rows = found.iter().map(|(value, keys, count)| {
            format!(
                "({}) in {count} rows, with the keys {}",
                value.as_deref().unwrap_or("?"),
                keys.as_deref().unwrap_or("?")
            )
        });
        let rows = rows.collect::<Vec<_>>().join("; ");
        return Error::new(
            Kind::Unfit,
            format!("the rows of {} do not allow the unique index {}: {rows}", plan.source, late.name),
        )
        .next("nothing was swapped, and what was made is removed; mend the rows, then run again");
    }
    if step.iter().any(|l| l.existed_on_source) { Error { kind: Kind::Early, ..error } } else { error }
}

/// What is noted before the old table is dropped.
pub const DROPPING: &str = "dropping the old table";

/// Removes what is not needed any more and, if asked, the old table.
///
/// # Errors
/// `Refused` if what has the old table's name is another table.
pub async fn clean_up(
    conn: &mut Conn,
    plan: &Plan,
    control: &str,
    migration: i64,
    drop_old: bool,
) -> Result<()> {
    let product = crate::catalog::server(conn).await?;
    cutover::remove_sentry_of_ours(conn, plan).await?;
    if plan.turn == 0 || plan.is_turned() {
        if drop_old {
            drop_old_table(conn, plan, control, migration).await?;
        } else {
            names::old_table(conn, plan, &product, control, migration).await?;
        }
    } else if !names::is_gone(conn, plan, &product, control, migration).await? {
        names::settle(conn, plan, &product, control, migration).await?;
    }
    forget(conn, control, migration).await
}

/// Drops the old table, if it is there.
///
/// # Errors
/// `Refused` if what has the old table's name is another table.
pub async fn drop_old_table(conn: &mut Conn, plan: &Plan, control: &str, migration: i64) -> Result<bool> {
    let product = crate::catalog::server(conn).await?;
    let Some(old) = names::old_table(conn, plan, &product, control, migration).await? else {
        return Ok(false);
    };
    let now = crate::catalog::table(conn, &old).await?;
    if now.is_some_and(|t| !names::is_old(plan, &t.columns)) {
        return Err(Error::refused(format!(
            "{old} is not the table that {} was before the swap: it is not dropped",
            plan.source
        ))
        .next("look at it, and drop it by hand if nobody needs it"));
    }
    // It may be emptied in steps: from here on there is no swapping back to it.
    if !is_noted(conn, control, migration, DROPPING).await? {
        note(conn, control, migration, DROPPING).await?;
    }
    failpoint::at(Place::DroppingNoted).await;
    crate::discard::discard(conn, &old).await?;
    failpoint::at(Place::OldDropped).await;
    Ok(true)
}

pub async fn forget(conn: &mut Conn, control: &str, migration: i64) -> Result<()> {
    for name in ["marker", "session"] {
        run(conn, &format!("delete from {control}.{name} where migration = {migration}")).await?;
    }
    Ok(())
}

/// Removes everything that was made, and leaves the source as it was.
pub async fn abort(conn: &mut Conn, plan: &Plan, control: &str, migration: i64) -> Result<()> {
    if plan.is_turned() {
        return Err(Error::refused(format!("{} is the new table: nothing of it is removed", plan.source))
            .next("`shadowswap rollback` swaps back; `shadowswap finish` ends the guard"));
    }
    if is_noted(conn, control, migration, MAKING).await? {
        let product = crate::catalog::server(conn).await?;
        if plan.turn > 0 && !names::is_gone(conn, plan, &product, control, migration).await? {
            names::settle(conn, plan, &product, control, migration).await?;
        }
        if product.renames_under_lock() {
            cutover::remove_sentry_of_ours(conn, plan).await?;
        } else {
            cutover::remove_sentry(conn, plan).await?;
        }
        crate::discard::discard(conn, &plan.shadow).await?;
        failpoint::at(Place::ShadowDropped).await;
    }
    forget(conn, control, migration).await
}
