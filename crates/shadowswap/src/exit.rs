//! Exit codes, and how a failure is told.

use crate::output::{json, text::Style};
use shadowswap_core::{Error, Kind, plan::Plan};
use std::error::Error as _;

/// Everything was done.
pub const DONE: u8 = 0;
/// Asked to stop at once, by a second signal: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: i32 = 130;
/// The codes for `--help`.
pub const HELP: &str = r"  0  done
  1  failed or stopped; can be resumed, and the message says how
  2  wrong usage
  3  refused by a check; nothing was changed
  4  verification found rows that differ; nothing was swapped
  5  no cutover within the stall budget; still in step, can be resumed
  6  aborted, or rolled back
  7  another runner holds this migration
130  stopped at once by a second signal; can be resumed";

/// The exit code for an error of this kind.
pub fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Transient | Kind::Early | Kind::Ambiguous | Kind::Corrupt | Kind::Interrupted => 1,
        Kind::Usage => 2,
        Kind::Refused | Kind::Unfit => 3,
        Kind::Differs => 4,
        Kind::Budget => 5,
        Kind::Aborted | Kind::RolledBack => 6,
        Kind::Held | Kind::Superseded => 7,
    }
}

/// An error, and what the operator should know around it.
#[derive(Debug)]
pub struct Failure {
    /// What was tried, and what the server answered.
    pub error: Error,
    /// What state things are in now.
    pub state: Option<String>,
    /// The plan, where it is the plan that was refused.
    pub plan: Option<Box<Plan>>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, state: None, plan: None }
    }
}

impl Failure {
    /// Adds what state things are in, unless the error says it itself.
    #[must_use]
    pub fn state(mut self, state: impl Into<String>) -> Failure {
        if !self.error.message.contains("\n  state:") {
            self.state = Some(state.into());
        }
        self
    }

    /// Adds what can be done, unless the error says it itself.
    #[must_use]
    pub fn or_next(mut self, next: impl FnOnce() -> String) -> Failure {
        if self.error.next.is_none() && !self.error.message.contains("\n  next:") {
            self.error.next = Some(next());
        }
        self
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        code(self.error.kind)
    }

    /// What the server or the driver said, outermost first, without what the message says already.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut source = self.error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // The driver wraps every answer of the server in an error of its own that only says so.
            let says_nothing = text == "db error";
            if !says_nothing
                && !self.error.message.contains(&text)
                && !causes.iter().any(|c| c.contains(&text))
            {
                causes.push(text);
            }
            source = cause.source();
        }
        causes
    }

    /// For people: what, then what the server said, the state, and what to do next.
    pub fn text(&self, style: Style) -> String {
        let mut lines = self.error.message.trim_end().lines();
        let mut text = format!("{} {}", style.red("error:"), lines.next().unwrap_or_default());
        for line in lines {
            text.push_str(if line.starts_with(' ') { "\n" } else { "\n  " });
            text.push_str(line);
        }
        let causes = self.causes();
        let parts = causes.iter().map(|c| ("server", c)).chain(self.state.iter().map(|s| ("state", s)));
        for (name, part) in parts.chain(self.error.next.iter().map(|n| ("next", n))) {
            let part = part.trim_end().replace('\n', "\n    ");
            text.push_str(&format!("\n  {} {part}", style.bold(&format!("{name}:"))));
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> String {
        let mut error = serde_json::json!({
            "kind": self.error.kind,
            "exit_code": self.code(),
            "message": self.error.message,
            "causes": self.causes(),
            "state": self.state,
            "next": self.error.next,
        });
        if let (Some(plan), Some(fields)) = (&self.plan, error.as_object_mut()) {
            fields.insert("plan_id".into(), plan.id.clone().into());
            fields.insert("findings".into(), serde_json::json!(plan.findings));
        }
        json::named("error", &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let kinds = [
            (Kind::Transient, 1),
            (Kind::Ambiguous, 1),
            (Kind::Corrupt, 1),
            (Kind::Interrupted, 1),
            (Kind::Usage, 2),
            (Kind::Refused, 3),
            (Kind::Unfit, 3),
            (Kind::Differs, 4),
            (Kind::Budget, 5),
            (Kind::Aborted, 6),
            (Kind::RolledBack, 6),
            (Kind::Held, 7),
            (Kind::Superseded, 7),
        ];
        for (kind, expected) in kinds {
            assert_eq!(code(kind), expected, "{kind:?}");
            assert!(HELP.contains(&format!("  {expected}  ")), "{expected} is not in --help");
        }
    }

    fn failure() -> Failure {
        let server = std::io::Error::other("55P03 canceling statement due to lock timeout");
        let error =
            Error::new(Kind::Budget, "could not lock public.orders\n  in the way: pid 4121").because(server);
        Failure::from(error.next("end that transaction")).state("nothing was swapped")
    }

    #[test]
    fn failure_says_what_the_server_said_the_state_and_what_to_do_next() {
        assert_eq!(
            failure().text(Style::PLAIN),
            "error: could not lock public.orders\n  in the way: pid 4121\n  server: 55P03 canceling statement due to lock timeout\n  \
             state: nothing was swapped\n  next: end that transaction"
        );
        let json: serde_json::Value = serde_json::from_str(&failure().json()).unwrap();
        assert_eq!(json["error"]["exit_code"], 5);
        assert_eq!(json["error"]["causes"][0], "55P03 canceling statement due to lock timeout");
    }

    #[test]
    fn nothing_is_said_twice() {
        let server = std::io::Error::other("disk full");
        let error = Error::transient("could not write: disk full\n  state: all is well\n  next: wait")
            .because(server);
        let text = Failure::from(error).state("other").or_next(|| "other".into()).text(Style::PLAIN);
        assert_eq!(text.matches("disk full").count(), 1);
        assert!(!text.contains("other"));
    }
}
