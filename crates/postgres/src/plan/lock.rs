//! Which lock the change takes in place, read off the server while it changes an empty copy.

use super::SETUP;
use crate::{
    alter::Body,
    catalog::Table,
    error::server,
    shadow::twin::{self, Place},
    sql::{qualified, run, set_search_path},
};
use shadowswap_core::Result;
use tokio_postgres::Client;

/// From weakest to strongest: the name in `pg_locks`, and the name in SQL.
const MODES: [(&str, &str); 8] = [
    ("AccessShareLock", "ACCESS SHARE"),
    ("RowShareLock", "ROW SHARE"),
    ("RowExclusiveLock", "ROW EXCLUSIVE"),
    ("ShareUpdateExclusiveLock", "SHARE UPDATE EXCLUSIVE"),
    ("ShareLock", "SHARE"),
    ("ShareRowExclusiveLock", "SHARE ROW EXCLUSIVE"),
    ("ExclusiveLock", "EXCLUSIVE"),
    ("AccessExclusiveLock", "ACCESS EXCLUSIVE"),
];

/// The strongest lock that these bodies take on the table, as SQL calls it; `None` without any body.
///
/// Whoever makes a table holds every lock on it until the end of the transaction. So the copy is made in one, as a temporary table, and
/// changed in a second one, which is rolled back.
///
/// # Errors
/// What the server answers; the bodies were tried before.
pub async fn strongest(
    client: &Client,
    source: &Table,
    bodies: &[Body],
    search_path: &str,
) -> Result<Option<&'static str>> {
    if bodies.is_empty() {
        return Ok(None);
    }
    run(client, SETUP).await?;
    let made = twin::build(client, &Place::Temporary, source, Vec::new(), search_path).await;
    let ended = run(client, if made.is_ok() { "commit" } else { "rollback" }).await;
    let oid = made?.after().oid;
    ended?;
    let copy = qualified("pg_temp", &source.name);
    run(client, SETUP).await?;
    let found = change(client, &copy, oid, bodies, search_path).await;
    run(client, "rollback").await?;
    run(client, &format!("drop table {copy}")).await?;
    found
}

async fn change(
    client: &Client,
    copy: &str,
    oid: u32,
    bodies: &[Body],
    search_path: &str,
) -> Result<Option<&'static str>> {
    set_search_path(client, search_path, true).await?;
    for body in bodies {
        let tried = client.execute(&format!("alter table {copy} {}", body.text), &[]).await;
        tried.map_err(|e| server(e, format_args!("trying `alter table … {}` for its lock", body.text)))?;
    }
    let text = "select max(array_position($2::text[], mode)) from pg_locks\n\
        where pid = pg_backend_pid() and granted and locktype = 'relation' and relation = $1\n\
        and database = (select oid from pg_database where datname = current_database())";
    let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
    let row = client.query_one(text, &[&oid, &names]).await;
    let place: Option<i32> = row.map_err(|e| server(e, "reading the locks of the change"))?.get(0);
    let mode = place.and_then(|place| MODES.get(usize::try_from(place).ok()?.checked_sub(1)?));
    Ok(mode.map(|(_, name)| *name))
}
