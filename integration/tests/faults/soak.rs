//! Everything at once, for as long as there is time: processes that are killed at any moment, servers that die, networks that fail.
//! `scripts/soak` runs it; a second of it is part of all tests, so that it does not rot.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shadowswap_testkit::mysql::Product;
use shadowswap_testkit::{Flow, Loss, Proxy};
use tokio::sync::watch;
use tokio::time::sleep;

use super::crash::{crashes, number};
use super::{Host, Kind};

/// Tables at a time on each server.
const AT_ONCE: u64 = 3;
/// The names of the program's sessions that lose answers.
const SESSIONS: [&str; 6] = ["control", "copy", "apply", "marker", "cutover", "swap"];

fn between(rng: &mut StdRng, ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(ms))
}

/// What it came to.
#[derive(Default)]
struct Tally {
    tables: Cell<u64>,
    kills: Cell<u32>,
    faults: RefCell<BTreeMap<&'static str, u32>>,
    losses: Cell<usize>,
    /// Servers that could not recover from a kill, which is no doing of ours.
    lost_servers: Cell<u32>,
}

/// MariaDB does not start any more if it is killed while its redo log still has both the making and the renaming of a table (MDEV-40728).
/// Tables of any size that matters are older than the last checkpoint when they are renamed; these are not.
fn is_beyond_recovery(kind: Kind, log: &str) -> bool {
    kind == Kind::Mysql(Product::MariaDb)
        && log.contains("[ERROR] InnoDB: Tablespace ")
        && log.contains(" was not found at ")
}

/// Does harm until told to stop.
///
/// # Errors
/// The server's log, if it does not come up again.
async fn chaos(
    host: &Host,
    proxy: &Proxy,
    seed: u64,
    over: watch::Receiver<bool>,
    tally: &Tally,
) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    while !*over.borrow() {
        sleep(between(&mut rng, 200..4_000)).await;
        let what = match rng.random_range(0..12) {
            0 => {
                let _nobody_looks = host.lives.write().await;
                host.kill9().await;
                if rng.random_bool(0.5) {
                    sleep(between(&mut rng, 100..3_000)).await;
                }
                host.try_restart().await?;
                "servers killed"
            }
            1 | 2 => {
                proxy.set(Flow::Cut);
                "all connections cut"
            }
            3 | 4 => {
                proxy.set(Flow::Reset);
                "all connections reset"
            }
            5 => {
                proxy.set(Flow::Stalled);
                sleep(between(&mut rng, 100..6_000)).await;
                proxy.set(Flow::Free);
                "stalls"
            }
            6 => {
                proxy.set(Flow::Slow(between(&mut rng, 1..20)));
                sleep(between(&mut rng, 500..3_000)).await;
                proxy.set(Flow::Free);
                "slow times"
            }
            7 | 8 => {
                let links = proxy.links();
                if !links.is_empty() {
                    links[rng.random_range(0..links.len())].set(Flow::Stalled);
                }
                "connections that hang"
            }
            _ => {
                let session = format!("shadowswap/{}", SESSIONS[rng.random_range(0..SESSIONS.len())]);
                let loss = [Loss::Answer, Loss::Request, Loss::Everything][rng.random_range(0..3)];
                proxy.lose(loss, &session, if rng.random_bool(0.7) { "commit" } else { "" });
                "losses prepared"
            }
        };
        *tally.faults.borrow_mut().entry(what).or_insert(0) += 1;
    }
    proxy.set(Flow::Free);
    Ok(())
}

async fn soaked(kind: Kind, time: Duration, seed: u64) {
    let (begun, tally) = (Instant::now(), Tally::default());
    let mut seeds = seed;
    loop {
        let host = Host::start(kind).await;
        let proxy = Proxy::start(host.port()).await;
        let (end, over) = watch::channel(false);
        let next = Cell::new(seeds);
        let lane = async || {
            loop {
                let seed = next.replace(next.get() + 1);
                let kills = crashes(&host, seed, Some(&proxy)).await;
                tally.kills.set(tally.kills.get() + kills);
                tally.tables.set(tally.tables.get() + 1);
                if begun.elapsed() >= time {
                    break;
                }
            }
        };
        let tables = async {
            join_all((0..AT_ONCE).map(|_| lane())).await;
            end.send_replace(true);
        };
        let harm = chaos(&host, &proxy, seeds, over, &tally);
        let mut harm = std::pin::pin!(harm);
        let harmed = tokio::select! {
            harmed = &mut harm => harmed,
            () = tables => harm.await,
        };
        tally.losses.set(tally.losses.get() + proxy.lost());
        match harmed {
            Ok(()) => break,
            Err(log) if is_beyond_recovery(kind, &log) => {
                println!("{kind:?}: the server cannot recover (MDEV-40728); another one goes on");
                tally.lost_servers.set(tally.lost_servers.get() + 1);
                seeds = next.get();
            }
            Err(log) => panic!("{kind:?} cannot be restarted: {log}"),
        }
    }
    println!(
        "{kind:?}: {} tables, {} kills, {:?}, {} losses, {} servers that could not recover; nothing was lost (seed {seed}, {:?})",
        tally.tables.get(),
        tally.kills.get(),
        tally.faults.borrow(),
        tally.losses.get(),
        tally.lost_servers.get(),
        begun.elapsed()
    );
}

#[tokio::test]
async fn soak_loses_nothing() {
    let minutes = number("SHADOWSWAP_SOAK_MINUTES");
    let seed = number("SHADOWSWAP_SOAK_SEED").unwrap_or(1);
    let server = std::env::var("SHADOWSWAP_CRASH_SERVER").unwrap_or_default();
    let names = ["postgres", "mysql", "mariadb", "postgres18"];
    let meant = names
        .into_iter()
        .filter(|name| if server.is_empty() { *name != "postgres18" } else { *name == server });
    let kinds: Vec<Kind> = meant.filter_map(Kind::named).collect();
    assert!(!kinds.is_empty(), "there is no server {server:?}");
    // Each has its share of the time: side by side they would only measure the scheduler.
    let time = Duration::from_secs(minutes.unwrap_or(0) * 60) / kinds.len() as u32;
    for kind in kinds {
        soaked(kind, time, seed).await;
    }
}
