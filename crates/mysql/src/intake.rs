//! Bytes of a connection to events of the binlog: packets, checksums, compressed transactions, and events too long to be held whole.
//!
//! It knows no socket: bytes go in as they come, events come out as soon as they are complete. Invariants:
//!
//! 1. Nothing is given before its checksum was compared, where it has one.
//! 2. What is held is bounded, whatever the server sends: [`WHOLE_BYTES_MAX`] of a packet, [`EVENT_BYTES_MAX`](crate::decode) of an event; of rows that
//!    are too long to be carried, what [`Cutter`](crate::decode) leaves of them; of rows of other tables, nothing.

mod large;
mod packed;

use crate::{
    decode::{DecodeError, Rows, inflated_size, is_compressed},
    events::{Long, Raw},
};
use bytes::{Buf, Bytes, BytesMut};
use large::Large;
use packed::Packed;
use shadowswap_core::{Error, Result};

/// A longer event is not waited for whole.
const WHOLE_BYTES_MAX: usize = 1 << 20;
/// So many bytes are asked for at once.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// A packet of this length is not the last one of its message.
const PACKET_BYTES_MAX: usize = 0xff_ffff;
const PACKET_HEAD: usize = 4;
const CHECKSUM_BYTES: usize = 4;
/// The head of a file says which checksums its events have.
const FILE_HEAD: u8 = 15;
/// The events of a whole transaction, compressed.
const PAYLOAD: u8 = 40;

/// What stands before every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    timestamp: u32,
    pub(crate) kind: u8,
    server: u32,
    size: u32,
    end_low: u32,
    flags: u16,
}

impl Header {
    const BYTES: usize = 19;
    /// The binlog file is still open: not part of the checksum, since it changes.
    const IN_USE: u16 = 1;

    /// The first bytes of an event, which must be enough.
    fn read(mut bytes: &[u8]) -> Result<Header, DecodeError> {
        if bytes.len() < Header::BYTES {
            return Err(DecodeError(format!("an event of {} bytes", bytes.len())));
        }
        let header = Header {
            timestamp: bytes.get_u32_le(),
            kind: bytes.get_u8(),
            server: bytes.get_u32_le(),
            size: bytes.get_u32_le(),
            end_low: bytes.get_u32_le(),
            flags: bytes.get_u16_le(),
        };
        match header.body() {
            Some(_) => Ok(header),
            None => Err(DecodeError(format!("an event of type {} with {} bytes", header.kind, header.size))),
        }
    }

    /// Bytes behind the header, with the checksum.
    fn body(&self) -> Option<usize> {
        (self.size as usize).checked_sub(Header::BYTES)
    }

    /// The checksum so far.
    fn begin_checksum(&self) -> flate2::Crc {
        let mut crc = flate2::Crc::new();
        crc.update(&self.timestamp.to_le_bytes());
        crc.update(&[self.kind]);
        crc.update(&self.server.to_le_bytes());
        crc.update(&self.size.to_le_bytes());
        crc.update(&self.end_low.to_le_bytes());
        crc.update(&(self.flags & !Header::IN_USE).to_le_bytes());
        crc
    }
}

/// An event as it came, without its checksum; rows may be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) header: Header,
    data: Bytes,
}

impl Item {
    pub(crate) fn raw(&self) -> Raw<'_> {
        let Header { timestamp, kind, server, size, end_low, flags } = self.header;
        Raw { kind, timestamp, server, size, end_low, flags, data: &self.data }
    }
}

/// What the bytes so far give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Event(Item),
    /// The server's error, as it came.
    Refusal(Bytes),
    /// The server has nothing more to say.
    End,
    /// More bytes are needed.
    Hungry,
}

/// Which checksums events have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksums {
    /// The head of the first file has not come yet.
    Unknown,
    None,
    Crc32,
}

/// Takes bytes and gives events.
pub(crate) struct Intake {
    input: BytesMut,
    /// The number that the next packet must have.
    sequence: u8,
    checksums: Checksums,
    /// An event that comes in pieces, and how much of its packet is still due.
    large: Option<(Large, Rest)>,
    /// A transaction whose events are being unpacked.
    packed: Option<Packed>,
}

/// What is left of the packet at hand.
#[derive(Clone, Copy, Debug)]
struct Rest {
    bytes: usize,
    /// Another packet belongs to the same message.
    more: bool,
}

