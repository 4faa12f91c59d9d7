//! May this transaction be applied now?
//!
//! Copying and applying write the same shadow at the same time. The one thing that can go wrong is that a change is applied and
//! *afterwards* a chunk writes an older image of that row: a delete finds nothing to delete, then the chunk brings the row back for
//! ever. This module keeps that from happening, for every engine, with one invariant:
//!
//! > Every uncommitted chunk's read includes every applied transaction.
//!
//! Why it holds:
//! 1. A chunk [enters](Frontier::enter) before it takes its floor. Its ticket starts with the horizon, an older floor of the applier's;
//!    visibility only grows, so whatever the chunk reads later includes that.
//! 2. The chunk takes its floor, [raises](Ticket::raise) the ticket to it, and only then reads. Its read includes its floor.
//! 3. The applier applies a transaction only if the horizon and every ticket include it. A chunk that enters later starts from the
//!    horizon, which includes it already.
//! 4. A ticket is given back by [`Ticket::leave`] alone, when the chunk's transaction is known to be over. A ticket that is merely
//!    dropped stays: its statement may still be running on the server, and applying waits rather than being wrong.
//!
//! From the invariant the theorem follows key by key: what a chunk did not see is applied after it, as a full image, in commit order.
//!
//! No starvation: a transaction waits until it is visible, and then at most for the chunks that are running at that moment.

use crate::{
    engine::Floor,
    mutations::{Mutation, breaks},
};
use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The shared rule. Cheap to clone.
#[derive(Debug)]
pub struct Frontier<T, F> {
    shared: Arc<Shared<F>>,
    tx: PhantomData<fn(&T)>,
}

impl<T, F> Clone for Frontier<T, F> {
    fn clone(&self) -> Self {
        Frontier { shared: Arc::clone(&self.shared), tx: PhantomData }
    }
}

#[derive(Debug)]
struct Shared<F> {
    state: Mutex<State<F>>,
    moved: Notify,
}

#[derive(Debug)]
struct State<F> {
    horizon: F,
    tickets: BTreeMap<u64, F>,
    next: u64,
}

impl<F> Shared<F> {
    fn lock(&self) -> MutexGuard<'_, State<F>> {
        // The sections below cannot panic half way, so a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, F: Floor<T>> Frontier<T, F> {
    /// Starts with a horizon: a floor that the applier has just taken.
    pub fn new(horizon: F) -> Self {
        let state = State { horizon, tickets: BTreeMap::new(), next: 0 };
        Frontier {
            shared: Arc::new(Shared { state: Mutex::new(state), moved: Notify::new() }),
            tx: PhantomData,
        }
    }

    /// Registers a chunk, before it takes its floor.
    pub fn enter(&self) -> Ticket<F> {
        let mut state = self.shared.lock();
        let id = state.next;
        state.next += 1;
        let horizon = state.horizon.clone();
        state.tickets.insert(id, horizon);
        Ticket { shared: Arc::clone(&self.shared), id }
    }

    /// Replaces the horizon by a floor that was taken later.
    pub fn advance(&self, horizon: F) {
        self.shared.lock().horizon = horizon;
    }

    /// Whether the transaction may be applied now.
    pub fn admits(&self, tx: &T) -> bool {
        let state = self.shared.lock();
        (breaks(Mutation::NoHorizon) || state.horizon.includes(tx))
            && state.tickets.values().all(|floor| floor.includes(tx))
    }

    /// Whether the horizon alone includes the transaction; if not, a fresh floor is worth taking.
    pub fn is_visible(&self, tx: &T) -> bool {
        self.shared.lock().horizon.includes(tx)
    }

    /// Waits until a ticket is raised or given back. Cancel-safe; may wake without cause.
    pub async fn moved(&self) {
        self.shared.moved.notified().await;
    }
}

/// A chunk's place in the frontier.
#[derive(Debug)]
#[must_use = "a ticket that is dropped without `leave` holds applying up for ever"]
pub struct Ticket<F> {
    shared: Arc<Shared<F>>,
    id: u64,
}

