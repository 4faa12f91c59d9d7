//! `run`: carries a change through, or goes on with one that is unfinished.

use super::{Ended, find, plan::refuse_empty};
use crate::{
    args::{self, Approval},
    config::Intent,
    exit::{DONE, Failure},
    output::{
        self, Output,
        bar::{self, Show},
        json, text,
    },
    signals,
};
use shadowswap_core::{
    Config, Engine, Error, Kind, Phase,
    control::Control as _,
    plan::{Indexes, Plan, Request, Severity},
    progress::{Progress, Report},
    runner,
};
use std::time::Duration;
use tokio::sync::watch;

/// How long the database may take to tell the state after a failure: it may be the database that failed.
const STATE_WAIT: Duration = Duration::from_secs(3);
/// How long the progress display may take to end.
const SHOW_WAIT: Duration = Duration::from_secs(1);

/// Finds or makes the plan, has it approved, and carries it through.
///
/// # Errors
/// See the exit codes; the state and the next step are in each.
pub async fn execute<E: Engine>(engine: &E, intent: &Intent, approval: &Approval, output: Output) -> Ended {
    let mut config = intent.config.clone();
    let plan = match Box::pin(begun(engine, intent)).await? {
        Some(begun) => {
            config.resumes = Some(begun.migration);
            resume(begun, intent, approval, output)?
        }
        None if approval.once
            && let Some(said) = Box::pin(done(engine, intent)).await? =>
        {
            output.say(&said);
            if output.json {
                output::out(&json::named("done", &serde_json::json!({ "message": said })));
            }
            return Ok(DONE);
        }
        None => Box::pin(fresh(engine, intent, approval, output)).await?,
    };
    let report = Box::pin(carry(engine, plan, &config, approval.progress, output)).await?;
    tell(&report, output);
    Ok(DONE)
}

/// Prints how it ended.
pub fn tell(report: &Report, output: Output) {
    if output.json {
        output::out(&json::named("report", report));
    } else {
        output::out(&text::report(report, output.style));
    }
}

/// An unfinished migration.
#[derive(Debug)]
struct Begun {
    migration: i64,
    phase: Phase,
    plan: Plan,
}

async fn begun<E: Engine>(engine: &E, intent: &Intent) -> Result<Option<Begun>, Failure> {
    let (control, all, spelling) = find::all(engine).await?;
    let open = all.into_iter().filter(|s| !s.phase.is_over()).collect();
    let (Some(control), Some(status)) =
        (control, find::only(spelling, engine.home(), open, Some(&intent.table))?)
    else {
        return Ok(None);
    };
    let Some((migration, phase, plan)) = control.find(&status.table).await? else {
        return Ok(None);
    };
    if is_other(engine, intent, &plan).await { Ok(None) } else { Ok(Some(Begun { migration, phase, plan })) }
}

/// Where the table's newest migration made this very change, and the table still has it: says so.
async fn done<E: Engine>(engine: &E, intent: &Intent) -> Result<Option<String>, Failure> {
    let (control, all, spelling) = find::all(engine).await?;
    let (Some(control), Some(status)) =
        (control, find::only(spelling, engine.home(), all, Some(&intent.table))?)
    else {
        return Ok(None);
    };
    if status.phase == Phase::RolledBack && !intent.is_empty() && status.alters == intent.alters {
        let message = format!(
            "migration {} of {} made this change and was rolled back: with --once it is not begun anew",
            status.id, status.table
        );
        return Err(Error::new(Kind::RolledBack, message).next("run it without --once to begin anew").into());
    }
    let Some((id, plan, at)) = control.finished(&status.table).await? else { return Ok(None) };
    if intent.is_empty()
        || id != status.id
        || !intent.matches(&plan.request)
        || is_other(engine, intent, &plan).await
    {
        return Ok(None);
    }
    let is_there = engine.lacks(&plan).await?.is_empty();
    Ok(is_there.then(|| {
        format!("{} has this change since {at} (migration {id}); nothing is left to do", plan.source)
    }))
}

