//! Runs the folders of `cases/`: each is a table, a change, perhaps statements to run meanwhile, and what is expected.
//!
//! What a change should come to is not written down anywhere: an identical table in a second database gets the same statements and is
//! altered in place by the server. Afterwards both must be equal, row for row and fact for fact of the catalog.
//!
//! | file | holds |
//! |---|---|
//! | `create.sql` | makes the table and its rows, in both databases |
//! | `change.toml` | the migration file; without `strategy`, it is carried out by shadow |
//! | `writes.sql` | statements that a client runs one after the other during the run, over and over; `{n}` counts them |
//! | `expect.toml` | [`Expect`]; may be missing where the defaults are right |
//!
//! `SHADOWSWAP_CASE=name` runs only the cases whose names contain the text.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use shadowswap_testkit::{Database, Version, shared};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::catalog::{difference, facts, next_values, rows, traces, whole};
use crate::operator::{LONG, line, printed, reached, shadowswap, sql, tell};

/// Cases that run at the same time, on each server. They wait more than they compute.
const AT_ONCE: usize = 4;

/// Between two statements of a case's client: enough to leave the machine to the other cases.
const BREATH: Duration = Duration::from_millis(8);

/// Statements that must succeed after the run has ended.
const AFTERWARDS: u64 = 5;

/// Roles that cases may name.
const ROLES: [&str; 3] = ["keeper", "reader", "scribe"];

/// What a case should come to.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Expect {
    /// The exit code. Not 0: nothing may have changed, and nothing may be left behind.
    exit: i32,
    /// Equal to an identical table that the server altered in place.
    same_as_alter: bool,
    /// What the twin gets after the change, in place of `--set`.
    twin: Vec<String>,
    /// Columns that are not compared row for row, as in SQL: what the change makes at random.
    without: Vec<String>,
    /// How it must have been carried out.
    strategy: String,
    /// When the case's client stops: `end`, or `ready` where statements after the swap would mean something else.
    writes_until: String,
    /// Texts that must be printed.
    says: Vec<String>,
    /// More arguments of the run.
    args: Vec<String>,
    /// Queries after the run.
    query: Vec<Query>,
    /// Servers that can have such a table; empty: all. Say why in `create.sql`.
    versions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    sql: String,
    rows: Vec<Vec<String>>,
}

impl Default for Expect {
    fn default() -> Expect {
        Expect {
            exit: 0,
            same_as_alter: true,
            twin: Vec::new(),
            without: Vec::new(),
            strategy: "shadow".into(),
            writes_until: "end".into(),
            says: Vec::new(),
            args: Vec::new(),
            query: Vec::new(),
            versions: Vec::new(),
        }
    }
}

/// The part of a migration file that the twin needs.
#[derive(Deserialize)]
struct Change {
    table: String,
    #[serde(default)]
    alter: Vec<String>,
    strategy: Option<String>,
    #[serde(default, rename = "drop-old")]
    drop_old: bool,
}

struct Case {
    name: String,
    dir: PathBuf,
    create: String,
    change: Change,
    writes: Vec<String>,
    expect: Expect,
}

impl Case {
    fn read(dir: &Path) -> Case {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let text = |file: &str| fs::read_to_string(dir.join(file)).ok();
        let must = |file: &str| text(file).unwrap_or_else(|| panic!("case {name} has no {file}"));
        let change = toml::from_str(&must("change.toml"));
        let change = change.unwrap_or_else(|e| panic!("case {name}, change.toml: {e}"));
        let expect = toml::from_str(&text("expect.toml").unwrap_or_default());
        let expect = expect.unwrap_or_else(|e| panic!("case {name}, expect.toml: {e}"));
        let writes = text("writes.sql").unwrap_or_default();
        let writes = writes.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("--"));
        let writes = writes.map(str::to_owned).collect();
        Case { create: must("create.sql"), change, writes, expect, dir: dir.to_owned(), name }
    }

    fn all(version: Version) -> Vec<Case> {
        let only = env::var("SHADOWSWAP_CASE").unwrap_or_default();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut dirs: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        dirs.sort();
        let cases = dirs.iter().map(|dir| Case::read(dir)).filter(|case| case.name.contains(&only));
        let version = version.to_string();
        cases
            .filter(|case| case.expect.versions.is_empty() || case.expect.versions.contains(&version))
            .collect()
    }
}

/// A client that runs a case's statements in turn, and tells those that were acknowledged.
struct Writer {
    stop: watch::Sender<bool>,
    count: watch::Receiver<u64>,
    task: JoinHandle<Result<Vec<String>, String>>,
}

