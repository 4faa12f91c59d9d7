//! Cases: folders that hold a table, a change, perhaps statements to run meanwhile, and what is expected. The same for every server.
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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::env;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use shadowswap_testkit::Binary;
use shadowswap_testkit::binary::{Output, Run};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::operator::{LONG, line, printed, shadowswap, tell};

/// Cases that run at the same time, on each server. They wait more than they compute.
const AT_ONCE: usize = 4;

/// Between two statements of a case's client: enough to leave the machine to the other cases.
const BREATH: Duration = Duration::from_millis(8);

/// Statements that must succeed after the run has ended.
const AFTERWARDS: u64 = 5;

/// A database of its own for a case's table.
pub trait Home: Send + Sync + 'static {
    /// How it is spoken to.
    type Session: Session;

    /// Arguments of every run here.
    const ARGS: &'static [&'static str] = &[];

    /// What the binary is told.
    fn address(&self) -> String;

    /// A new connection.
    fn session(&self) -> impl Future<Output = Self::Session> + Send;
}

/// A connection, and how to look at tables through it. Table names are as in SQL.
pub trait Session: Send + 'static {
    /// Runs statements.
    fn run(&mut self, text: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// A query's rows as text.
    fn query(&mut self, text: &str) -> impl Future<Output = Result<Vec<Vec<String>>, String>> + Send;

    /// All that the catalog says about a table.
    fn facts(&mut self, table: &str) -> impl Future<Output = BTreeSet<String>> + Send;

    /// Every row as text, sorted; without some of its columns.
    fn rows(&mut self, table: &str, without: &[String]) -> impl Future<Output = Vec<String>> + Send;

    /// What the columns that count would give next.
    fn next_values(&mut self, table: &str) -> impl Future<Output = Vec<(String, i64)>> + Send;

    /// Everything in the database outside the control tables: equal before and after means that nothing was changed.
    fn whole(&mut self) -> impl Future<Output = BTreeSet<String>> + Send;

    /// What a migration leaves behind when it does not tidy up.
    fn traces(&mut self) -> impl Future<Output = Vec<String>> + Send;

    /// Waits until the newest migration is in one of these phases.
    fn reached(&mut self, run: &mut Run, phases: &[&str]) -> impl Future<Output = ()> + Send;
}

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

    /// The cases of a folder that a server can have.
    fn all(folder: &str, server: &str) -> Vec<Case> {
        let only = env::var("SHADOWSWAP_CASE").unwrap_or_default();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut dirs: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        dirs.sort();
        let cases = dirs.iter().map(|dir| Case::read(dir)).filter(|case| case.name.contains(&only));
        cases
            .filter(|case| {
                case.expect.versions.is_empty() || case.expect.versions.iter().any(|v| v == server)
            })
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
    fn start(mut client: impl Session, lines: Vec<String>) -> Writer {
        let (stop, stopped) = watch::channel(false);
        let (counter, count) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut done = Vec::new();
            while !*stopped.borrow() {
                let (round, turn) = (done.len() / lines.len() + 1, done.len() % lines.len());
                let text = lines[turn].replace("{n}", &round.to_string());
                client.run(&text).await.map_err(|e| format!("a client's statement failed: {e}"))?;
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

/// Carries a case out; `new` makes a database.
async fn carry_out<H: Home, F: Future<Output = H> + Send>(
    case: &Case,
    new: impl Fn() -> F + Send,
) -> Result<(), String> {
    let home = new().await;
    let mut client = home.session().await;
    client.run(&case.create).await.map_err(|e| format!("create.sql: {e}"))?;
    if case.expect.exit != 0 {
        return refusal(case, &home, &mut client).await;
    }
    let writer = match case.writes.as_slice() {
        [] => None,
        lines => Some(Writer::start(home.session().await, lines.to_vec())),
    };
    let (output, writes) = success(case, &home, &mut client, writer).await?;
    let report = line(&output, "report");
    if report["strategy"] != case.expect.strategy.as_str() {
        return Err(format!("carried out by {}, not {}", report["strategy"], case.expect.strategy));
    }
    let mut wrong = Vec::new();
    let left = client.traces().await;
    if !left.is_empty() {
        wrong.push(format!("left behind: {}", left.join(", ")));
    }
    let is_kept = report["old_table"].is_string();
    if case.expect.strategy == "shadow" && is_kept == case.change.drop_old {
        wrong.push(format!("the old table: {}", report["old_table"]));
    }
    for query in &case.expect.query {
        let found = client.query(&query.sql).await?;
        if found != query.rows {
            wrong.push(format!("{} gives {found:?}, not {:?}", query.sql, query.rows));
        }
    }
    if case.expect.same_as_alter {
        let second = new().await;
        let mut twin = second.session().await;
        alter_twin(case, &mut twin, &writes).await?;
        wrong.extend(compare(case, &mut client, &mut twin).await);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn binary<H: Home>(case: &Case, url: &str) -> Binary {
    let file = case.dir.join("change.toml").display().to_string();
    let mut call = shadowswap(url)
        .args(["run", "--yes", "--json", "--max-load", "off", "-f", &file])
        .args(H::ARGS.iter().copied());
    if case.change.strategy.is_none() {
        call = call.args(["--strategy", "shadow"]);
    }
    call.args(case.expect.args.clone())
}

async fn success<H: Home>(
    case: &Case,
    home: &H,
    client: &mut H::Session,
    writer: Option<Writer>,
) -> Result<(Output, Vec<String>), String> {
    let url = home.address();
    let call = binary::<H>(case, &url);
    let Some(writer) = writer else { return Ok((ended(case, call.run(LONG).await)?, Vec::new())) };
    if case.expect.writes_until == "ready" {
        let mut run = call.args(["--cutover", "manual"]).spawn();
        client.reached(&mut run, &["ready"]).await;
        let writes = writer.stop().await?;
        tell(&url, "cutover", &case.change.table).await.expect_code(0);
        return Ok((ended(case, run.wait(LONG).await)?, writes));
    }
    let output = call.run(LONG).await;
    let writes = writer.stop().await;
    // If the run failed, that is what to look at first.
    let output = ended(case, output)?;
    Ok((output, writes?))
}

fn ended(case: &Case, output: Output) -> Result<Output, String> {
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
async fn alter_twin(case: &Case, twin: &mut impl Session, writes: &[String]) -> Result<(), String> {
    let mut run = async |text: &str| twin.run(text).await.map_err(|e| format!("twin: {e}"));
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

async fn compare<S: Session>(case: &Case, client: &mut S, twin: &mut S) -> Vec<String> {
    let (table, without) = (&case.change.table, &case.expect.without);
    let mut wrong = Vec::new();
    let (here, there) = (client.facts(table).await, twin.facts(table).await);
    if let Some(text) = difference(&here, &there) {
        wrong.push(format!("the catalog differs (+ migrated, - altered in place):\n{text}"));
    }
    let (here, there) = (client.rows(table, without).await, twin.rows(table, without).await);
    if let Some(text) = difference(&here, &there) {
        wrong.push(format!("rows differ (+ migrated, - altered in place):\n{text}"));
    }
    let (here, there) = (client.next_values(table).await, twin.next_values(table).await);
    for ((column, next), (_, least)) in here.iter().zip(&there) {
        // Numbers may be left out, as after any rollback; none may be given twice.
        if next < least {
            wrong.push(format!("the sequence of {column} gives {next}; the twin's {least}"));
        }
    }
    wrong
}

async fn refusal<H: Home>(case: &Case, home: &H, client: &mut H::Session) -> Result<(), String> {
    let table = &case.change.table;
    let (before, rows_before) = (client.whole().await, client.rows(table, &[]).await);
    let traces_before = client.traces().await;
    ended(case, binary::<H>(case, &home.address()).run(LONG).await)?;
    let mut wrong = Vec::new();
    if let Some(text) = difference(&client.whole().await, &before) {
        wrong.push(format!("refused, but the catalog changed (+ after, - before):\n{text}"));
    }
    if client.rows(table, &[]).await != rows_before {
        wrong.push("refused, but the rows changed".into());
    }
    let mut left = client.traces().await;
    left.retain(|trace| !traces_before.contains(trace));
    if !left.is_empty() {
        wrong.push(format!("refused, but left behind: {}", left.join(", ")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What is only here and what is only there, for people; nothing if they are equal.
pub fn difference<'a>(
    here: impl IntoIterator<Item = &'a String>,
    there: impl IntoIterator<Item = &'a String>,
) -> Option<String> {
    const SHOWN: usize = 8;
    let mut balance = BTreeMap::<&str, i64>::new();
    here.into_iter().for_each(|line| *balance.entry(line).or_default() += 1);
    there.into_iter().for_each(|line| *balance.entry(line).or_default() -= 1);
    balance.retain(|_, count| *count != 0);
    if balance.is_empty() {
        return None;
    }
    let line = |(line, count): (&&str, &i64)| match *count {
        1 => format!("  + {line}"),
        -1 => format!("  - {line}"),
        n => format!("  {n:+} times {line}"),
    };
    let mut shown: Vec<String> = balance.iter().take(SHOWN).map(line).collect();
    if balance.len() > SHOWN {
        shown.push(format!("  and {} more", balance.len() - SHOWN));
    }
    Some(shown.join("\n"))
}

/// Carries all cases of a folder out, several at a time. `server` is the name that cases and the test's name know it by.
///
/// # Panics
/// If one does not end as expected; the message has them all.
pub async fn every_case<H, F>(folder: &str, server: &'static str, new: impl Fn() -> F + Copy + Send + 'static)
where
    H: Home,
    F: Future<Output = H> + Send,
{
    let mut waiting: VecDeque<Case> = Case::all(folder, server).into();
    assert!(!waiting.is_empty(), "no case has such a name");
    let (mut running, mut failed, mut passed) = (JoinSet::new(), Vec::new(), 0);
    loop {
        while running.len() < AT_ONCE
            && let Some(case) = waiting.pop_front()
        {
            running.spawn(async move {
                let (name, start) = (case.name.clone(), Instant::now());
                let work = tokio::spawn(async move { carry_out(&case, new).await });
                let result = work.await.unwrap_or_else(|e| Err(panic_text(e)));
                let end = if result.is_ok() { "as expected" } else { "NOT as expected" };
                println!("{server} {name}: {end}, {:.1} s", start.elapsed().as_secs_f64());
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
    let repeat = format!("SHADOWSWAP_CASE=NAME cargo test -p shadowswap-integration cases::{server}");
    assert!(failed.is_empty(), "on {server}, repeat with {repeat}\n\n{}", failed.join("\n\n"));
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
