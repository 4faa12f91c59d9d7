//! Which way changes go.
//!
//! A plan's turn is the number of swaps that were made. Even: the table that the application uses is the one that it began with, and the
//! shadow follows it. Odd: it uses the new table, and the old one follows.

use crate::{
    catalog,
    error::server,
    names,
    plan::{Detail, Other, forward_again, turned},
    prepare::{DROPPING, is_noted},
};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Kind, Result, plan::Plan};

/// The plan of this turn, from the one that was made. Gives the table that follows its name.
///
/// # Errors
/// `Refused` if it cannot be kept in step.
pub async fn plan(conn: &mut Conn, plan: &Plan, control: &str, migration: i64) -> Result<Plan> {
    if plan.is_turned() && is_noted(conn, control, migration, DROPPING).await? {
        return Err(Error::refused(format!(
            "dropping the old table of {} has begun: rows may be missing from it, and there is no swapping back",
            plan.source
        ))
        .next("`shadowswap finish --drop-old` goes on with it; the application's table is not touched"));
    }
    let product = catalog::server(conn).await?;
    let name = names::settle(conn, plan, &product, control, migration).await?;
    if !plan.is_turned() {
        return forward_again(plan);
    }
    let gone = |name| Error::refused(format!("there is no table {name}"));
    let new = catalog::table(conn, &plan.source).await?.ok_or_else(|| gone(&plan.source))?;
    let old = catalog::table(conn, &name).await?.ok_or_else(|| gone(&name))?;
    let planned = Detail::of(plan)?.source;
    if !is_same(&old.columns, &planned.columns) {
        return Err(Error::refused(format!(
            "{name} is not the table that {} was before the swap",
            plan.source
        ))
        .next("look at both tables; `shadowswap finish` ends the guard"));
    }
    turned(plan, product, new, Other { name, table: old })
}

/// Whether these are the columns of one table.
pub fn is_same(now: &[catalog::Column], planned: &[catalog::Column]) -> bool {
    let of = |c: &catalog::Column| (c.name.clone(), c.column_type.clone(), c.collation.clone(), c.nullable);
    now.iter().map(of).eq(planned.iter().map(of))
}

/// The turn of the checkpoint: the position is behind so many swaps. `control` is the quoted control database.
///
/// # Errors
/// The server's; `Corrupt` if there is no checkpoint.
pub async fn of_checkpoint(conn: &mut Conn, control: &str, migration: i64) -> Result<i64> {
    let text = format!("select turn from {control}.checkpoint where migration = {migration}");
    let found: Option<i64> =
        conn.query_first(text).await.map_err(|e| server(e, "asking which way changes went"))?;
    found.ok_or_else(|| Error::corrupt(format!("migration {migration} has no checkpoint")))
}

/// What an error of the stream's says to do in the first run is wrong after a swap. What the stream does not carry then never comes.
pub fn told(e: Error, turn: i64) -> Error {
    if turn == 0 {
        return e;
    }
    let (used, other) = if turn % 2 == 1 { ("new", "old") } else { ("old", "new") };
    let lost = format!(
        "the application goes on with the {used} table and notices nothing; the {other} one cannot be kept in step any more, so that \
         swapping again is not possible: `shadowswap finish` ends the guard"
    );
    match e.kind {
        Kind::Unfit | Kind::Corrupt => Error { kind: Kind::Corrupt, ..e.next(lost) },
        Kind::Transient
        | Kind::Refused
        | Kind::Early
        | Kind::Usage
        | Kind::Held
        | Kind::Superseded
        | Kind::Ambiguous
        | Kind::Differs
        | Kind::Budget
        | Kind::Aborted
        | Kind::RolledBack
        | Kind::Interrupted => {
            let next = e.next.as_ref().map(|n| n.replace("nothing was swapped; ", ""));
            Error { next, ..e }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_after_a_swap_is_not_that_of_the_first_run() {
        let e = || Error::corrupt("purged").next("nothing was swapped; `shadowswap abort`");
        let next = |e: Error| e.next.unwrap_or_default();
        assert!(next(told(e(), 0)).contains("abort"));
        assert!(next(told(e(), 1)).contains("with the new table") && next(told(e(), 1)).contains("finish"));
        assert!(next(told(e(), 2)).contains("with the old table"));
        let refused = Error::refused("rows are not whole").next("nothing was swapped; set it");
        assert_eq!(next(told(refused, 1)), "set it");
    }
}
