//! Values as the SQL literals that keys and row images are made of, and the expressions that give the same text for keys.
//!
//! A key's literal comes from here and from the server ([`key_expression`]), byte for byte the same; the live tests compare the two.

use crate::{catalog::Column, sql::quote};

/// Digits of a group of nine, in bytes: how DECIMAL packs what does not fill a group.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// Digits of a whole group.
const GROUP_DIGITS: usize = 9;

/// `1844674407`.
pub fn push_unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `-5`.
pub fn push_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_unsigned(out, value.unsigned_abs());
}

/// Exactly so many digits; what does not fit is cut off in front.
fn push_padded(out: &mut Vec<u8>, mut value: u32, width: usize) {
    let mut digits = [b'0'; 10];
    let width = width.min(digits.len());
    for digit in digits[..width].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[..width]);
}

/// A FLOAT, in exponent form with the fewest digits that read back the same. The server reads the text as a double and rounds that;
/// where this would end elsewhere, or beyond the greatest FLOAT (whose fewest digits are a greater double), the double's own digits
/// are given.
pub fn push_float(out: &mut Vec<u8>, value: f32) {
    let text = format!("{value:e}");
    match text.parse::<f64>() {
        Ok(read) if (read as f32).to_bits() == value.to_bits() && read.abs() <= f64::from(f32::MAX) => {
            out.extend_from_slice(text.as_bytes());
        }
        _ => push_double(out, f64::from(value)),
    }
}

/// A DOUBLE, in exponent form with the fewest digits that read back the same.
pub fn push_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(format!("{value:e}").as_bytes());
}

/// Bytes of a DECIMAL with so many digits in all and after the point.
pub fn decimal_bytes(precision: usize, scale: usize) -> usize {
    let whole = precision.saturating_sub(scale);
    let part = |digits: usize| digits / GROUP_DIGITS * 4 + GROUP_BYTES[digits % GROUP_DIGITS];
    part(whole) + part(scale)
}

/// A DECIMAL from its packed bytes, of which there must be [`decimal_bytes`]. `false`: they are none.
pub fn push_decimal(out: &mut Vec<u8>, bytes: &[u8], precision: usize, scale: usize) -> bool {
    let Some(first) = bytes.first() else { return false };
    if scale > precision || bytes.len() != decimal_bytes(precision, scale) {
        return false;
    }
    let is_negative = first & 0x80 == 0;
    let mask = if is_negative { 0xff } else { 0 };
    let mut at = 0;
    // The sign's bit is turned over in the first byte; in a negative number, all bits are.
    let mut group = |size: usize| {
        let mut value = 0_u32;
        for place in at..at + size {
            let byte = bytes.get(place).copied().unwrap_or(0) ^ mask ^ if place == 0 { 0x80 } else { 0 };
            value = value << 8 | u32::from(byte);
        }
        at += size;
        value
    };
    if is_negative {
        out.push(b'-');
    }
    let whole = precision - scale;
    let begin = out.len();
    let head = whole % GROUP_DIGITS;
    let mut is_short = false;
    if head > 0 {
        let value = group(GROUP_BYTES[head]);
        is_short |= value >= 10_u32.pow(head as u32);
        push_padded(out, value, head);
    }
    for _ in 0..whole / GROUP_DIGITS {
        let value = group(4);
        is_short |= value > 999_999_999;
        push_padded(out, value, GROUP_DIGITS);
    }
    let zeros = out[begin..].iter().take_while(|d| **d == b'0').count();
    out.drain(begin..begin + zeros);
    if out.len() == begin {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
        for _ in 0..scale / GROUP_DIGITS {
            let value = group(4);
            is_short |= value > 999_999_999;
            push_padded(out, value, GROUP_DIGITS);
        }
        let tail = scale % GROUP_DIGITS;
        if tail > 0 {
            let value = group(GROUP_BYTES[tail]);
            is_short |= value >= 10_u32.pow(tail as u32);
            push_padded(out, value, tail);
        }
    }
    !is_short
}

/// A date: year, month, day, of which any may be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Date {
    /// Up to 9999.
    pub year: u32,
    /// 0 to 12.
    pub month: u32,
    /// 0 to 31.
    pub day: u32,
}

/// A time of day or a duration without its sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Up to 838.
    pub hour: u32,
    /// Up to 59.
    pub minute: u32,
    /// Up to 59.
    pub second: u32,
    /// Microseconds.
    pub micros: u32,
}

fn push_date_part(out: &mut Vec<u8>, date: Date) {
    push_padded(out, date.year, 4);
    out.push(b'-');
    push_padded(out, date.month, 2);
    out.push(b'-');
    push_padded(out, date.day, 2);
}

