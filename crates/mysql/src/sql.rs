//! Quoting, and there is no other way to put a name or a value into a statement.

use shadowswap_core::name::TableName;

/// The longest name of a table, in characters; in bytes, to be sure.
pub const NAME_BYTES_MAX: usize = 64;

/// An identifier in backquotes.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table with its database.
pub fn table(name: &TableName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

/// Text as a literal, for sessions whose character set is utf8mb4 or binary and that take backslashes as escapes.
pub fn literal(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_quoted(&mut out, text.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Bytes as a quoted literal.
pub fn push_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'\'');
    for &b in bytes {
        match b {
            0 => out.extend_from_slice(b"\\0"),
            b'\'' => out.extend_from_slice(b"\\'"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(b),
        }
    }
    out.push(b'\'');
}

/// Bytes in hexadecimal: `x'0AFF'`.
pub fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(b"x'");
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)]);
        out.push(DIGITS[usize::from(b & 15)]);
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_cannot_end_their_quotes() {
        assert_eq!(quote("a`b"), "`a``b`");
        assert_eq!(table(&TableName::new("s`", "Täble")), "`s```.`Täble`");
        assert_eq!(literal("it's \\ \0"), "'it\\'s \\\\ \\0'");
        let mut out = Vec::new();
        push_hex(&mut out, &[0, 0xaf]);
        assert_eq!(out, b"x'00AF'");
    }
}
