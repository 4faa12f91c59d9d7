//! `pause`, `resume` and `cutover`: a word to whoever runs the migration.

use super::{Ended, find, tell};
use crate::{
    args::Target,
    exit::{DONE, Failure},
    output::Output,
    who,
};
use serde_json::json;
use shadowswap_core::{
    Engine, Error, Phase,
    control::{Command, Control as _, Status},
};

/// Writes the command into the control tables.
///
/// # Errors
/// `Refused` if no unfinished migration is meant, or the command makes no sense in its phase.
pub async fn execute<E: Engine>(engine: &E, target: &Target, command: Command, output: Output) -> Ended {
    let (control, status) = find::unfinished(engine, target.table.as_deref()).await?;
    if status.phase.is_swapped() {
        let e = Error::refused(format!(
            "{} is already swapped; there is nothing to {}",
            status.table,
            command.name()
        ));
        return Err(Failure::from(e.next("run the same command again to finish the cleaning up")));
    }
    let is_held = control.command(status.id, &who::operator(), &command).await?;
    let text = told(&status, &command, is_held);
    let more = json!({ "runner": status.runner.as_ref().filter(|_| is_held) });
    tell(output, &status, command.name(), &text, &text, more);
    Ok(DONE)
}

/// What the command will do, and when.
fn told(status: &Status, command: &Command, is_held: bool) -> String {
    let (table, phase) = (&status.table, status.phase);
    if !is_held {
        return format!(
            "{table}: noted, but nobody runs this migration now (phase {phase}); `{}` takes effect when it is run again",
            command.name()
        );
    }
    match command {
        Command::Pause if matches!(phase, Phase::Copy | Phase::Verify) => {
            format!("{table}: copying and comparing pause within a second; changes are still applied")
        }
        Command::Pause => {
            format!("{table}: noted; only copying and comparing can be paused, and it is in phase {phase}")
        }
        Command::Resume => format!("{table}: goes on within a second"),
        Command::Cutover if matches!(phase, Phase::Ready | Phase::Cutover) => {
            format!("{table}: swaps now; see `shadowswap status`")
        }
        Command::Cutover => {
            format!("{table}: is in phase {phase}; swaps as soon as it is ready, whatever the window says")
        }
        Command::Verify | Command::Abort | Command::Rollback | Command::Finish { .. } | Command::Throttle => {
            format!("{table}: told to {}", command.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fake::{self, Fake};
    use shadowswap_core::Kind;

    const QUIET: Output = fake::OUTPUT;

    #[tokio::test]
    async fn word_reaches_the_only_unfinished_migration() {
        let engine =
            Fake::with(vec![fake::status("s", "a", Phase::Done), fake::status("s", "b", Phase::Copy)]);
        assert_eq!(execute(&engine, &Target::default(), Command::Pause, QUIET).await.unwrap(), DONE);
        assert_eq!(engine.told(), ["pause"]);
    }

    #[tokio::test]
    async fn nothing_is_told_to_a_migration_that_is_swapped() {
        let engine = Fake::with(vec![fake::status("s", "b", Phase::Guard)]);
        let failure = execute(&engine, &Target::default(), Command::Cutover, QUIET).await.unwrap_err();
        assert_eq!(failure.error.kind, Kind::Refused);
        assert!(engine.told().is_empty());
    }

    #[test]
    fn operator_is_told_when_nobody_listens() {
        let text = told(&fake::status("s", "b", Phase::Copy), &Command::Pause, false);
        assert!(text.contains("nobody runs this migration now"), "{text}");
    }
}
