//! What the server's catalog and the tables themselves say: the means to tell two tables apart.

use std::collections::BTreeSet;

use mysql_async::Conn;

use super::texts;
use crate::case::Session;

/// Facts of `information_schema` that SHOW CREATE TABLE may leave out, each with the table's name as `?`.
const FACTS: [&str; 4] = [
    "select concat_ws(' ', 'column', ordinal_position, column_name, coalesce(column_default, '-'), is_nullable, column_type,
        coalesce(character_set_name, '-'), coalesce(collation_name, '-'), column_key, extra, column_comment, generation_expression)
     from information_schema.columns where table_schema = database() and table_name = ?",
    "select concat_ws(' ', 'index', index_name, seq_in_index, non_unique, column_name, collation, coalesce(sub_part, '-'), nullable,
        index_type, index_comment)
     from information_schema.statistics where table_schema = database() and table_name = ?",
    "select concat_ws(' ', 'table', engine, row_format, table_collation, create_options, table_comment)
     from information_schema.tables where table_schema = database() and table_name = ?",
    "select concat_ws(' ', 'partition', partition_name, partition_method, partition_expression, partition_description)
     from information_schema.partitions where table_schema = database() and table_name = ?",
];

/// A name as in SQL without its quotes.
fn bare(table: &str) -> String {
    match table.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        Some(inner) => inner.replace("``", "`"),
        None => table.to_string(),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The definition without the counter, line by line: the order of columns is a fact of its own, that of indexes means nothing.
async fn definition(conn: &mut Conn, table: &str) -> String {
    let found = conn.query(&format!("show create table {table}")).await.unwrap_or_else(|e| panic!("{e}"));
    found[0][1].clone()
}

/// All that the catalog says about a table, named as in SQL.
pub async fn facts(conn: &mut Conn, table: &str) -> BTreeSet<String> {
    let text = definition(conn, table).await;
    let mut found: BTreeSet<String> =
        text.lines().map(|line| without_counter(line.trim_end_matches(','))).collect();
    for query in FACTS {
        found.extend(texts(conn, &query.replace('?', &literal(&bare(table)))).await);
    }
    found
}

fn counter(line: &str) -> Option<(usize, &str)> {
    let start = line.starts_with(')').then(|| line.find(" AUTO_INCREMENT=")).flatten()?;
    let digits = line[start + 16..].split(' ').next()?;
    Some((start, digits))
}

fn without_counter(line: &str) -> String {
    match counter(line) {
        Some((start, digits)) => format!("{}{}", &line[..start], &line[start + 16 + digits.len()..]),
        None => line.to_string(),
    }
}

/// What AUTO_INCREMENT would give next; nothing where no column has it.
pub async fn next_values(conn: &mut Conn, table: &str) -> Vec<(String, i64)> {
    let text = format!(
        "select column_name from information_schema.columns
         where table_schema = database() and table_name = {} and extra like '%auto_increment%'",
        literal(&bare(table))
    );
    let columns = texts(conn, &text).await;
    let definition = definition(conn, table).await;
    let next = definition.lines().find_map(counter).map_or(1, |(_, digits)| digits.parse().unwrap());
    columns.into_iter().map(|column| (column, next)).collect()
}

/// Every row of a table as text, sorted; without some of its columns. Bytes of texts are hexadecimal.
pub async fn rows(conn: &mut Conn, table: &str, without: &[String]) -> Vec<String> {
    let text = format!(
        "select column_name, data_type from information_schema.columns
         where table_schema = database() and table_name = {} order by ordinal_position",
        literal(&bare(table))
    );
    let columns = conn.query(&text).await.unwrap_or_else(|e| panic!("{e}"));
    let shown = columns.iter().filter(|column| !without.contains(&column[0])).map(|column| {
        let name = quote(&column[0]);
        let value = match column[1].as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double" | "date"
            | "time" | "datetime" | "timestamp" | "year" => format!("cast({name} as char)"),
            // As text, a float has six digits.
            "float" => format!("cast({name} + 0e0 as char)"),
            "bit" => format!("cast({name} as unsigned)"),
            "enum" | "set" => format!("concat({name} + 0, ':', hex({name}))"),
            _ => format!("hex({name})"),
        };
        format!("coalesce({value}, 'NULL')")
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let mut rows = texts(conn, &format!("select concat_ws(' | ', {shown}) from {table}")).await;
    rows.sort_unstable();
    rows
}

/// Every table's definition, and every trigger, of this database.
pub async fn whole(conn: &mut Conn) -> BTreeSet<String> {
    let tables = "select table_name from information_schema.tables where table_schema = database()";
    let mut all = BTreeSet::new();
    for name in texts(conn, tables).await {
        all.extend(facts(conn, &quote(&name)).await.into_iter().map(|fact| format!("{name}: {fact}")));
    }
    let triggers = "select concat('trigger ', trigger_name) from information_schema.triggers where trigger_schema = database()";
    all.extend(texts(conn, triggers).await);
    all
}
