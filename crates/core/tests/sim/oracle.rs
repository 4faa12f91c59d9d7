//! What must hold.

use crate::world::{Row, TableLock, World};
use std::{collections::BTreeMap, time::Duration};

/// A row of either table as the first one would have it.
pub fn original(row: Row, table: usize) -> Row {
    if table == 0 { row } else { row.projected(0) }
}

/// What the table must hold, from what clients have committed.
fn expected(world: &World, table: usize) -> BTreeMap<u32, Row> {
    let there = |row: &Row| if table == 0 { *row } else { row.projected(1) };
    world.truth.iter().map(|(n, row)| (*n, there(row))).collect()
}

/// Where a table is not what clients have made of it.
fn differences(world: &World, table: usize) -> Vec<String> {
    let (expected, found) = (expected(world, table), &world.tables[table].rows);
    let keys: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differ = keys.into_iter().filter(|n| expected.get(n) != found.get(n));
    differ.map(|n| format!("key {n}: expected {:?}, found {:?}", expected.get(n), found.get(n))).collect()
}

/// At the swap both tables hold the same, and all of it.
pub fn judge_swap(world: &mut World) {
    let (from, to) = (world.app, 1 - world.app);
    for table in [from, to] {
        let wrong = differences(world, table);
        if !wrong.is_empty() {
            let role = if table == from { "the table in use" } else { "the table that comes up" };
            let text = format!("at swap {}, {role} differs: {}", world.swaps + 1, wrong.join("; "));
            world.violation(text);
        }
    }
}

/// What the ways to and fro may add to the stall budget: the model's are much longer than those of a real network.
const WAYS: Duration = Duration::from_millis(40);

/// Clients wait for no longer than the budget, whatever comes of the attempt.
pub fn judge_stall(world: &mut World, lock: &TableLock) {
    let Some((since, budget)) = lock.due else { return };
    if since.elapsed() > budget + WAYS {
        world.violation(format!("clients were kept out for {:?}, the budget is {budget:?}", since.elapsed()));
    }
}

/// At the end the application's table holds everything that was committed.
pub fn judge_end(world: &mut World) {
    let wrong = differences(world, world.app);
    if !wrong.is_empty() {
        world.violation(format!("at the end the table in use differs: {}", wrong.join("; ")));
    }
}
