//! What the tables are called after a swap.
//!
//! Where one session swaps, the statement gives every table its name: the old one `_t_old`, or after a roll back the new one its name as
//! the shadow. Where two sessions swap, the table that goes gets the sentry's name first; from there it is given the one it keeps. While
//! the old table is kept in step that is another one than in the end, for it must sort behind the source's: else the swap back could not be
//! proven (see `cutover.rs`).
//!
//! By names alone it cannot always be told whether the table under the sentry's name is of this swap or already of the next: so it is
//! noted, after it was given its name, that it has been.

use crate::{
    cutover::{SENTRY, behind, exists, run, sentry},
    flavor::Server,
    plan::Detail,
    prepare::{is_noted, note},
    sql::{NAME_BYTES_MAX, table},
};
use mysql_async::Conn;
use shadowswap_core::{
    Error, Result,
    failpoint::{self, Place},
    name::TableName,
    plan::Plan,
};

/// What the old table is called while it is kept in step.
pub fn guarded(plan: &Plan, server: &Server) -> TableName {
    if server.renames_under_lock() { plan.old.clone() } else { guarded_beside(&plan.source) }
}

/// The same, where two sessions swap.
pub fn guarded_beside(source: &TableName) -> TableName {
    source.sibling(behind(&source.name, "_guarded", NAME_BYTES_MAX))
}

fn settled(name: &TableName, turn: i64) -> String {
    format!("after swap {turn}, {name} is kept in step")
}

/// Where the table that follows is found in this turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Under its name.
    InPlace,
    /// Under the sentry's name.
    Waiting,
    /// Under both names there is a table.
    Twice,
    /// Under the name that it has in the end: the end of a guard has begun.
    Ended,
    /// Not here: the next swap took place.
    Swapped,
    /// Nowhere.
    Gone,
}

/// What the table that follows is called in this turn, and in the next one. `plan` is the one that was made, with its turn.
fn followers(plan: &Plan, product: &Server) -> (TableName, TableName) {
    let guarded = guarded(plan, product);
    if plan.is_turned() { (guarded, plan.shadow.clone()) } else { (plan.shadow.clone(), guarded) }
}

async fn find(
    conn: &mut Conn,
    plan: &Plan,
    product: &Server,
    control: &str,
    migration: i64,
) -> Result<Found> {
    let (mine, next) = followers(plan, product);
    // Where one session swaps, that name is not ours.
    let is_waiting = !product.renames_under_lock()
        && exists(conn, &sentry(&plan.source)).await?.is_some_and(|comment| comment != SENTRY);
    let is_settled = is_noted(conn, control, migration, &settled(&mine, plan.turn)).await?;
    Ok(if exists(conn, &mine).await?.is_some() {
        if is_waiting { Found::Twice } else { Found::InPlace }
    } else if is_waiting {
        if is_settled { Found::Swapped } else { Found::Waiting }
    } else if plan.is_turned() && mine != plan.old && exists(conn, &plan.old).await?.is_some() {
        Found::Ended
    } else if exists(conn, &next).await?.is_some() {
        Found::Swapped
    } else {
        Found::Gone
    })
}

/// Whether the new table has the application's name, in any turn but the first. `plan` is the one that was made, with its turn.
///
/// # Errors
/// The server's.
pub async fn has_new(
    conn: &mut Conn,
    plan: &Plan,
    product: &Server,
    control: &str,
    migration: i64,
) -> Result<bool> {
    let is_swapped = find(conn, plan, product, control, migration).await? == Found::Swapped;
    Ok(plan.is_turned() != is_swapped)
}

/// Whether these are the columns that the source had when the plan was made.
pub fn is_old(plan: &Plan, columns: &[crate::catalog::Column]) -> bool {
    Detail::of(plan).is_ok_and(|detail| crate::turn::is_same(columns, &detail.source.columns))
}

