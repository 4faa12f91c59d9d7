//! Clients: they insert, update, delete, change keys, exchange unique values, roll back, and are cut off.

use crate::{
    server::{Server, pause},
    world::{Lock, Row, key, lost},
};
use shadowswap_core::{Error, Result};
use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// Unique values are below this.
const UNIQUES: u64 = 40;
/// How long a client waits for the table.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes until it is told to stop.
pub async fn write(server: Server, mut stop: watch::Receiver<bool>, rest: u64) {
    let mut connection = None;
    while !*stop.borrow_and_update() {
        pause(server.with(|w| {
            // In the end applying can follow, however small its batches are.
            let rest = if w.weather.lasts.is_zero() { rest.max(60) } else { rest };
            w.chance.time(rest, 12, rest * 8)
        }))
        .await;
        let alive = connection.filter(|id| server.with(|w| w.connections.contains_key(id)));
        let Some(id) = alive else {
            connection = server.with(|w| w.is_up.then(|| w.connect("client", false)));
            pause(Duration::from_millis(1)).await;
            continue;
        };
        if let Err(e) = transaction(&server, id).await {
            tracing::trace!(error = %e, "a client's transaction failed");
        }
    }
    if let Some(id) = connection {
        server.with(|w| w.end(id));
    }
}

async fn transaction(server: &Server, connection: u64) -> Result<()> {
    let tx = server.with(|w| w.begin(connection))?;
    let (statements, gives_up) = server.draw(|c| {
        let many = if c.one_in(12) { 25 } else { 4 };
        (1 + c.below(many), c.one_in(10))
    });
    let written = async {
        let table = enter(server, tx).await?;
        for _ in 0..statements {
            server.step().await;
            statement(server, tx, table).await?;
        }
        Ok::<_, Error>(())
    };
    let written = written.await;
    if written.is_err() || gives_up {
        server.roll_back(tx);
        return written;
    }
    // It may wait for its answer in vain; what it has asked for happens.
    let server = server.clone();
    let commit = tokio::spawn(async move { server.commit(tx, false).await });
    commit.await.map_err(|_| lost())?
}

/// Which table has the application's name: once nobody keeps clients out.
async fn enter(server: &Server, tx: u64) -> Result<usize> {
    let entered = server.until(Instant::now() + PATIENCE, |w| {
        let is_kept_out = w.table_lock.as_ref().is_some_and(|lock| lock.table == w.app);
        if is_kept_out {
            return None;
        }
        let app = w.app;
        Some(w.tx(tx).map(|tx| {
            tx.client_of = Some(app);
            app
        }))
    });
    entered.await.unwrap_or_else(|| Err(lost()))
}

/// Changes one row, all the time but for short rests. `renames`: its key gets other bytes now and then.
pub async fn hurry(server: Server, n: u32, renames: bool, stop: watch::Receiver<bool>) {
    let connection = server.with(|w| w.connect("hot", false));
    while !*stop.borrow() {
        pause(server.draw(|c| c.time(12, 40, 2500))).await;
        let Ok(tx) = server.with(|w| w.begin(connection)) else { return };
        let written = async {
            let table = enter(&server, tx).await?;
            let change: fn(Row, u64) -> Row = match renames && server.draw(|c| c.one_in(8)) {
                true => |row, value| Row { value, upper_case: !row.upper_case, ..row },
                false => |row, value| Row { value, ..row },
            };
            update(&server, tx, table, n, change).await?;
            server.commit(tx, false).await
        };
        if written.await.is_err() {
            server.roll_back(tx);
        }
    }
}

async fn statement(server: &Server, tx: u64, table: usize) -> Result<()> {
    let (what, n) = server.with(|w| {
        let what = w.chance.below(12);
        let any = w.chance.below(u64::from(w.keys)) as u32;
        let rows = &w.tables[table].rows;
        let there = rows.len() - usize::from(w.spoils.is_some_and(|n| rows.contains_key(&n)));
        if w.fresh.is_none() || there == 0 {
            return (what, any);
        }
        let nth = w.chance.below(there as u64) as usize;
        let mut keys = rows.keys().copied().filter(|n| w.spoils != Some(*n));
        (what, keys.nth(nth).unwrap_or(any))
    });
    match what {
        0..=2 => insert(server, tx, table, new_key(server)).await,
        3..=5 => update(server, tx, table, n, |row, value| Row { value, ..row }).await,
        6 => {
            update(server, tx, table, n, |row, value| Row { value, upper_case: !row.upper_case, ..row }).await
        }
        7 => delete(server, tx, table, n).await,
        8 => change_key(server, tx, table, n).await,
        9 => give_unique(server, tx, table, n).await,
        _ => exchange(server, tx, table, n).await,
    }
}

