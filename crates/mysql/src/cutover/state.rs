//! Who and what is in the way of a swap, and whether it took place.

use super::{SENTRY, exists, sentry};
use crate::{error::server, plan::Detail};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Kind, Obstacle, Outcome, Result, plan::Plan};

/// What keeps the swap from being right: the source must be as planned, with nothing tied to it that the swap would leave behind.
async fn unfit(conn: &mut Conn, plan: &Plan) -> Result<Option<String>> {
    let now = crate::catalog::table(conn, &plan.source).await?;
    if now.is_none_or(|t| t.fingerprint() != plan.fingerprint) {
        return Ok(Some(format!("the definition of {} is not the planned one any more", plan.source)));
    }
    let tied = crate::check::tied(conn, &plan.source).await?;
    let all = [tied.keys_out, tied.keys_in, tied.triggers].concat();
    Ok((!all.is_empty()).then(|| format!("made on {} during the run: {}", plan.source, all.join(", "))))
}

/// After a swap nothing is given up for it: it may be undone, and until then the next swap is not tried.
pub(super) async fn still_fits(conn: &mut Conn, plan: &Plan) -> Result<()> {
    match unfit(conn, plan).await? {
        None => Ok(()),
        Some(what) if plan.turn > 0 => Err(Error::new(Kind::Budget, what)),
        Some(what) => Err(Error::new(Kind::Unfit, what)
            .next("nothing was swapped, and what was made is removed; plan and run again")),
    }
}

/// Who would keep us from the lock.
pub async fn obstacles(conn: &mut Conn, plan: &Plan, own: &str, migration: i64) -> Result<Vec<Obstacle>> {
    let mut found = Vec::new();
    match unfit(conn, plan).await? {
        Some(what) if plan.is_turned() => {
            return Err(Error::refused(what)
                .next("the swap would lose it: drop it, and make it again after going back"));
        }
        Some(what) if plan.turn > 0 => {
            let who = plan.source.to_string();
            found.push(Obstacle {
                who,
                what: format!("{what} (drop it, and make it again after the swap)"),
                blocks: true,
            });
        }
        Some(_) => still_fits(conn, plan).await?,
        None => {}
    }
    // Both views need rights that not everybody has; without them the lock's own timeout is all there is.
    let locks = "select t.processlist_id, coalesce(t.processlist_user, ''), coalesce(t.processlist_command, ''),\n\
        coalesce(timestampdiff(second, x.trx_started, now()), 0)\n\
        from performance_schema.metadata_locks l join performance_schema.threads t on t.thread_id = l.owner_thread_id\n\
        left join information_schema.innodb_trx x on x.trx_mysql_thread_id = t.processlist_id\n\
        where l.object_schema = ? and l.object_name = ? and l.lock_status = 'GRANTED' and t.processlist_id <> connection_id()";
    let params = (&plan.source.schema, &plan.source.name);
    let holders: Vec<(u64, String, String, i64)> = conn.exec(locks, params).await.unwrap_or_default();
    let ours: Vec<u64> = conn
        .query(format!("select connection from {own}.session where migration = {migration}"))
        .await
        .map_err(|e| server(e, "reading our own sessions"))?;
    for (id, user, command, age) in holders {
        if age >= 1 && !ours.contains(&id) {
            found.push(Obstacle {
                who: format!("connection {id} (user {user})"),
                what: format!("a transaction that used the table, open for {age} s ({command})"),
                blocks: true,
            });
        }
    }
    Ok(found)
}

async fn is_original(conn: &mut Conn, plan: &Plan) -> Result<bool> {
    let now = crate::catalog::table(conn, &plan.source).await?;
    Ok(now.is_some_and(|table| crate::names::is_old(plan, &table.columns)))
}

/// Whether the swap took place: the shadow's name is gone then, and the source is what the change makes of it. Of the plan that was made
/// this is asked in every turn; of the way back, only right after its swap was tried.
pub async fn outcome(conn: &mut Conn, plan: &Plan, control: &str, migration: i64) -> Result<Outcome> {
    let detail = Detail::of(plan)?;
    if plan.turn > 0 && !detail.is_back {
        let has_new = crate::names::has_new(conn, plan, &detail.server, control, migration).await?;
        return Ok(if has_new { Outcome::Swapped } else { Outcome::NotSwapped });
    }
    // The source first: a RENAME that ends in between must not look as if it had not begun.
    let has_source = exists(conn, &plan.source).await?.is_some();
    let has_shadow = exists(conn, &plan.shadow).await?.is_some();
    let kept = exists(conn, &sentry(&plan.source)).await?.is_some_and(|comment| comment != SENTRY);
    let has_old = kept || exists(conn, &plan.old).await?.is_some();
    match (has_source, has_shadow, has_old) {
        (true, true, _) => Ok(Outcome::NotSwapped),
        (true, false, true) => Ok(Outcome::Swapped),
        // In the first turn nobody drops the old table yet: this is an abort that ended half way, or a shadow dropped by hand.
        (true, false, false) if plan.turn == 0 && is_original(conn, plan).await? => Ok(Outcome::NotSwapped),
        _ => Err(Error::corrupt(format!(
            "neither {} nor {} is where it should be before or after a swap",
            plan.source, plan.shadow
        ))
        .next("look at the tables before anything else; somebody renamed or dropped them by hand")),
    }
}
