//! What networks do, in each phase and inside the lock, through a proxy between the program and its server. Clients go around it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use shadowswap_testkit::mysql::Product;
use shadowswap_testkit::{Binary, Flow, Loss, Proxy, Version};
use tokio::time::sleep;

use super::{Clients, Hold, Host, Kind, Table, is_long};
use crate::operator::LONG;

/// Tables at a time.
pub const AT_ONCE: usize = 5;
/// Half a minute in the long version; otherwise what is longer than every budget here.
fn stall() -> Duration {
    Duration::from_secs(if is_long() { 30 } else { 3 })
}

/// A run's time. At full length a batch whose answer never comes is given up after ten minutes.
pub fn patience() -> Duration {
    LONG * if is_long() { 10 } else { 1 }
}

/// Hundredths of what is waited for otherwise.
pub fn hundredths() -> &'static str {
    if is_long() { "100" } else { "4" }
}

/// The longest that a client may wait because our connections are gone while we have the lock: half the budget for the lock, and the time
/// after which the server lets go of a session that says nothing (MySQL counts whole seconds), and some room.
const WAIT_MAX: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Cut,
    Reset,
    /// Nothing flows for a time, then everything that waited.
    Stall,
    /// The connections of now are never heard of again; new ones flow.
    Hang,
}

const FAULTS: [Fault; 4] = [Fault::Reset, Fault::Hang, Fault::Stall, Fault::Cut];

/// Places of every phase; of those that are not met on a product, their like.
fn places(kind: Kind) -> [&'static str; 12] {
    let (waits, sent) = match kind {
        Kind::Mysql(Product::MariaDb) => ("RenameWaits", "LetGo"),
        Kind::Mysql(Product::MySql) => ("LockReady", "SwapSent"),
        Kind::Postgres(_) => ("SlotMade", "SwapSent"),
    };
    [
        "BeginNoted",
        "CopyBegun",
        "ChunkWritten",
        "BatchWritten",
        "IndexBegins",
        "IndexBuilt",
        "Locked",
        "Drained",
        waits,
        sent,
        "Swapped",
        "TurnOpened",
    ]
}

/// A table, and a proxy for the program.
struct Wire {
    table: Table,
    proxy: Proxy,
}

impl Table {
    /// The way through a proxy.
    pub fn url_through(&self, proxy: &Proxy) -> String {
        let url = proxy.url(&self.url(), self.host.port());
        match self.host.kind {
            Kind::Postgres(_) => url,
            // What is encrypted cannot be recognised.
            Kind::Mysql(_) => format!("{url}?ssl-mode=DISABLED"),
        }
    }
}

impl Wire {
    async fn new(host: &Host, name: &str) -> Wire {
        let table = Table::new(host, name, Clients::FEW, false).await;
        Wire { table, proxy: Proxy::start(host.port()).await }
    }

    fn run(&self) -> Binary {
        let run = self.table.run_at(&self.table.url_through(&self.proxy)).args([
            "--stall-budget",
            "1s",
            "--cutover-attempts",
            "20",
        ]);
        run.args(["-v"]).env("SHADOWSWAP_TEST_PATIENCE", hundredths())
    }
}

/// Holds a run at a place, does something to its connections, and lets it go on.
async fn at_place(host: &Host, place: &str, fault: Fault) {
    let what = format!("{:?} {place} {fault:?}", host.kind);
    let mut wire = Wire::new(host, &format!("net_{place}_{fault:?}").to_lowercase()).await;
    let beside = wire.table.beside(Clients::FEW).await;
    let hold = Hold::at(place);
    let mut run = hold.on(wire.run().args(["--guard", "2s", "--drop-old"])).spawn();
    hold.reached(&mut run).await;
    beside.begins(&wire.table);
    match fault {
        Fault::Cut => wire.proxy.set(Flow::Cut),
        Fault::Reset => wire.proxy.set(Flow::Reset),
        Fault::Hang => wire.proxy.set_present(Flow::Stalled),
        Fault::Stall => {
            wire.proxy.set(Flow::Stalled);
            hold.let_go();
            sleep(stall()).await;
            wire.proxy.set(Flow::Free);
        }
    }
    // A process that is stopped inside the lock is another matter; here it is the network that is gone.
    hold.let_go();
    let output = run.wait(patience()).await;
    assert!(output.code() == Some(0), "{what}: {}\n{}{}", output.status, output.stdout, output.stderr);
    beside.no_longer_than(WAIT_MAX, &wire.table, &what, &output).await;
    wire.table.is_changed(&what, false).await;
}

