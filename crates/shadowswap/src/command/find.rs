//! Which migration is meant.

use crate::exit::Failure;
use shadowswap_core::{
    Engine, Error, Kind, Result, Spelling,
    control::{Control as _, Status},
    name::TableName,
};

/// All migrations that the control tables know, newest first, and how their names are spelled; none where there are no control tables.
///
/// # Errors
/// Whatever keeps the control tables from being read.
pub async fn all<E: Engine>(engine: &E) -> Result<(Option<E::Control>, Vec<Status>, Spelling)> {
    let spelling = engine.caps().spelling;
    match engine.control(false).await {
        Ok(control) => {
            let all = control.status(None).await?;
            let spelling = Spelling { ignores_case: control.ignores_case().await?, ..spelling };
            Ok((Some(control), all, spelling))
        }
        Err(e) if is_absent(&e) => Ok((None, Vec::new(), spelling)),
        Err(e) => Err(e),
    }
}

/// There are no control tables yet. A refusal of another kind (a version that is not ours) must not look like it.
fn is_absent(e: &Error) -> bool {
    e.kind == Kind::Refused && e.message.contains("no control tables")
}

/// The unfinished migration of this table; without a table, the only one there is.
///
/// # Errors
/// `Refused` if there is none, or more than one.
pub async fn unfinished<E: Engine>(engine: &E, table: Option<&str>) -> Result<(E::Control, Status), Failure> {
    let (control, all, spelling) = all(engine).await?;
    let none = || {
        let of = table.map_or_else(String::new, |t| format!(" of {t}"));
        Failure::from(
            Error::refused(format!("there is no unfinished migration{of}")).next("see `shadowswap status`"),
        )
    };
    let control = control.ok_or_else(none)?;
    let open = all.into_iter().filter(|s| !s.phase.is_over()).collect();
    let found = only(spelling, engine.home(), open, table)?;
    Ok((control, found.ok_or_else(none)?))
}

/// The one that matches, none, or an error if several tables do. Of one table the newest counts.
///
/// # Errors
/// `Refused` with the candidates.
pub fn only(
    spelling: Spelling,
    home: Option<&str>,
    all: Vec<Status>,
    table: Option<&str>,
) -> Result<Option<Status>> {
    let matching = all.into_iter().filter(|s| table.is_none_or(|t| names(spelling, home, t, &s.table)));
    let mut found: Vec<Status> = Vec::new();
    for status in matching {
        if found.iter().all(|f| f.table != status.table) {
            found.push(status);
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        n => {
            let tables = found.iter().map(|s| s.table.to_string()).collect::<Vec<_>>().join(", ");
            let e = Error::refused(format!("{n} migrations could be meant: {tables}"));
            Err(e.next("say which one: --table schema.table"))
        }
    }
}

/// Whether the text means this table: `orders`, `sales.orders`, `"Sales"."Orders"`. Without a schema it is in `home`; where
/// that is not known, any schema will do.
pub fn names(spelling: Spelling, home: Option<&str>, text: &str, table: &TableName) -> bool {
    let same = |a: &str, b: &str| a == b || (spelling.ignores_case && a.to_lowercase() == b.to_lowercase());
    match parts(spelling, text).as_deref() {
        // Some servers store a schema's name in lower case, whatever the address says.
        Some([name]) => {
            same(name, &table.name) && home.is_none_or(|home| home.eq_ignore_ascii_case(&table.schema))
        }
        Some([schema, name]) => same(schema, &table.schema) && same(name, &table.name),
        Some(_) | None => false,
    }
}

/// Whether the text names the schema too.
pub fn is_qualified(spelling: Spelling, text: &str) -> bool {
    parts(spelling, text).is_some_and(|p| p.len() > 1)
}

/// The parts of a name as the catalog spells them. `None`: an open quote.
fn parts(Spelling { quote, folds, .. }: Spelling, text: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote && is_quoted && chars.peek() == Some(&quote) => {
                chars.next();
                part.push(quote);
            }
            c if c == quote => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(std::mem::take(&mut part)),
            c if is_quoted || !folds => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    (!is_quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fake;
    use shadowswap_core::Phase;

    const PLAIN: Spelling = Spelling { quote: '"', folds: true, ignores_case: false };

    #[test]
    fn names_are_compared_as_the_catalog_spells_them() {
        let orders = TableName::new("sales", "orders");
        for text in ["orders", "Orders", "sales.orders", "\"sales\".\"orders\"", " SALES.orders "] {
            assert!(names(PLAIN, None, text, &orders), "{text}");
        }
        for text in
            ["order", "public.orders", "\"Orders\"", "\"sales.orders\"", "\"orders", "a.sales.orders", ""]
        {
            assert!(!names(PLAIN, None, text, &orders), "{text}");
        }
        assert!(names(PLAIN, None, "\"a\"\"b.c\"", &TableName::new("x", "a\"b.c")));
        assert!(is_qualified(PLAIN, "a.b") && !is_qualified(PLAIN, "b") && !is_qualified(PLAIN, "\"a.b\""));
    }

    #[test]
    fn spelling_is_the_engines() {
        let mysql = Spelling { quote: '`', folds: false, ignores_case: false };
        let table = TableName::new("Shop", "Or`ders.x");
        assert!(
            names(mysql, None, "Shop.`Or``ders.x`", &table)
                && !names(mysql, None, "shop.`Or``ders.x`", &table)
        );
        assert!(names(mysql, None, "Orders", &TableName::new("s", "Orders")));
        assert!(!names(mysql, None, "orders", &TableName::new("s", "Orders")));
        assert!(names(mysql, None, "a\"b", &TableName::new("s", "a\"b")));
        let folded = Spelling { ignores_case: true, ..mysql };
        assert!(
            names(folded, None, "SHOP.`OR``DERS.X`", &table)
                && names(folded, None, "Ü", &TableName::new("s", "ü"))
        );
        assert!(!names(folded, None, "shop.orders", &table));
    }

    #[test]
    fn one_table_is_never_taken_for_another() {
        let all = || vec![fake::status("a", "orders", Phase::Copy), fake::status("b", "orders", Phase::Copy)];
        assert_eq!(only(PLAIN, None, all(), Some("orders")).unwrap_err().kind, Kind::Refused);
        assert!(only(PLAIN, None, all(), None).is_err());
        assert_eq!(only(PLAIN, None, all(), Some("b.orders")).unwrap().unwrap().table.schema, "b");
        assert!(only(PLAIN, None, all(), Some("customers")).unwrap().is_none());
        let here = only(PLAIN, Some("b"), all(), Some("orders")).unwrap().unwrap();
        assert_eq!(here.table.schema, "b");
        assert!(only(PLAIN, Some("c"), all(), Some("orders")).unwrap().is_none());
        assert_eq!(only(PLAIN, Some("c"), all(), Some("a.orders")).unwrap().unwrap().table.schema, "a");
    }

    #[tokio::test]
    async fn without_control_tables_there_is_no_migration() {
        let engine = fake::Fake::default();
        assert!(all(&engine).await.unwrap().1.is_empty());
        let e = unfinished(&engine, Some("orders")).await.err().unwrap();
        assert_eq!(e.error.message, "there is no unfinished migration of orders");
        assert_eq!(e.code(), 3);
    }
}
