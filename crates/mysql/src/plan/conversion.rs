//! Which changes of a type `INSERT … SELECT` makes exactly as `ALTER TABLE` does, and what a new column holds in rows that were there.
//!
//! The list is what was compared on MariaDB 10.11 and MySQL 9.7, value by value; `tests/plan.rs` does it again. Where the two do not
//! agree (a FLOAT becomes other text, a number another member of an ENUM), or where a value depends on the clock or the time zone, the
//! operator is asked for the value.

use crate::catalog::Column;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    Integer,
    Decimal,
    Floating,
    Bit,
    Year,
    Date,
    DateTime,
    Timestamp,
    Time,
    Text,
    Binary,
    Enum,
    Set,
    Json,
    Other,
}

fn group(column: &Column) -> Group {
    match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Group::Integer,
        "decimal" => Group::Decimal,
        "float" | "double" => Group::Floating,
        "bit" => Group::Bit,
        "year" => Group::Year,
        "date" => Group::Date,
        "datetime" => Group::DateTime,
        "timestamp" => Group::Timestamp,
        "time" => Group::Time,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Group::Text,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Group::Binary,
        "enum" => Group::Enum,
        "set" => Group::Set,
        "json" => Group::Json,
        _ => Group::Other,
    }
}

/// Row images can hold its values as literals.
pub fn has_literals(column: &Column) -> bool {
    !matches!(group(column), Group::Json | Group::Other)
}

/// Why the server cannot be left to convert the values as it does in an ALTER; `None`: it can.
pub fn objection(from: &Column, to: &Column) -> Option<&'static str> {
    use Group as G;
    let (old, new) = (group(from), group(to));
    let zone = "which depends on the time zone of who runs it";
    let is_padded = from.column_type.contains("zerofill")
        || old == G::Floating && (from.data_type == "float" || from.column_type.contains('('));
    match (old, new) {
        (G::Timestamp, G::Timestamp) => None,
        (G::Timestamp, _) | (_, G::Timestamp) => Some(zone),
        (G::Other, _) | (_, G::Other) if from.column_type == to.column_type => None,
        (G::Time, G::Date | G::DateTime) => Some("which depends on the present date"),
        (G::Integer | G::Decimal | G::Floating, G::Text) if is_padded => {
            Some("and ALTER TABLE writes such numbers otherwise than INSERT … SELECT does")
        }
        (G::Integer | G::Decimal | G::Floating, G::Integer | G::Decimal | G::Floating | G::Text)
        | (G::Integer, G::Bit | G::Year | G::Date | G::Time)
        | (G::Bit, G::Bit | G::Integer)
        // YEAR 0 as text is 0000 to one and 0 to the other, on MariaDB.
        | (G::Year, G::Year | G::Integer)
        | (G::Date, G::Date | G::DateTime | G::Integer | G::Text)
        | (G::DateTime, G::DateTime | G::Date | G::Time | G::Integer | G::Text)
        | (G::Time, G::Time | G::Integer | G::Text)
        | (
            G::Text,
            G::Text
            | G::Binary
            | G::Integer
            | G::Decimal
            | G::Floating
            | G::Date
            | G::DateTime
            | G::Time
            | G::Year
            | G::Enum
            | G::Set
            | G::Json,
        )
        | (G::Binary, G::Binary | G::Text)
        | (G::Enum, G::Enum | G::Set | G::Text | G::Integer)
        | (G::Set, G::Set | G::Enum | G::Text | G::Integer)
        | (G::Json, G::Json | G::Text) => None,
        _ => Some("and it is not known to give the same values as ALTER TABLE"),
    }
}

/// What a new column that is NOT NULL and has no default holds in the rows that were there.
///
/// `Err`: no value that could be written.
pub fn implicit(column: &Column) -> Result<String, &'static str> {
    use Group as G;
    Ok(match group(column) {
        G::Integer | G::Decimal | G::Floating | G::Bit | G::Year => "0".to_string(),
        G::Text | G::Binary | G::Set => "''".to_string(),
        // The first member, by its number.
        G::Enum => "1".to_string(),
        G::Date => "'0000-00-00'".to_string(),
        G::DateTime | G::Timestamp => "'0000-00-00 00:00:00'".to_string(),
        G::Time => "'00:00:00'".to_string(),
        G::Json | G::Other => return Err("it is NOT NULL without a default, and its type has no zero value"),
    })
}

/// Its implicit value is a date that is none.
pub fn is_zero_date(column: &Column) -> bool {
    matches!(group(column), Group::Date | Group::DateTime | Group::Timestamp)
}

