//! What a writer is going to do next, decided before anything is sent: the statements, and each touched row before and after.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::ledger::{Key, Row};
use super::pool::Pool;
use super::row::{decode, encode};

/// Rows of a transaction of several.
const BATCH: std::ops::RangeInclusive<usize> = 2..=6;

/// What a writer does in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Inserts a row whose key is new or was deleted.
    Insert,
    /// Updates one column, leaving the others (large ones out of line) unchanged.
    UpdateOne,
    /// Updates all columns.
    UpdateAll,
    /// Deletes a row.
    Delete,
    /// Deletes a row and inserts it with other values, in one transaction.
    Reinsert,
    /// Changes a row's key.
    Rekey,
    /// Several rows in one transaction.
    Batch,
    /// The same, rolled back at the end.
    RolledBack,
    /// A transaction part of which is rolled back to a savepoint.
    Savepoint,
    /// Swaps a unique value between two rows, in one transaction. Without a unique column, the same as `UpdateOne`.
    SwapUnique,
    /// Reads a row and compares it with what was acknowledged.
    Read,
}

impl Op {
    /// What writers do unless told otherwise. Inserts and deletes balance, so that the table keeps its size.
    pub const MIX: [(Op, u32); 11] = [
        (Op::Insert, 16),
        (Op::UpdateOne, 20),
        (Op::UpdateAll, 10),
        (Op::Delete, 16),
        (Op::Reinsert, 5),
        (Op::Rekey, 5),
        (Op::Batch, 6),
        (Op::RolledBack, 4),
        (Op::Savepoint, 4),
        (Op::SwapUnique, 4),
        (Op::Read, 10),
    ];
}

/// A statement of the writer's: prepared ones by kind, the rest by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sql {
    Insert,
    UpdateOne(usize),
    UpdateAll,
    Delete,
    Rekey,
    Read,
    Text(&'static str),
}

/// One statement with its parameters. `Read` expects the row that its plan touches; all others but `Text` touch one row.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) sql: Sql,
    pub(super) params: Vec<Option<String>>,
}

/// A row that the plan touches.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) key: Key,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) touched: Vec<Touched>,
}

impl Plan {
    /// Whether losing the answer to this step leaves it open what happened. Before the commit is sent, nothing has.
    pub(super) fn is_decisive(&self, step: usize) -> bool {
        match self.steps[step].sql {
            Sql::Text(text) => text == "commit",
            Sql::Insert | Sql::UpdateOne(_) | Sql::UpdateAll | Sql::Delete | Sql::Rekey => {
                self.steps.len() == 1
            }
            Sql::Read => false,
        }
    }

    fn text(&mut self, sql: &'static str) {
        self.steps.push(Step { sql: Sql::Text(sql), params: Vec::new() });
    }

    fn touch(&mut self, key: Key, before: Option<Row>, after: Option<Row>) {
        self.touched.push(Touched { key, before, after });
    }

    fn insert(&mut self, key: &Key, row: &Row) {
        self.steps.push(Step { sql: Sql::Insert, params: [decode(key), decode(row)].concat() });
    }

    fn update_all(&mut self, key: &Key, row: &Row) {
        self.steps.push(Step { sql: Sql::UpdateAll, params: [decode(row), decode(key)].concat() });
    }

    fn update_one(&mut self, key: &Key, column: usize, value: Option<String>) {
        self.steps.push(Step { sql: Sql::UpdateOne(column), params: [vec![value], decode(key)].concat() });
    }

    fn delete(&mut self, key: &Key) {
        self.steps.push(Step { sql: Sql::Delete, params: decode(key) });
    }
}

/// Decides the statements for an operation. Where there is no row to work on, it inserts one.
pub(super) fn plan(op: Op, pool: &mut Pool, rng: &mut StdRng) -> Plan {
    let mut plan = Plan::default();
    match op {
        Op::Insert => insert(&mut plan, pool, rng),
        Op::UpdateOne => on_row(&mut plan, pool, rng, update_one),
        Op::UpdateAll => on_row(&mut plan, pool, rng, update_all),
        Op::Delete => on_row(&mut plan, pool, rng, delete),
        Op::Rekey => on_row(&mut plan, pool, rng, rekey),
        Op::Read => on_row(&mut plan, pool, rng, |plan, _, _, key, row| {
            plan.steps.push(Step { sql: Sql::Read, params: decode(&key) });
            plan.touch(key, Some(Arc::clone(&row)), Some(row));
        }),
        Op::Reinsert => {
            plan.text("begin");
            on_row(&mut plan, pool, rng, |plan, pool, rng, key, row| {
                let new = pool.new_row(rng);
                plan.delete(&key);
                plan.insert(&key, &new);
                plan.touch(key, Some(row), Some(new));
            });
            plan.text("commit");
        }
        Op::SwapUnique => swap_unique(&mut plan, pool, rng),
        Op::Batch => {
            plan.text("begin");
            some_rows(&mut plan, pool, rng);
            plan.text("commit");
        }
        Op::RolledBack => {
            plan.text("begin");
            some_rows(&mut plan, pool, rng);
            plan.text("rollback");
            undo(&mut plan, 0);
        }
        Op::Savepoint => {
            plan.text("begin");
            some_rows(&mut plan, pool, rng);
            plan.text("savepoint part");
            let kept = plan.touched.len();
            some_rows(&mut plan, pool, rng);
            plan.text("rollback to savepoint part");
            undo(&mut plan, kept);
            some_rows(&mut plan, pool, rng);
            plan.text("commit");
        }
    }
    plan
}

