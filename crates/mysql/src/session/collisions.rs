//! Batches that met a unique value of another row.

use std::sync::atomic::{AtomicU32, Ordering};

/// What the sessions of one engine know of each other's collisions. Where rows swap unique values all the time, trying the fast way
/// first makes every batch cost twice.
#[derive(Debug, Default)]
pub struct Collisions(AtomicU32);

/// So many batches delete first after one that met a collision.
const CAREFUL_BATCHES: u32 = 64;

impl Collisions {
    pub(super) fn happened(&self) {
        self.0.store(CAREFUL_BATCHES, Ordering::Relaxed);
    }

    /// Whether the next batch is to delete first.
    pub(super) fn expects_one(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }
}
