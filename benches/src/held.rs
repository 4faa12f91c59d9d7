//! How long clients wait while somebody holds the table at cutover for longer than all attempts take.
//!
//! The holders have only read, and none of them for long: whoever is seen beforehand is not asked for the lock. Two sessions take turns, so
//! that one of them always has it. Each attempt asks for the lock, waits within the stall budget, and lets go. The longest latency of all
//! statements over all attempts is compared with the budget and 10 ms. The machine has a noise of its own: as many clients of a table
//! beside it, which nobody holds or changes, are measured at the same time.

use crate::figure::{Record, ms};
use crate::server::Server;
use crate::{Setting, migration, table};
use shadowswap_testkit::load::Load;
use std::time::{Duration, Instant};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

const BUDGET: Duration = Duration::from_millis(60);
/// What clients may wait beyond the budget.
const GRACE: Duration = Duration::from_millis(10);
const RATE: f64 = 200.0;
const WRITERS: usize = 8;
/// How long one session has the table before the next.
const TURN: Duration = Duration::from_millis(100);

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("held", server);
    let table = &server.table("held");
    let mut client = server.connect().await;
    let rows = setting.pick(20_000, 2_000);
    let ledger = client.fill(table::busy(server, table), rows).await;
    let other = client.fill(table::busy(server, &server.table("beside")), rows).await;
    let load = || Load::new(&server.url()).writers(WRITERS).rate(RATE);
    let running = load().start(ledger).await.expect("the load starts");
    let beside = load().start(other).await.expect("the load starts");
    let (budget, attempts) = (format!("{}ms", BUDGET.as_millis()), setting.pick(8, 2).to_string());
    let more = ["--cutover", "manual", "--stall-budget", &budget, "--cutover-attempts", &attempts];
    let mut run = migration::run(server, table, &server.change(0), &more).spawn();
    migration::in_phase(&mut run, "ready").await;
    let holders = hold(server, table).await;
    running.window();
    beside.window();
    let begun = Instant::now();
    migration::cutover(server, table).await;
    run.wait(migration::LONG).await.expect_code(5);
    let took = begun.elapsed();
    running.reached(8, migration::LONG).await;
    let (held, noise) = (running.window().max(), beside.window().max());
    let ended = migration::status(server, table, |_| true).await;
    let events = ended["events"].as_array().into_iter().flatten().filter_map(|event| event["what"].as_str());
    let asked = events
        .filter(|what| what.starts_with("cutover attempt") && !what.contains("in the way"))
        .count() as f64;
    holders.end().await;
    migration::run(server, table, &server.change(0), &[]).run(migration::LONG).await.expect_code(0);
    beside.stop().await;
    let (report, ledger) = running.stop().await;
    let most = BUDGET + GRACE;
    record.at_most("slowest statement while the table is held", ms(held), "ms", ms(most));
    record.note("of a table beside it at the same time", ms(noise), "ms");
    record.note("time of all attempts", took.as_secs_f64(), "s");
    record.note("attempts that asked for the lock", asked, "");
    record.at_most("failed statements", report.failures() as f64, "", 0.0);
    setting.conflicts(&mut record, "", &report);
    let differences = client.check(&ledger, table).await;
    assert!(differences.is_empty(), "{differences}");
    record
}

/// Sessions that have the table in turn.
struct Holders {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// One transaction after the other reads the table, each until the next one has. Returns when the first has.
async fn hold(server: &Server, table: &str) -> Holders {
    let begin = if let Server::Postgres(_) = server { "begin" } else { "start transaction" };
    let read = format!("select count(*) from {table} where id < 10");
    let (mut holder, mut next) = (server.connect().await, server.connect().await);
    holder.batch(begin).await;
    holder.batch(&read).await;
    let (stop, mut stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        while timeout(TURN, &mut stopped).await.is_err() {
            next.batch(begin).await;
            next.batch(&read).await;
            holder.batch("rollback").await;
            std::mem::swap(&mut holder, &mut next);
        }
        holder.batch("rollback").await;
    });
    Holders { stop, task }
}

impl Holders {
    async fn end(self) {
        drop(self.stop);
        self.task.await.expect("the holders end");
    }
}