/// Whether values of a key that differ stay different, in order, and equal to their literals when one type's become the other's.
pub fn keeps_apart(from: &Column, to: &Column) -> bool {
    use Group as G;
    if from.shape() == to.shape() {
        return !matches!(group(from), G::Floating | G::Json | G::Other);
    }
    if (&from.charset, &from.collation) != (&to.charset, &to.collation) {
        return false;
    }
    let (old, new) = (group(from), group(to));
    match (old, new) {
        (G::Integer, G::Integer) => {
            let (a, b) = (bits(from), bits(to));
            // A negative number that becomes unsigned is an error, not another number.
            if is_unsigned(from) && !is_unsigned(to) { b > a } else { b >= a }
        }
        (G::Decimal, G::Decimal) if is_unsigned(from) == is_unsigned(to) || !is_unsigned(to) => {
            match (digits(from), digits(to)) {
                (Some((p, s)), Some((q, t))) => t >= s && q - t >= p - s,
                _ => false,
            }
        }
        (G::DateTime, G::DateTime) | (G::Time, G::Time) | (G::Timestamp, G::Timestamp) => {
            length(to) >= length(from)
        }
        (G::Text, G::Text) => from.data_type == to.data_type && length(to) >= length(from),
        (G::Binary, G::Binary) => {
            from.data_type == "varbinary" && to.data_type == "varbinary" && length(to) >= length(from)
        }
        // Members appended: the numbers of the others stay.
        (G::Enum, G::Enum) | (G::Set, G::Set) => {
            let body = from.column_type.strip_suffix(')').unwrap_or_default();
            !body.is_empty() && to.column_type.strip_prefix(body).is_some_and(|rest| rest.starts_with(",'"))
        }
        _ => false,
    }
}

/// Whether every value of one type is one of the other too, as far as that is plain from the types.
pub fn fits(from: &Column, to: &Column) -> bool {
    use Group as G;
    match (group(from), group(to)) {
        (G::Enum, G::Enum) | (G::Set, G::Set) => {
            let known = members(to);
            fits_charset(from, to) && members(from).iter().all(|m| known.contains(m))
        }
        (G::Text, G::Text) => {
            fits_charset(from, to) && capacity(to) >= capacity(from) && to.data_type != "char"
        }
        (G::Integer, G::Text) => capacity(to) >= 20,
        _ => keeps_apart(from, to),
    }
}

/// Whether a text of one character set can be said in the other.
fn fits_charset(from: &Column, to: &Column) -> bool {
    let (old, new) = (from.charset.as_deref(), to.charset.as_deref());
    old == new || new == Some("utf8mb4") || old == Some("ascii")
}

/// The members of an ENUM or a SET, as they are written.
fn members(column: &Column) -> Vec<String> {
    let inner =
        column.column_type.split_once('(').map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    let mut members = vec![String::new()];
    let mut is_quoted = false;
    for c in inner.chars() {
        is_quoted ^= c == '\'';
        match members.last_mut() {
            Some(_) if c == ',' && !is_quoted => members.push(String::new()),
            Some(last) => last.push(c),
            None => {}
        }
    }
    members
}

/// Characters that a text may surely have.
fn capacity(column: &Column) -> u64 {
    match column.data_type.as_str() {
        // In bytes, of which a character may need four.
        "tinytext" => 63,
        "text" => 16_383,
        "mediumtext" => 4_194_303,
        "longtext" => 1 << 30,
        _ => length(column),
    }
}

fn is_unsigned(column: &Column) -> bool {
    column.column_type.contains("unsigned")
}

fn bits(column: &Column) -> u8 {
    match column.data_type.as_str() {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        _ => 64,
    }
}

fn bracket(column: &Column) -> Option<&str> {
    let (_, rest) = column.column_type.split_once('(')?;
    rest.split_once(')').map(|(inner, _)| inner)
}

/// Characters, or digits of a fraction.
fn length(column: &Column) -> u64 {
    bracket(column).and_then(|inner| inner.parse().ok()).unwrap_or(0)
}

