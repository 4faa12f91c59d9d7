//! The demo: a table of a million rows under eight writers is changed by shadowswap, then its twin by a plain `ALTER TABLE`.

use crate::figure::ms;
use crate::{server, table};
use shadowswap_testkit::load::{Latency, Ledger, Load, Running};
use shadowswap_testkit::{Binary, Postgres, Version};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio_postgres::Client;

const SOURCE: &str = "public.users";
const TWIN: &str = "public.users_twin";

/// Writers warm up this long, then are measured this long before a change.
const CALM: Duration = Duration::from_secs(5);

/// The demo must end by itself; no change takes this long.
const LIMIT: Duration = Duration::from_secs(150);

/// What the writers felt during a change.
struct Felt {
    took: Duration,
    before: Latency,
    during: Latency,
    statements_per_second: f64,
    failed: u64,
    is_equal: bool,
    rows: u64,
}

/// Runs the demo. Fails if a statement failed, or if a table does not hold what the writers were told.
pub async fn run(is_quick: bool) -> ExitCode {
    let rows = if is_quick { 20_000 } else { 1_000_000 };
    step("starting a private server with wal_level = logical");
    let server = server(Version::Apt, false).await;
    let client = server.connect("postgres").await;
    println!("   PostgreSQL {}, port {}", server.version(), server.port());

    step(&format!("filling {SOURCE}: {rows} rows, a key, a unique index, an index"));
    let ledger = table::create_busy(&client, SOURCE, rows).await;
    let sizes = "select pg_size_pretty(pg_table_size($1::text::regclass)), pg_size_pretty(pg_indexes_size($1::text::regclass))";
    let row = client.query_one(sizes, &[&SOURCE]).await.expect("the table has a size");
    println!("   {} of rows, {} of indexes", row.get::<_, String>(0), row.get::<_, String>(1));
    step("making its twin");
    let twin = format!(
        "create table {TWIN} (like {SOURCE} including all); insert into {TWIN} select * from {SOURCE}"
    );
    table::execute(&client, &twin).await;
    table::settle(&client, TWIN).await;

    step("what would happen");
    let change = table::change(0);
    let args = ["--table", SOURCE, "--alter", &change, "--url", &server.url("postgres")];
    said(&["plan"], &args).await;

    step("8 writers, closed loop; then the change, while they write");
    let ours = by_shadowswap(&server, &client, ledger, &args).await;
    step("the same change with ALTER TABLE on the twin, under the same writers");
    let ledger = Ledger::adopt(&client, table::busy(TWIN)).await;
    let theirs = by_alter(&server, &client, ledger, &change).await;

    step("what the writers felt");
    compare(&ours, &theirs);
    let is_good = [&ours, &theirs].iter().all(|felt| felt.failed == 0 && felt.is_equal);
    server.stop().await;
    if is_good {
        ExitCode::SUCCESS
    } else {
        eprintln!("demo: a statement failed, or a table does not hold what the writers were told");
        ExitCode::FAILURE
    }
}

fn step(what: &str) {
    println!("\n== {what}");
}

/// Runs the binary on our own terminal.
async fn said(command: &[&str], args: &[&str]) -> Duration {
    println!("$ shadowswap {} {}", command.join(" "), shown(args));
    let start = Instant::now();
    let path = Binary::shadowswap().path().to_owned();
    let status = Command::new(path).args(command).args(args).stdin(Stdio::null()).kill_on_drop(true).status();
    let status =
        tokio::time::timeout(LIMIT, status).await.expect("it ends in time").expect("it can be started");
    assert!(status.success(), "shadowswap ended with {status}");
    start.elapsed()
}

/// Arguments as one would type them.
fn shown(args: &[&str]) -> String {
    let quoted = |arg: &&str| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

async fn start(server: &Postgres, ledger: Ledger) -> (Running, Latency) {
    let load = Load::new(&server.url("postgres")).writers(8);
    let running = load.start(ledger).await.expect("the load starts");
    tokio::time::sleep(CALM / 2).await;
    running.window();
    tokio::time::sleep(CALM).await;
    let before = running.window();
    println!("   before: {before}");
    (running, before)
}

async fn by_shadowswap(server: &Postgres, client: &Client, ledger: Ledger, args: &[&str]) -> Felt {
    let (running, before) = start(server, ledger).await;
    let start = Instant::now();
    let took = said(&["run", "--yes"], args).await;
    felt(client, SOURCE, running, before, took, start.elapsed()).await
}

async fn by_alter(server: &Postgres, client: &Client, ledger: Ledger, change: &str) -> Felt {
    let (running, before) = start(server, ledger).await;
    let sql = format!("alter table {TWIN} {change}");
    println!("{sql};");
    let start = Instant::now();
    table::execute(client, &sql).await;
    let took = start.elapsed();
    felt(client, TWIN, running, before, took, took).await
}

async fn felt(
    client: &Client,
    table: &str,
    running: Running,
    before: Latency,
    took: Duration,
    window: Duration,
) -> Felt {
    // A statement that still waits is answered now, and belongs to this window.
    running.reached(8, LIMIT).await;
    let during = running.window();
    let (report, ledger) = running.stop().await;
    let differences = ledger.check(client, table).await.expect("the table can be read");
    if !differences.is_empty() {
        println!("{differences}");
    }
    if !report.is_clean() {
        println!("{report}");
    }
    Felt {
        took,
        before,
        statements_per_second: during.count() as f64 / window.as_secs_f64(),
        during,
        failed: report.failures() + report.violations.len() as u64,
        is_equal: differences.is_empty(),
        rows: differences.rows,
    }
}

fn compare(ours: &Felt, theirs: &Felt) {
    let line = |name: &str, ours: String, theirs: String| println!("  {name:<38}{ours:>16}{theirs:>16}");
    line("", "shadowswap".into(), "ALTER TABLE".into());
    let both = |name: &str, value: fn(&Felt) -> String| line(name, value(ours), value(theirs));
    both("the change took", |felt| format!("{:.1} s", felt.took.as_secs_f64()));
    both("statements a second before", |felt| {
        format!("{:.0}", felt.before.count() as f64 / CALM.as_secs_f64())
    });
    both("statements a second during", |felt| format!("{:.0}", felt.statements_per_second));
    both("p50 before", |felt| format!("{:.2} ms", ms(felt.before.p50())));
    both("p50 during", |felt| format!("{:.2} ms", ms(felt.during.p50())));
    both("p99 before", |felt| format!("{:.2} ms", ms(felt.before.p99())));
    both("p99 during", |felt| format!("{:.2} ms", ms(felt.during.p99())));
    both("longest wait before", |felt| format!("{:.1} ms", ms(felt.before.max())));
    both("longest wait during", |felt| format!("{:.1} ms", ms(felt.during.max())));
    both("failed statements", |felt| felt.failed.to_string());
    both("rows compared with what clients were told", |felt| felt.rows.to_string());
    both("equal", |felt| if felt.is_equal { "yes".into() } else { "NO".into() });
}
