//! Asks the server what it makes of the operator's expressions.
//!
//! Each must be one over the source, and one that may be a stored generated column of an empty copy: so the server itself says that it
//! has no subquery, no aggregate, and the same value whenever it is asked. Else copy, apply and verify would not agree.

use super::{
    mapping::Mapped,
    twin::{MARK, Stage},
};
use crate::{
    alter::lex::{Lexeme, lex},
    catalog::{Table, show},
    error::server,
    sql::{quote, table},
};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    error::{Error, Result},
    name::TableName,
    plan::Finding,
};

const CHECK: &str = "columns";
const PROBE: &str = "_shadowswap_probe";

/// MariaDB takes no function that depends on the session for a stored column, not even on its time zone, which is set for every session
/// of ours. These, by contrast, give another value each time.
const FLEETING: [&str; 38] = [
    "rand",
    "uuid",
    "uuid_short",
    "sys_guid",
    "random_bytes",
    "now",
    "sysdate",
    "curdate",
    "curtime",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "connection_id",
    "user",
    "current_user",
    "session_user",
    "system_user",
    "current_role",
    "database",
    "schema",
    "version",
    "found_rows",
    "row_count",
    "last_insert_id",
    "sleep",
    "benchmark",
    "get_lock",
    "release_lock",
    "is_free_lock",
    "is_used_lock",
    "nextval",
    "lastval",
    "setval",
];

/// Looks at every expression of the operator's.
///
/// # Errors
/// What the server answers, if it is not about the expression.
pub async fn check(
    conn: &mut Conn,
    stage: &mut Stage,
    source: &Table,
    name: &TableName,
    mapped: &[Mapped],
) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let asked: Vec<&Mapped> = mapped.iter().filter(|m| m.is_operators).collect();
    if asked.is_empty() {
        return Ok(found);
    }
    let twin = stage.twin(conn, name).await?;
    // A generated column may not speak of an AUTO_INCREMENT column.
    for column in source.columns.iter().filter(|c| c.is_auto_increment()) {
        if let Some(plain) = without_counting(&source.create, &column.name)? {
            let text = format!("{MARK} alter table {} modify {plain}", table(&twin));
            conn.query_drop(text).await.map_err(|e| server(e, "preparing a copy for the expressions"))?;
        }
    }
    for m in asked {
        found.extend(one(conn, name, &twin, m).await?);
    }
    Ok(found)
}

/// The definition of a column without AUTO_INCREMENT.
fn without_counting(create: &str, name: &str) -> Result<Option<String>> {
    let elements = show::parts(create)?.elements;
    let Some(element) = elements.into_iter().find(|e| show::column_name(e).as_deref() == Some(name)) else {
        return Ok(None);
    };
    let lexemes = lex(&element)?.lexemes;
    let word = lexemes.iter().find(|l| l.is("auto_increment")).map(|l| l.place.clone());
    Ok(word.map(|place| {
        format!(
            "{}{}",
            element.get(..place.start).unwrap_or_default(),
            element.get(place.end..).unwrap_or_default()
        )
    }))
}

fn refused(
    e: mysql_async::Error,
    what: &str,
    twin: &TableName,
    name: &TableName,
    next: &str,
) -> Result<Vec<Finding>> {
    let mut error: Error = server(e, what);
    if error.is_transient() {
        return Err(error);
    }
    error.message = error.message.replace(&twin.name, &name.name).replace(PROBE, "the value");
    Ok(vec![Finding::refused(CHECK, error.message, next)])
}

