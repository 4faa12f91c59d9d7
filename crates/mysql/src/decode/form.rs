//! What a column's bytes mean, and the literal they become.

use super::{
    bytes::{DecodeError, big_endian, little_endian},
    map::{Wire, code},
};
use crate::{
    catalog::Column,
    literal::{
        Date, Time, push_date, push_datetime, push_decimal, push_double, push_float, push_signed, push_time,
        push_timestamp, push_unsigned,
    },
    sql::{push_hex, push_quoted},
};

/// The meaning of a column's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Signed,
    /// Also the bits of SET.
    Unsigned,
    /// The number of a member.
    Enum,
    /// The highest byte first.
    Bit,
    Float,
    Double,
    Decimal {
        precision: usize,
        scale: usize,
    },
    Year,
    Date,
    /// With so many digits after the point.
    Time(usize),
    DateTime(usize),
    Timestamp(usize),
    /// MariaDB's formats from before 5.6, decimal digits in a number.
    OldTime,
    OldDateTime,
    OldTimestamp,
    /// Text, with what goes before its hexadecimal digits in a key.
    Text(String),
    /// Bytes, filled up with zeros to so many.
    Binary(usize),
    /// Of no use in a literal.
    Opaque,
}

/// The form of a column whose bytes come as `wire`, if the two fit.
pub(crate) fn form(column: &Column, wire: Wire) -> Option<Form> {
    let digits = column.argument().unwrap_or(0);
    let meta = usize::from(wire.meta);
    let integer = |due: u8| {
        let form = if column.is_unsigned() { Form::Unsigned } else { Form::Signed };
        (wire.code == due).then_some(form)
    };
    // The longest character has four bytes.
    let text = |fits: bool| {
        let charset = column.charset.as_deref().unwrap_or("binary");
        fits.then(|| Form::Text(format!("_{charset} ")))
    };
    let string = digits <= meta && meta <= digits.saturating_mul(4);
    // A column of the old formats has no digits in its metadata; with a fraction its size is not in the event either.
    let time = |new: u8, old: u8, new_form: fn(usize) -> Form, old_form: Form| {
        if wire.code == new {
            (meta == digits).then(|| new_form(digits))
        } else {
            (wire.code == old && digits == 0).then_some(old_form)
        }
    };
    let blob = |size: usize| wire.code == code::BLOB && meta == size;
    match column.data_type.as_str() {
        "tinyint" => integer(code::TINY),
        "smallint" => integer(code::SHORT),
        "mediumint" => integer(code::INT24),
        "int" => integer(code::LONG),
        "bigint" => integer(code::LONGLONG),
        "float" => (wire.code == code::FLOAT).then_some(Form::Float),
        "double" => (wire.code == code::DOUBLE).then_some(Form::Double),
        "decimal" => {
            let mut numbers = column.arguments()?.split(',').map(|n| n.trim().parse::<usize>().ok());
            let (precision, scale) = (numbers.next()??, numbers.next().unwrap_or(Some(0))?);
            let fits = wire.code == code::NEWDECIMAL && meta == precision << 8 | scale;
            fits.then_some(Form::Decimal { precision, scale })
        }
        "year" => (wire.code == code::YEAR).then_some(Form::Year),
        "date" => matches!(wire.code, code::DATE | code::NEWDATE).then_some(Form::Date),
        "time" => time(code::TIME2, code::TIME, Form::Time, Form::OldTime),
        "datetime" => time(code::DATETIME2, code::DATETIME, Form::DateTime, Form::OldDateTime),
        "timestamp" => time(code::TIMESTAMP2, code::TIMESTAMP, Form::Timestamp, Form::OldTimestamp),
        "bit" => (wire.code == code::BIT && meta == digits.max(1)).then_some(Form::Bit),
        "enum" => (wire.code == code::ENUM).then_some(Form::Enum),
        "set" => (wire.code == code::SET).then_some(Form::Unsigned),
        "char" => text(wire.code == code::STRING && string),
        "varchar" => text(wire.code == code::VARCHAR && string),
        "tinytext" => text(blob(1)),
        "text" => text(blob(2)),
        "mediumtext" => text(blob(3)),
        "longtext" => text(blob(4)),
        "binary" => (wire.code == code::STRING && meta == digits).then_some(Form::Binary(digits)),
        "varbinary" => (wire.code == code::VARCHAR && meta == digits).then_some(Form::Binary(0)),
        "tinyblob" => blob(1).then_some(Form::Binary(0)),
        "blob" => blob(2).then_some(Form::Binary(0)),
        "mediumblob" => blob(3).then_some(Form::Binary(0)),
        "longblob" => blob(4).then_some(Form::Binary(0)),
        _ => Some(Form::Opaque),
    }
}

