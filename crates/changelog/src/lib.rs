//! A bounded first-in, first-out queue of opaque records between one producer and one consumer: in memory up to a
//! limit, then in segments on disk. And a [`Spool`], the same records set aside until it is known whether they count.
//!
//! Owns: the private folder [`FOLDER`] in the directory it is given, the segments in it, one OS thread that writes and
//! reads them, and the limits on memory and disk.
//!
//! Does not know: what a record means, what a transaction or a position is, who applies it, when to retry.
//!
//! Invariant: the reader gets exactly the records that were accepted, each once, in the order of acceptance, or an exact
//! prefix of them and then an error. Never a wrong record, never a gap.
//!
//! Why the order holds: a record is in one of three places, and every one in an earlier place is older than every one
//! in a later place.
//!
//! 1. `front`, in memory: what the reader takes next.
//! 2. The segments, including a batch that is being written right now.
//! 3. `back`, in memory: accepted, not yet written.
//!
//! - A record enters `front` directly only while 2 and 3 are empty, `back` otherwise.
//! - Only the disk thread moves records from `back` to the segments and from the segments to `front`, and it does both
//!   from the oldest on. One thread, so the two cannot overtake each other.
//! - `back` becomes `front` without touching the disk only while 1 and 2 are empty.
//!
//! Durability: none, on purpose. Nothing is fsynced and segments of an earlier process are removed by [`open`], because
//! after a crash the records come again from the server. Where it is to forget them, they are written to a [`Journal`] as well.

mod error;
mod journal;
mod log;
mod queue;
mod segment;
mod spool;
mod writer;

pub use error::Error;
pub use journal::{Found, Journal, Place, Replay, Synced, Syncing};
pub use log::{Limits, Reader, Stats, Writer, open};
pub use segment::{FOLDER, RECORD_BYTES_MAX};
pub use spool::{Spool, SpoolReader};
