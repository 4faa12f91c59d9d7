//! The demo: a table of a million rows under eight writers is changed by shadowswap, then its twin by a plain `ALTER TABLE`.

use crate::client::Client;
use crate::figure::ms;
use crate::server::{Kind, Server};
use crate::table;
use shadowswap_testkit::Binary;
use shadowswap_testkit::load::{Latency, Ledger, Load, Running};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::process::Command;

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
    /// Statements that gave way in a deadlock or waited too long for a lock, which clients must expect of MySQL and MariaDB.
    conflicts: u64,
    is_equal: bool,
    rows: u64,
}

/// Runs the demo. Fails if a statement failed, or if a table does not hold what the writers were told.
pub async fn run(kind: Kind, is_quick: bool) -> ExitCode {
    let rows = if is_quick { 20_000 } else { 1_000_000 };
    step(&format!("starting a private server with {}", kind.needs()));
    let server = Server::start(kind, false).await;
    let mut client = server.connect().await;
    println!("   {server}, port {}", server.port());
    let (source, twin) = (&server.table("users"), &server.table("users_twin"));

    step(&format!("filling {source}: {rows} rows, a key, a unique index, an index"));
    let ledger = client.fill(table::busy(&server, source), rows).await;
    let (heap, indexes) = client.sizes(source).await;
    println!("   {heap} MB of rows, {indexes} MB of indexes");
    step("making its twin");
    client.twin(source, twin).await;

    step("what would happen");
    let change = server.change(0);
    let args = ["--table", source, "--alter", &change, "--url", &server.url()];
    said(&["plan"], &args).await;

    step("8 writers, closed loop; then the change, while they write");
    let ours = by_shadowswap(&server, &mut client, source, ledger, &args).await;
    step("the same change with ALTER TABLE on the twin, under the same writers");
    let ledger = client.adopt(table::busy(&server, twin)).await;
    let theirs = by_alter(&server, &mut client, twin, ledger, &change).await;

    step("what the writers felt");
    compare(&ours, &theirs, matches!(server, Server::Mysql(_)));
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

async fn start(server: &Server, ledger: Ledger) -> (Running, Latency) {
    let load = Load::new(&server.url()).writers(8);
    let running = load.start(ledger).await.expect("the load starts");
    tokio::time::sleep(CALM / 2).await;
    running.window();
    tokio::time::sleep(CALM).await;
    let before = running.window();
    println!("   before: {before}");
    (running, before)
}

async fn by_shadowswap(
    server: &Server,
    client: &mut Client,
    source: &str,
    ledger: Ledger,
    args: &[&str],
) -> Felt {
    let (running, before) = start(server, ledger).await;
    let start = Instant::now();
    let took = said(&["run", "--yes", "--max-load", "off"], args).await;
    felt(client, source, running, before, took, start.elapsed()).await
}

async fn by_alter(server: &Server, client: &mut Client, twin: &str, ledger: Ledger, change: &str) -> Felt {
    let (running, before) = start(server, ledger).await;
    let sql = server.blocking(twin, change);
    println!("{sql};");
    let start = Instant::now();
    client.batch(&sql).await;
    let took = start.elapsed();
    felt(client, twin, running, before, took, took).await
}

async fn felt(
    client: &mut Client,
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
    let differences = client.check(&ledger, table).await;
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
        conflicts: report.conflicts.values().sum(),
        is_equal: differences.is_empty(),
        rows: differences.rows,
    }
}

fn compare(ours: &Felt, theirs: &Felt, has_conflicts: bool) {
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
    if has_conflicts {
        both("gave way (deadlock, lock wait)", |felt| felt.conflicts.to_string());
    }
    both("rows compared with what clients were told", |felt| felt.rows.to_string());
    both("equal", |felt| if felt.is_equal { "yes".into() } else { "NO".into() });
}
