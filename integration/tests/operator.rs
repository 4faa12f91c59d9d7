//! What an operator does: runs commands, looks at phases, and waits for them.

use std::future::Future;
use std::time::{Duration, Instant};

use serde_json::Value;
use shadowswap_testkit::Binary;
use shadowswap_testkit::binary::{Output, Run};
use tokio::time::sleep;
use tokio_postgres::Client;

/// How long a whole run may take here, on a busy machine.
pub const LONG: Duration = Duration::from_secs(90);

/// What writers feel is not what most tests are about: they need not wait until copying has been courteous to them.
pub const AT_ONCE: [&str; 2] = ["--max-load", "off"];

/// How long anything else may take.
pub const SOON: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
pub const POLL: Duration = Duration::from_millis(4);

/// The binary, with the database's address in its environment.
pub fn shadowswap(url: &str) -> Binary {
    Binary::shadowswap().env("SHADOWSWAP_URL", url)
}

/// A run by shadow table that asks nobody.
pub fn run(url: &str, table: &str, alter: &str) -> Binary {
    let args =
        ["run", "--yes", "--progress", "none", "--strategy", "shadow", "--table", table, "--alter", alter];
    shadowswap(url).args(args).args(AT_ONCE)
}

/// A command that only names its table.
pub async fn tell(url: &str, command: &str, table: &str) -> Output {
    shadowswap(url).args([command, "--table", table]).run(SOON).await
}

/// Waits until `look` finds something.
///
/// # Panics
/// If it does not before the deadline.
pub async fn until<T, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain until {what}");
        sleep(POLL).await;
    }
}

/// The same with a query that answers yes or no. While a table that it names is not there, the answer is no.
pub async fn until_true(client: &Client, sql: &str, deadline: Duration) {
    until(sql, deadline, || async { is_true(client, sql).await.then_some(()) }).await;
}

/// The answer to a query that says yes or no.
pub async fn is_true(client: &Client, sql: &str) -> bool {
    match client.query_opt(&format!("select ({sql}) is true"), &[]).await {
        Ok(row) => row.is_some_and(|row| row.get(0)),
        Err(e) if e.code().is_some_and(|code| ["42P01", "3F000"].contains(&code.code())) => false,
        Err(e) => panic!("{sql}: {e:?}"),
    }
}

/// The phase of the newest migration, as the control tables have it.
pub async fn phase(client: &Client) -> Option<String> {
    let rows = client.query("select phase from shadowswap.migration order by id desc limit 1", &[]).await;
    rows.ok()?.first().map(|row| row.get(0))
}

/// Waits until the newest migration is in one of these phases, while a run goes on.
///
/// # Panics
/// If the run ends before, or at the deadline; the message has its output.
pub async fn reached(client: &Client, run: &mut Run, phases: &[&str]) {
    let start = Instant::now();
    loop {
        let now = phase(client).await;
        if now.as_deref().is_some_and(|now| phases.contains(&now)) {
            return;
        }
        let is_lost = run.is_over() || start.elapsed() > SOON;
        assert!(!is_lost, "{phases:?} not reached; now {now:?}\n{}{}", run.stdout(), run.stderr());
        sleep(POLL).await;
    }
}

/// Waits until a query says yes, while a run goes on.
///
/// # Panics
/// If the run ends before, or at the deadline; the message has its output.
pub async fn seen(client: &Client, run: &mut Run, sql: &str) {
    let start = Instant::now();
    while !is_true(client, sql).await {
        let is_lost = run.is_over() || start.elapsed() > SOON;
        let now = phase(client).await;
        assert!(!is_lost, "never so: {sql}; now {now:?}\n{}{}", run.stdout(), run.stderr());
        sleep(POLL).await;
    }
}

/// What `status --json` says of the newest migration.
pub async fn status(url: &str) -> Value {
    let output = shadowswap(url).args(["status", "--json"]).run(SOON).await.expect_code(0);
    let all = line(&output, "status");
    all.get(0).cloned().unwrap_or_else(|| panic!("no migration is shown: {}", output.stdout))
}

/// The value of the JSON line that has this one key.
///
/// # Panics
/// If there is no such line.
pub fn line(output: &Output, name: &str) -> Value {
    let values = output.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = values.filter_map(|value| value.get(name).cloned()).next_back();
    found.unwrap_or_else(|| panic!("no {name:?} among:\n{}{}", output.stdout, output.stderr))
}

/// Everything that was printed, without repetitions of what is tried again and again.
pub fn printed(output: &Output) -> String {
    const RETRIES: usize = 3;
    let (mut text, mut retries) = (format!("{}\n", output.stdout), 0);
    for line in output.stderr.lines() {
        retries += usize::from(line.contains("WARN"));
        if !line.contains("WARN") || retries <= RETRIES {
            text.extend([line, "\n"]);
        }
    }
    text
}

/// Runs statements that must succeed.
pub async fn sql(client: &Client, text: &str) {
    client.batch_execute(text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
}

/// The first column of a query's rows, as text.
pub async fn texts(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.unwrap_or_else(|e| panic!("{query}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}
