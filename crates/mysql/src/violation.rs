//! Which rows do not fit the new definition: the server names a column and a place in its own statement, an operator needs keys.

use crate::{
    error::server,
    session::{is_unfit, key_of},
    statements::Statements,
};
use mysql_async::{Conn, Row, prelude::Queryable};
use shadowswap_core::{Bound, Chunk, Error};

/// Rows named at most.
const ROWS_NAMED: usize = 5;
/// Rows of a chunk that are looked through.
const ROWS_LOOKED_AT: u64 = 100_000;

/// Adds the keys of the first rows of the chunk that cannot be copied. Every try is rolled back.
pub async fn explain(conn: &mut Conn, statements: &Statements, chunk: &Chunk, error: Error) -> Error {
    let next = "nothing was swapped, and what was made is removed; mend the rows, or give the value by --set 'column=expression', then run again";
    match rows(conn, statements, chunk).await {
        Ok(found) if !found.is_empty() => {
            let named =
                found.iter().map(|(key, why)| format!("({key}): {why}")).collect::<Vec<_>>().join("; ");
            Error { message: format!("rows do not fit the new definition; by key {named}"), ..error }
                .next(next)
        }
        Ok(_) | Err(_) => error.next(next),
    }
}

async fn rows(
    conn: &mut Conn,
    statements: &Statements,
    chunk: &Chunk,
) -> Result<Vec<(String, String)>, Error> {
    let text = statements.keys(chunk.lower.as_ref(), chunk.upper.as_ref(), ROWS_LOOKED_AT)?;
    let keys: Vec<Row> = conn.query(text).await.map_err(|e| server(e, "reading keys"))?;
    let keys = keys.iter().map(|row| key_of(row, 0)).collect::<Result<Vec<_>, Error>>()?;
    let bound = |n: usize| keys.get(n).and_then(|k| serde_json::to_string(k).ok()).map(Bound);
    let mut found = Vec::new();
    let mut from = 0;
    while from < keys.len() && found.len() < ROWS_NAMED {
        let lower = if from == 0 { chunk.lower.clone() } else { bound(from - 1) };
        // The shortest beginning that fails ends with the row that is at fault.
        let (mut good, mut bad) = (from, keys.len());
        let Some(mut why) = fails(conn, statements, lower.as_ref(), bound(bad - 1).as_ref()).await? else {
            break;
        };
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            match fails(conn, statements, lower.as_ref(), bound(middle - 1).as_ref()).await? {
                Some(error) => (bad, why) = (middle, error),
                None => good = middle,
            }
        }
        found.push((keys.get(bad - 1).map(|k| k.join(", ")).unwrap_or_default(), why));
        from = bad;
    }
    Ok(found)
}

/// What the server says to copying this range, if that cannot be done.
async fn fails(
    conn: &mut Conn,
    statements: &Statements,
    lower: Option<&Bound>,
    upper: Option<&Bound>,
) -> Result<Option<String>, Error> {
    let text = statements.copy(lower, upper)?;
    conn.query_drop("start transaction").await.map_err(|e| server(e, "beginning a transaction"))?;
    let tried = conn.query_drop(text).await;
    conn.query_drop("rollback").await.map_err(|e| server(e, "rolling back"))?;
    match tried {
        Ok(()) => Ok(None),
        Err(e) => {
            let text = match &e {
                mysql_async::Error::Server(answer) => answer.message.clone(),
                other => other.to_string(),
            };
            let error = server(e, "copying rows");
            if is_unfit(&error) { Ok(Some(text)) } else { Err(error) }
        }
    }
}
