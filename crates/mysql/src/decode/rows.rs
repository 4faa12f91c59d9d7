//! Row events, in all their versions, down to the bytes of the rows.

use super::bytes::{Bytes, DecodeError};
use flate2::read::ZlibDecoder;
use std::{borrow::Cow, io::Read};

/// The largest event that a server writes.
pub(crate) const EVENT_BYTES_MAX: u64 = 1 << 30;
/// What stands before the rows is never longer: its one long part has its size in two bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 128 << 10;
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
        let (rows, size) = Rows::head(event_type, data)?;
        let data = data.get(size..).unwrap_or_default();
        let data = if is_compressed(event_type) { Cow::Owned(inflate(data)?) } else { Cow::Borrowed(data) };
        Ok(Rows { data, ..rows })
    }

    /// What stands before the rows, and how many bytes that is.
    ///
    /// # Errors
    /// The bytes do not begin such an event, or there are too few of them: [`HEAD_BYTES_MAX`] are enough.
    pub(crate) fn head(event_type: u8, data: &'a [u8]) -> Result<(Rows<'a>, usize), DecodeError> {
        let Some((verb, has_extra, _)) = kind(event_type) else {
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
        let rows = Rows { table, verb, columns, before, after, data: Cow::Borrowed(&[]) };
        Ok((rows, data.len() - bytes.0.len()))
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

/// Whether the rows of such an event are compressed.
pub(crate) fn is_compressed(event_type: u8) -> bool {
    matches!(kind(event_type), Some((_, _, true)))
}

/// The type of an event with the same rows uncompressed.
pub(crate) fn uncompressed(event_type: u8) -> u8 {
    match event_type {
        166..=168 => event_type - 166 + 23,
        169..=171 => event_type - 169 + 30,
        _ => event_type,
    }
}

/// What MariaDB compressed: a byte that holds the algorithm and the size of a length, the length (highest byte first), zlib.
pub(crate) fn inflate(data: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (size, head) = inflated_size(data)?;
    let mut out = Vec::new();
    // One byte more than announced, so that too much is noticed.
    let packed = data.get(head..).unwrap_or_default();
    let read = ZlibDecoder::new(packed).take(size + 1).read_to_end(&mut out).map_err(DecodeError::new)?;
    if read as u64 != size {
        return Err(DecodeError(format!("{size} bytes were compressed, {read} came out")));
    }
    Ok(out)
}

/// How long it will be, and how many bytes say so.
pub(crate) fn inflated_size(data: &[u8]) -> Result<(u64, usize), DecodeError> {
    let mut bytes = Bytes(data);
    let head = bytes.u8()?;
    let (algorithm, size) = (head >> 4 & 7, usize::from(head & 7));
    if head & 0x80 == 0 || algorithm != 0 || !(1..=4).contains(&size) {
        return Err(DecodeError(format!("compression {head:#04x} is not known here")));
    }
    let inflated = super::bytes::big_endian(bytes.take(size)?);
    if inflated > EVENT_BYTES_MAX {
        return Err(DecodeError(format!("{inflated} bytes in one event")));
    }
    Ok((inflated, 1 + size))
}