async fn one(conn: &mut Conn, name: &TableName, twin: &TableName, m: &Mapped) -> Result<Vec<Finding>> {
    let Some(expression) = &m.mapping.expression else { return Ok(Vec::new()) };
    let what = format!("column {}: {expression}", m.to.name);
    let over = "an expression may use only the present row's columns and functions that always give the same value; or use a constant, or give the new column a DEFAULT";
    if let Err(e) = conn.query_drop(format!("{MARK} select {expression} from {} limit 0", table(name))).await
    {
        return refused(e, &what, twin, name, "write it over the present row's columns");
    }
    let column_type = column_type(m);
    // MariaDB writes such a text down without escaping the quotes in it, and cannot read that (error 1064). This session speaks utf8mb4.
    let expression = &expression.replace("_utf8mb4'", "'").replace("_utf8mb4\"", "\"");
    let probe = |kind: &str| {
        format!(
            "{MARK} alter table {} add {} {column_type} generated always as ({expression}) {kind}",
            table(twin),
            quote(PROBE)
        )
    };
    let mut found = Vec::new();
    if let Err(e) = conn.query_drop(probe("stored")).await {
        // MariaDB: function or expression cannot be used.
        let is_session = matches!(&e, mysql_async::Error::Server(a) if a.code == 1901);
        let may_be_constant = is_session && !is_fleeting(expression)?;
        if !(may_be_constant && conn.query_drop(probe("virtual")).await.is_ok()) {
            return refused(e, &what, twin, name, over);
        }
        let message = format!("{what} uses a function that depends on settings");
        found.push(Finding::warning(
            CHECK,
            message,
            "it will run with time_zone +00:00 and the server's own lc_time_names",
        ));
    }
    let text = format!("{MARK} alter table {} drop column {}", table(twin), quote(PROBE));
    conn.query_drop(text).await.map_err(|e| server(e, "clearing the copy for the next expression"))?;
    Ok(found)
}

fn column_type(m: &Mapped) -> String {
    let charset = m.to.charset.as_ref().map(|c| format!(" character set {c}")).unwrap_or_default();
    let collation = m.to.collation.as_ref().map(|c| format!(" collate {c}")).unwrap_or_default();
    if charset.contains("binary") {
        m.to.column_type.clone()
    } else {
        format!("{}{charset}{collation}", m.to.column_type)
    }
}

fn is_fleeting(expression: &str) -> Result<bool> {
    let lexemes = lex(expression)?.lexemes;
    let is_call = |w: &[Lexeme]| matches!(w, [name, open, close] if name.is("unix_timestamp") && open.is_sign('(') && close.is_sign(')'));
    Ok(lexemes.iter().any(|l| l.is_sign('@') || l.is("select") || FLEETING.iter().any(|f| l.is(f)))
        || lexemes.windows(3).any(is_call))
}

/// Whether an expression may speak of this column. A name that only looks like it does no harm.
pub fn speaks_of(expression: &str, column: &str) -> bool {
    lex(expression).is_ok_and(|l| {
        l.lexemes.iter().any(|l| l.name().is_some_and(|n| crate::catalog::same_name(n, column)))
    })
}

/// Runs all the operator's values into the changed twin, without any row: the server says whether the columns can be written so.
///
/// # Errors
/// What the server answers, if it is not about an expression.
pub async fn fits(
    conn: &mut Conn,
    name: &TableName,
    twin: &TableName,
    mapped: &[Mapped],
) -> Result<Vec<Finding>> {
    let filled: Vec<_> =
        mapped.iter().filter_map(|m| Some((quote(&m.to.name), m.mapping.expression.as_deref()?))).collect();
    if filled.is_empty() {
        return Ok(vec![Finding::refused(
            CHECK,
            "no column of the table is kept",
            "make a new table instead",
        )]);
    }
    let columns = filled.iter().map(|f| f.0.as_str()).collect::<Vec<_>>().join(", ");
    let values = filled.iter().map(|f| f.1).collect::<Vec<_>>().join(", ");
    let text = format!(
        "{MARK} insert into {} ({columns}) select {values} from {} where false",
        table(twin),
        table(name)
    );
    match conn.query_drop(text).await {
        Ok(()) => Ok(Vec::new()),
        Err(e) => refused(
            e,
            "writing no rows into the changed copy",
            twin,
            name,
            "give the values that do not fit by --set 'column=expression'",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleeting_functions_are_told_from_those_that_depend_on_settings() {
        for text in ["rand()", "a + UNIX_TIMESTAMP( )", "@x", "concat(a, now())", "(select 1)"] {
            assert!(is_fleeting(text).unwrap(), "{text}");
        }
        for text in ["from_unixtime(a)", "unix_timestamp(a)", "date_format(a, 'now()')"] {
            assert!(!is_fleeting(text).unwrap(), "{text}");
        }
        assert!(speaks_of("(concat(`A b`, c))", "a B") && !speaks_of("'c'", "c"));
    }

    #[test]
    fn a_column_can_be_defined_without_its_counter() {
        let create =
            "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT COMMENT 'x',\n  PRIMARY KEY (`id`)\n)";
        assert_eq!(
            without_counting(create, "id").unwrap().as_deref(),
            Some("`id` int NOT NULL  COMMENT 'x'")
        );
    }
}
