//! Places where tests end or hold the process; compiled in for tests only (feature `mutations`). Elsewhere [`at`] does nothing.
//!
//! A place comes before or after a step that outlives the process. All of them are one type, so that a test can have the program
//! list them and forgets none: `SHADOWSWAP_TEST_LIST_PLACES` prints their names, `SHADOWSWAP_TEST_DIE_AT=NAME` ends the process there as
//! SIGKILL would, and `SHADOWSWAP_TEST_HOLD_AT=NAME SHADOWSWAP_TEST_HOLD_UNTIL=FILE` says so on stderr and waits there, once, until
//! there is such a file, while all other tasks go on.

use crate::phase::Phase;

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Place {
            $($(#[$doc])* $name,)*
            /// Before a phase is saved.
            Saving(Phase),
            /// After a phase was saved.
            Saved(Phase),
        }

        /// Those without a phase.
        const PLAIN: &[Place] = &[$(Place::$name,)*];
    };
}

places! {
    /// The plan is there and approved; the control tables are about to be opened.
    Beginning,
    /// Before the migration's lock is taken and its rows are made or found.
    Taking,
    /// Of a migration that is taken over: its epoch is raised, and that of its checkpoint and chunks is not.
    EpochRaised,
    /// After that.
    Taken,
    /// PostgreSQL: the table's replica identity is set.
    IdentitySet,
    /// PostgreSQL: the publication is made.
    Published,
    /// PostgreSQL: the publication for the way back is made.
    PublishedBack,
    /// PostgreSQL: the slot is made.
    SlotMade,
    /// MySQL: where the stream begins is noted.
    BeginNoted,
    /// MySQL: that the shadow is about to be made is noted.
    MakingNoted,
    /// MySQL: a statement that makes the shadow has run.
    PartMade,
    /// The shadow is made.
    ShadowMade,
    /// Where the copy ends is about to be saved.
    CopyBeginning,
    /// Where the copy ends is saved.
    CopyBegun,
    /// A chunk is about to be claimed.
    ChunkClaiming,
    /// A chunk is claimed.
    ChunkClaimed,
    /// The chunk's rows are written and not committed.
    ChunkWritten,
    /// The chunk is committed.
    ChunkCopied,
    /// A batch is about to be applied.
    BatchReady,
    /// The batch's rows are written and not committed.
    BatchWritten,
    /// The batch and its checkpoint are committed.
    BatchApplied,
    /// Indexes are about to be built.
    IndexBegins,
    /// An index, or several in one statement, is built.
    IndexBuilt,
    /// PostgreSQL: owner, privileges and comments are set.
    TrimSet,
    /// The shadow lacks nothing any more.
    IndexDone,
    /// Every row was compared.
    Verified,
    /// The lock is about to be asked for.
    Locking,
    /// MySQL: the counter was carried over before the lock.
    CounterCarried,
    /// MariaDB: the sentry table is made.
    SentryMade,
    /// Nothing is left to do but to ask for the lock; the applier is halted where it must be.
    LockReady,
    /// The source is locked.
    Locked,
    /// The last changes are applied.
    Drained,
    /// The statement that swaps is on its way to the server.
    SwapSent,
    /// MariaDB: the RENAME is proven to wait.
    RenameWaits,
    /// MariaDB: the lock is let go; the RENAME goes ahead.
    LetGo,
    /// The answer to the swap is there.
    Swapped,
    /// The swap is about to be noted where its own transaction did not.
    TurnNoting,
    /// The swap is noted.
    TurnNoted,
    /// MariaDB: the table that is kept in step was given its name.
    FollowerNamed,
    /// The plan of the new turn is worked out.
    TurnOpened,
    /// PostgreSQL: where the stream of the new turn begins is noted.
    TurnBegun,
    /// The guard's time has begun.
    GuardBegun,
    /// MySQL: that a statement is about to change the table in place is noted.
    InPlaceNoted,
    /// A statement has changed the table in place. PostgreSQL: that is not committed yet.
    InPlaceMade,
    /// The change in place is made.
    ChangedInPlace,
    /// Keeping in step is about to end.
    Ending,
    /// That it ends is noted.
    EndNoted,
    /// Tasks are over; what is not needed any more is about to be removed.
    CleaningUp,
    /// PostgreSQL: a publication is dropped.
    Unpublished,
    /// PostgreSQL: the slot is dropped.
    SlotDropped,
    /// MariaDB: the old table was given its name.
    OldNamed,
    /// MySQL: that the old table is about to be dropped is noted.
    DroppingNoted,
    /// The old table, or a part of it, is dropped.
    OldDropped,
    /// What is not needed any more is removed.
    CleanedUp,
    /// The report is kept.
    ReportKept,
    /// The end is noted.
    Closed,
    /// An abort is about to be noted.
    GivingUp,
    /// It is noted, and about to remove what was made.
    GivenUp,
    /// The shadow is dropped.
    ShadowDropped,
}

