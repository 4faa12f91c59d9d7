//! Rows and keys in COPY's own formats, so that the bytes of the stream go into a staging table as they came.

/// One row of COPY, binary or text. `None` is NULL.
pub fn encode(columns: &[Option<&[u8]>], binary: bool) -> Vec<u8> {
    let size: usize = columns.iter().map(|c| 4 + c.map_or(0, <[u8]>::len)).sum();
    let mut out = Vec::with_capacity(2 + size);
    if binary {
        // The server has at most 1,600 columns, and a value at most 1 GiB.
        out.extend_from_slice(&(columns.len() as i16).to_be_bytes());
        for column in columns {
            match column {
                Some(value) => {
                    out.extend_from_slice(&(value.len() as i32).to_be_bytes());
                    out.extend_from_slice(value);
                }
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        return out;
    }
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.push(b'\t');
        }
        match column {
            Some(value) => escape(value, &mut out),
            None => out.extend_from_slice(b"\\N"),
        }
    }
    out.push(b'\n');
    out
}

fn escape(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart_in_both_formats() {
        assert_eq!(encode(&[None, Some(b"")], true), [0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(encode(&[None, Some(b"")], false), b"\\N\t\n");
        assert_eq!(encode(&[Some(b"\\N"), Some(b"a\tb\n\\")], false), b"\\\\N\ta\\tb\\n\\\\\n");
    }
}
