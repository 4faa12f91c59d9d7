//! Asks the server what it makes of the operator's expressions.
//!
//! Each is put into a temporary view over the source. That the view can be made shows that the expression is one; the functions that
//! the parsed view names show whether it gives the same value whenever it is asked. Else copy, apply and verify would not agree.

use crate::{
    catalog::Table,
    error::server,
    plan::mapping::{Filled, Mapped},
    sql::{literal, quote, quoted_list, run},
};
use shadowswap_core::{
    error::Result,
    plan::{Finding, Mapping},
};
use tokio_postgres::Client;

const CHECK: &str = "columns";
const VIEW: &str = "pg_temp.shadowswap_expression";

/// What a parsed expression contains.
const PARSED: &str = "
with n as (
    select ev_action::text as tree from pg_rewrite where ev_class = 'pg_temp.shadowswap_expression'::regclass
),
f as (
    select m[1]::oid as oid from n cross join regexp_matches(tree, ':(?:funcid|opfuncid) (\\d+)', 'g') m
    union
    select o.oprcode from n cross join regexp_matches(tree, ':opno (\\d+)', 'g') m join pg_operator o on o.oid = m[1]::oid
)
select
    (select string_agg(p.oid::regprocedure::text, ', ') from f join pg_proc p on p.oid = f.oid where p.provolatile = 'v'
        or (p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('now', 'transaction_timestamp', 'statement_timestamp'))),
    (select string_agg(p.oid::regprocedure::text, ', ') from f join pg_proc p on p.oid = f.oid where p.provolatile = 's'
        and not (p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('now', 'transaction_timestamp', 'statement_timestamp'))),
    (select tree ~ '\\{(SQLVALUEFUNCTION|NEXTVALUEEXPR) ' from n),
    (select tree ~ '\\{(SUBLINK|AGGREF|WINDOWFUNC|GROUPINGFUNC) |:funcretset true' from n)";

/// Looks at every expression of the operator's. Needs an open transaction with the operator's `search_path`; leaves nothing in it.
pub async fn check(
    client: &Client,
    source: &Table,
    after: &Table,
    mapped: &[Mapped],
) -> Result<Vec<Finding>> {
    let from = format!("{} as {}", source.quoted(), quote(&source.name));
    let twin = format!("pg_temp.{}", quote(&after.name));
    let mut found = Vec::new();
    for column in mapped.iter().filter(|m| m.is_operators || m.mapping.note == "type") {
        found.extend(between(client, &from, &twin, &column.mapping).await?);
    }
    Ok(found)
}

/// The same for one column of any table `to` over the rows of `from`, which has its alias.
pub async fn between(client: &Client, from: &str, to: &str, mapping: &Mapping) -> Result<Vec<Finding>> {
    run(client, "savepoint shadowswap_expression").await?;
    let found = one(client, from, to, mapping).await?;
    run(client, "rollback to savepoint shadowswap_expression").await?;
    Ok(found)
}

async fn one(client: &Client, from: &str, to: &str, mapping: &Mapping) -> Result<Vec<Finding>> {
    let Some(expression) = &mapping.expression else { return Ok(Vec::new()) };
    let what = format!("column {}: {expression}", mapping.column);
    let refused = |e: tokio_postgres::Error| {
        let error = server(e, &what);
        if error.is_transient() {
            Err(error)
        } else {
            Ok(vec![Finding::refused(CHECK, error.message, "write it over the present row's columns")])
        }
    };
    // A type changed without USING may hide a conversion that depends on settings.
    let shown = if mapping.note == "type" {
        format!("({expression})::{}", mapping.data_type)
    } else {
        expression.clone()
    };
    let text = format!("create view {VIEW} as select {shown} as v from {from}");
    if let Err(e) = client.batch_execute(&text).await {
        return refused(e);
    }
    // By assignment, into the changed table: what the copy will do.
    let text = format!(
        "insert into {to} ({}) overriding system value select {expression} from {from}",
        quoted_list([mapping.column.as_str()])
    );
    if let Err(e) = client.prepare(&text).await {
        return refused(e);
    }
    let row = client.query_one(PARSED, &[]).await.map_err(|e| server(e, &what))?;
    let (volatile, stable): (Option<String>, Option<String>) = (row.get(0), row.get(1));
    let (is_clock, is_set): (bool, bool) = (row.get(2), row.get(3));
    let mut found = Vec::new();
    if let Some(functions) = volatile {
        let message = format!(
            "{what} uses {functions}, which gives another value each time: the copy could not be verified"
        );
        found.push(Finding::refused(
            CHECK,
            message,
            "use a constant, or give the new column a DEFAULT instead",
        ));
    } else if is_clock {
        let message = format!("{what} uses the current time or user: the copy could not be verified");
        found.push(Finding::refused(
            CHECK,
            message,
            "use a constant, or give the new column a DEFAULT instead",
        ));
    }
    if is_set {
        let message = format!("{what} has a subquery, an aggregate or a function that returns a set");
        found.push(Finding::refused(CHECK, message, "an expression may use only the row itself"));
    }
    if let (true, Some(functions)) = (found.is_empty(), stable) {
        let message = format!("{what} uses {functions}, which depends on settings");
        found.push(Finding::warning(CHECK, message, "it will run with TimeZone UTC, DateStyle ISO and IntervalStyle postgres; name the zone where that matters"));
    }
    Ok(found)
}

/// Whether a new column's default gives what the server keeps for old rows; else that value is the expression.
pub async fn settle(client: &Client, mapped: &mut [Mapped], filled: &[Filled]) -> Result<()> {
    for f in filled {
        let what = format!("comparing the default of column {} with its value for present rows", f.column);
        let text = format!("select (({})::{})::text = {}", f.default, f.data_type, literal(&f.missing));
        let row = client.query_one(&text, &[]).await.map_err(|e| server(e, what))?;
        let is_same: Option<bool> = row.get(0);
        if is_same == Some(true) {
            continue;
        }
        if let Some(column) = mapped.iter_mut().find(|m| m.column == f.column) {
            column.mapping.expression = Some(format!("{}::{}", literal(&f.missing), f.data_type));
        }
    }
    Ok(())
}