impl Writer {
    fn start(client: Client, lines: Vec<String>) -> Writer {
        let (stop, stopped) = watch::channel(false);
        let (counter, count) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut done = Vec::new();
            while !*stopped.borrow() {
                let (round, turn) = (done.len() / lines.len() + 1, done.len() % lines.len());
                let text = lines[turn].replace("{n}", &round.to_string());
                client
                    .batch_execute(&text)
                    .await
                    .map_err(|e| format!("a client's statement failed: {text}: {e:?}"))?;
                done.push(text);
                counter.send_modify(|count| *count += 1);
                tokio::time::sleep(BREATH).await;
            }
            Ok(done)
        });
        Writer { stop, count, task }
    }

    /// Lets it go on a little, then stops it.
    async fn stop(mut self) -> Result<Vec<String>, String> {
        let goal = *self.count.borrow() + AFTERWARDS;
        // An error means that the task has ended by itself; it tells why below.
        self.count.wait_for(|count| *count >= goal).await.ok();
        self.stop.send_replace(true);
        self.task.await.map_err(|e| e.to_string())?
    }
}

async fn carry_out(case: &Case, version: Version) -> Result<(), String> {
    let server = shared(version).await;
    let database = server.database().await;
    let client = database.connect().await;
    client.batch_execute(&case.create).await.map_err(|e| format!("create.sql: {e:?}"))?;
    if case.expect.exit != 0 {
        return refusal(case, &database, &client).await;
    }
    let writer = match case.writes.as_slice() {
        [] => None,
        lines => Some(Writer::start(database.connect().await, lines.to_vec())),
    };
    let (output, writes) = success(case, &database, &client, writer).await?;
    let report = line(&output, "report");
    if report["strategy"] != case.expect.strategy.as_str() {
        return Err(format!("carried out by {}, not {}", report["strategy"], case.expect.strategy));
    }
    let mut wrong = Vec::new();
    let left = traces(&client).await;
    if !left.is_empty() {
        wrong.push(format!("left behind: {}", left.join(", ")));
    }
    let is_kept = report["old_table"].is_string();
    if case.expect.strategy == "shadow" && is_kept == case.change.drop_old {
        wrong.push(format!("the old table: {}", report["old_table"]));
    }
    for query in &case.expect.query {
        let found = simple(&client, &query.sql).await?;
        if found != query.rows {
            wrong.push(format!("{} gives {found:?}, not {:?}", query.sql, query.rows));
        }
    }
    if case.expect.same_as_alter {
        let second = server.database().await;
        let twin = second.connect().await;
        alter_twin(case, &twin, &writes).await?;
        wrong.extend(compare(case, &client, &twin).await);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn binary(case: &Case, database: &Database) -> shadowswap_testkit::Binary {
    let file = case.dir.join("change.toml").display().to_string();
    let mut call = shadowswap(&database.url()).args(["run", "--yes", "--json", "-f", &file]);
    if case.change.strategy.is_none() {
        call = call.args(["--strategy", "shadow"]);
    }
    call.args(case.expect.args.clone())
}

async fn success(
    case: &Case,
    database: &Database,
    client: &Client,
    writer: Option<Writer>,
) -> Result<(shadowswap_testkit::binary::Output, Vec<String>), String> {
    let call = binary(case, database);
    let Some(writer) = writer else { return Ok((ended(case, call.run(LONG).await)?, Vec::new())) };
    if case.expect.writes_until == "ready" {
        let mut run = call.args(["--cutover", "manual"]).spawn();
        reached(client, &mut run, &["ready"]).await;
        let writes = writer.stop().await?;
        tell(&database.url(), "cutover", &case.change.table).await.expect_code(0);
        return Ok((ended(case, run.wait(LONG).await)?, writes));
    }
    let output = call.run(LONG).await;
    let writes = writer.stop().await;
    // If the run failed, that is what to look at first.
    let output = ended(case, output)?;
    Ok((output, writes?))
}

fn ended(
    case: &Case,
    output: shadowswap_testkit::binary::Output,
) -> Result<shadowswap_testkit::binary::Output, String> {
    let text = printed(&output);
    if output.code() != Some(case.expect.exit) {
        return Err(format!("ended with {}, not {}\n{text}", output.status, case.expect.exit));
    }
    match case.expect.says.iter().find(|says| !text.contains(*says)) {
        Some(says) => Err(format!("never said {says:?}\n{text}")),
        None => Ok(output),
    }
}

/// The twin gets the same statements, then the server's own ALTER.
async fn alter_twin(case: &Case, twin: &Client, writes: &[String]) -> Result<(), String> {
    let run = async |text: &str| twin.batch_execute(text).await.map_err(|e| format!("twin: {text}: {e:?}"));
    run(&case.create).await?;
    for text in writes {
        run(text).await?;
    }
    for body in &case.change.alter {
        run(&format!("alter table {} {body}", case.change.table)).await?;
    }
    for text in &case.expect.twin {
        run(text).await?;
    }
    Ok(())
}

async fn compare(case: &Case, client: &Client, twin: &Client) -> Vec<String> {
    let (table, without) = (&case.change.table, &case.expect.without);
    let mut wrong = Vec::new();
    let (here, there) = (facts(client, table).await, facts(twin, table).await);
    if let Some(text) = difference(&here, &there) {
        wrong.push(format!("the catalog differs (+ migrated, - altered in place):\n{text}"));
    }
    let (here, there) = (rows(client, table, without).await, rows(twin, table, without).await);
    if let Some(text) = difference(&here, &there) {
        wrong.push(format!("rows differ (+ migrated, - altered in place):\n{text}"));
    }
    let (here, there) = (next_values(client, table).await, next_values(twin, table).await);
    for ((column, next), (_, least)) in here.iter().zip(&there) {
        // Numbers may be left out, as after any rollback; none may be given twice.
        if next < least {
            wrong.push(format!("the sequence of {column} gives {next}; the twin's {least}"));
        }
    }
    wrong
}

async fn refusal(case: &Case, database: &Database, client: &Client) -> Result<(), String> {
    let (before, rows_before) = (whole(client).await, table_rows(case, client).await);
    let traces_before = traces(client).await;
    ended(case, binary(case, database).run(LONG).await)?;
    let mut wrong = Vec::new();
    if let Some(text) = difference(&whole(client).await, &before) {
        wrong.push(format!("refused, but the catalog changed (+ after, - before):\n{text}"));
    }
    if table_rows(case, client).await != rows_before {
        wrong.push("refused, but the rows changed".into());
    }
    let mut left = traces(client).await;
    left.retain(|trace| !traces_before.contains(trace));
    if !left.is_empty() {
        wrong.push(format!("refused, but left behind: {}", left.join(", ")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

async fn table_rows(case: &Case, client: &Client) -> Vec<String> {
    rows(client, &case.change.table, &[]).await
}

async fn simple(client: &Client, query: &str) -> Result<Vec<Vec<String>>, String> {
    let found = client.simple_query(query).await.map_err(|e| format!("{query}: {e:?}"))?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect())
        }
        _ => None,
    };
    Ok(found.into_iter().filter_map(row).collect())
}

async fn every_case(version: Version) {
    let server = shared(version).await;
    println!("PostgreSQL {}", server.version());
    let client = server.connect("postgres").await;
    for role in ROLES {
        sql(&client, &format!("create role {role}")).await;
    }
    let mut waiting: VecDeque<Case> = Case::all(version).into();
    assert!(!waiting.is_empty(), "no case has such a name");
    let (mut running, mut failed, mut passed) = (JoinSet::new(), Vec::new(), 0);
    loop {
        while running.len() < AT_ONCE
            && let Some(case) = waiting.pop_front()
        {
            running.spawn(async move {
                let (name, start) = (case.name.clone(), Instant::now());
                let work = tokio::spawn(async move { carry_out(&case, version).await });
                let result = work.await.unwrap_or_else(|e| Err(panic_text(e)));
                let end = if result.is_ok() { "as expected" } else { "NOT as expected" };
                println!("{version} {name}: {end}, {:.1} s", start.elapsed().as_secs_f64());
                (name, result)
            });
        }
        let Some(ended) = running.join_next().await else { break };
        match ended.unwrap() {
            (_, Ok(())) => passed += 1,
            (name, Err(why)) => failed.push(format!("{name}: {why}")),
        }
    }
    println!("{passed} cases passed, {} failed", failed.len());
    let repeat = format!("SHADOWSWAP_CASE=NAME cargo test -p shadowswap-integration cases::{version}");
    assert!(failed.is_empty(), "on {version}, repeat with {repeat}\n\n{}", failed.join("\n\n"));
}

fn panic_text(e: tokio::task::JoinError) -> String {
    match e.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (_, Some(text)) => (*text).to_owned(),
            (None, None) => "panicked".into(),
        },
        Err(e) => e.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apt_every_case_ends_as_expected() {
    every_case(Version::Apt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pip_every_case_ends_as_expected() {
    every_case(Version::Pip).await;
}
