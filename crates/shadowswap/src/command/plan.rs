//! `plan`: says what would happen, and changes nothing.

use super::{Ended, find};
use crate::{
    config::{Intent, Setting},
    exit::{self, DONE},
    output::{self, Output, json, text},
};
use serde_json::json;
use shadowswap_core::{
    Engine, Error, Kind, Result, clock,
    control::Control as _,
    forecast::{self, Outlook},
    plan::{Finding, Plan, Strategy},
    progress::Report,
    window::Calendar,
};
use std::time::Duration;

/// A run of fewer rows says more about its preparations than about its rate.
const ROWS_TELLING: u64 = 100_000;

/// Prints the plan; exit code 3 if a check refuses it.
///
/// # Errors
/// Whatever keeps the plan from being made.
pub async fn execute<E: Engine>(engine: &E, intent: &Intent, output: Output) -> Ended {
    refuse_empty(intent)?;
    let mut plan = Box::pin(engine.plan(&intent.request())).await?;
    plan.findings.extend(forecast(engine, &plan, intent).await);
    show(&plan, &intent.settings, output);
    // Worth a line, not a failure: this role may not be allowed to read the control tables.
    let begun = find::all(engine)
        .await
        .map(|(_, all, _)| all.into_iter().find(|s| s.table == plan.source && !s.phase.is_over()));
    if let Ok(Some(status)) = begun {
        output.say(&format!(
            "note: migration {} of {} is unfinished (phase {})",
            status.id, status.table, status.phase
        ));
    }
    if plan.refusals().next().is_some() {
        return Ok(exit::code(Kind::Refused));
    }
    output.say(&format!("to run it: say `run` instead of `plan`, with --plan-id {}", plan.id));
    Ok(DONE)
}

/// When a run that began now would be done: at the rate of the last migration of this database, or as the engine estimates it.
async fn forecast<E: Engine>(engine: &E, plan: &Plan, intent: &Intent) -> Option<Finding> {
    if plan.strategy != Strategy::Shadow || plan.refusals().next().is_some() {
        return None;
    }
    // This role may not be allowed to read the control tables.
    let reports = match engine.control(false).await {
        Ok(control) => control.reports().await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let measured = reports.iter().find_map(|(migration, text)| {
        let report: Report = serde_json::from_str(text).ok()?;
        let is_telling = report.rows_copied >= ROWS_TELLING;
        is_telling.then(|| (*migration, report.elapsed_s / report.rows_copied as f64))
    });
    let (seconds, how) = match measured {
        Some((migration, per_row)) => {
            (plan.size.rows as f64 * per_row, format!("at the rate of migration {migration}"))
        }
        None => (plan.size.seconds as f64, "estimated; nothing was measured here yet".to_string()),
    };
    let config = &intent.config;
    let calendar = Calendar { windows: config.copy_windows.clone(), blackouts: config.blackouts.clone() };
    let needs = Duration::try_from_secs_f64(seconds.max(1.0)).ok();
    let outlook = Outlook { needs, calendar, retained: None, log: None };
    let told = forecast::tell(&outlook, clock::now(), &jiff::tz::TimeZone::system(), engine.caps().log);
    Some(Finding::passed("forecast", format!("{} ({how})", told.forecast?)))
}

/// Prints the plan as text or JSON.
pub fn show(plan: &Plan, settings: &[Setting], output: Output) {
    if output.json {
        let mut value = json!(plan);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("settings".to_string(), json!(settings));
        }
        output::out(&json::named("plan", &value));
    } else {
        output::out(&text::plan(plan, settings, output.style));
    }
}

/// # Errors
/// `Usage` if there is nothing to change.
pub fn refuse_empty(intent: &Intent) -> Result<()> {
    if intent.is_empty() {
        let e = Error::usage(format!("nothing is said about what to change on {}", intent.table));
        return Err(
            e.next("say --alter 'ADD COLUMN note text', --set 'column=expression', or -f migration.toml")
        );
    }
    Ok(())
}