/// MariaDB's former formats of times with a fraction have other sizes, which the event does not tell.
pub(crate) fn is_old_fraction(column: &Column, wire: Wire) -> bool {
    let is_time = matches!(column.data_type.as_str(), "time" | "datetime" | "timestamp");
    is_time
        && matches!(wire.code, code::TIME | code::DATETIME | code::TIMESTAMP)
        && column.argument().unwrap_or(0) > 0
}

impl Form {
    /// Whether literals of it mean the same value to the server, so that it may be in a key.
    pub(crate) fn may_be_key(&self) -> bool {
        !matches!(self, Form::Float | Form::Double | Form::Opaque)
    }

    /// Whether a strict session takes the literal. The member 0 of an ENUM, which is what a session that was not strict made of an
    /// unknown one, can only be copied from row to row.
    pub(crate) fn is_writable(&self, bytes: &[u8]) -> bool {
        *self != Form::Enum || bytes.iter().any(|b| *b != 0)
    }

    /// The literal within a key.
    pub(crate) fn push_key(&self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), DecodeError> {
        match self {
            Form::Text(introducer) => {
                out.extend_from_slice(introducer.as_bytes());
                push_hex(out, bytes);
            }
            Form::Binary(width) => {
                push_hex(out, bytes);
                for _ in bytes.len()..*width {
                    // Before the closing quote.
                    out.pop();
                    out.extend_from_slice(b"00'");
                }
            }
            _ => return self.push_row(out, bytes),
        }
        Ok(())
    }

    /// The literal within a row's image.
    pub(crate) fn push_row(&self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), DecodeError> {
        match self {
            Form::Signed => {
                let unused = 64_usize.saturating_sub(bytes.len() * 8).min(63);
                push_signed(out, (little_endian(bytes) << unused).cast_signed() >> unused);
            }
            Form::Unsigned | Form::Enum => push_unsigned(out, little_endian(bytes)),
            Form::Bit => push_unsigned(out, big_endian(bytes)),
            Form::Float => push_finite(out, f32::from_bits(little_endian(bytes) as u32), push_float)?,
            Form::Double => push_finite(out, f64::from_bits(little_endian(bytes)), push_double)?,
            Form::Decimal { precision, scale } => {
                if !push_decimal(out, bytes, *precision, *scale) {
                    return Err(DecodeError(format!("no decimal({precision},{scale}): {bytes:02x?}")));
                }
            }
            Form::Year => {
                let year = little_endian(bytes);
                push_unsigned(out, if year == 0 { 0 } else { 1900 + year });
            }
            Form::Date => {
                let packed = little_endian(bytes) as u32;
                push_date(out, Date { year: packed >> 9, month: packed >> 5 & 15, day: packed & 31 });
            }
            Form::Time(digits) => push_time2(out, bytes, *digits)?,
            Form::DateTime(digits) => {
                let (whole, micros) = with_fraction(bytes, 5, *digits)?;
                let Some(packed) = whole.checked_sub(0x80_0000_0000) else {
                    return Err(DecodeError(format!("no datetime: {bytes:02x?}")));
                };
                let (days, clock) = (packed >> 17, (packed & 0x1_ffff) as u32);
                let months = (days >> 5) as u32;
                let date = Date { year: months / 13, month: months % 13, day: (days & 31) as u32 };
                push_datetime(out, date, clock_time(clock, micros), *digits);
            }
            Form::Timestamp(digits) => {
                let (seconds, micros) = with_fraction(bytes, 4, *digits)?;
                push_timestamp(out, seconds as u32, micros, *digits);
            }
            Form::OldTimestamp => push_timestamp(out, little_endian(bytes) as u32, 0, 0),
            Form::OldTime => {
                let unused = 64 - 24;
                let value = (little_endian(bytes) << unused).cast_signed() >> unused;
                push_time(out, value < 0, digits_time(value.unsigned_abs()), 0);
            }
            Form::OldDateTime => {
                let value = little_endian(bytes);
                let date = (value / 1_000_000) as u32;
                let date = Date { year: date / 10_000, month: date / 100 % 100, day: date % 100 };
                push_datetime(out, date, digits_time(value % 1_000_000), 0);
            }
            Form::Text(_) => push_quoted(out, bytes),
            Form::Binary(width) => {
                push_quoted(out, bytes);
                for _ in bytes.len()..*width {
                    out.pop();
                    out.extend_from_slice(b"\\0'");
                }
            }
            Form::Opaque => return Err(DecodeError::new("a value that cannot be written as a literal")),
        }
        Ok(())
    }
}