/// The phases that are saved as such; the others come with the swap.
const SAVED: [Phase; 8] = [
    Phase::Copy,
    Phase::Index,
    Phase::Verify,
    Phase::Ready,
    Phase::Cutover,
    Phase::Done,
    Phase::RolledBack,
    Phase::Aborted,
];

impl Place {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Place> {
        let saved = SAVED.into_iter().flat_map(|phase| [Place::Saving(phase), Place::Saved(phase)]);
        PLAIN.iter().copied().chain(saved)
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Place::Saving(phase) => format!("Saving-{phase}"),
            Place::Saved(phase) => format!("Saved-{phase}"),
            plain => format!("{plain:?}"),
        }
    }
}

/// Ends or holds the process here, if a test asked for it. Cancel-safe.
#[cfg(not(feature = "mutations"))]
pub fn at(_: Place) -> std::future::Ready<()> {
    std::future::ready(())
}

#[cfg(feature = "mutations")]
pub use tests_only::at;

#[cfg(feature = "mutations")]
mod tests_only {
    use super::Place;
    use std::{
        path::PathBuf,
        sync::{
            OnceLock,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    const LOOK: Duration = Duration::from_millis(2);

    #[derive(Default)]
    struct Orders {
        die: Option<String>,
        hold: Option<(String, PathBuf)>,
    }

    static ORDERS: OnceLock<Orders> = OnceLock::new();
    static HELD: AtomicBool = AtomicBool::new(false);

    fn orders() -> &'static Orders {
        let read = |name: &str| std::env::var(name).ok();
        ORDERS.get_or_init(|| Orders {
            die: read("SHADOWSWAP_TEST_DIE_AT"),
            hold: read("SHADOWSWAP_TEST_HOLD_AT").zip(read("SHADOWSWAP_TEST_HOLD_UNTIL").map(PathBuf::from)),
        })
    }

    /// Ends or holds the process here, if a test asked for it. Cancel-safe.
    #[allow(clippy::print_stderr, reason = "read by tests")]
    pub async fn at(place: Place) {
        let orders = orders();
        if orders.die.as_ref().is_some_and(|name| *name == place.name()) {
            // What was handed to another task to be sent is sent, or not, as with any other death.
            tokio::time::sleep(Duration::from_millis(1)).await;
            eprintln!("dies at {}", place.name());
            std::process::abort();
        }
        let Some((_, file)) = orders.hold.as_ref().filter(|(name, _)| *name == place.name()) else {
            return;
        };
        if HELD.swap(true, Ordering::Relaxed) {
            return;
        }
        eprintln!("held at {}", place.name());
        while !file.exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_another() {
        let mut names: Vec<String> = Place::all().map(Place::name).collect();
        let many = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), many);
        assert!(names.contains(&"Saved-copy".to_string()));
    }
}
