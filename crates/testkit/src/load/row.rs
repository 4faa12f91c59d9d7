//! Rows as lines of `COPY`'s text format: what the ledger keeps, what fills a table, and what a check reads back.

/// One line without its newline: values separated by tabs, `\N` for NULL.
pub(super) fn encode<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut line = String::new();
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            line.push('\t');
        }
        let Some(value) = value else {
            line.push_str("\\N");
            continue;
        };
        for c in value.chars() {
            match c {
                '\\' => line.push_str("\\\\"),
                '\u{8}' => line.push_str("\\b"),
                '\u{b}' => line.push_str("\\v"),
                '\u{c}' => line.push_str("\\f"),
                '\t' => line.push_str("\\t"),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                c => line.push(c),
            }
        }
    }
    line
}

/// The values of a line.
pub(super) fn decode(line: &str) -> Vec<Option<String>> {
    line.split('\t').map(decode_value).collect()
}

fn decode_value(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        value.push(match chars.next() {
            Some('b') => '\u{8}',
            Some('v') => '\u{b}',
            Some('f') => '\u{c}',
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some(other) => other,
            None => '\\',
        });
    }
    Some(value)
}

/// A line cut after its first `values` values: the key and the rest.
pub(super) fn cut(line: &str, values: usize) -> Option<(&str, &str)> {
    let (at, _) = line.match_indices('\t').nth(values.checked_sub(1)?)?;
    Some((line.get(..at)?, line.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awkward_values_survive_encoding() {
        let values = [Some("a\tb\n\\N"), None, Some(""), Some("\\"), Some("ü\r\u{b}\u{c}\u{8}")];
        let line = encode(values);
        let back = decode(&line);
        assert_eq!(back.iter().map(Option::as_deref).collect::<Vec<_>>(), values);
        assert!(!line.contains('\n'));
    }

    #[test]
    fn cut_separates_key_from_values() {
        assert_eq!(cut("1\tx\ty", 1), Some(("1", "x\ty")));
        assert_eq!(cut("1\tx\ty", 2), Some(("1\tx", "y")));
        assert_eq!(cut("1", 1), None);
    }
}
