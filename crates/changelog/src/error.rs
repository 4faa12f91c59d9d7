//! What can go wrong with the log's files. Every error stops the log for good; none is worth a retry here.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the log or a spool stopped.
///
/// Cheap to clone: one failure of the disk is told to both ends.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system has no space left, or the user's quota is used up. Free some, or lower the disk limit.
    #[error("no space left for the change log: could not write {bytes} bytes to {}", .path.display())]
    Full {
        /// The file that was being written.
        path: PathBuf,
        /// How many bytes were to be written to it.
        bytes: u64,
        /// What the system answered.
        source: Arc<io::Error>,
    },
    /// A file does not hold what was written to it: changed, cut off, or from another version.
    #[error("{} is corrupt at byte {offset}: {what}", .file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the piece starts that could not be read.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Another log, of this process or of another one, uses the directory.
    #[error("another change log uses {}; wait for it to end or choose another directory", .path.display())]
    Busy {
        /// The folder in use.
        path: PathBuf,
    },
    /// A record can never be taken: it is beyond the format, or neither the memory nor the disk limit has room for it.
    #[error("a record of {bytes} bytes is too large for the change log, which can take {limit}")]
    TooLarge {
        /// The size of the record.
        bytes: u64,
        /// The largest that would be taken.
        limit: u64,
    },
    /// The reader was dropped, so nobody will ever take the record.
    #[error("the reader of the change log is gone")]
    Closed,
    /// The disk thread ended before its time, which is a bug in this crate.
    #[error("the thread of the change log ended unexpectedly")]
    Stopped,
    /// Any other failure of the file system.
    #[error("could not {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        source: Arc<io::Error>,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// The one place that decides which failures of a write mean that the disk is full.
    pub(crate) fn write(path: &Path, bytes: u64, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Self::Full { path: path.to_owned(), bytes, source: Arc::new(source) }
            }
            _ => Self::io("write", path, source),
        }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, what: what.into() }
    }
}