impl Intake {
    /// `sequence`: the number of the first packet. `input`: bytes that came already.
    pub(crate) fn new(sequence: u8, input: BytesMut) -> Intake {
        Intake { input, sequence, checksums: Checksums::Unknown, large: None, packed: None }
    }

    /// Where the bytes of the connection are put behind each other.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        self.input.reserve(READ_BYTES);
        &mut self.input
    }

    /// The next event. `long` tells what is done with long rows of a table.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are no binlog.
    pub(crate) fn take(&mut self, long: &impl Fn(u64) -> Long) -> Result<Taken> {
        loop {
            if let Some(packed) = &mut self.packed {
                match packed.take(long).map_err(|e| unreadable(&e))? {
                    Some(item) => return Ok(Taken::Event(item)),
                    None => self.packed = None,
                }
            }
            if self.large.is_some() {
                match self.go_on(long)? {
                    Some(item) => return self.unpack(item).map(Taken::Event),
                    None => return Ok(Taken::Hungry),
                }
            }
            let Some(rest) = self.packet()? else { return Ok(Taken::Hungry) };
            if rest.bytes <= WHOLE_BYTES_MAX {
                if self.input.len() < PACKET_HEAD + rest.bytes {
                    return Ok(Taken::Hungry);
                }
                self.begin_packet();
                let message = self.input.split_to(rest.bytes).freeze();
                return self.whole(message, long);
            }
            if self.input.len() < PACKET_HEAD + 1 + Header::BYTES {
                return Ok(Taken::Hungry);
            }
            self.begin_packet();
            let status = self.input.get_u8();
            if status != 0 {
                return Err(unreadable(&DecodeError(format!(
                    "a message of {} bytes begins with {status}",
                    rest.bytes
                ))));
            }
            let header = Header::read(&self.input).map_err(|e| unreadable(&e))?;
            self.input.advance(Header::BYTES);
            if self.checksums == Checksums::Unknown {
                return Err(unreadable(&DecodeError::new("a long event before the head of a file")));
            }
            let large = Large::new(header, self.checksums == Checksums::Crc32).map_err(|e| unreadable(&e))?;
            let rest = Rest { bytes: rest.bytes - 1 - Header::BYTES, ..rest };
            self.large = Some((large, rest));
        }
    }

    /// The length of the packet that begins here, if its head has come.
    fn packet(&self) -> Result<Option<Rest>> {
        let Some([low, middle, high, number]) = self.input.get(..PACKET_HEAD) else { return Ok(None) };
        if *number != self.sequence {
            return Err(Error::transient(format!(
                "the change stream is out of order: packet {number} instead of {}",
                self.sequence
            )));
        }
        let bytes = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
        Ok(Some(Rest { bytes, more: bytes == PACKET_BYTES_MAX }))
    }

    fn begin_packet(&mut self) {
        self.input.advance(PACKET_HEAD);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// A message that came in one piece.
    fn whole(&mut self, mut message: Bytes, long: &impl Fn(u64) -> Long) -> Result<Taken> {
        const END: u8 = 0xfe;
        const REFUSAL: u8 = 0xff;
        /// An end is shorter.
        const END_BYTES_MAX: usize = 8;
        match message.first() {
            Some(0) => {}
            Some(&REFUSAL) => return Ok(Taken::Refusal(message)),
            Some(&END) if message.len() <= END_BYTES_MAX => return Ok(Taken::End),
            first => {
                return Err(unreadable(&DecodeError(format!(
                    "a message of {} bytes begins with {first:?}",
                    message.len()
                ))));
            }
        }
        message.advance(1);
        let header = Header::read(&message).map_err(|e| unreadable(&e))?;
        if message.len() != header.size as usize {
            return Err(unreadable(&DecodeError(format!(
                "an event of type {} says that it has {} bytes, and has {}",
                header.kind,
                header.size,
                message.len()
            ))));
        }
        message.advance(Header::BYTES);
        let data = self.checked(&header, message)?;
        let item = unrolled(Item { header, data }, long).map_err(|e| unreadable(&e))?;
        self.unpack(item).map(Taken::Event)
    }

    /// The data without its checksum, which is compared.
    fn checked(&mut self, header: &Header, data: Bytes) -> Result<Bytes> {
        if header.kind == FILE_HEAD {
            return self.file_head(header, &data);
        }
        if self.checksums == Checksums::None {
            return Ok(data);
        }
        let Some((body, due)) = data.split_last_chunk::<CHECKSUM_BYTES>() else {
            return if self.checksums == Checksums::Unknown { Ok(data) } else { Err(damaged(header)) };
        };
        let mut crc = header.begin_checksum();
        crc.update(body);
        match (crc.sum() == u32::from_le_bytes(*due), self.checksums) {
            (true, _) => Ok(data.slice(..body.len())),
            // The very first event comes before it is known whether events have one.
            (false, Checksums::Unknown) => Ok(data),
            (false, _) => Err(damaged(header)),
        }
    }

    /// The head of a file ends with the kind of checksum, and room for its own.
    fn file_head(&mut self, header: &Header, data: &Bytes) -> Result<Bytes> {
        let Some((body, due)) = data.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(unreadable(&DecodeError::new("a file's head without a checksum")));
        };
        self.checksums = match body.last() {
            Some(0 | 255) => Checksums::None,
            Some(1) => Checksums::Crc32,
            other => return Err(unreadable(&DecodeError(format!("checksums of kind {other:?}")))),
        };
        let mut crc = header.begin_checksum();
        crc.update(body);
        if self.checksums == Checksums::Crc32 && crc.sum() != u32::from_le_bytes(*due) {
            return Err(damaged(header));
        }
        Ok(data.slice(..body.len() - 1))
    }

    /// Hands on what has come of an event that comes in pieces.
    fn go_on(&mut self, long: &impl Fn(u64) -> Long) -> Result<Option<Item>> {
        while let Some((large, rest)) = &mut self.large {
            if rest.bytes > 0 {
                let size = rest.bytes.min(self.input.len());
                if size == 0 {
                    return Ok(None);
                }
                large.push(self.input.get(..size).unwrap_or_default(), long).map_err(|e| unreadable(&e))?;
                self.input.advance(size);
                rest.bytes -= size;
            } else if rest.more {
                let Some(next) = self.packet()? else { return Ok(None) };
                self.begin_packet();
                if let Some((_, rest)) = &mut self.large {
                    *rest = next;
                }
            } else {
                break;
            }
        }
        let Some((large, _)) = self.large.take() else { return Ok(None) };
        let header = large.header();
        match large.finish().map_err(|e| unreadable(&e))? {
            Some(item) => Ok(Some(item)),
            None => Err(damaged(&header)),
        }
    }

    /// Of a compressed transaction the events come behind it.
    fn unpack(&mut self, item: Item) -> Result<Item> {
        if item.header.kind == PAYLOAD {
            self.packed = Some(Packed::new(item.data.clone()).map_err(|e| unreadable(&e))?);
        }
        Ok(item)
    }
}

