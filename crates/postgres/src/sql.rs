//! Names and values in SQL texts. Every identifier goes through [`quote`], every literal through [`literal`]; there is no other way.

use crate::error::server;
use shadowswap_core::{error::Result, name::TableName};
use tokio_postgres::Client;

/// The longest name that the server keeps whole.
pub const NAME_BYTES_MAX: usize = 63;

/// An identifier as the server reads it back, whatever is in it.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant, right under any setting of `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// A name with its schema. `pg_temp` is an alias that the server resolves, quoted or not.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote(schema), quote(name))
}

/// A table's name in SQL.
pub fn table(name: &TableName) -> String {
    qualified(&name.schema, &name.name)
}

/// A list of quoted names.
pub fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// Runs one statement or several, as text.
pub async fn run(client: &Client, text: &str) -> Result<()> {
    let what = text.lines().next().unwrap_or_default();
    client.batch_execute(text).await.map_err(|e| server(e, what))
}

/// Sets `search_path` and gives back what it was: for the session, or for the open transaction.
///
/// `pg_temp` always comes last. Left out, it would come before everything, and a temporary copy of a table that is called `date` would
/// hide the type.
pub async fn set_search_path(client: &Client, path: &str, is_local: bool) -> Result<String> {
    let path = temporary_last(path);
    let text =
        "select pg_catalog.current_setting('search_path'), pg_catalog.set_config('search_path', $1, $2)";
    let row = client
        .query_one(text, &[&path, &is_local])
        .await
        .map_err(|e| server(e, "setting the search path"))?;
    Ok(row.get(0))
}

/// The path with `pg_temp` at its end, unless it is in it already.
fn temporary_last(path: &str) -> String {
    match path.trim() {
        "" | "\"\"" => "pg_temp".to_string(),
        path if path.split(',').any(|p| p.trim() == "pg_temp") => path.to_string(),
        path => format!("{path}, pg_temp"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_or_a_value_does_not_end_it() {
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
