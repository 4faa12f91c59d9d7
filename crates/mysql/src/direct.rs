//! The change made in place. Each statement commits by itself: which of them have run is told by notes of what the table was before.

use crate::{
    cutover,
    error::server,
    lacks,
    plan::{self, Detail},
    prepare,
    sql::literal,
};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    Error, InPlace, Kind, Result,
    failpoint::{self, Place},
    plan::Plan,
};
use std::time::Duration;

/// How the events begin that say what is about to run.
const BEGINS: &str = "changing in place: statement";

/// Makes what is not made yet. The server interrupts each statement when the budget is used up.
///
/// Where the table is no more as it was when a statement was begun, that one has run, or somebody else has changed the table. It is run
/// once more: what changes only the catalog does the same again, or fails. Where it fails, the whole tells whether it has run.
///
/// # Errors
/// `Budget` if a lock was not to be had; `Differs` if somebody else has changed the table meanwhile, so that it is not what was planned.
pub async fn change(
    conn: &mut Conn,
    killer: &mut Conn,
    plan: &Plan,
    control: &str,
    migration: i64,
    budget: Duration,
) -> Result<()> {
    let detail = Detail::of(plan)?;
    let statements = plan::direct(plan, &detail)?;
    // Whatever becomes of us, the server lets go by itself.
    let seconds = budget.as_secs() + 1;
    let limits = format!("set session lock_wait_timeout = {seconds}, wait_timeout = {seconds}");
    cutover::run(conn, &limits, "setting the time limits").await?;
    let begun = begun(conn, plan, control, migration).await?;
    let (first, is_doubtful) = begun.map_or((1, false), |(n, has_changed)| (n, has_changed));
    let mut doubt = None;
    for (n, statement) in (1..).zip(&statements).skip(first - 1) {
        let begins = |definition| format!("{BEGINS} {n} of {}, definition {definition}", statements.len());
        if n > first || begun.is_none() {
            let begins = begins(definition(conn, plan).await?);
            note(conn, control, migration, &begins).await?;
        }
        failpoint::at(Place::InPlaceNoted).await;
        let changed = cutover::bounded(conn, killer, statement, budget, "changing the table in place").await;
        let in_doubt = n == first && is_doubtful;
        match changed {
            Ok(()) => {}
            // It has run before, or somebody else has changed the table: the whole tells.
            Err(e) if in_doubt && e.kind != Kind::Budget && !e.is_transient() => doubt = Some(e),
            Err(e) => {
                // It has not run: if the definition is another one now, that is somebody else's doing.
                if !in_doubt && !e.is_transient() {
                    let begins = begins(definition(conn, plan).await?);
                    note(conn, control, migration, &begins).await?;
                }
                return Err(e);
            }
        }
        failpoint::at(Place::InPlaceMade).await;
    }
    let Some(e) = doubt else { return Ok(()) };
    let now = crate::catalog::table(conn, &plan.source).await?;
    let lacks = now.map_or_else(|| vec!["it is gone".to_string()], |now| lacks::lacks(&now, &detail.shadow));
    if lacks.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} was changed by somebody else since statement {first} was begun: {}; it is not what was planned: {}",
        plan.source,
        e.message,
        lacks.join("; ")
    );
    let next =
        format!("`shadowswap abort --table {}` forgets the migration and leaves the table", plan.source);
    Err(Error::new(Kind::Differs, message).next(format!("look at it; {next} as it is")))
}

/// Notes what begins, unless it is what was noted last.
async fn note(conn: &mut Conn, control: &str, migration: i64, begins: &str) -> Result<()> {
    match last(conn, control, migration).await? {
        Some(noted) if noted == begins => Ok(()),
        Some(_) | None => prepare::note(conn, control, migration, begins).await,
    }
}

/// How many statements have run, by what the table looks like.
///
/// # Errors
/// The server's; `Refused` if there is no table of this name any more.
pub async fn made(conn: &mut Conn, plan: &Plan, control: &str, migration: i64) -> Result<InPlace> {
    let of = plan::bodies(&plan.request)?.len();
    let made = begun(conn, plan, control, migration)
        .await?
        .map_or(0, |(n, has_changed)| n - usize::from(!has_changed));
    Ok(InPlace { made: made.min(of), of })
}

/// The statement that was begun last, from 1 on, and whether the table has another definition since.
async fn begun(conn: &mut Conn, plan: &Plan, control: &str, migration: i64) -> Result<Option<(usize, bool)>> {
    let Some(noted) = last(conn, control, migration).await? else { return Ok(None) };
    let (n, before) = read(&noted).ok_or_else(|| {
        Error::corrupt(format!("an event of migration {migration} cannot be read: {noted}"))
    })?;
    Ok(Some((n, definition(conn, plan).await? != before)))
}

async fn last(conn: &mut Conn, control: &str, migration: i64) -> Result<Option<String>> {
    let text = format!(
        "select what from {control}.event where migration = {migration} and what like {} order by id desc limit 1",
        literal(&format!("{BEGINS} %"))
    );
    conn.query_first(text).await.map_err(|e| server(e, "reading events"))
}

/// The statement's number, from 1 on, and the definition before it.
fn read(begun: &str) -> Option<(usize, &str)> {
    let (n, rest) = begun.strip_prefix(BEGINS)?.trim_start().split_once(' ')?;
    Some((n.parse().ok().filter(|n| *n > 0)?, rest.split_once("definition ")?.1))
}

async fn definition(conn: &mut Conn, plan: &Plan) -> Result<String> {
    let table = crate::catalog::table(conn, &plan.source).await?;
    Ok(table.ok_or_else(|| Error::refused(format!("table {} is gone", plan.source)))?.fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_is_read_as_it_was_noted() {
        assert_eq!(read(&format!("{BEGINS} 2 of 11, definition 3fa0")), Some((2, "3fa0")));
        for text in ["", BEGINS, "changing in place: statement 0 of 1, definition 3fa0", "statement 1 of 1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
