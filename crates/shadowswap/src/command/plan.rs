//! `plan`: says what would happen, and changes nothing.

use super::{Ended, find};
use crate::{
    config::{Intent, Setting},
    exit::{self, DONE},
    output::{self, Output, json, text},
};
use serde_json::json;
use shadowswap_core::{Engine, Error, Kind, Result, plan::Plan};

/// Prints the plan; exit code 3 if a check refuses it.
///
/// # Errors
/// Whatever keeps the plan from being made.
pub async fn execute<E: Engine>(engine: &E, intent: &Intent, output: Output) -> Ended {
    refuse_empty(intent)?;
    let plan = Box::pin(engine.plan(&intent.request())).await?;
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
