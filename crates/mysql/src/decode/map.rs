//! TABLE_MAP events: which table the rows that follow belong to, and how its values are laid out.

use super::bytes::{Bytes, DecodeError};

/// How the values of a column are laid out in rows. Nothing here says what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// So many bytes.
    Fixed(usize),
    /// A length in so many bytes, the lowest first, and then the value.
    Sized(usize),
}

/// A column's type as the event has it: the code, and its metadata as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    /// Type code; the real one of ENUM and SET, which come as STRING.
    pub code: u8,
    /// Precision and scale, length, digits of a fraction: what the code makes of it.
    pub meta: u16,
    pub layout: Layout,
}

pub(crate) mod code {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEWDATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    pub(crate) const VECTOR: u8 = 242;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const MEDIUM_BLOB: u8 = 250;
    pub(crate) const LONG_BLOB: u8 = 251;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}

/// The columns' names, in order.
type Names<'a> = Vec<&'a [u8]>;

/// A TABLE_MAP event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap<'a> {
    schema: &'a [u8],
    name: &'a [u8],
    /// Types, metadata and what follows, not read yet.
    definition: &'a [u8],
}

impl<'a> TableMap<'a> {
    /// The table's number within the stream, and what it stands for.
    ///
    /// # Errors
    /// The bytes are no TABLE_MAP.
    pub fn read(data: &'a [u8]) -> Result<(u64, TableMap<'a>), DecodeError> {
        let mut bytes = Bytes(data);
        let id = bytes.number(6)?;
        bytes.take(2)?;
        let mut name = || {
            let size = usize::from(bytes.u8()?);
            let name = bytes.take(size)?;
            bytes.take(1)?;
            Ok(name)
        };
        let (schema, name) = (name()?, name()?);
        Ok((id, TableMap { schema, name, definition: bytes.0 }))
    }

    pub(crate) fn schema(&self) -> &'a [u8] {
        self.schema
    }

    pub(crate) fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The bytes that the plan of a table depends on.
    pub(crate) fn definition(&self) -> &'a [u8] {
        self.definition
    }

    /// The columns' types, and their names where the server is set to tell (`binlog_row_metadata=FULL`).
    pub(crate) fn columns(&self) -> Result<(Vec<Wire>, Option<Names<'a>>), DecodeError> {
        let mut bytes = Bytes(self.definition);
        let count = bytes.size()?;
        let codes = bytes.take(count)?;
        let size = bytes.size()?;
        let mut metadata = Bytes(bytes.take(size)?);
        let wires = codes.iter().map(|code| wire(*code, &mut metadata)).collect::<Result<Vec<_>, _>>()?;
        if !metadata.is_empty() {
            return Err(DecodeError(format!("{} bytes of metadata belong to no column", metadata.0.len())));
        }
        bytes.take(count.div_ceil(8))?;
        Ok((wires, names(bytes)?))
    }
}

/// The field of optional metadata that holds the columns' names.
const COLUMN_NAME: u8 = 4;

