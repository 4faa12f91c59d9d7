//! Whole transactions, reduced to one final state for each key.

use crate::change::{Change, Key, Op};
use std::collections::{HashMap, HashSet};

/// A prefix of the stream, reduced: what each touched key amounts to at its end.
///
/// The final images of a prefix of commits are consistent with each other: deleting every touched key and then inserting the images
/// never trips over a unique value that two rows swapped.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    last: HashMap<Key, Op>,
    fresh: HashSet<Key>,
    bytes: usize,
    changes: u64,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds the next change of the stream.
    pub fn push(&mut self, change: Change) {
        self.changes += 1;
        self.bytes += change.bytes();
        let Change { key, op } = change;
        let is_there = !matches!(op, Op::Delete);
        let fresh = (is_there && matches!(self.last.get(&key), Some(Op::Delete))).then(|| key.clone());
        if !is_there && !self.fresh.is_empty() {
            self.fresh.remove(&key);
        }
        // An image that was complete before does not help a later incomplete one: the columns that the stream left out may have been
        // changed by a transaction in between that is itself incomplete here. The source knows; it is read again.
        if let Some(before) = self.last.insert(key, op) {
            let row = match before {
                Op::Upsert(row) => row.len(),
                Op::Reread | Op::Delete => 0,
            };
            self.bytes = self.bytes.saturating_sub(row);
        }
        self.fresh.extend(fresh);
    }

    /// Changes that went in, before reduction.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Keys touched.
    pub fn keys(&self) -> usize {
        self.last.len()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// The final state of each key, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Op)> {
        self.last.iter()
    }

    /// Whether the batch touches this key.
    pub fn touches(&self, key: &Key) -> bool {
        self.last.contains_key(key)
    }

    /// Keys whose rows were deleted and are there again at the end: other rows than those before, which have nothing of them.
    pub fn fresh(&self) -> impl Iterator<Item = &Key> {
        self.fresh.iter()
    }

    /// Whether the row of this key is one of those.
    pub fn is_fresh(&self, key: &Key) -> bool {
        self.fresh.contains(key)
    }

    /// The same keys, whose rows are read from the source instead.
    #[must_use]
    pub fn to_read_again(&self) -> Batch {
        let read = |op: &Op| if matches!(op, Op::Delete) { Op::Delete } else { Op::Reread };
        let mut again = Batch::new();
        again.last.extend(self.last.iter().map(|(key, op)| (key.clone(), read(op))));
        (again.fresh, again.changes) = (self.fresh.clone(), self.changes);
        again
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.last.clear();
        self.fresh.clear();
        self.bytes = 0;
        self.changes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(n: u8) -> Key {
        Key(vec![n])
    }

    #[test]
    fn delete_after_insert_leaves_a_delete() {
        let mut batch = Batch::new();
        batch.push(Change { key: key(1), op: Op::Upsert(vec![7]) });
        batch.push(Change { key: key(1), op: Op::Delete });
        assert_eq!(batch.iter().collect::<Vec<_>>(), vec![(&key(1), &Op::Delete)]);
        assert_eq!(batch.changes(), 2);
    }

    #[test]
    fn row_that_was_deleted_and_inserted_again_is_another_row() {
        let (row, gone) = (|n| Op::Upsert(vec![n]), Op::Delete);
        let fresh = |ops: &[Op]| {
            let mut batch = Batch::new();
            for op in ops {
                batch.push(Change { key: key(1), op: op.clone() });
            }
            batch.is_fresh(&key(1)) && batch.fresh().count() == 1
        };
        assert!(fresh(&[gone.clone(), row(1)]));
        assert!(fresh(&[gone.clone(), Op::Reread, row(2)]));
        assert!(fresh(&[row(1), gone.clone(), row(2), gone.clone(), row(3)]));
        assert!(!fresh(&[row(1), row(2)]));
        assert!(!fresh(&[gone.clone(), row(1), gone.clone()]));
        assert!(!fresh(std::slice::from_ref(&gone)));
        let mut batch = Batch::new();
        for (n, op) in [(1, gone), (1, row(1)), (2, row(1))] {
            batch.push(Change { key: key(n), op });
        }
        let again = batch.to_read_again();
        assert!(again.is_fresh(&key(1)) && !again.is_fresh(&key(2)) && again.keys() == 2);
        assert!(again.iter().all(|(_, op)| *op == Op::Reread));
    }

    proptest! {
        #[test]
        fn reduced_batch_gives_the_same_table_as_one_change_at_a_time(
            start in proptest::collection::btree_map(0_u8..8, any::<u8>(), 0..8),
            changes in proptest::collection::vec((0_u8..8, proptest::option::of(any::<u8>())), 0..64),
        ) {
            let mut one_by_one: BTreeMap<u8, u8> = start.clone();
            let mut batch = Batch::new();
            for (k, v) in &changes {
                match v {
                    Some(v) => { one_by_one.insert(*k, *v); batch.push(Change { key: key(*k), op: Op::Upsert(vec![*v]) }); }
                    None => { one_by_one.remove(k); batch.push(Change { key: key(*k), op: Op::Delete }); }
                }
            }
            let mut reduced = start;
            for (k, op) in batch.iter() {
                match op {
                    Op::Upsert(row) => { reduced.insert(k.0[0], row[0]); }
                    Op::Delete => { reduced.remove(&k.0[0]); }
                    Op::Reread => prop_assert!(false),
                }
            }
            prop_assert_eq!(one_by_one, reduced);
        }
    }
}