/// Whether the table that follows in this turn is nowhere any more. `plan` is the one that was made, with its turn.
///
/// # Errors
/// The server's.
pub async fn is_gone(
    conn: &mut Conn,
    plan: &Plan,
    product: &Server,
    control: &str,
    migration: i64,
) -> Result<bool> {
    Ok(find(conn, plan, product, control, migration).await? == Found::Gone)
}

/// Finds the table that follows in this turn, and gives it its name. `plan` is the one that was made, with its turn.
///
/// # Errors
/// `Refused` if it is gone, or if its name was taken by somebody else.
pub async fn settle(
    conn: &mut Conn,
    plan: &Plan,
    product: &Server,
    control: &str,
    migration: i64,
) -> Result<TableName> {
    let (mine, _) = followers(plan, product);
    let waiting = sentry(&plan.source);
    let from = match find(conn, plan, product, control, migration).await? {
        Found::InPlace => None,
        Found::Waiting => Some(waiting),
        Found::Ended => Some(plan.old.clone()),
        Found::Twice => {
            return Err(Error::refused(format!(
                "the tables are swapped, but a table {mine} was made by somebody else: the one that belongs there is kept as {waiting}"
            ))
            .next(format!("rename {mine} away, then run the same command again")));
        }
        Found::Swapped => {
            return Err(Error::corrupt(format!(
                "the tables of {} are swapped once more than was noted",
                plan.source
            ))
            .next("run the same command again"));
        }
        Found::Gone => {
            return Err(Error::refused(format!(
                "{mine} is gone: there is nothing to be kept in step with {}, and no swapping back",
                plan.source
            ))
            .next("the application's table is not touched; `shadowswap finish` ends this"));
        }
    };
    if let Some(from) = from {
        let text = format!("rename table {} to {} /* shadowswap */", table(&from), table(&mine));
        run(conn, &text, "giving the table that is kept in step its name").await?;
        failpoint::at(Place::FollowerNamed).await;
    }
    let what = settled(&mine, plan.turn);
    if !is_noted(conn, control, migration, &what).await? {
        note(conn, control, migration, &what).await?;
    }
    Ok(mine)
}

/// The old table's name, if it is there. Gives it the name that it has in the end. `plan` is the one that was made.
///
/// # Errors
/// `Refused` if its final name was taken by somebody else during the run.
pub async fn old_table(
    conn: &mut Conn,
    plan: &Plan,
    product: &Server,
    control: &str,
    migration: i64,
) -> Result<Option<TableName>> {
    let has_old = exists(conn, &plan.old).await?.is_some();
    let Some(kept) = kept(conn, plan, product, control, migration).await? else {
        return Ok(has_old.then(|| plan.old.clone()));
    };
    let now = crate::catalog::table(conn, &kept).await?;
    if now.is_none_or(|t| !is_old(plan, &t.columns)) {
        // Somebody else's: it is left alone.
        return Ok(has_old.then(|| plan.old.clone()));
    }
    if has_old {
        return Err(Error::refused(format!(
            "the tables are swapped, but a table {} was made during the run: the old one is kept as {kept}",
            plan.old
        ))
        .next(format!("rename {} away, then run the same command again", plan.old)));
    }
    let text = format!("rename table {} to {} /* shadowswap */", table(&kept), table(&plan.old));
    run(conn, &text, "giving the old table its name").await?;
    failpoint::at(Place::OldNamed).await;
    Ok(Some(plan.old.clone()))
}

/// The name under which the old table waits for its own.
async fn kept(
    conn: &mut Conn,
    plan: &Plan,
    product: &Server,
    control: &str,
    migration: i64,
) -> Result<Option<TableName>> {
    let waiting = sentry(&plan.source);
    if !product.renames_under_lock() && exists(conn, &waiting).await?.is_some_and(|comment| comment != SENTRY)
    {
        return Ok(Some(waiting));
    }
    let guarded = guarded(plan, product);
    let is_ours = guarded != plan.old
        && exists(conn, &guarded).await?.is_some()
        && is_noted(conn, control, migration, &settled(&guarded, plan.turn)).await?;
    Ok(is_ours.then_some(guarded))
}
