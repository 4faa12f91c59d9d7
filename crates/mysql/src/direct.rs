//! The change made in place. Each statement commits by itself: which of them have run is told by notes of what the table was before.

use crate::{
    cutover,
    error::server,
    plan::{self, Detail},
    prepare,
    sql::literal,
};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    Error, InPlace, Result,
    failpoint::{self, Place},
    plan::Plan,
};
use std::time::Duration;

/// How the events begin that say what is about to run.
const BEGINS: &str = "changing in place: statement";

/// Makes what is not made yet. The server interrupts each statement when the budget is used up.
///
/// # Errors
/// `Budget` if a lock was not to be had.
pub async fn change(
    conn: &mut Conn,
    killer: &mut Conn,
    plan: &Plan,
    control: &str,
    migration: i64,
    budget: Duration,
) -> Result<()> {
    let statements = plan::direct(plan, &Detail::of(plan)?)?;
    // Whatever becomes of us, the server lets go by itself.
    let seconds = budget.as_secs() + 1;
    let limits = format!("set session lock_wait_timeout = {seconds}, wait_timeout = {seconds}");
    cutover::run(conn, &limits, "setting the time limits").await?;
    let InPlace { made, of } = made(conn, plan, control, migration).await?;
    for (n, statement) in (1..).zip(&statements).skip(made) {
        let begins = format!("{BEGINS} {n} of {of}, definition {}", definition(conn, plan).await?);
        if last(conn, control, migration).await?.as_ref() != Some(&begins) {
            prepare::note(conn, control, migration, &begins).await?;
        }
        failpoint::at(Place::InPlaceNoted).await;
        cutover::bounded(conn, killer, statement, budget, "changing the table in place").await?;
        failpoint::at(Place::InPlaceMade).await;
    }
    Ok(())
}

/// How many statements have run. One that changes nothing counts when the next has begun: it may run twice.
///
/// # Errors
/// The server's; `Refused` if there is no table of this name any more.
pub async fn made(conn: &mut Conn, plan: &Plan, control: &str, migration: i64) -> Result<InPlace> {
    let of = plan::bodies(&plan.request)?.len();
    let Some(begun) = last(conn, control, migration).await? else { return Ok(InPlace { made: 0, of }) };
    let (n, before) = read(&begun).ok_or_else(|| {
        Error::corrupt(format!("an event of migration {migration} cannot be read: {begun}"))
    })?;
    let has_run = definition(conn, plan).await? != before;
    Ok(InPlace { made: if has_run { n } else { n - 1 }.min(of), of })
}

/// The statement's number, from 1 on, and the definition before it.
fn read(begun: &str) -> Option<(usize, &str)> {
    let (n, rest) = begun.strip_prefix(BEGINS)?.trim_start().split_once(' ')?;
    Some((n.parse().ok().filter(|n| *n > 0)?, rest.split_once("definition ")?.1))
}

async fn last(conn: &mut Conn, control: &str, migration: i64) -> Result<Option<String>> {
    let text = format!(
        "select what from {control}.event where migration = {migration} and what like {} order by id desc limit 1",
        literal(&format!("{BEGINS} %"))
    );
    conn.query_first(text).await.map_err(|e| server(e, "reading events"))
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