/// A key for a new row.
fn new_key(server: &Server) -> u32 {
    server.with(|w| match &mut w.fresh {
        Some(next) => {
            *next += 1;
            *next
        }
        None => w.chance.below(u64::from(w.keys)) as u32,
    })
}

/// The row, once it is ours.
async fn locked(server: &Server, tx: u64, table: usize, n: u32) -> Result<Option<Row>> {
    server.lock(tx, Lock::Row(table, n), None).await?;
    Ok(server.with(|w| w.row(tx, table, n)))
}

/// Takes a unique value if nobody has it.
async fn claim(server: &Server, tx: u64, table: usize, n: u32, unique: u32) -> Result<Option<u32>> {
    server.lock(tx, Lock::Unique(table, unique), None).await?;
    Ok(server.with(|w| w.owner(tx, table, unique, n).is_none().then_some(unique)))
}

/// Whoever lets a unique value go keeps others off it until he has committed.
async fn let_go(server: &Server, tx: u64, table: usize, row: Row) -> Result<()> {
    match row.unique {
        Some(unique) => server.lock(tx, Lock::Unique(table, unique), None).await,
        None => Ok(()),
    }
}

/// Writes the row and tells the stream.
fn put(
    server: &Server,
    tx: u64,
    table: usize,
    n: u32,
    before: Option<Row>,
    after: Option<Row>,
) -> Result<()> {
    server.with(|w| {
        w.write(tx, table, n, after)?;
        let moved = before.filter(|b| after.is_none_or(|a| a.upper_case != b.upper_case));
        if let Some(before) = moved {
            w.change(tx, key(n, before.upper_case), None)?;
        }
        match after {
            Some(after) => w.change(tx, key(n, after.upper_case), Some(after)),
            None => Ok(()),
        }
    })
}

async fn insert(server: &Server, tx: u64, table: usize, n: u32) -> Result<()> {
    if locked(server, tx, table, n).await?.is_some() {
        return Ok(());
    }
    let (wants, unique, upper_case, value) =
        server.draw(|c| (c.coin(), c.below(UNIQUES) as u32, c.coin(), c.below(1 << 20)));
    let unique = if wants { claim(server, tx, table, n, unique).await? } else { None };
    put(server, tx, table, n, None, Some(Row { upper_case, unique, value }))
}

async fn update(server: &Server, tx: u64, table: usize, n: u32, change: fn(Row, u64) -> Row) -> Result<()> {
    let Some(row) = locked(server, tx, table, n).await? else { return Ok(()) };
    let value = server.draw(|c| c.below(1 << 20));
    put(server, tx, table, n, Some(row), Some(change(row, value)))
}

async fn delete(server: &Server, tx: u64, table: usize, n: u32) -> Result<()> {
    let Some(row) = locked(server, tx, table, n).await? else { return Ok(()) };
    let_go(server, tx, table, row).await?;
    put(server, tx, table, n, Some(row), None)
}

async fn change_key(server: &Server, tx: u64, table: usize, n: u32) -> Result<()> {
    let to = new_key(server);
    let Some(row) = locked(server, tx, table, n).await? else { return Ok(()) };
    if to == n || locked(server, tx, table, to).await?.is_some() {
        return Ok(());
    }
    let_go(server, tx, table, row).await?;
    put(server, tx, table, n, Some(row), None)?;
    put(server, tx, table, to, None, Some(row))
}

async fn give_unique(server: &Server, tx: u64, table: usize, n: u32) -> Result<()> {
    let unique = server.draw(|c| c.below(UNIQUES) as u32);
    let Some(row) = locked(server, tx, table, n).await? else { return Ok(()) };
    let_go(server, tx, table, row).await?;
    let unique = claim(server, tx, table, n, unique).await?;
    put(server, tx, table, n, Some(row), Some(Row { unique, ..row }))
}

/// Two rows exchange their unique values, by way of none.
async fn exchange(server: &Server, tx: u64, table: usize, n: u32) -> Result<()> {
    let other = server.with(|w| {
        let rows: Vec<u32> = w.tables[table]
            .rows
            .iter()
            .filter(|(m, row)| **m != n && row.unique.is_some())
            .map(|(m, _)| *m)
            .collect();
        (!rows.is_empty()).then(|| w.chance.pick(&rows))
    });
    let Some(other) = other else { return Ok(()) };
    let (Some(a), Some(b)) = (locked(server, tx, table, n).await?, locked(server, tx, table, other).await?)
    else {
        return Ok(());
    };
    let_go(server, tx, table, a).await?;
    let_go(server, tx, table, b).await?;
    put(server, tx, table, n, Some(a), Some(Row { unique: None, ..a }))?;
    put(server, tx, table, other, Some(b), Some(Row { unique: a.unique, ..b }))?;
    put(server, tx, table, n, Some(Row { unique: None, ..a }), Some(Row { unique: b.unique, ..a }))
}
