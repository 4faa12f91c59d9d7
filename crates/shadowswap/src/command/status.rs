//! `status`: all migrations, or those of one table.

use super::{Ended, find};
use crate::{
    exit::DONE,
    output::{self, Output, json, text},
};
use shadowswap_core::Engine;

/// Prints them, newest first.
///
/// # Errors
/// Whatever keeps the control tables from being read.
pub async fn execute<E: Engine>(engine: &E, table: Option<&str>, output: Output) -> Ended {
    let (_, mut all, spelling) = find::all(engine).await?;
    all.retain(|s| table.is_none_or(|t| find::names(spelling, engine.home(), t, &s.table)));
    if output.json {
        output::out(&json::named("status", &all));
    } else {
        output::out(&text::status(&all, jiff::Timestamp::now(), output.style));
    }
    Ok(DONE)
}
