//! Which table the operator means.

use crate::error::server;
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    error::{Error, Result},
    name::TableName,
};

const SYSTEM: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

/// Finds the table that the operator means: `orders`, `shop.orders`, `` `my shop`.`orders` ``. Without a database, the session's.
///
/// # Errors
/// `Usage` if it is no name; `Refused` if there is no such table, or if it is a view.
pub async fn resolve(conn: &mut Conn, typed: &str) -> Result<TableName> {
    let (schema, name) = split(typed)?;
    let schema = match schema {
        Some(schema) => schema,
        None => {
            let row: Option<Option<String>> = conn
                .query_first("select database()")
                .await
                .map_err(|e| server(e, "asking for the session's database"))?;
            row.flatten().ok_or_else(|| {
                Error::refused(format!("table {name} was given without its database"))
                    .next("write --table database.table, or name the database in the URL")
            })?
        }
    };
    if SYSTEM.iter().any(|s| s.eq_ignore_ascii_case(&schema)) {
        return Err(Error::refused(format!("{schema}.{name} belongs to the server itself")));
    }
    find(conn, &schema, &name).await
}

async fn find(conn: &mut Conn, schema: &str, name: &str) -> Result<TableName> {
    let text = "select TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, cast(@@lower_case_table_names as unsigned) from information_schema.TABLES \
        where lower(TABLE_SCHEMA) = lower(?) and lower(TABLE_NAME) = lower(?)";
    let rows: Vec<(String, String, String, u8)> = conn
        .exec(text, (schema, name))
        .await
        .map_err(|e| server(e, format_args!("looking for {schema}.{name}")))?;
    let exact = rows.iter().find(|r| r.0 == schema && r.1 == name);
    let folded = rows.first().filter(|r| r.3 != 0);
    let Some((schema, name, kind, _)) = exact.or(folded) else {
        let near = rows.iter().map(|r| format!("{}.{}", r.0, r.1)).collect::<Vec<_>>();
        let next = if near.is_empty() {
            "see SHOW TABLES; a table that this user may not touch is not shown either".to_string()
        } else {
            format!("names are case-sensitive on this server; there is {}", near.join(", "))
        };
        return Err(Error::refused(format!("there is no table {schema}.{name}")).next(next));
    };
    let what = match kind.as_str() {
        "BASE TABLE" | "SYSTEM VERSIONED" => return Ok(TableName::new(schema, name)),
        "VIEW" | "SYSTEM VIEW" => "a view",
        "SEQUENCE" => "a sequence",
        _ => "no ordinary table",
    };
    Err(Error::refused(format!("{schema}.{name} is {what}")).next("only ordinary tables can be changed"))
}

/// The parts of a typed name. Unquoted, a part is everything up to a dot.
fn split(typed: &str) -> Result<(Option<String>, String)> {
    let bad = || {
        Error::usage(format!("{typed:?} is no name of a table")).next(
            "write table, database.table, or `database`.`table` where a name has dots or backquotes in it",
        )
    };
    let mut parts = Vec::new();
    let mut rest = typed.trim();
    loop {
        let (part, after) = match rest.strip_prefix('`') {
            Some(quoted) => backquoted(quoted).ok_or_else(bad)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (part, after) = rest.split_at(end);
                if part.contains('`') {
                    return Err(bad());
                }
                (part.trim().to_string(), after)
            }
        };
        if part.is_empty() {
            return Err(bad());
        }
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.trim().is_empty() => break,
            None => return Err(bad()),
        }
    }
    match <[String; 2]>::try_from(parts) {
        Ok([schema, name]) => Ok((Some(schema), name)),
        Err(mut parts) if parts.len() == 1 => Ok((None, parts.remove(0))),
        Err(_) => Err(bad()),
    }
}

/// The name up to the closing backquote, and what follows.
fn backquoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('`')?;
        name.push_str(part);
        match after.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_names_are_taken_apart() {
        let two = |a: &str, b: &str| (Some(a.to_string()), b.to_string());
        assert_eq!(split(" orders ").unwrap(), (None, "orders".to_string()));
        assert_eq!(split("my-shop.Ör ders").unwrap(), two("my-shop", "Ör ders"));
        assert_eq!(split("`a.b`.`c``d`").unwrap(), two("a.b", "c`d"));
        assert_eq!(split("a . `b`").unwrap(), two("a", "b"));
        for bad in ["", ".", "a.", ".a", "a.b.c", "`a", "`a`b", "a`b", "``"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