/// Precision and scale.
fn digits(column: &Column) -> Option<(i64, i64)> {
    let (p, s) = bracket(column)?.split_once(',')?;
    Some((p.trim().parse().ok()?, s.trim().parse().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A column of this type.
    pub fn column(name: &str, column_type: &str) -> Column {
        let data_type = column_type.split(['(', ' ']).next().unwrap_or_default().to_string();
        let mut column = Column {
            name: name.to_string(),
            data_type,
            column_type: column_type.to_string(),
            charset: None,
            collation: None,
            nullable: false,
            default: None,
            extra: String::new(),
            generated: false,
            invisible: false,
        };
        if matches!(group(&column), Group::Text | Group::Enum | Group::Set) {
            column.charset = Some("utf8mb4".to_string());
            column.collation = Some("utf8mb4_bin".to_string());
        }
        column
    }

    #[test]
    fn conversions_that_alter_makes_otherwise_are_objected_to() {
        let objects = |a: &str, b: &str| objection(&column("c", a), &column("c", b)).is_some();
        for (a, b) in [
            ("timestamp", "datetime"),
            ("varchar(20)", "timestamp"),
            ("time", "datetime"),
            ("int", "enum('1','2')"),
            ("bit(3)", "set('a')"),
            ("float", "varchar(20)"),
            ("int(5) unsigned zerofill", "varchar(20)"),
            ("double(7,2)", "text"),
            ("json", "int"),
            ("int", "json"),
            ("date", "year"),
            ("varchar(3)", "bit(24)"),
            ("point", "geometry"),
            ("double", "datetime"),
            ("year", "varchar(5)"),
        ] {
            assert!(objects(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("int", "bigint"),
            ("bigint", "tinyint unsigned"),
            ("varchar(9)", "enum('a')"),
            ("enum('a','b')", "enum('b','a')"),
            ("enum('a')", "int"),
            ("timestamp", "timestamp(3)"),
            ("datetime(6)", "date"),
            ("point", "point"),
            ("json", "longtext"),
            ("double", "varchar(40)"),
        ] {
            assert!(!objects(a, b), "{a} {b}");
        }
    }

    #[test]
    fn keys_survive_only_what_keeps_them_apart_and_in_order() {
        let apart = |a: &str, b: &str| keeps_apart(&column("c", a), &column("c", b));
        for (a, b) in [
            ("int", "int"),
            ("int(11)", "bigint(20)"),
            ("int unsigned", "bigint"),
            ("int", "bigint unsigned"),
            ("varchar(10)", "varchar(11)"),
            ("decimal(10,2)", "decimal(12,3)"),
            ("datetime", "datetime(6)"),
            ("enum('a','b')", "enum('a','b','c')"),
            ("varbinary(3)", "varbinary(9)"),
        ] {
            assert!(apart(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("bigint", "int"),
            ("int unsigned", "int"),
            ("bigint", "int unsigned"),
            ("varchar(10)", "varchar(9)"),
            ("decimal(10,2)", "decimal(10,3)"),
            ("datetime(6)", "datetime"),
            ("enum('a','b')", "enum('b','a')"),
            ("enum('a','b')", "enum('a','bc')"),
            ("binary(3)", "binary(9)"),
            ("float", "float"),
            ("double", "double"),
            ("char(3)", "varchar(9)"),
            ("int", "varchar(9)"),
            ("uuid", "uuid"),
        ] {
            assert!(!apart(a, b), "{a} {b}");
        }
        let mut other = column("c", "varchar(10)");
        other.collation = Some("utf8mb4_general_ci".to_string());
        assert!(!keeps_apart(&column("c", "varchar(10)"), &other));
    }

    #[test]
    fn types_that_hold_all_values_of_others_are_told() {
        let all = |a: &str, b: &str| fits(&column("c", a), &column("c", b));
        for (a, b) in [
            ("int", "bigint"),
            ("enum('a','b,c')", "enum('b,c','x','a')"),
            ("varchar(10)", "text"),
            ("varchar(10)", "varchar(10)"),
            ("bigint", "varchar(20)"),
            ("char(5)", "varchar(5)"),
        ] {
            assert!(all(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("bigint", "int"),
            ("enum('a','b','c')", "enum('a','b,c')"),
            ("text", "varchar(100)"),
            ("varchar(5)", "char(5)"),
            ("bigint", "varchar(19)"),
            ("decimal(10,3)", "decimal(10,2)"),
        ] {
            assert!(!all(a, b), "{a} {b}");
        }
        let charset = |name: &str| {
            let mut c = column("c", "varchar(10)");
            c.charset = Some(name.to_string());
            c
        };
        assert!(
            fits(&charset("latin1"), &charset("utf8mb4")) && !fits(&charset("utf8mb4"), &charset("utf8mb3"))
        );
    }

    #[test]
    fn columns_without_a_default_have_a_zero_value() {
        assert_eq!(implicit(&column("c", "enum('b','a')")), Ok("1".to_string()));
        assert_eq!(implicit(&column("c", "datetime(3)")), Ok("'0000-00-00 00:00:00'".to_string()));
        assert!(implicit(&column("c", "json")).is_err() && implicit(&column("c", "point")).is_err());
    }
}