fn names(mut bytes: Bytes<'_>) -> Result<Option<Names<'_>>, DecodeError> {
    while !bytes.is_empty() {
        let field = bytes.u8()?;
        let size = bytes.size()?;
        let mut value = Bytes(bytes.take(size)?);
        if field == COLUMN_NAME {
            let mut names = Vec::new();
            while !value.is_empty() {
                let size = value.size()?;
                names.push(value.take(size)?);
            }
            return Ok(Some(names));
        }
    }
    Ok(None)
}

/// Bytes of a fraction with so many digits.
pub(crate) fn fraction_bytes(digits: u16) -> Result<usize, DecodeError> {
    match digits {
        0..=6 => Ok(usize::from(digits.div_ceil(2))),
        _ => Err(DecodeError(format!("a time with {digits} digits after the point"))),
    }
}

fn wire(code: u8, metadata: &mut Bytes<'_>) -> Result<Wire, DecodeError> {
    use Layout::{Fixed, Sized};
    let fixed = |size| Ok(Wire { code, meta: 0, layout: Fixed(size) });
    match code {
        code::TINY | code::YEAR => fixed(1),
        code::SHORT => fixed(2),
        code::INT24 | code::DATE | code::NEWDATE | code::TIME => fixed(3),
        code::LONG | code::TIMESTAMP => fixed(4),
        code::LONGLONG | code::DATETIME => fixed(8),
        code::FLOAT | code::DOUBLE => {
            let size = usize::from(metadata.u8()?);
            let due = if code == code::FLOAT { 4 } else { 8 };
            if size != due {
                return Err(DecodeError(format!("a floating point number of {size} bytes")));
            }
            fixed(size)
        }
        code::TIMESTAMP2 | code::DATETIME2 | code::TIME2 => {
            let meta = u16::from(metadata.u8()?);
            let whole = match code {
                code::TIMESTAMP2 => 4,
                code::DATETIME2 => 5,
                _ => 3,
            };
            Ok(Wire { code, meta, layout: Fixed(whole + fraction_bytes(meta)?) })
        }
        code::NEWDECIMAL => {
            let (precision, scale) = (metadata.u8()?, metadata.u8()?);
            if precision == 0 || precision > 65 || scale > precision {
                return Err(DecodeError(format!("a decimal({precision},{scale})")));
            }
            let size = crate::literal::decimal_bytes(usize::from(precision), usize::from(scale));
            Ok(Wire { code, meta: u16::from_be_bytes([precision, scale]), layout: Fixed(size) })
        }
        code::BIT => {
            let (bits, bytes) = (u16::from(metadata.u8()?), u16::from(metadata.u8()?));
            let meta = bytes * 8 + bits;
            if meta == 0 || meta > 64 || bits > 7 {
                return Err(DecodeError(format!("a bit field of {meta} bits")));
            }
            Ok(Wire { code, meta, layout: Fixed(usize::from(meta.div_ceil(8))) })
        }
        code::VARCHAR | code::VAR_STRING => {
            let meta = u16::try_from(metadata.number(2)?).map_err(DecodeError::new)?;
            Ok(Wire { code: code::VARCHAR, meta, layout: Sized(if meta > 255 { 2 } else { 1 }) })
        }
        code::TINY_BLOB
        | code::MEDIUM_BLOB
        | code::LONG_BLOB
        | code::BLOB
        | code::JSON
        | code::GEOMETRY
        | code::VECTOR => {
            let size = metadata.u8()?;
            if !(1..=4).contains(&size) {
                return Err(DecodeError(format!("a length of {size} bytes")));
            }
            let code = if matches!(code, code::TINY_BLOB | code::MEDIUM_BLOB | code::LONG_BLOB) {
                code::BLOB
            } else {
                code
            };
            Ok(Wire { code, meta: u16::from(size), layout: Sized(usize::from(size)) })
        }
        code::STRING | code::ENUM | code::SET => string(metadata),
        140 | 141 => Err(DecodeError(format!("a COMPRESSED column (type {code}), which is not supported"))),
        _ => Err(DecodeError(format!("a column of type {code}, which is not known here"))),
    }
}

/// CHAR, BINARY, ENUM and SET. Two bits of a length over 255 are hidden in the type, turned over.
fn string(metadata: &mut Bytes<'_>) -> Result<Wire, DecodeError> {
    let (first, second) = (metadata.u8()?, metadata.u8()?);
    let (code, meta) = if first & 0x30 == 0x30 {
        (first, u16::from(second))
    } else {
        (first | 0x30, u16::from(second) | u16::from(first & 0x30 ^ 0x30) << 4)
    };
    let layout = match code {
        code::STRING => Layout::Sized(if meta > 255 { 2 } else { 1 }),
        code::ENUM if (1..=2).contains(&meta) => Layout::Fixed(usize::from(meta)),
        code::SET if matches!(meta, 1..=4 | 8) => Layout::Fixed(usize::from(meta)),
        _ => return Err(DecodeError(format!("a string of type {code} with {meta} bytes"))),
    };
    Ok(Wire { code, meta, layout })
}