/// No server lets NaN or an infinity in.
fn push_finite<T: Into<f64> + Copy>(
    out: &mut Vec<u8>,
    value: T,
    push: fn(&mut Vec<u8>, T),
) -> Result<(), DecodeError> {
    let wide: f64 = value.into();
    if !wide.is_finite() {
        return Err(DecodeError(format!("the number {wide}")));
    }
    push(out, value);
    Ok(())
}

/// `142359` as 14:23:59.
fn digits_time(value: u64) -> Time {
    let value = value as u32;
    Time { hour: value / 10_000, minute: value / 100 % 100, second: value % 100, micros: 0 }
}

/// Twelve bits and more of hours, six of minutes, six of seconds.
fn clock_time(packed: u32, micros: u32) -> Time {
    Time { hour: packed >> 12, minute: packed >> 6 & 63, second: packed & 63, micros }
}

/// The whole part in so many bytes, and the fraction behind it in microseconds.
fn with_fraction(bytes: &[u8], whole: usize, digits: usize) -> Result<(u64, u32), DecodeError> {
    let (first, rest) =
        bytes.split_at_checked(whole).ok_or_else(|| DecodeError(format!("no time: {bytes:02x?}")))?;
    let fraction = big_endian(rest) as u32 * fraction_unit(digits);
    if fraction > 999_999 {
        return Err(DecodeError(format!("a fraction of {fraction} microseconds")));
    }
    Ok((big_endian(first), fraction))
}

/// Microseconds of one unit of a fraction: it is stored in hundredths, ten thousandths or millionths.
fn fraction_unit(digits: usize) -> u32 {
    match digits {
        1 | 2 => 10_000,
        3 | 4 => 100,
        _ => 1,
    }
}

/// TIME is one signed number, whole part and fraction, moved up by half its range. Taking the two apart before the sign is known is
/// what turns negative times with a fraction into nonsense.
fn push_time2(out: &mut Vec<u8>, bytes: &[u8], digits: usize) -> Result<(), DecodeError> {
    let bits = bytes.len() * 8;
    if !(24..=48).contains(&bits) {
        return Err(DecodeError(format!("no time: {bytes:02x?}")));
    }
    let value = big_endian(bytes).cast_signed() - (1_i64 << (bits - 1));
    let (absolute, fraction_bits) = (value.unsigned_abs(), bits - 24);
    let fraction = (absolute & ((1 << fraction_bits) - 1)) as u32 * fraction_unit(digits);
    if fraction > 999_999 {
        return Err(DecodeError(format!("a fraction of {fraction} microseconds")));
    }
    let clock = (absolute >> fraction_bits) as u32;
    push_time(out, value < 0, clock_time(clock, fraction), digits);
    Ok(())
}
