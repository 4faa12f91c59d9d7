//! Phases, and who may follow whom.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a migration stands. Saved in the control tables; written by the runner alone, except for the phase after a swap, which the
/// swap's own transaction writes, where there is one, so that the phase can never disagree with the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Checking, opening the stream, making the shadow.
    Prepare,
    /// Copying chunks while changes are applied.
    Copy,
    /// Building indexes and constraints on the shadow.
    Index,
    /// Comparing every row.
    Verify,
    /// Everything is in step; waiting for the word, or the window.
    Ready,
    /// Trying to swap.
    Cutover,
    /// The names are swapped. The old table is kept in step for as long as was asked for; then what is no longer needed is removed.
    Guard,
    /// Finished.
    Done,
    /// Given up; everything that was made is gone.
    Aborted,
    /// Finished after a roll back: the table is the original one again, and the new one is kept beside it.
    RolledBack,
}

impl Phase {
    /// Changes are applied to the shadow in this phase.
    pub fn applies_changes(self) -> bool {
        match self {
            Phase::Copy | Phase::Index | Phase::Verify | Phase::Ready | Phase::Cutover => true,
            Phase::Prepare | Phase::Guard | Phase::Done | Phase::Aborted | Phase::RolledBack => false,
        }
    }

    /// The names are swapped.
    pub fn is_swapped(self) -> bool {
        match self {
            Phase::Guard | Phase::Done => true,
            Phase::Prepare
            | Phase::Copy
            | Phase::Index
            | Phase::Verify
            | Phase::Ready
            | Phase::Cutover
            | Phase::Aborted
            | Phase::RolledBack => false,
        }
    }

    /// Nothing is left to do.
    pub fn is_over(self) -> bool {
        match self {
            Phase::Done | Phase::Aborted | Phase::RolledBack => true,
            Phase::Prepare
            | Phase::Copy
            | Phase::Index
            | Phase::Verify
            | Phase::Ready
            | Phase::Cutover
            | Phase::Guard => false,
        }
    }

    /// The name as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Prepare => "prepare",
            Phase::Copy => "copy",
            Phase::Index => "index",
            Phase::Verify => "verify",
            Phase::Ready => "ready",
            Phase::Cutover => "cutover",
            Phase::Guard => "guard",
            Phase::Done => "done",
            Phase::Aborted => "aborted",
            Phase::RolledBack => "rolledback",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Phase {
    type Err = String;
    fn from_str(s: &str) -> Result<Phase, String> {
        [
            Phase::Prepare,
            Phase::Copy,
            Phase::Index,
            Phase::Verify,
            Phase::Ready,
            Phase::Cutover,
            Phase::Guard,
            Phase::Done,
            Phase::Aborted,
            Phase::RolledBack,
        ]
        .into_iter()
        .find(|p| p.name() == s)
        .ok_or_else(|| format!("no phase is called {s:?}"))
    }
}
