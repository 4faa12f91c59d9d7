//! The keys that one writer owns. A plan takes keys out and, once its fate is known, settles them again; a key is in one plan at most.

use std::collections::HashMap;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::ledger::{Key, Ledger, Row, State, make_key, make_row};
use super::shape::TableShape;

/// How often an insert takes a new key although deleted ones could be used again.
const FRESH_KEY: f64 = 0.3;

pub(super) struct Pool {
    pub(super) shape: Arc<TableShape>,
    states: HashMap<Key, State>,
    present: Vec<Key>,
    absent: Vec<Key>,
    next_key: u64,
    next_stamp: u64,
    step: u64,
}

impl Pool {
    /// Deals a ledger's keys out to so many writers. In the order of the keys, so that a seed deals the same each time.
    pub(super) fn split(ledger: Ledger, writers: usize) -> Vec<Pool> {
        let shape = Arc::clone(ledger.shape());
        let new = |index: u64| Pool {
            shape: Arc::clone(&shape),
            states: HashMap::new(),
            present: Vec::new(),
            absent: Vec::new(),
            next_key: ledger.next_key + index,
            next_stamp: ledger.next_stamp + index,
            step: writers as u64,
        };
        let mut pools: Vec<Pool> = (0..writers as u64).map(new).collect();
        let mut states: Vec<(Key, State)> = ledger.states.into_iter().collect();
        states.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (index, (key, state)) in states.into_iter().enumerate() {
            pools[index % writers].settle(key, state);
        }
        pools
    }

    /// Puts the writers' keys together again.
    pub(super) fn join(shape: Arc<TableShape>, pools: Vec<Pool>) -> Ledger {
        let next_key = pools.iter().map(|pool| pool.next_key).max().unwrap_or(1);
        let next_stamp = pools.iter().map(|pool| pool.next_stamp).max().unwrap_or(0);
        let states = pools.into_iter().flat_map(|pool| pool.states).collect();
        Ledger::resume(shape, states, next_key, next_stamp)
    }

    /// Takes a key that is there, with its values.
    pub(super) fn take_present(&mut self, rng: &mut StdRng) -> Option<(Key, Row)> {
        let key = take_random(&mut self.present, rng)?;
        match self.states.get(&key) {
            Some(State::Known(Some(row))) => Some((key, Arc::clone(row))),
            other => unreachable!("key {key} is listed as present but is {other:?}"),
        }
    }

    /// Takes a key that is not there: one that was deleted, or one that never was.
    pub(super) fn take_absent(&mut self, rng: &mut StdRng) -> Key {
        let reused = if rng.random_bool(FRESH_KEY) { None } else { take_random(&mut self.absent, rng) };
        reused.unwrap_or_else(|| {
            let key = make_key(&self.shape, self.next_key);
            self.next_key += self.step;
            key
        })
    }

    /// New values for a whole row.
    pub(super) fn new_row(&mut self, rng: &mut StdRng) -> Row {
        let stamp = self.new_stamp();
        make_row(&self.shape, rng, stamp)
    }

    /// A number for unique values that nobody else has.
    pub(super) fn new_stamp(&mut self) -> u64 {
        let stamp = self.next_stamp;
        self.next_stamp += self.step;
        stamp
    }

    /// Gives a key back with what is now known of it. A key with two possible states is not used again.
    pub(super) fn settle(&mut self, key: Key, state: State) {
        match &state {
            State::Known(Some(_)) => self.present.push(Arc::clone(&key)),
            State::Known(None) => self.absent.push(Arc::clone(&key)),
            State::Either(..) => {}
        }
        self.states.insert(key, state);
    }
}

fn take_random(keys: &mut Vec<Key>, rng: &mut StdRng) -> Option<Key> {
    if keys.is_empty() {
        return None;
    }
    let index = rng.random_range(0..keys.len());
    Some(keys.swap_remove(index))
}
