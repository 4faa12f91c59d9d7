//! Runs of the binary, and what they say of themselves.

use crate::server::Server;
use serde_json::Value;
use shadowswap_testkit::Binary;
use shadowswap_testkit::binary::{Output, Run};
use std::time::{Duration, Instant};

/// No run that is measured takes this long.
pub const LONG: Duration = Duration::from_secs(900);

/// How often what a run says is looked at.
const POLL: Duration = Duration::from_millis(10);

/// `shadowswap run` with progress as JSON, as fast as it can.
pub fn run(server: &Server, table: &str, change: &str, more: &[&str]) -> Binary {
    let more = [["--max-load", "off"].as_slice(), more].concat();
    plain(server, table, change, &more)
}

/// The same at its defaults.
pub fn plain(server: &Server, table: &str, change: &str, more: &[&str]) -> Binary {
    let args =
        ["run", "--yes", "--json", "--progress", "json", "--drop-old", "--table", table, "--alter", change];
    Binary::shadowswap().args(args).args(more.iter().copied()).args(["--url", &server.url()])
}

/// Tells a run to swap.
pub async fn cutover(server: &Server, table: &str) {
    command(server, table, &["cutover"]).await;
}

/// Gives a command about a table's migration, and returns what it printed.
pub async fn command(server: &Server, table: &str, words: &[&str]) -> String {
    let call =
        Binary::shadowswap().args(words.iter().copied()).args(["--table", table, "--url", &server.url()]);
    call.run(LONG).await.expect_code(0).stdout
}

/// The newest migration of a table, once it satisfies a condition.
pub async fn status(server: &Server, table: &str, is_reached: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let text = command(server, table, &["status", "--json"]).await;
        let newest = last(&text, "status").and_then(|mut all| all.get_mut(0).map(Value::take));
        if let Some(newest) = newest.filter(|newest| is_reached(newest)) {
            return newest;
        }
        assert!(start.elapsed() < LONG, "it took too long: {text}");
        tokio::time::sleep(POLL).await;
    }
}

/// The last of the objects of this name that a run printed.
pub fn last(stdout: &str, name: &str) -> Option<Value> {
    stdout.lines().rev().find_map(|line| {
        let mut value: Value = serde_json::from_str(line).ok()?;
        value.get_mut(name).map(Value::take)
    })
}

/// Waits until the progress of a run satisfies a condition, and returns it.
pub async fn reached(run: &mut Run, is_reached: impl Fn(&Value) -> bool) -> Value {
    watched(run, is_reached).await
}

/// The same, for a condition that remembers what it saw.
pub async fn watched(run: &mut Run, mut is_reached: impl FnMut(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let is_over = run.is_over();
        if let Some(progress) = last(&run.stdout(), "progress").filter(&mut is_reached) {
            return progress;
        }
        let problem = if is_over { "ended" } else { "took too long" };
        assert!(!is_over && start.elapsed() < LONG, "the run {problem}\n{}\n{}", run.stdout(), run.stderr());
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until a run is in one of the phases, or over: a short one may end before it has said so.
pub async fn in_phases_or_over(run: &mut Run, phases: &[&str]) {
    let is_there = |stdout: &str| {
        last(stdout, "progress").is_some_and(|p| p["phase"].as_str().is_some_and(|now| phases.contains(&now)))
    };
    let start = Instant::now();
    while !run.is_over() && !is_there(&run.stdout()) {
        assert!(start.elapsed() < LONG, "the run took too long\n{}\n{}", run.stdout(), run.stderr());
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until a run is in a phase.
pub async fn in_phase(run: &mut Run, phase: &str) {
    reached(run, |progress| progress["phase"] == phase).await;
}

/// A number of a progress or report.
pub fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or_else(|| panic!("there is no number {name} in {value}"))
}

/// The report of a run that must have ended well.
pub fn report(output: &Output) -> Value {
    last(&output.stdout, "report")
        .unwrap_or_else(|| panic!("no report\n{}\n{}", output.stdout, output.stderr))
}
