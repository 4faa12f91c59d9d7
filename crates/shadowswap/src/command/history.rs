//! `history`: migrations that are over, with their figures.

use super::{Ended, find};
use crate::{
    exit::DONE,
    output::{self, Output, json, text},
};
use serde::Serialize;
use shadowswap_core::{
    Engine,
    control::{Control as _, Status},
    progress::Report,
};
use std::collections::HashMap;

/// One that is over.
#[derive(Serialize)]
pub struct Past {
    /// What the control tables say of it.
    #[serde(flatten)]
    pub status: Status,
    /// Its report, if it was finished by a program that kept it.
    pub report: Option<Report>,
}

/// Prints them, newest first.
///
/// # Errors
/// Whatever keeps the control tables from being read.
pub async fn execute<E: Engine>(engine: &E, table: Option<&str>, output: Output) -> Ended {
    let (control, all, spelling) = find::all(engine).await?;
    let reports = match control {
        Some(control) => control.reports().await?,
        None => Vec::new(),
    };
    let mut reports: HashMap<i64, Report> = reports
        .into_iter()
        .filter_map(|(migration, text)| Some((migration, serde_json::from_str(&text).ok()?)))
        .collect();
    let past: Vec<Past> = all
        .into_iter()
        .filter(|s| s.phase.is_over())
        .filter(|s| table.is_none_or(|t| find::names(spelling, engine.home(), t, &s.table)))
        .map(|status| Past { report: reports.remove(&status.id), status })
        .collect();
    if output.json {
        output::out(&json::named("history", &past));
    } else {
        output::out(&text::history(&past, output.style));
    }
    Ok(DONE)
}
