//! Everything at once, for as long as there is time: processes that are killed at any moment, servers that die, networks that fail.
//! `scripts/soak` runs it; a second of it is part of all tests, so that it does not rot.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
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

/// Does harm until told to stop; says how much of each kind.
async fn chaos(
    host: &Host,
    proxy: &Proxy,
    seed: u64,
    over: watch::Receiver<bool>,
) -> BTreeMap<&'static str, u32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut done = BTreeMap::new();
    while !*over.borrow() {
        sleep(between(&mut rng, 200..4_000)).await;
        let what = match rng.random_range(0..12) {
            0 => {
                let _nobody_looks = host.lives.write().await;
                host.kill9().await;
                if rng.random_bool(0.5) {
                    sleep(between(&mut rng, 100..3_000)).await;
                }
                host.restart().await;
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
        *done.entry(what).or_insert(0) += 1;
    }
    proxy.set(Flow::Free);
    done
}

async fn soaked(kind: Kind, time: Duration, seed: u64) {
    let host = Host::start(kind).await;
    let proxy = Proxy::start(host.port()).await;
    let (end, over) = watch::channel(false);
    let begun = Instant::now();
    let tables = async {
        let lane = |lane: u64| {
            let (host, proxy) = (&host, &proxy);
            async move {
                let (mut tables, mut kills) = (0_u64, 0);
                while tables == 0 || begun.elapsed() < time {
                    kills += crashes(host, seed + tables * AT_ONCE + lane, Some(proxy)).await;
                    tables += 1;
                }
                (tables, kills)
            }
        };
        let lanes = join_all((0..AT_ONCE).map(lane)).await;
        end.send_replace(true);
        lanes.into_iter().fold((0, 0), |(tables, kills), lane| (tables + lane.0, kills + lane.1))
    };
    let ((tables, kills), faults) = tokio::join!(tables, chaos(&host, &proxy, seed, over));
    println!(
        "{kind:?}: {tables} tables, {kills} kills, {faults:?}, {} losses; nothing was lost (seed {seed}, {:?})",
        proxy.lost(),
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
