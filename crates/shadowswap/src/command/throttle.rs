//! `throttle`: changes settings of a migration while it runs.

use super::{Ended, find, tell};
use crate::{
    args::ThrottleArgs,
    exit::{DONE, Failure},
    output::Output,
    who,
};
use serde_json::json;
use shadowswap_core::{Engine, Error, control::Control as _, setting};

/// Checks all settings, then stores them and tells the runner.
///
/// # Errors
/// `Usage` for a wrong setting, and then none is stored; `Refused` if no unfinished migration is meant.
pub async fn execute<E: Engine>(engine: &E, args: &ThrottleArgs, output: Output) -> Ended {
    let settings = args.settings.iter().map(|text| setting::parse(text)).collect::<Result<Vec<_>, _>>();
    let settings = settings.map_err(|e| {
        Failure::from(Error::usage(e).next("`shadowswap throttle --help` says which settings there are"))
    })?;
    let (control, status) = find::unfinished(engine, args.target.table.as_deref()).await?;
    if settings.iter().any(|(name, _)| name == "guard") {
        let guard = control.find(&status.table).await?.and_then(|(_, _, plan)| plan.request.guard_s);
        if guard.is_none() {
            let e = Error::refused(format!(
                "the migration of {} began without --guard: nothing is prepared for going back",
                status.table
            ));
            return Err(e
                .next("nothing was changed; `shadowswap abort` and begin again with --guard")
                .into());
        }
    }
    let who = who::operator();
    let mut is_held = false;
    for (name, value) in &settings {
        is_held = control.set(status.id, &who, name, value).await?;
    }
    let table = &status.table;
    let text = settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
    let message = if is_held {
        format!("{table}: {text}, within a second")
    } else {
        format!(
            "{table}: {text}, when it is run again; nobody runs this migration now (phase {})",
            status.phase
        )
    };
    let more = json!({
        "settings": settings.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "runner": status.runner.as_ref().filter(|_| is_held),
    });
    tell(output, &status, "throttle", &message, &message, more);
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::Target, command::fake};
    use shadowswap_core::Phase;

    fn args(settings: &[&str]) -> ThrottleArgs {
        let target = Target { table: Some("orders".into()), control_schema: "shadowswap".into() };
        ThrottleArgs { target, settings: settings.iter().map(ToString::to_string).collect() }
    }

    #[tokio::test]
    async fn one_wrong_setting_stores_none() {
        let engine = fake::Fake::with(vec![fake::status("public", "orders", Phase::Copy)]);
        let e = execute(&engine, &args(&["chunk-time=50ms", "copy-workers=many"]), fake::OUTPUT)
            .await
            .unwrap_err();
        assert_eq!((e.code(), engine.told()), (2, vec![]));
        execute(&engine, &args(&["chunk-time=50ms", "replica-lag=5s..1s"]), fake::OUTPUT).await.unwrap();
        assert_eq!(engine.told(), ["chunk-time=50ms", "replica-lag=5s..1s"]);
    }
}
