//! Waiting for what a runner does about a word that it was given.

use crate::who;
use shadowswap_core::{
    Engine, Error, Result,
    control::{Command, Control as _, Status},
};
use std::time::Duration;
use tokio::time::Instant;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A runner that lost its connection over the word, or took it over from another, is told again.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A runner that has lost its connection comes back, and its last words may come before the phase.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Looks at a migration again and again.
pub struct Hearing<'a, E: Engine> {
    control: &'a E::Control,
    status: &'a Status,
    command: Command,
    told: Instant,
    heard: Instant,
    last_report: String,
}

impl<'a, E: Engine> Hearing<'a, E> {
    /// What follows the command, which was just given.
    pub fn new(control: &'a E::Control, status: &'a Status, command: Command) -> Hearing<'a, E> {
        let now = Instant::now();
        Hearing { control, status, command, told: now, heard: now, last_report: String::new() }
    }

    /// The migration as it is a moment later.
    ///
    /// # Errors
    /// `Refused` if it is gone.
    pub async fn next(&mut self) -> Result<Status> {
        tokio::time::sleep(LOOK_EVERY).await;
        let table = &self.status.table;
        let all = self.control.status(Some(table)).await?;
        let found = all.into_iter().find(|s| s.id == self.status.id);
        let now = found.ok_or_else(|| Error::refused(format!("the migration of {table} is gone")))?;
        if now.updated_at != self.last_report {
            (self.last_report, self.heard) = (now.updated_at.clone(), Instant::now());
        }
        Ok(now)
    }

    /// How long ago the runner last reported.
    pub fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Whether nobody runs the migration any more.
    pub fn is_alone(&self, now: &Status) -> bool {
        now.runner.is_none() && self.silence() > LAST_WORDS
    }

    /// Gives the command again, now and then.
    ///
    /// # Errors
    /// The server's.
    pub async fn remind(&mut self) -> Result<()> {
        if self.told.elapsed() > TELL_EVERY {
            self.told = Instant::now();
            self.control.command(self.status.id, &who::operator(), &self.command).await?;
        }
        Ok(())
    }
}
