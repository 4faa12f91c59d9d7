//! Rules that tests break on purpose, to see that a test fails when they are broken. Without the feature `mutations` none ever is.
//!
//! The rules of the core are broken where they are kept; those that an engine keeps (its fences, the order within a batch) are broken by
//! the simulation's own engine. In a simulation, which has one thread for each run, a thread chooses; elsewhere the environment does.

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A chunk takes its place in the frontier only once it has its floor.
    TicketAfterFloor,
    /// Transactions are applied that new readers do not see yet.
    NoHorizon,
    /// Writing transactions are not fenced.
    NoFence,
    /// The fence comes last, with the commit sent behind it.
    FenceAtTheEnd,
    /// A batch writes its images before it deletes.
    UpsertsBeforeDeletes,
    /// The checkpoint is committed before its batch.
    CheckpointBeforeBatch,
    /// The stream gives a position while a transaction has changes left.
    CheckpointInsideTransaction,
    /// The verifier takes a row that is being changed for one that is equal.
    VerifySkipsMovedKeys,
    /// The tables are swapped as soon as they are locked.
    SwapWithoutDrain,
    /// What became of a lost commit is not looked at before it is tried again.
    RetriesAmbiguous,
    /// A run whose end was noted, but not acknowledged, begins a new migration.
    BeginsAnew,
    /// A run that was interrupted while it gave up goes on with what is left.
    ForgetsAbort,
    /// The verifier knows a row only by the bytes that its key had when it was first seen to differ.
    VerifyKeepsOldNames,
}

/// Whether this rule is broken here.
#[cfg(not(feature = "mutations"))]
pub fn breaks(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub use chosen::*;

#[cfg(feature = "mutations")]
mod chosen {
    use super::Mutation;
    use std::{cell::Cell, sync::LazyLock};

    thread_local! {
        static BROKEN: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Whether this rule is broken here.
    pub fn breaks(mutation: Mutation) -> bool {
        static NO_HORIZON: LazyLock<bool> =
            LazyLock::new(|| std::env::var_os("SHADOWSWAP_TEST_NO_HORIZON").is_some());
        BROKEN.get() == Some(mutation) || (mutation == Mutation::NoHorizon && *NO_HORIZON)
    }

    /// From now on this thread breaks this rule, and no other.
    pub fn choose(mutation: Option<Mutation>) {
        BROKEN.set(mutation);
    }
}

#[cfg(feature = "simulation")]
pub use simulated::*;

#[cfg(feature = "simulation")]
mod simulated {
    use jiff::{SignedDuration, Timestamp};
    use std::cell::Cell;
    use tokio::time::Instant;

    /// Limits that are far too large to be met by the tables of a simulation.
    #[derive(Clone, Copy, Debug)]
    pub struct Sizes {
        /// Bytes of one part of a transaction.
        pub part_bytes: usize,
        /// Keys of one batch.
        pub batch_keys: usize,
    }

    thread_local! {
        static SIZES: Cell<Option<Sizes>> = const { Cell::new(None) };
        static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    /// A simulation begins on this thread: with these sizes, and now, whatever time it really is.
    pub fn simulate(sizes: Sizes) {
        SIZES.set(Some(sizes));
        BEGAN.set(Some(Instant::now()));
    }

    /// The sizes of this thread's simulation.
    pub fn sizes() -> Option<Sizes> {
        SIZES.get()
    }

    /// What time it is in this thread's simulation: they all begin at the same moment.
    pub fn simulated_time() -> Option<Timestamp> {
        let passed = BEGAN.get()?.elapsed();
        let start = Timestamp::from_second(1_800_000_000).ok()?;
        start.checked_add(SignedDuration::try_from(passed).ok()?).ok()
    }
}