impl<F> Ticket<F> {
    /// The chunk's floor is known: everything that it reads from now on includes it.
    pub fn raise(&self, floor: F) {
        self.shared.lock().tickets.insert(self.id, floor);
        self.shared.moved.notify_one();
    }

    /// The chunk's transaction is over: committed, or known to be gone for good.
    pub fn leave(self) {
        self.shared.lock().tickets.remove(&self.id);
        self.shared.moved.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    struct Seen(BTreeSet<u32>);
    impl Floor<u32> for Seen {
        fn includes(&self, tx: &u32) -> bool {
            self.0.contains(tx)
        }
    }
    fn seen(txs: &[u32]) -> Seen {
        Seen(txs.iter().copied().collect())
    }

    #[test]
    fn transaction_that_new_readers_do_not_see_is_not_applied() {
        let frontier = Frontier::new(seen(&[1]));
        assert!(frontier.admits(&1));
        assert!(!frontier.admits(&2));
    }

    #[test]
    fn chunk_between_ticket_and_floor_counts_as_old_as_the_horizon() {
        let frontier = Frontier::new(seen(&[1]));
        let ticket = frontier.enter();
        frontier.advance(seen(&[1, 2]));
        assert!(!frontier.admits(&2), "the chunk may have read before transaction 2");
        ticket.raise(seen(&[1, 2]));
        assert!(frontier.admits(&2));
        ticket.leave();
    }

    #[test]
    fn dropped_ticket_holds_applying_up() {
        let frontier = Frontier::new(seen(&[1]));
        drop(frontier.enter());
        frontier.advance(seen(&[1, 2]));
        assert!(!frontier.admits(&2));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Commit,
        Show(usize),
        Enter,
        Raise(usize),
        Leave(usize),
        Advance,
        Apply,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            Just(Act::Commit),
            any::<usize>().prop_map(Act::Show),
            Just(Act::Enter),
            any::<usize>().prop_map(Act::Raise),
            any::<usize>().prop_map(Act::Leave),
            Just(Act::Advance),
            Just(Act::Apply),
        ]
    }

    proptest! {
        /// Transactions are delivered in order but become visible late and in any order; chunks read at their raise, at the latest
        /// moment that the rule allows for. Whatever was applied must be in the read of every chunk that has not left.
        #[test]
        fn every_open_chunk_includes_every_applied_transaction(acts in proptest::collection::vec(act(), 1..200)) {
            let mut visible = BTreeSet::new();
            let (mut committed, mut applied) = (0_u32, 0_u32);
            let frontier = Frontier::new(Seen(visible.clone()));
            let mut open: Vec<(Ticket<Seen>, Option<BTreeSet<u32>>)> = Vec::new();
            for act in acts {
                match act {
                    Act::Commit => committed += 1,
                    Act::Show(n) if committed > 0 => { visible.insert(n as u32 % committed); }
                    Act::Enter => open.push((frontier.enter(), None)),
                    Act::Raise(n) if !open.is_empty() => {
                        let i = n % open.len();
                        if open[i].1.is_none() {
                            open[i].0.raise(Seen(visible.clone()));
                            open[i].1 = Some(visible.clone());
                        }
                    }
                    Act::Leave(n) if !open.is_empty() => open.swap_remove(n % open.len()).0.leave(),
                    Act::Advance => frontier.advance(Seen(visible.clone())),
                    Act::Apply => if applied < committed && frontier.admits(&applied) { applied += 1 },
                    Act::Show(_) | Act::Raise(_) | Act::Leave(_) => {}
                }
                for (_, read) in &open {
                    // A chunk that has not read yet will read what is visible by then, which includes what is visible now.
                    let read = read.as_ref().unwrap_or(&visible);
                    prop_assert!((0..applied).all(|tx| read.contains(&tx)));
                }
            }
        }
    }
}
