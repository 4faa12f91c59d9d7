//! An event that is too long to be waited for.

use super::{CHECKSUM_BYTES, Header, Item};
use crate::{
    decode::{
        Cutter, DecodeError, EVENT_BYTES_MAX, HEAD_BYTES_MAX, Rows, inflated_size, is_compressed,
        uncompressed,
    },
    events::{Long, is_passed_over},
};
use flate2::write::ZlibDecoder;
use std::io::{self, Write};

/// What is kept whole grows by so much at a time: what a header says is not believed.
const GROWTH_BYTES: usize = 16 << 20;

/// Takes an event piece by piece.
pub(super) struct Large {
    header: Header,
    /// Bytes that are due before the checksum.
    left: usize,
    crc: Option<flate2::Crc>,
    /// What has come of the checksum.
    checksum: Vec<u8>,
    kept: Kept,
}

/// What becomes of its bytes.
enum Kept {
    /// Only what was looked at already.
    Nothing(Vec<u8>),
    All(Vec<u8>),
    /// It is not known yet whose rows they are.
    Head(Vec<u8>),
    Cut(Cutter),
    Inflated(Box<Inflated>),
}

/// Compressed rows on their way.
struct Inflated {
    decoder: ZlibDecoder<Counted>,
    announced: u64,
}

/// Cuts rows, and counts their bytes.
struct Counted {
    cutter: Cutter,
    bytes: u64,
    /// The decoder only knows errors of input and output.
    failed: Option<DecodeError>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        match self.cutter.push(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(e) => {
                let told = io::Error::other(e.to_string());
                self.failed = Some(e);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Large {
    pub(super) fn new(header: Header, has_checksum: bool) -> Result<Large, DecodeError> {
        let footer = if has_checksum { CHECKSUM_BYTES } else { 0 };
        let left = header.body().and_then(|body| body.checked_sub(footer));
        let left = left.ok_or_else(|| DecodeError(format!("a long event with {} bytes", header.size)))?;
        let kept = match header.kind {
            kind if Rows::is_rows(kind) => Kept::Head(Vec::new()),
            kind if is_passed_over(kind) => Kept::Nothing(Vec::new()),
            _ => Kept::All(Vec::new()),
        };
        let crc = has_checksum.then(|| header.begin_checksum());
        Ok(Large { header, left, crc, checksum: Vec::new(), kept })
    }

    pub(super) fn header(&self) -> Header {
        self.header
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], long: &impl Fn(u64) -> Long) -> Result<(), DecodeError> {
        let (body, footer) = bytes.split_at(self.left.min(bytes.len()));
        self.left -= body.len();
        if let Some(crc) = &mut self.crc {
            crc.update(body);
        }
        self.checksum.extend_from_slice(footer);
        let due = if self.crc.is_some() { CHECKSUM_BYTES } else { 0 };
        if self.checksum.len() > due {
            return Err(DecodeError(format!(
                "an event of type {} is longer than the {} bytes that it says",
                self.header.kind, self.header.size
            )));
        }
        self.keep(body, long)
    }

    fn keep(&mut self, bytes: &[u8], long: &impl Fn(u64) -> Long) -> Result<(), DecodeError> {
        match &mut self.kept {
            Kept::Nothing(_) => Ok(()),
            Kept::All(kept) if (kept.len() + bytes.len()) as u64 > EVENT_BYTES_MAX => Err(DecodeError(
                format!("an event of type {} with {} bytes", self.header.kind, self.header.size),
            )),
            Kept::All(kept) => {
                append(kept, bytes);
                Ok(())
            }
            Kept::Head(kept) => {
                kept.extend_from_slice(bytes);
                if kept.len() >= HEAD_BYTES_MAX || self.left == 0 {
                    let begun = std::mem::take(kept);
                    self.kept = begin(&mut self.header, begun, long)?;
                }
                Ok(())
            }
            Kept::Cut(cutter) => cutter.push(bytes),
            Kept::Inflated(inflated) => inflated.push(bytes),
        }
    }

    /// The event is over. None: it does not have its checksum.
    pub(super) fn finish(mut self) -> Result<Option<Item>, DecodeError> {
        if self.left > 0 {
            return Err(DecodeError(format!(
                "an event of type {} is {} bytes shorter than the {} bytes that it says",
                self.header.kind, self.left, self.header.size
            )));
        }
        if let Some(crc) = &self.crc
            && crc.sum().to_le_bytes() != *self.checksum
        {
            return Ok(None);
        }
        let data = match self.kept {
            Kept::Nothing(data) | Kept::All(data) | Kept::Head(data) => data,
            Kept::Cut(cutter) => cutter.finish()?,
            Kept::Inflated(inflated) => {
                self.header.kind = uncompressed(self.header.kind);
                inflated.finish()?
            }
        };
        Ok(Some(Item { header: self.header, data: data.into() }))
    }
}

/// What is done with the rest of an event that begins so.
fn begin(header: &mut Header, begun: Vec<u8>, long: &impl Fn(u64) -> Long) -> Result<Kept, DecodeError> {
    let (head, size) = Rows::head(header.kind, &begun)?;
    let (front, rows) = begun.split_at(size);
    Ok(match long(head.table) {
        Long::PassedOver => Kept::Nothing(front.to_vec()),
        // What the rows are is told when they are read.
        Long::Cut(outline) if outline.columns.len() != head.columns => Kept::All(begun),
        Long::Whole => Kept::All(begun),
        Long::Cut(outline) => {
            let mut cutter = Cutter::new(outline, &head, front.to_vec())?;
            if is_compressed(header.kind) {
                let (announced, size) = inflated_size(rows)?;
                let decoder = ZlibDecoder::new(Counted { cutter, bytes: 0, failed: None });
                let mut inflated = Inflated { decoder, announced };
                inflated.push(rows.get(size..).unwrap_or_default())?;
                Kept::Inflated(Box::new(inflated))
            } else {
                cutter.push(rows)?;
                Kept::Cut(cutter)
            }
        }
    })
}

impl Inflated {
    fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let written = self.decoder.write_all(bytes);
        self.told(written)
    }

    fn told(&mut self, done: io::Result<()>) -> Result<(), DecodeError> {
        let counted = self.decoder.get_mut();
        if let Some(e) = counted.failed.take() {
            return Err(e);
        }
        if counted.bytes > self.announced {
            let (due, bytes) = (self.announced, counted.bytes);
            return Err(DecodeError(format!("{due} bytes were compressed, {bytes} came out")));
        }
        done.map_err(DecodeError::new)
    }

    fn finish(mut self) -> Result<Vec<u8>, DecodeError> {
        let ended = self.decoder.try_finish();
        self.told(ended)?;
        let Counted { cutter, bytes, .. } = self.decoder.finish().map_err(DecodeError::new)?;
        if bytes != self.announced {
            return Err(DecodeError(format!("{} bytes were compressed, {bytes} came out", self.announced)));
        }
        cutter.finish()
    }
}

/// Doubling would hold it one and a half times.
fn append(kept: &mut Vec<u8>, bytes: &[u8]) {
    if kept.capacity() - kept.len() < bytes.len() {
        kept.reserve_exact(bytes.len().max(GROWTH_BYTES));
    }
    kept.extend_from_slice(bytes);
}
