//! Errors sorted by what to do next.
//!
//! Engines map SQLSTATE or errno to a [`Kind`] in one file each; nothing above them looks at a server's code.

use std::fmt;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// The world misbehaved (lost connection, deadlock, serialization failure): the same work may be tried again.
    Transient,
    /// The operator must change something first; trying again gives the same answer.
    Refused,
    /// The data, or a change of the table under way, do not allow the change. Nothing of this migration can be resumed: everything
    /// that was made is removed again.
    Unfit,
    /// Rows that stand in the way now may give way once more changes are applied: catch up, and try again a few times.
    Early,
    /// The arguments are wrong: nothing was looked at.
    Usage,
    /// Another runner holds this migration.
    Held,
    /// Another runner has taken over (raised the epoch): stop at once, touch nothing.
    Superseded,
    /// The answer to a commit or a swap was lost: look, then decide.
    Ambiguous,
    /// Something that must never be wrong is wrong: stop for good.
    Corrupt,
    /// Verification found rows that differ.
    Differs,
    /// No cutover within the stall budget.
    Budget,
    /// The operator aborted the migration.
    Aborted,
    /// The operator rolled the migration back, and it ended so.
    RolledBack,
    /// The run has to stop here (a signal, a full disk); it can be resumed.
    Interrupted,
}

/// An error with its kind, and the chain of what was being tried.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do next.
    pub kind: Kind,
    /// What was tried, on what, and what the server answered.
    pub message: String,
    /// What the operator can do now, in a sentence.
    pub next: Option<String>,
    /// The server's or the driver's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), next: None, source: None }
    }

    /// The operator must change something first.
    pub fn refused(message: impl Into<String>) -> Error {
        Error::new(Kind::Refused, message)
    }

    /// The same work may be tried again.
    pub fn transient(message: impl Into<String>) -> Error {
        Error::new(Kind::Transient, message)
    }

    /// Something that must never be wrong is wrong.
    pub fn corrupt(message: impl Into<String>) -> Error {
        Error::new(Kind::Corrupt, message)
    }

    /// The control row is not ours any more.
    pub fn superseded() -> Error {
        Error::new(
            Kind::Superseded,
            "another runner has taken this migration over; this one stops and touches nothing more",
        )
    }

    /// The arguments are wrong.
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(Kind::Usage, message)
    }

    /// Adds what the operator can do now.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Error {
        self.next = Some(next.into());
        self
    }

    /// Keeps the driver's error.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.source = Some(Box::new(source));
        self
    }

    /// Says in front what was being tried.
    #[must_use]
    pub fn while_trying(mut self, what: impl fmt::Display) -> Error {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same work may be tried again.
    pub fn is_transient(&self) -> bool {
        self.kind == Kind::Transient
    }
}

/// Adds what was being tried to a failing result.
pub trait Tried<T> {
    /// Says in front what was being tried.
    fn tried(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Tried<T> for Result<T> {
    fn tried(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.while_trying(what))
    }
}

/// A failure of the file system that stays until somebody does something about it.
fn is_for_people(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Io;
    matches!(kind, Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::NotADirectory | Io::FileTooLarge)
}

impl From<shadowswap_changelog::Error> for Error {
    fn from(e: shadowswap_changelog::Error) -> Error {
        use shadowswap_changelog::Error as Log;
        // What is in the log is on the server too: a damaged one is thrown away and read again from the checkpoint.
        let kind = match &e {
            Log::Full { .. } | Log::Busy { .. } | Log::TooLarge { .. } => Kind::Interrupted,
            Log::Io { source, .. } if is_for_people(source.kind()) => Kind::Interrupted,
            _ => Kind::Transient,
        };
        Error::new(kind, format!("change log: {e}"))
            .because(e)
            .next("mend the cause (room on the disk, `--log-directory`, `--log-disk`) and run the same command again to go on from the checkpoint")
    }
}