fn push_time_part(out: &mut Vec<u8>, time: Time, digits: usize) {
    push_padded(out, time.hour, if time.hour > 99 { 3 } else { 2 });
    out.push(b':');
    push_padded(out, time.minute, 2);
    out.push(b':');
    push_padded(out, time.second, 2);
    if digits > 0 {
        out.push(b'.');
        let cut = 10_u32.pow(6 - digits.min(6) as u32);
        push_padded(out, time.micros / cut, digits.min(6));
    }
}

/// `'2024-02-29'`.
pub fn push_date(out: &mut Vec<u8>, date: Date) {
    out.push(b'\'');
    push_date_part(out, date);
    out.push(b'\'');
}

/// `'-838:59:59.000000'`, with exactly so many digits after the point.
pub fn push_time(out: &mut Vec<u8>, is_negative: bool, time: Time, digits: usize) {
    out.extend_from_slice(if is_negative { b"'-" } else { b"'" });
    push_time_part(out, time, digits);
    out.push(b'\'');
}

/// `'2024-02-29 23:59:59.5'`.
pub fn push_datetime(out: &mut Vec<u8>, date: Date, time: Time, digits: usize) {
    out.push(b'\'');
    push_date_part(out, date);
    out.push(b' ');
    push_time_part(out, time, digits);
    out.push(b'\'');
}

/// A TIMESTAMP in UTC. No seconds and no fraction: the zero date, which is what the server means by it.
pub fn push_timestamp(out: &mut Vec<u8>, seconds: u32, micros: u32, digits: usize) {
    if seconds == 0 && micros == 0 {
        return push_datetime(out, Date::default(), Time::default(), digits);
    }
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let time = Time { hour: second / 3600, minute: second / 60 % 60, second: second % 60, micros };
    push_datetime(out, civil(days), time, digits);
}

/// The date of so many days since 1970-01-01. Years begin in March here, so that a leap day is the last of its year.
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn civil(days: u32) -> Date {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    Date {
        year: year + era * 400 + u32::from(month <= 2),
        month,
        day: day_of_year - (153 * from_march + 2) / 5 + 1,
    }
}

/// An SQL expression over the column that gives its key literal as text, in our sessions (`character_set_client = binary`, UTC).
pub fn key_expression(column: &Column) -> String {
    let name = quote(&column.name);
    let as_text = |of: String| format!("cast({of} as char)");
    match column.data_type.as_str() {
        // ZEROFILL pads the text of a column, and not that of a cast. ENUM, SET, BIT and YEAR: their number, which `+ 0` would make a
        // double for some of them.
        "enum" | "set" | "bit" | "year" => as_text(format!("cast({name} as unsigned)")),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" if column.is_zerofill() => {
            as_text(format!("cast({name} as unsigned)"))
        }
        "decimal" if column.is_zerofill() => {
            let arguments = column.arguments().unwrap_or_default();
            as_text(format!("cast({name} as decimal({arguments}))"))
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" => as_text(name),
        "date" | "datetime" | "timestamp" | "time" => format!("concat('\\'', cast({name} as char), '\\'')"),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            let charset = column.charset.as_deref().unwrap_or("binary");
            format!("concat('_{charset} x\\'', hex({name}), '\\'')")
        }
        // What is left are strings of bytes; no other type is let into a key.
        _ => format!("concat('x\\'', hex({name}), '\\'')"),
    }
}

impl Column {
    /// What is in the brackets of its type: `10,2` of `decimal(10,2)`.
    pub(crate) fn arguments(&self) -> Option<&str> {
        let (_, rest) = self.column_type.split_once('(')?;
        Some(rest.split_once(')')?.0)
    }

    /// The first number in the brackets of its type.
    pub(crate) fn argument(&self) -> Option<usize> {
        self.arguments()?.split(',').next()?.trim().parse().ok()
    }

    /// A word behind its type: `unsigned`, `zerofill`.
    fn has_word(&self, word: &str) -> bool {
        // An ENUM's members may hold any word, so only what follows the brackets counts.
        let tail = self.column_type.rsplit_once(')').map_or(self.column_type.as_str(), |(_, tail)| tail);
        tail.split_ascii_whitespace().any(|w| w.eq_ignore_ascii_case(word))
    }

    /// Takes no negative numbers.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.has_word("unsigned") || self.is_zerofill()
    }

    fn is_zerofill(&self) -> bool {
        self.has_word("zerofill")
    }
}

#[cfg(test)]
mod tests;
