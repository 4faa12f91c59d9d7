//! A transaction that came compressed, unpacked event by event (`binlog_transaction_compression`, MySQL 8.0.20).

use super::{Header, Item, PAYLOAD, READ_BYTES, WHOLE_BYTES_MAX, large::Large};
use crate::{
    decode::{Bytes as Fields, DecodeError},
    events::Long,
};
use bytes::{Buf, Bytes, BytesMut, buf::Reader};
use std::io::Read;

/// Gives the events of one transaction.
pub(super) struct Packed {
    input: Input,
    /// Unpacked, and not given yet.
    plain: BytesMut,
    /// Bytes that will still be unpacked, as the transaction says.
    left: u64,
    large: Option<(Large, usize)>,
}

enum Input {
    Plain(Reader<Bytes>),
    Zstd(Box<zstd::Decoder<'static, Reader<Bytes>>>),
}

impl Packed {
    /// `data`: the whole event.
    pub(super) fn new(mut data: Bytes) -> Result<Packed, DecodeError> {
        const END: u64 = 0;
        const SIZE: u64 = 1;
        const COMPRESSION: u64 = 2;
        const UNPACKED_SIZE: u64 = 3;
        const ZSTD: u64 = 0;
        const NONE: u64 = 255;
        let mut fields = Fields(&data);
        let (mut size, mut compression, mut unpacked) = (None, None, None);
        loop {
            let field = fields.packed()?;
            if field == END {
                break;
            }
            let length = fields.size()?;
            let mut value = Fields(fields.take(length)?);
            match field {
                SIZE => size = Some(value.packed()?),
                COMPRESSION => compression = Some(value.packed()?),
                UNPACKED_SIZE => unpacked = Some(value.packed()?),
                _ => {}
            }
        }
        let rest = fields.0.len();
        if size != Some(rest as u64) {
            return Err(DecodeError(format!(
                "a compressed transaction says that it has {size:?} bytes, and has {rest}"
            )));
        }
        data.advance(data.len() - rest);
        let (input, left) = match (compression, unpacked) {
            (Some(NONE), _) => (Input::Plain(data.reader()), rest as u64),
            (Some(ZSTD), Some(left)) => {
                let decoder = zstd::Decoder::with_buffer(data.reader()).map_err(DecodeError::new)?;
                (Input::Zstd(Box::new(decoder)), left)
            }
            _ => {
                return Err(DecodeError(format!(
                    "a transaction with compression {compression:?} and {unpacked:?} bytes unpacked"
                )));
            }
        };
        Ok(Packed { input, plain: BytesMut::new(), left, large: None })
    }

    /// The next event; none: these were all.
    pub(super) fn take(&mut self, long: &impl Fn(u64) -> Long) -> Result<Option<Item>, DecodeError> {
        loop {
            if let Some((large, left)) = &mut self.large {
                let size = self.plain.len().min(*left);
                large.push(self.plain.get(..size).unwrap_or_default(), long)?;
                self.plain.advance(size);
                *left -= size;
                if *left == 0 {
                    let Some((large, _)) = self.large.take() else { return Ok(None) };
                    return large.finish();
                }
            } else if self.plain.len() >= Header::BYTES {
                let header = Header::read(&self.plain)?;
                let size = header.size as usize;
                if header.kind == PAYLOAD {
                    return Err(DecodeError::new("a compressed transaction in another"));
                }
                if size > WHOLE_BYTES_MAX {
                    self.plain.advance(Header::BYTES);
                    // The whole has one checksum, its events have none.
                    self.large = Some((Large::new(header, false)?, size - Header::BYTES));
                    continue;
                }
                if self.plain.len() >= size {
                    let mut data = self.plain.split_to(size).freeze();
                    data.advance(Header::BYTES);
                    return Ok(Some(Item { header, data }));
                }
            }
            if !self.unpack()? {
                let is_whole = self.plain.is_empty() && self.large.is_none() && self.left == 0;
                return match is_whole {
                    true => Ok(None),
                    false => Err(DecodeError::new("a compressed transaction ends early")),
                };
            }
        }
    }

    /// Unpacks some more; false: there is no more.
    fn unpack(&mut self) -> Result<bool, DecodeError> {
        let begin = self.plain.len();
        self.plain.resize(begin + READ_BYTES, 0);
        let room = self.plain.get_mut(begin..).unwrap_or_default();
        let read = match &mut self.input {
            Input::Plain(input) => input.read(room),
            Input::Zstd(input) => input.read(room),
        };
        let read = read.map_err(DecodeError::new)?;
        self.plain.truncate(begin + read);
        self.left = (self.left.checked_sub(read as u64))
            .ok_or_else(|| DecodeError::new("a compressed transaction is longer than it says"))?;
        Ok(read > 0)
    }
}