/// In the short version each place meets one fault and each fault several places.
async fn network_fails(kind: Kind, turn: usize) {
    let host = Host::start(kind).await;
    let all = places(kind).into_iter().enumerate().flat_map(|(n, place)| {
        FAULTS
            .into_iter()
            .enumerate()
            .filter(move |(m, _)| is_long() || (n + turn) % 4 == *m)
            .map(move |(_, f)| (place, f))
    });
    let all = all.map(|(place, fault)| at_place(&host, place, fault));
    stream::iter(all).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn network_that_fails_in_any_phase_is_survived_on_postgres() {
    network_fails(Kind::Postgres(Version::Apt), 0).await;
}

#[tokio::test]
async fn network_that_fails_in_any_phase_is_survived_on_mysql() {
    network_fails(Kind::Mysql(Product::MySql), 1).await;
}

#[tokio::test]
async fn network_that_fails_in_any_phase_is_survived_on_mariadb() {
    network_fails(Kind::Mysql(Product::MariaDb), 2).await;
}

/// What loses an answer, by the name of the session that asks and what it says.
fn questions(kind: Kind) -> [(&'static str, &'static str, &'static str); 4] {
    let swap = match kind {
        Kind::Postgres(_) => ("swap", "shadowswap/cutover", "in access exclusive mode"),
        Kind::Mysql(Product::MySql) => ("swap", "shadowswap/cutover", "rename table"),
        Kind::Mysql(Product::MariaDb) => ("swap", "shadowswap/swap", "rename table"),
    };
    [
        ("chunk", "shadowswap/copy", "commit"),
        ("batch", "shadowswap/apply", "commit"),
        swap,
        ("done", "shadowswap/control", "\u{4}done"),
    ]
}

async fn lost(host: &Host, (name, opening, bytes): (&str, &str, &str), loss: Loss) {
    let what = format!("{:?} {name} {loss:?}", host.kind);
    let mut wire = Wire::new(host, &format!("lost_{name}_{loss:?}").to_lowercase()).await;
    wire.proxy.lose(loss, opening, bytes);
    let run = wire.run().args(["--drop-old"]).spawn();
    let output = run.wait(patience()).await;
    assert!(output.code() == Some(0), "{what}: {}\n{}{}", output.status, output.stdout, output.stderr);
    assert_eq!(wire.proxy.lost(), 1, "{what}: nothing was lost\n{}", output.stderr);
    wire.table.is_changed(&what, false).await;
    // It is not begun a second time.
    assert_eq!(wire.table.migrations().await, "1", "{what}");
    println!("{what}: {:?}", output.elapsed);
}

#[tokio::test]
async fn answers_that_are_lost_at_a_commit_are_found_out() {
    for kind in [Kind::Postgres(Version::Apt), Kind::Mysql(Product::MySql), Kind::Mysql(Product::MariaDb)] {
        let host = Host::start(kind).await;
        let losses: &[Loss] = if is_long() {
            &[Loss::Answer, Loss::Request, Loss::Everything]
        } else {
            &[Loss::Answer, Loss::Everything]
        };
        let all = questions(kind).into_iter().flat_map(|q| losses.iter().map(move |loss| (q, *loss)));
        let all = all.map(|(question, loss)| lost(&host, question, loss));
        stream::iter(all).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }
}

/// Something between us takes what is said in one session and gives nothing back, while all others work: that is not waited for for ever.
#[tokio::test]
async fn session_whose_answers_are_swallowed_is_given_up() {
    for kind in [Kind::Postgres(Version::Apt), Kind::Mysql(Product::MySql), Kind::Mysql(Product::MariaDb)] {
        let host = Host::start(kind).await;
        let mut wire = Wire::new(&host, "swallowed").await;
        let hold = Hold::at("IndexBuilt");
        let mut run = hold.on(wire.run().args(["--drop-old"])).spawn();
        hold.reached(&mut run).await;
        let links = wire.proxy.links();
        let ours: Vec<_> = links.iter().filter(|link| link.opening().contains("shadowswap/index")).collect();
        assert!(!ours.is_empty(), "{kind:?}: no session builds indexes");
        ours.iter().for_each(|link| link.set(Flow::Stalled));
        hold.let_go();
        let output = run.wait(patience()).await.expect_code(0);
        let says = "the server has had nothing to do for this session (index)";
        assert!(output.stderr.contains(says), "{kind:?}: {}", output.stderr);
        wire.table.is_changed(&format!("{kind:?} swallowed"), false).await;
    }
}

/// A session that is at work, or waits for somebody else on the server, is waited for, however long it says nothing.
#[tokio::test]
async fn session_that_is_at_work_is_not_given_up() {
    let host = Host::start(Kind::Postgres(Version::Apt)).await;
    let mut wire = Wire::new(&host, "busy").await;
    let hold = Hold::at("IndexBegins");
    let mut run = hold.on(wire.run().args(["--drop-old"])).spawn();
    hold.reached(&mut run).await;
    let other = host.connect(&wire.table.name).await;
    other.sql("begin; lock table _t_shadow in row exclusive mode").await;
    hold.let_go();
    sleep(Duration::from_secs(if is_long() { 300 } else { 12 })).await;
    other.sql("commit").await;
    let output = run.wait(LONG).await.expect_code(0);
    assert!(!output.stderr.contains("has had nothing to do"), "{}", output.stderr);
    wire.table.is_changed("busy", false).await;
}

/// Every piece waits on its way, in either direction.
#[tokio::test]
async fn slow_network_is_only_slow() {
    for kind in [Kind::Postgres(Version::Pip), Kind::Mysql(Product::MySql), Kind::Mysql(Product::MariaDb)] {
        let host = Host::start(kind).await;
        let mut wire = Wire::new(&host, "slow").await;
        wire.proxy.set(Flow::Slow(Duration::from_millis(8)));
        let output = wire.run().args(["--guard", "1s", "--drop-old"]).run(LONG).await.expect_code(0);
        wire.table.is_changed(&format!("{kind:?} slow\n{}", output.stderr), false).await;
    }
}
