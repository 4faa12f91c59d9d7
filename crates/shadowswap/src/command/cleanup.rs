//! `cleanup`: finds what dead runs left behind, and removes it.

use super::Ended;
use crate::{
    args::CleanupArgs,
    exit::{DONE, Failure},
    output::{self, Output, json},
    units::human_bytes,
    who,
};
use serde_json::json;
use shadowswap_core::{
    Engine, Error,
    engine::{Leftover, LeftoverKind},
    offline,
};

/// Asks before each, slots first: they have the server keep its log.
///
/// # Errors
/// The first of what could not be removed, and why; all the rest is removed.
pub async fn execute<E: Engine>(engine: &E, args: &CleanupArgs, output: Output) -> Ended {
    let mut left = engine.leftovers().await?;
    left.sort_by_key(|l| l.kind);
    if left.is_empty() {
        output.say("nothing is left behind");
    }
    let can_ask = output.is_interactive && !output.json;
    let (mut removed, mut failed) = (Vec::new(), None);
    for leftover in &left {
        let text = describe(leftover);
        let is_wanted = match args.yes {
            true => leftover.kind != LeftoverKind::Migration || args.unfinished,
            false => can_ask && output.ask(&format!("{text}\n{}?", question(leftover))),
        };
        if is_wanted {
            match remove(engine, leftover).await {
                Ok(said) => {
                    removed.push(leftover.name.as_str());
                    output.say(&format!("removed: {text}"));
                    said.iter().for_each(|said| output.say(said));
                }
                Err(e) => {
                    output.say(&format!("not removed: {text}: {}", e.message));
                    let what = format!("removing {} {}", leftover.kind.name(), leftover.name);
                    failed = failed.or(Some(e.while_trying(what)));
                }
            }
        } else if !can_ask {
            output.say(&format!("found: {text}"));
        }
    }
    if output.json {
        output::out(&json::named("cleanup", &json!({ "found": left, "removed": removed })));
    }
    if !args.yes && !can_ask && !left.is_empty() {
        let e = Error::usage("nothing was removed: there is no terminal to ask on");
        return Err(Failure::from(
            e.next("say --yes to remove it (with --unfinished, also migrations that can be resumed)"),
        ));
    }
    failed.map_or(Ok(DONE), |e| Err(e.into()))
}

async fn remove<E: Engine>(engine: &E, leftover: &Leftover) -> shadowswap_core::Result<Option<String>> {
    match (&leftover.kind, &leftover.table) {
        (LeftoverKind::Migration, Some(table)) => {
            Box::pin(offline::abort(engine, table, &who::operator())).await.map(Some)
        }
        _ => engine.remove(leftover).await.map(|()| None),
    }
}

fn describe(leftover: &Leftover) -> String {
    let bytes = leftover.bytes.filter(|b| *b > 0).map_or_else(String::new, |b| match leftover.kind {
        LeftoverKind::Slot | LeftoverKind::Migration => {
            format!("; the server keeps {} for it", human_bytes(b))
        }
        _ => format!("; {}", human_bytes(b)),
    });
    format!("{} {}: {}{bytes}", leftover.kind.name(), leftover.name, leftover.why)
}

fn question(leftover: &Leftover) -> &'static str {
    match leftover.kind {
        LeftoverKind::Migration => "give it up and remove everything that was made for it",
        LeftoverKind::Slot | LeftoverKind::Publication | LeftoverKind::Table | LeftoverKind::Rows => {
            "remove it"
        }
    }
}
