//! A command of the operator's own: what it prints is the value, nothing is 0. One that fails cannot be read.

use super::signal::{Sampling, Signal, number};
use std::time::Duration;

/// A process is started for each reading.
const EVERY: Duration = Duration::from_secs(2);

/// See the module.
pub struct Command {
    pub(super) name: String,
    pub(super) text: String,
}

impl Signal for Command {
    fn name(&self) -> &str {
        &self.name
    }

    fn sample(&mut self) -> Sampling<'_> {
        Box::pin(async {
            let mut shell = tokio::process::Command::new("sh");
            // The sampler drops what takes too long, and the process with it.
            shell.args(["-c", &self.text]).stdin(std::process::Stdio::null()).kill_on_drop(true);
            let output = shell.output().await.map_err(|e| format!("the shell could not be started: {e}"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let said: String = said.lines().last().unwrap_or_default().chars().take(200).collect();
                return Err(format!("the command ended with {}: {said}", output.status));
            }
            number(&String::from_utf8_lossy(&output.stdout)).map(Some)
        })
    }

    fn every(&self) -> Duration {
        EVERY
    }
}
