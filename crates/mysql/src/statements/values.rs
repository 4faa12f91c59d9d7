//! Values as text that says all of them, and conversions that lose something.

use crate::{catalog::Column, plan::Detail, sql::quote};
use shadowswap_core::plan::Link;

use super::ERROR;

/// A value of the shadow's type as text that says all of it; NULL apart from everything else.
pub(super) fn canonical(column: &Column, expression: &str) -> String {
    let unsigned = column.column_type.contains("unsigned");
    let text = match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" if unsigned => {
            format!("cast(round({expression}) as unsigned)")
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => {
            format!("cast(round({expression}) as signed)")
        }
        "year" | "bit" => format!("({expression}) + 0"),
        "decimal" | "numeric" => format!("cast({expression} as {})", cast_decimal(&column.column_type)),
        "float" | "double" => format!("({expression}) + 0e0"),
        "date" => format!("cast({expression} as date)"),
        "time" | "datetime" | "timestamp" => {
            let digits = digits(&column.column_type);
            let kind = if column.data_type == "time" { "time" } else { "datetime" };
            format!("cast({expression} as {kind}({digits}))")
        }
        kind => {
            let bytes = match &column.charset {
                Some(charset) if charset != "binary" => format!("convert({expression} using {charset})"),
                // MariaDB's CAST is NULL beyond a packet too.
                Some(_) | None if is_bytes_already(kind) => expression.to_string(),
                Some(_) | None => format!("cast({expression} as binary)"),
            };
            let text = if is_long(kind) { format!("sha2({bytes}, 256)") } else { format!("hex({bytes})") };
            // NULL for a value: the server could not put it together, and nothing would be compared.
            return format!("ifnull({text}, if(({expression}) is null, '~', {ERROR}))");
        }
    };
    format!("ifnull({text}, '~')")
}

/// Types that a hash takes as they are.
fn is_bytes_already(kind: &str) -> bool {
    const GEOMETRY: [&str; 9] = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    ];
    matches!(kind, "blob" | "mediumblob" | "longblob") || GEOMETRY.contains(&kind)
}

/// A value of this type may be longer than `max_allowed_packet` lets the server put together: HEX (on MariaDB) and CONCAT_WS are NULL
/// then, and nothing would be compared. All others of a row are 64 KiB together, at most.
fn is_long(data_type: &str) -> bool {
    const BOUNDED: [&str; 8] =
        ["char", "varchar", "binary", "varbinary", "tinytext", "tinyblob", "enum", "set"];
    !BOUNDED.contains(&data_type)
}

/// What a value of the source's column becomes in the shadow's type; `None` where nothing is rounded or cut, or always is.
fn converted(from: &Column, to: &Column, expression: &str) -> Option<String> {
    let is_whole = |c: &Column| c.data_type.ends_with("int") || c.data_type == "integer";
    let is_decimal = |c: &Column| c.data_type == "decimal" || c.data_type == "numeric";
    let is_text = from.charset.is_some() && !matches!(from.data_type.as_str(), "enum" | "set");
    let is_time = |c: &Column| matches!(c.data_type.as_str(), "time" | "datetime" | "timestamp" | "date");
    let rounds = is_decimal(from) || is_text || is_time(from);
    if is_whole(to) && (is_decimal(from) || is_text) {
        Some(format!("round({expression})"))
    } else if is_decimal(to) && rounds {
        Some(format!("cast({expression} as {})", cast_decimal(&to.column_type)))
    } else if is_time(to) && rounds {
        let kind = if to.data_type == "timestamp" { "datetime" } else { to.data_type.as_str() };
        let digits = if kind == "date" { String::new() } else { format!("({})", digits(&to.column_type)) };
        Some(format!("cast({expression} as {kind}{digits})"))
    } else if to.data_type == "char" && from.data_type != "char" && is_text {
        // CHAR has no spaces at its end, BINARY has zeros.
        Some(format!("trim(trailing ' ' from {expression})"))
    } else if to.data_type == "binary" && from.data_type != "binary" {
        Some(format!("cast({expression} as {})", to.column_type))
    } else {
        None
    }
}

/// Whether a row keeps its values through conversions that the server makes without an error.
pub(super) fn faithful(link: &Link, detail: &Detail) -> Option<String> {
    let column =
        |table: &crate::catalog::Table, name: &str| table.columns.iter().find(|c| c.name == name).cloned();
    let kept = link.columns.iter().filter_map(|m| {
        let from = column(&detail.source, m.from.as_deref()?)?;
        let to = column(&detail.shadow, &m.column)?;
        let plain = quote(&from.name);
        if m.expression.as_deref() != Some(plain.as_str()) || from.column_type == to.column_type {
            return None;
        }
        let converted = converted(&from, &to, &plain)?;
        Some(format!("{} <=> {}", canonical(&from, &plain), canonical(&from, &converted)))
    });
    let kept: Vec<String> = kept.collect();
    (!kept.is_empty()).then(|| kept.join(" and "))
}

fn cast_decimal(column_type: &str) -> String {
    let end = column_type.find(')').map_or(column_type.len(), |n| n + 1);
    column_type.get(..end).unwrap_or(column_type).to_string()
}

fn digits(column_type: &str) -> u8 {
    let inner = column_type.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    inner.and_then(|(digits, _)| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_read_off_the_type() {
        assert_eq!((digits("datetime(6)"), digits("time")), (6, 0));
        assert_eq!(cast_decimal("decimal(10,2) unsigned"), "decimal(10,2)");
    }
}
