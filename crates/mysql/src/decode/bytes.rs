//! Reading bytes that came from outside: nothing is taken for granted, and nothing panics.

use std::fmt;

/// What is wrong with the bytes of a binlog event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

impl DecodeError {
    pub(crate) fn new(what: impl fmt::Display) -> DecodeError {
        DecodeError(what.to_string())
    }
}

/// The rest of an event's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> Result<&'a [u8], DecodeError> {
        match self.0.split_at_checked(size) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => {
                Err(DecodeError(format!("it ends early: {size} bytes were due, {} are left", self.0.len())))
            }
        }
    }

    /// A number of so many bytes, at most eight, the lowest first.
    #[inline]
    pub(crate) fn number(&mut self, size: usize) -> Result<u64, DecodeError> {
        Ok(little_endian(self.take(size)?))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// A number in the protocol's variable length.
    pub(crate) fn packed(&mut self) -> Result<u64, DecodeError> {
        match self.u8()? {
            first @ 0..=250 => Ok(u64::from(first)),
            252 => self.number(2),
            253 => self.number(3),
            254 => self.number(8),
            first => Err(DecodeError(format!("{first} does not begin a number"))),
        }
    }

    /// The same as a size of something that must be there.
    pub(crate) fn size(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.packed()?).map_err(DecodeError::new)
    }
}

#[inline]
pub(crate) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[inline]
pub(crate) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
