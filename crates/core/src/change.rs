//! Changes as the stream gives them. Keys and rows are bytes that only the engine understands.

use bincode::{Decode, Encode};

/// The key of a row, in the engine's own bytes. Equal bytes mean the same row; the reverse does not hold under every collation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Key(pub Vec<u8>);

/// An image that is longer is not carried: the row is read again from the source by its key, as one is that the stream does not have whole.
/// It need not go through the change log then, nor through us to where it came from; memory is bounded by what comes off the wire.
pub const IMAGE_BYTES_MAX: usize = 1 << 20;

/// What happened to the row of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Op {
    /// The row's whole image after the change.
    Upsert(Vec<u8>),
    /// The row changed, and the stream left parts of it out: complete it by reading the source by key.
    Reread,
    /// The row is gone.
    Delete,
}

/// One row's change. An update of the key is a `Delete` of the old key and an `Upsert` of the new one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Change {
    /// The row's key after the change (before it, for a delete).
    pub key: Key,
    /// What happened.
    pub op: Op,
}

impl Change {
    /// The memory that this change holds, in bytes, near enough for limits.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 96;
        let row = match &self.op {
            Op::Upsert(row) => row.len(),
            Op::Reread | Op::Delete => 0,
        };
        OVERHEAD + self.key.0.len() + row
    }
}
