//! Rows that are too long to be carried, cut while they come in.
//!
//! A change whose image is longer than [`IMAGE_BYTES_MAX`] is read again from the source, so that of such a row only the key is ever
//! looked at, and that the row is long. This takes the bytes of a row event in pieces of any size and gives the bytes of an event that
//! means the same, with each image cut down to that length. Invariant: a row whose values were cut is still longer than may be carried.

use super::{
    Layout, Rows, bit,
    bytes::{DecodeError, little_endian},
    rows::Verb,
};
use shadowswap_core::change::IMAGE_BYTES_MAX;

/// So much is left of the values of one image. One byte more than may be carried.
const KEPT_BYTES: usize = IMAGE_BYTES_MAX + 1;

/// How the rows of a table are laid out, and which of their values must stay whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The columns, and whether each is in the key.
    pub columns: Vec<(Layout, bool)>,
    pub json_columns: usize,
}

/// Cuts the rows of one event.
#[derive(Debug)]
pub(crate) struct Cutter {
    outline: Outline,
    /// The images of a row, in order: which columns each has, and whether bits about JSON stand before it.
    images: Vec<(Vec<u8>, bool)>,
    out: Vec<u8>,
    step: Step,
    /// What has come of the bytes that this step needs.
    pending: Vec<u8>,
    /// Bytes to pass on, and after them bytes to drop, before the next step.
    copying: usize,
    dropping: usize,
    /// Which image is being read.
    image: usize,
    nulls: Vec<u8>,
    column: usize,
    /// The same among those that the image has.
    nth: usize,
    /// What may still be kept of this image's values.
    room: usize,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The first bytes of an image of a row.
    Image,
    /// Whether bits follow that tell which JSON values are partial.
    Partial,
    /// These bits.
    PartialBits,
    /// Which values are NULL.
    Nulls,
    /// The next value begins.
    Value,
    /// The length of the next value, in so many bytes.
    Length(usize),
}

impl Cutter {
    /// For the rows behind this head; `out` is what they are put behind.
    ///
    /// # Errors
    /// There can be no such rows.
    pub(crate) fn new(outline: Outline, head: &Rows<'_>, out: Vec<u8>) -> Result<Cutter, DecodeError> {
        let images = match head.verb {
            Verb::Insert => vec![(head.after.to_vec(), false)],
            Verb::Delete => vec![(head.before.to_vec(), false)],
            Verb::Update => vec![(head.before.to_vec(), false), (head.after.to_vec(), false)],
            Verb::PartialUpdate => vec![(head.before.to_vec(), false), (head.after.to_vec(), true)],
        };
        if outline.columns.len() != head.columns {
            return Err(DecodeError(format!(
                "{} columns instead of {}",
                head.columns,
                outline.columns.len()
            )));
        }
        let is_empty = |(present, _): &(Vec<u8>, bool)| count(present, outline.columns.len()) == 0;
        if images.iter().any(is_empty) {
            return Err(DecodeError::new("a row without columns"));
        }
        Ok(Cutter {
            outline,
            images,
            out,
            step: Step::Image,
            pending: Vec::new(),
            copying: 0,
            dropping: 0,
            image: 0,
            nulls: Vec::new(),
            column: 0,
            nth: 0,
            room: KEPT_BYTES,
        })
    }

