//! Says which rows a new definition does not hold for.

use crate::{
    error::server,
    shadow::index::IndexStep,
    sql::{literal, quote, table},
};
use shadowswap_core::{error::Error, plan::Plan};
use tokio_postgres::{Client, error::SqlState};

/// Looking for the rows may read the whole table; longer than this is not worth waiting for.
const LOOK_SECONDS: u32 = 30;

/// Turns the server's error at a step (or at a chunk, without a step) into one that names up to ten rows.
///
/// Errors that are not about data come back as they are.
pub async fn explain(
    client: &Client,
    plan: &Plan,
    error: tokio_postgres::Error,
    step: Option<&IndexStep>,
) -> Error {
    let Some(answer) = error.as_db_error().cloned() else { return server(error, doing(plan, step)) };
    let code = answer.code().clone();
    let query = match step {
        Some(step) => step.violation_query.clone(),
        None if code == SqlState::NOT_NULL_VIOLATION => {
            answer.column().and_then(|column| null_query(plan, column))
        }
        None => None,
    };
    let class = code.code().get(..2).unwrap_or_default().to_string();
    if class != "22" && class != "23" {
        return server(error, doing(plan, step));
    }
    let mut explained = server(error, doing(plan, step));
    // An expression of the way back says by an error of its own which value has no way.
    if let Some((_, problem)) = answer.message().split_once(crate::plan::back::TELLS) {
        explained.message = format!("{}: {}", doing(plan, step), problem.trim_end_matches('"'));
    }
    if let Some(query) = query {
        match rows(client, &query).await {
            Some(found) if !found.is_empty() => {
                explained.message.push_str(&format!("\n  rows: {}", found.join("; ")));
            }
            Some(_) | None => {}
        }
    }
    let next = if class == "22" {
        format!(
            "the application goes on as before; change these values, or give --set for {}",
            converted(plan)
        )
    } else if step.is_some_and(|s| s.existed_on_source) {
        "the source has the same constraint, so these values collide only once they are converted; change these rows on the table, then run again".to_string()
    } else {
        "the application goes on as before; change these rows on the table, then run again".to_string()
    };
    explained.next(next)
}

fn doing(plan: &Plan, step: Option<&IndexStep>) -> String {
    match step {
        Some(step) => format!("building {} on {}", step.name, plan.shadow),
        None if plan.turn > 0 => format!("carrying a row of {} over into {}", plan.source, plan.shadow),
        None => format!("copying rows of {} into {}", plan.source, plan.shadow),
    }
}

fn converted(plan: &Plan) -> String {
    let columns = plan.link.columns.iter().filter(|m| m.note == "type" || m.note == "computed");
    let names = columns.map(|m| m.column.as_str()).collect::<Vec<_>>().join(", ");
    if names.is_empty() { "the column".to_string() } else { names }
}

/// Rows of the source for which a column of the shadow would be NULL.
fn null_query(plan: &Plan, column: &str) -> Option<String> {
    let mapping = plan.link.columns.iter().find(|m| m.column == column)?;
    let expression = mapping.expression.as_ref()?;
    let alias = quote(&plan.source.name);
    let parts = plan
        .link
        .key
        .iter()
        .map(|k| format!("{} || {alias}.{}::text", literal(&format!("{}=", k.from)), quote(&k.from)));
    let key = parts.collect::<Vec<_>>().join(" || ', ' || ");
    Some(format!(
        "select {key} from {} as {alias} where ({expression}) is null limit 10",
        table(&plan.source)
    ))
}

/// The rows' names. An error here, a timeout above all, only means that no rows are named.
async fn rows(client: &Client, query: &str) -> Option<Vec<String>> {
    let row = client.query_one("select current_setting('statement_timeout')", &[]).await.ok()?;
    let before: String = row.get(0);
    client.batch_execute(&format!("set statement_timeout = '{LOOK_SECONDS}s'")).await.ok()?;
    let found = client.query(query, &[]).await;
    client.batch_execute(&format!("set statement_timeout = {}", literal(&before))).await.ok()?;
    Some(found.ok()?.iter().filter_map(|row| row.get::<_, Option<String>>(0)).collect())
}
