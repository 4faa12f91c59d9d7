//! `status`: all migrations, or those of one table.

use super::{Ended, find};
use crate::{
    exit::DONE,
    output::{self, Output, json, text},
};
use shadowswap_core::Engine;
use std::time::Duration;

/// Between two looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Clears the screen and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Prints them, newest first; with `watch` again and again.
///
/// # Errors
/// Whatever keeps the control tables from being read.
pub async fn execute<E: Engine>(engine: &E, table: Option<&str>, watch: bool, output: Output) -> Ended {
    loop {
        if watch && !output.json && output.style.has_color {
            output::out(CLEAR);
        }
        let ended = once(engine, table, output).await?;
        if !watch {
            return Ok(ended);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn once<E: Engine>(engine: &E, table: Option<&str>, output: Output) -> Ended {
    let (_, mut all, spelling) = find::all(engine).await?;
    all.retain(|s| table.is_none_or(|t| find::names(spelling, engine.home(), t, &s.table)));
    if output.json {
        output::out(&json::named("status", &all));
    } else {
        output::out(&text::status(&all, jiff::Timestamp::now(), output.style));
    }
    Ok(DONE)
}