/// Without a schema, the text may mean another table than that of the unfinished migration: `search_path` decides, and only the server
/// knows it. Where it cannot say (the change is half done), the names are enough.
async fn is_other<E: Engine>(engine: &E, intent: &Intent, plan: &Plan) -> bool {
    if find::is_qualified(engine.caps().spelling, &intent.table) {
        return false;
    }
    let request = Request { table: intent.table.clone(), ..plan.request.clone() };
    matches!(engine.plan(&request).await, Ok(p) if p.source != plan.source)
}

/// The stored plan, if it is what is asked for.
fn resume(begun: Begun, intent: &Intent, approval: &Approval, output: Output) -> Result<Plan, Failure> {
    let Begun { migration, phase, plan } = begun;
    let table = &plan.source;
    let refused = |message: String| {
        let go_on = format!(
            "go on with it: `shadowswap run --table {table}`; or give it up: `shadowswap abort --table {table}`"
        );
        Failure::from(Error::refused(message).next(go_on))
            .state(format!("migration {migration} of {table} is unfinished (phase {phase})"))
    };
    if !intent.matches(&plan.request) {
        let (is, asked) = (change(&plan.request), change(&intent.request()));
        return Err(refused(format!(
            "an unfinished migration of {table} does something else\n  unfinished: {is}\n  asked for: {asked}"
        )));
    }
    if let Some(id) = approval.plan_id.as_ref().filter(|id| **id != plan.id) {
        return Err(refused(format!(
            "the unfinished migration of {table} has plan {}, not the approved {id}",
            plan.id
        )));
    }
    output.say(&format!("going on with migration {migration} of {table}: phase {phase}, plan {}", plan.id));
    Ok(plan)
}

fn change(request: &Request) -> String {
    let sets = request.sets.iter().map(|(column, expression)| format!("set {column} = {expression}"));
    let indexes = match request.indexes {
        Indexes::Auto => None,
        Indexes::Early => Some("indexes early".to_string()),
        Indexes::Late => Some("indexes late".to_string()),
    };
    let backs =
        request.set_backs.iter().map(|(column, expression)| format!("set back {column} = {expression}"));
    request.alters.iter().cloned().chain(sets).chain(backs).chain(indexes).collect::<Vec<_>>().join("; ")
}

/// A new plan, approved.
async fn fresh<E: Engine>(
    engine: &E,
    intent: &Intent,
    approval: &Approval,
    output: Output,
) -> Result<Plan, Failure> {
    refuse_empty(intent)
        .map_err(|e| Failure::from(e).state(format!("no migration of {} is unfinished", intent.table)))?;
    let can_ask = output.is_interactive && !output.json;
    if !approval.yes && approval.plan_id.is_none() && !can_ask {
        let e = Error::usage("nobody has approved a plan, and there is no terminal to ask on");
        return Err(Failure::from(e.next("look at `shadowswap plan`, then say --plan-id ID; or say --yes")));
    }
    let plan = Box::pin(engine.plan(&intent.request())).await?;
    if plan.refusals().next().is_some() {
        return Err(refusal(plan));
    }
    approve(&plan, intent, approval, output)?;
    for finding in plan.findings.iter().filter(|f| f.severity == Severity::Warning) {
        let next = finding.next.as_ref().map_or_else(String::new, |n| format!("; {n}"));
        output.warn(&format!("{}: {}{next}", finding.check, finding.message));
    }
    Ok(plan)
}

fn approve(plan: &Plan, intent: &Intent, approval: &Approval, output: Output) -> Result<(), Failure> {
    let nothing = "nothing was changed";
    match &approval.plan_id {
        Some(id) if *id != plan.id => {
            let e = Error::refused(format!(
                "the plan for {} is now {}, not the approved {id}",
                plan.source, plan.id
            ));
            let next = format!(
                "the table, the change or the server is another one: look at `shadowswap plan`, then say --plan-id {}",
                plan.id
            );
            return Err(Failure::from(e.next(next)).state(nothing));
        }
        Some(_) => {}
        None if approval.yes => {}
        None => {
            super::plan::show(plan, &intent.settings, output);
            if !output.ask(&format!("\nchange {} now?", plan.source)) {
                return Err(Failure::from(Error::refused("not run: the answer was no")).state(nothing));
            }
            return Ok(());
        }
    }
    output.say(&format!("changing {}: {} (plan {})", plan.source, change(&plan.request), plan.id));
    Ok(())
}