/// What was touched from `first` on is as it was.
fn undo(plan: &mut Plan, first: usize) {
    for touched in plan.touched.iter_mut().skip(first) {
        touched.after = touched.before.clone();
    }
}

fn insert(plan: &mut Plan, pool: &mut Pool, rng: &mut StdRng) {
    let (key, row) = (pool.take_absent(rng), pool.new_row(rng));
    plan.insert(&key, &row);
    plan.touch(key, None, Some(row));
}

type OnRow = fn(&mut Plan, &mut Pool, &mut StdRng, Key, Row);

fn on_row(plan: &mut Plan, pool: &mut Pool, rng: &mut StdRng, act: OnRow) {
    match pool.take_present(rng) {
        Some((key, row)) => act(plan, pool, rng, key, row),
        None => insert(plan, pool, rng),
    }
}

fn some_rows(plan: &mut Plan, pool: &mut Pool, rng: &mut StdRng) {
    for _ in 0..rng.random_range(BATCH) {
        match rng.random_range(0..5) {
            0 => insert(plan, pool, rng),
            1 => on_row(plan, pool, rng, delete),
            2 => on_row(plan, pool, rng, update_all),
            3 => on_row(plan, pool, rng, rekey),
            _ => on_row(plan, pool, rng, update_one),
        }
    }
}

fn update_one(plan: &mut Plan, pool: &mut Pool, rng: &mut StdRng, key: Key, row: Row) {
    let column = rng.random_range(0..pool.shape.columns.len());
    let stamp = pool.new_stamp();
    let value = (pool.shape.columns[column].make)(rng, stamp);
    let new = with_value(&row, column, value.clone());
    plan.update_one(&key, column, value);
    plan.touch(key, Some(row), Some(new));
}

fn update_all(plan: &mut Plan, pool: &mut Pool, rng: &mut StdRng, key: Key, row: Row) {
    let new = pool.new_row(rng);
    plan.update_all(&key, &new);
    plan.touch(key, Some(row), Some(new));
}

fn delete(plan: &mut Plan, _: &mut Pool, _: &mut StdRng, key: Key, row: Row) {
    plan.delete(&key);
    plan.touch(key, Some(row), None);
}

fn rekey(plan: &mut Plan, pool: &mut Pool, rng: &mut StdRng, key: Key, row: Row) {
    let target = pool.take_absent(rng);
    plan.steps.push(Step { sql: Sql::Rekey, params: [decode(&target), decode(&key)].concat() });
    plan.touch(key, Some(Arc::clone(&row)), None);
    plan.touch(target, None, Some(row));
}

fn swap_unique(plan: &mut Plan, pool: &mut Pool, rng: &mut StdRng) {
    let Some(column) = pool.shape.columns.iter().position(|column| column.is_unique) else {
        return on_row(plan, pool, rng, update_one);
    };
    let Some((key_a, row_a)) = pool.take_present(rng) else { return insert(plan, pool, rng) };
    let Some((key_b, row_b)) = pool.take_present(rng) else {
        return update_one(plan, pool, rng, key_a, row_a);
    };
    let value_of = |row: &Row| decode(row).swap_remove(column);
    let (value_a, value_b) = (value_of(&row_a), value_of(&row_b));
    let between = (pool.shape.columns[column].make)(rng, pool.new_stamp());
    plan.text("begin");
    plan.update_one(&key_a, column, between);
    plan.update_one(&key_b, column, value_a.clone());
    plan.update_one(&key_a, column, value_b.clone());
    plan.text("commit");
    let (new_a, new_b) = (with_value(&row_a, column, value_b), with_value(&row_b, column, value_a));
    plan.touch(key_a, Some(row_a), Some(new_a));
    plan.touch(key_b, Some(row_b), Some(new_b));
}

fn with_value(row: &Row, column: usize, value: Option<String>) -> Row {
    let mut values = decode(row);
    values[column] = value;
    encode(values.iter().map(Option::as_deref)).into()
}
