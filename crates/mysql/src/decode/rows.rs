//! Row events, in all their versions, down to the bytes of the rows.

use super::bytes::{Bytes, DecodeError};
use flate2::read::ZlibDecoder;
use std::{borrow::Cow, io::Read};

/// The largest event that a server writes.
const EVENT_BYTES_MAX: u64 = 1 << 30;
/// The number of a table that stands for none: the event only says that a statement is over.
const NO_TABLE: u64 = 0x00ff_ffff;

/// What happened to the rows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Insert,
    Update,
    /// An update whose JSON values are only what changed in them.
    PartialUpdate,
    Delete,
}

/// A row event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<'a> {
    pub(crate) table: u64,
    pub(crate) verb: Verb,
    pub(crate) columns: usize,
    /// One bit for each column that the rows before the change have.
    pub(crate) before: &'a [u8],
    /// The same after it.
    pub(crate) after: &'a [u8],
    pub(crate) data: Cow<'a, [u8]>,
}

impl<'a> Rows<'a> {
    /// Whether an event of this type carries rows.
    pub fn is_rows(event_type: u8) -> bool {
        kind(event_type).is_some()
    }

    /// The number of the table, without reading further.
    pub(crate) fn table(data: &[u8]) -> Result<u64, DecodeError> {
        Bytes(data).number(6)
    }

    /// Reads an event of this type.
    ///
    /// # Errors
    /// The bytes are no such event.
    pub fn read(event_type: u8, data: &'a [u8]) -> Result<Rows<'a>, DecodeError> {
        let Some((verb, has_extra, is_compressed)) = kind(event_type) else {
            return Err(DecodeError(format!("type {event_type} carries no rows")));
        };
        let mut bytes = Bytes(data);
        let table = bytes.number(6)?;
        bytes.take(2)?;
        if has_extra {
            let size = bytes.number(2)? as usize;
            bytes.take(size.saturating_sub(2))?;
        }
        let columns = bytes.size()?;
        let mut present = || bytes.take(columns.div_ceil(8));
        let (before, after): (&[u8], &[u8]) = match verb {
            Verb::Insert => (&[], present()?),
            Verb::Delete => (present()?, &[]),
            Verb::Update | Verb::PartialUpdate => (present()?, present()?),
        };
        let data = if is_compressed { Cow::Owned(inflate(bytes.0)?) } else { Cow::Borrowed(bytes.0) };
        Ok(Rows { table, verb, columns, before, after, data })
    }

    /// Whether it is about no table at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.table == NO_TABLE && self.data.is_empty()
    }
}

/// What an event type means: the verb, whether more bytes follow its head (version 2), whether the rows are compressed (MariaDB).
fn kind(event_type: u8) -> Option<(Verb, bool, bool)> {
    match event_type {
        23 => Some((Verb::Insert, false, false)),
        24 => Some((Verb::Update, false, false)),
        25 => Some((Verb::Delete, false, false)),
        30 => Some((Verb::Insert, true, false)),
        31 => Some((Verb::Update, true, false)),
        32 => Some((Verb::Delete, true, false)),
        39 => Some((Verb::PartialUpdate, true, false)),
        166 => Some((Verb::Insert, false, true)),
        167 => Some((Verb::Update, false, true)),
        168 => Some((Verb::Delete, false, true)),
        169 => Some((Verb::Insert, true, true)),
        170 => Some((Verb::Update, true, true)),
        171 => Some((Verb::Delete, true, true)),
        _ => None,
    }
}

/// What MariaDB compressed: a byte that holds the algorithm and the size of a length, the length (highest byte first), zlib.
pub(crate) fn inflate(data: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Bytes(data);
    let head = bytes.u8()?;
    let (algorithm, size) = (head >> 4 & 7, usize::from(head & 7));
    if head & 0x80 == 0 || algorithm != 0 || !(1..=4).contains(&size) {
        return Err(DecodeError(format!("compression {head:#04x} is not known here")));
    }
    let size = super::bytes::big_endian(bytes.take(size)?);
    if size > EVENT_BYTES_MAX {
        return Err(DecodeError(format!("{size} bytes in one event")));
    }
    let mut out = Vec::new();
    // One byte more than announced, so that too much is noticed.
    let read = ZlibDecoder::new(bytes.0).take(size + 1).read_to_end(&mut out).map_err(DecodeError::new)?;
    if read as u64 != size {
        return Err(DecodeError(format!("{size} bytes were compressed, {read} came out")));
    }
    Ok(out)
}