/// A plan that its checks refuse.
fn refusal(plan: Plan) -> Failure {
    let mut message = format!("{} cannot be changed like this", plan.source);
    for finding in plan.refusals() {
        message.push_str(&format!(
            "\n  {}: {}",
            finding.check,
            finding.message.trim_end().replace('\n', "\n    ")
        ));
        if let Some(next) = &finding.next {
            message.push_str(&format!("\n    {}", next.trim_end().replace('\n', "\n    ")));
        }
    }
    let error =
        Error::refused(message).next("change what is named above; `shadowswap plan` shows every check");
    Failure { plan: Some(Box::new(plan)), ..Failure::from(error).state("nothing was changed") }
}

/// Runs the plan, shows progress, listens for signals.
///
/// # Errors
/// See the exit codes; the state and the next step are in each.
pub async fn carry<E: Engine>(
    engine: &E,
    plan: Plan,
    config: &Config,
    how: args::Progress,
    output: Output,
) -> Result<Report, Failure> {
    let (progress, shown) = watch::channel(Progress::new(Phase::Prepare));
    let (stop, stopped) = watch::channel(false);
    let show = Show::choose(how, output.json);
    let shown = tokio::spawn(bar::follow(shown, show, output.error_style));
    let signals = tokio::spawn(signals::listen(stop));
    let ended = Box::pin(runner::run(engine, plan.clone(), config.clone(), progress, stopped)).await;
    signals.abort();
    drop(tokio::time::timeout(SHOW_WAIT, shown).await);
    match ended {
        Ok(report) => Ok(report),
        Err(e) => {
            let state = Box::pin(state(engine, &plan)).await;
            let kind = e.kind;
            Err(Failure::from(e).state(state).or_next(|| next(kind, &plan)))
        }
    }
}

/// What state things are in, asked of the database.
async fn state<E: Engine>(engine: &E, plan: &Plan) -> String {
    let asked = async {
        let control = engine.control(false).await?;
        control.status(Some(&plan.source)).await
    };
    match tokio::time::timeout(STATE_WAIT, asked).await {
        Ok(Ok(all)) => all.first().map_or_else(|| "nothing was changed".to_string(), text::state),
        Ok(Err(_)) | Err(_) => {
            "the database could not be asked for the state; everything done so far is kept there".to_string()
        }
    }
}

/// What to do after an error that does not say it itself.
fn next(kind: Kind, plan: &Plan) -> String {
    let table = &plan.source;
    let give_up = format!("give up with `shadowswap abort --table {table}`");
    match kind {
        Kind::Transient | Kind::Early | Kind::Ambiguous | Kind::Interrupted => {
            format!("run the same command again to go on from here, or {give_up}")
        }
        Kind::Refused | Kind::Usage => {
            format!("change what is named above and run the same command again, or {give_up}")
        }
        Kind::Budget => {
            format!("run the same command again, perhaps with a larger --stall-budget, or {give_up}")
        }
        Kind::Differs | Kind::Corrupt => {
            format!("do not swap by hand; {give_up}, then look for the cause before beginning again")
        }
        Kind::Unfit => "change the data or what is asked for, then run it again; it begins anew".to_string(),
        Kind::Aborted => "nothing is left to do; the same command begins anew".to_string(),
        Kind::RolledBack => {
            "nothing is left to do; the new table is in the way of another run until it is dropped"
                .to_string()
        }
        Kind::Held | Kind::Superseded => format!("see `shadowswap status --table {table}`"),
    }
}

#[cfg(test)]
mod tests;