/// Compressed rows may be short and become long: then they are inflated in pieces.
fn unrolled(item: Item, long: &impl Fn(u64) -> Long) -> Result<Item, DecodeError> {
    let Item { header, data } = &item;
    if !is_compressed(header.kind) {
        return Ok(item);
    }
    // What is wrong with it is told if somebody wants to read it.
    let size = Rows::head(header.kind, data)
        .and_then(|(_, head)| inflated_size(data.get(head..).unwrap_or_default()))
        .map_or(0, |(size, _)| size);
    if size <= WHOLE_BYTES_MAX as u64 {
        return Ok(item);
    }
    let bare = Header { size: (Header::BYTES + data.len()) as u32, ..*header };
    let mut large = Large::new(bare, false)?;
    large.push(data, long)?;
    let Some(unrolled) = large.finish()? else { return Ok(item) };
    // What it takes in its file is what it has with its checksum.
    let header = Header { size: header.size, ..unrolled.header };
    Ok(Item { header, ..unrolled })
}

fn unreadable(e: &DecodeError) -> Error {
    Error::corrupt(format!("the binlog cannot be read: {e}"))
        .next("nothing was swapped; abort, and report this with the server's version")
}

fn damaged(header: &Header) -> Error {
    Error::corrupt(format!(
        "an event of the binlog (type {}, ending at {}) does not have its checksum",
        header.kind, header.end_low
    ))
    .next("nothing was swapped; look for what damages data on the way, then run again")
}

#[cfg(test)]
mod tests;