    /// Takes the next bytes of the event.
    ///
    /// # Errors
    /// They are no such rows.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        loop {
            let (kept, rest) = bytes.split_at(self.copying.min(bytes.len()));
            self.out.extend_from_slice(kept);
            self.copying -= kept.len();
            let dropped = self.dropping.min(rest.len());
            self.dropping -= dropped;
            bytes = rest.get(dropped..).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            let due = self.due() - self.pending.len();
            let (taken, rest) = bytes.split_at(due.min(bytes.len()));
            self.pending.extend_from_slice(taken);
            bytes = rest;
            if taken.len() < due {
                return Ok(());
            }
            let pending = std::mem::take(&mut self.pending);
            self.advance(&pending)?;
            self.pending = pending;
            self.pending.clear();
        }
    }

    /// The event is over: its head and its rows, cut.
    ///
    /// # Errors
    /// A row is not whole.
    pub(crate) fn finish(self) -> Result<Vec<u8>, DecodeError> {
        let is_between = self.step == Step::Image && self.image == 0 || self.is_at_end();
        if !is_between || self.copying + self.dropping + self.pending.len() > 0 {
            return Err(DecodeError::new("it ends within a row"));
        }
        Ok(self.out)
    }

    /// All values of the last image have come; the step behind them is taken with the next byte.
    fn is_at_end(&self) -> bool {
        self.step == Step::Value && self.image + 1 == self.images.len() && self.next_value().is_none()
    }

    /// So many bytes this step needs.
    fn due(&self) -> usize {
        match self.step {
            Step::Image | Step::Value => 0,
            Step::Partial => 1,
            Step::PartialBits => self.outline.json_columns.div_ceil(8),
            Step::Nulls => count(self.present(), self.outline.columns.len()).div_ceil(8),
            Step::Length(digits) => digits,
        }
    }

    fn present(&self) -> &[u8] {
        self.images.get(self.image).map_or(&[], |(present, _)| present)
    }

    /// The place of the next value that is there, and its number among those that may be NULL.
    fn next_value(&self) -> Option<(usize, usize)> {
        let mut nth = self.nth;
        for column in self.column..self.outline.columns.len() {
            if !bit(self.present(), column) {
                continue;
            }
            if !bit(&self.nulls, nth) {
                return Some((column, nth));
            }
            nth += 1;
        }
        None
    }

    /// Makes the step that these bytes are for.
    fn advance(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        match self.step {
            Step::Image => {
                let is_partial = self.images.get(self.image).is_some_and(|(_, is_partial)| *is_partial);
                self.step = if is_partial { Step::Partial } else { Step::Nulls };
            }
            Step::Partial => {
                let options = little_endian(bytes);
                if options > 250 {
                    return Err(DecodeError(format!("{options} as options of a row")));
                }
                self.out.extend_from_slice(bytes);
                self.step = if options & 1 != 0 { Step::PartialBits } else { Step::Nulls };
            }
            Step::PartialBits => {
                self.out.extend_from_slice(bytes);
                self.step = Step::Nulls;
            }
            Step::Nulls => {
                self.out.extend_from_slice(bytes);
                self.nulls.clear();
                self.nulls.extend_from_slice(bytes);
                (self.column, self.nth, self.room) = (0, 0, KEPT_BYTES);
                self.step = Step::Value;
            }
            Step::Value => match self.next_value() {
                Some((column, nth)) => {
                    (self.column, self.nth) = (column, nth);
                    match self.outline.columns[column].0 {
                        Layout::Fixed(size) => self.pass(size, 0),
                        Layout::Sized(digits) => self.step = Step::Length(digits),
                    }
                }
                None => {
                    self.image = (self.image + 1) % self.images.len();
                    self.step = Step::Image;
                }
            },
            Step::Length(digits) => {
                let size = usize::try_from(little_endian(bytes)).map_err(DecodeError::new)?;
                let is_key = self.outline.columns[self.column].1;
                let kept = if is_key { size } else { size.min(self.room) };
                let length = (kept as u64).to_le_bytes();
                self.out.extend(length.iter().take(digits));
                self.room = self.room.saturating_sub(kept);
                self.pass(kept, size - kept);
                self.step = Step::Value;
            }
        }
        Ok(())
    }

    /// The value at hand has so many bytes to keep, and so many to drop.
    fn pass(&mut self, kept: usize, dropped: usize) {
        (self.copying, self.dropping) = (kept, dropped);
        (self.column, self.nth) = (self.column + 1, self.nth + 1);
    }
}

fn count(present: &[u8], columns: usize) -> usize {
    (0..columns).filter(|at| bit(present, *at)).count()
}
