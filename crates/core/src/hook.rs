//! Hooks: commands and URLs that are told what happens, in JSON.
//!
//! A hook can neither hold a run up nor break it: what it is told is queued, each call is bounded in time, and one that fails is warned
//! of and noted among the migration's events. It is not tried again. What comes while the queue is full is left out, which is noted too.

use crate::http;
use serde::Serialize;
use std::{
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncWriteExt, process::Command, sync::mpsc};
use tracing::warn;

/// How long one call may take.
pub const CALL_WITHIN: Duration = Duration::from_secs(10);
/// Events that wait: hooks that hang for their whole time lose what comes after a few minutes of trouble, and no memory.
const WAITING: usize = 64;
/// How long the last events may take before the process ends.
const END_WITHIN: Duration = Duration::from_secs(15);

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// `phase`, `throttle`, `cutover`, `success` or `failure`.
    pub event: &'static str,
    /// When, RFC 3339.
    pub at: String,
    /// The migration's number.
    pub migration: i64,
    /// The table.
    pub table: String,
    /// The phase that it is in.
    pub phase: String,
    /// What happened, for people: what holds the copy, why an attempt failed; `None`: the phase says it.
    pub message: Option<String>,
    /// The rest: the report of a success, the number of an attempt.
    pub detail: serde_json::Value,
}

/// Tells hooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hooks {
    queue: Option<mpsc::Sender<Event>>,
    lost: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    migration: Arc<AtomicI64>,
}

/// Hooks at work.
pub struct Calling {
    task: tokio::task::JoinHandle<()>,
    hooks: Hooks,
}

impl Hooks {
    /// Calls that failed since this was asked last, in a sentence each.
    pub fn take_failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on they are told of this migration.
    pub fn of(&self, migration: i64) {
        self.migration.store(migration, Ordering::Relaxed);
    }

    /// The migration that they are told of; 0: none yet.
    pub fn migration(&self) -> i64 {
        self.migration.load(Ordering::Relaxed)
    }

    /// Tells all of them, soon.
    pub fn tell(&self, event: Event) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts calling these.
pub fn start(hooks: Vec<String>) -> Calling {
    let (queue, mut events) = mpsc::channel::<Event>(WAITING);
    let is_empty = hooks.is_empty();
    let failures: Arc<Mutex<Vec<String>>> = Arc::default();
    let failed = Arc::clone(&failures);
    let task = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let json = serde_json::to_string(&event).unwrap_or_default();
            for hook in &hooks {
                let Err(why) = call(hook, &json).await else { continue };
                warn!(hook, event = event.event, error = %why, "a hook failed; the run goes on");
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                // Nobody may be left to note them.
                if failed.len() < WAITING {
                    failed.push(format!("hook {hook:?} failed at {}: {why}", event.event));
                }
            }
        }
    });
    let queue = (!is_empty).then_some(queue);
    Calling { task, hooks: Hooks { queue, lost: Arc::default(), failures, migration: Arc::default() } }
}

impl Calling {
    /// To tell them.
    pub fn hooks(&self) -> Hooks {
        self.hooks.clone()
    }

    /// Waits, within bounds, until everything that was told is passed on. Every other [`Hooks`] must be gone.
    pub async fn end(self) {
        let Calling { task, hooks } = self;
        let lost = hooks.lost.load(Ordering::Relaxed);
        if lost > 0 {
            warn!(lost, "hooks were too slow; they were not told of everything");
        }
        drop(hooks);
        let abort = task.abort_handle();
        if tokio::time::timeout(END_WITHIN, task).await.is_err() {
            warn!("hooks did not end in time; what they were not told yet is left out");
            abort.abort();
        }
    }
}

async fn call(hook: &str, json: &str) -> Result<(), String> {
    let call = async {
        if hook.starts_with("http://") || hook.starts_with("https://") {
            return http::post(hook, json.to_string()).await;
        }
        command(hook, json).await
    };
    match tokio::time::timeout(CALL_WITHIN, call).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("no answer within {} s", CALL_WITHIN.as_secs())),
    }
}

/// The shell's command reads the JSON from its standard input. What it prints is not ours to show.
async fn command(hook: &str, json: &str) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", hook]).kill_on_drop(true);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = shell.spawn().map_err(|e| format!("the shell could not be started: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It need not read it.
        drop(stdin.write_all(json.as_bytes()).await);
        drop(stdin.write_all(b"\n").await);
    }
    let output = child.wait_with_output().await.map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.lines().last().unwrap_or_default().chars().take(200).collect();
    Err(format!("{} {said}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &'static str) -> Event {
        Event {
            event: name,
            at: "2026-01-05T12:00:00Z".into(),
            migration: 3,
            table: "public.orders".into(),
            phase: "copy".into(),
            message: None,
            detail: serde_json::Value::Null,
        }
    }

    #[tokio::test]
    async fn command_reads_json_and_one_that_fails_is_told_of_and_stops_no_other() {
        let folder = std::env::temp_dir().join(format!("shadowswap-hook-{}", std::process::id()));
        let writes = format!("cat >> {}", folder.display());
        let calling = start(vec!["echo oh no >&2; exit 3".into(), writes]);
        let hooks = calling.hooks();
        hooks.tell(event("phase"));
        hooks.tell(event("success"));
        let failures = Hooks { queue: None, ..hooks.clone() };
        drop(hooks);
        calling.end().await;
        let told = std::fs::read_to_string(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        let events: Vec<serde_json::Value> = told.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(
            (events.len(), &events[1]["event"], &events[0]["table"]),
            (2, &"success".into(), &"public.orders".into())
        );
        let why = failures.take_failures().join("; ");
        assert!(why.contains("exit status: 3") && why.contains("oh no") && why.contains("at phase"), "{why}");
    }
}
