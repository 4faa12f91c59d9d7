//! SIGKILL at any moment, again and again, until a run gets through; seeded. `scripts/crash` has hundreds of such runs.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shadowswap_testkit::{Proxy, Signal};
use tokio::time::sleep;

use super::{Clients, Db, Host, Kind, PATIENT, Table};
use crate::operator::{LONG, SOON, printed, tell};

/// Tables at a time.
const AT_ONCE: usize = 4;
/// Runs that are killed before one is left alone.
const KILLS_MAX: u32 = 8;

/// What an operator wants of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    Change,
    Guard,
    RollBack,
    Abort,
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One table from beginning to end. Everything follows from the seed but how fast the machine is.
pub async fn crashes(host: &Host, seed: u64, rough: Option<&Proxy>) -> u32 {
    let mut rng = StdRng::seed_from_u64(seed);
    let rate = [Some(60.0), Some(200.0), Some(500.0)][rng.random_range(0..3)];
    let clients = Clients { rows: rng.random_range(50..4_000), writers: rng.random_range(1..=3), rate, seed };
    let wish =
        [Wish::Change, Wish::Guard, Wish::RollBack, Wish::RollBack, Wish::Abort][rng.random_range(0..5)];
    let what = format!("{:?} seed {seed} {wish:?}", host.kind);
    let by_unique = rng.random_bool(0.2);
    let mut table = {
        let _server_lives = host.lives.read().await;
        Table::new(host, &format!("crash_{seed}"), clients, by_unique).await
    };
    let guard = if wish == Wish::RollBack { "1h" } else { "1s" };
    let workers = rng.random_range(1..=4).to_string();
    let chunk = format!("{}ms", [5, 10, 50][rng.random_range(0..3)]);
    let url = rough.map_or_else(|| table.url(), |proxy| table.url_through(proxy));
    let call = || {
        let run =
            table.run_at(&url).env("SHADOWSWAP_TEST_PATIENCE", if rough.is_some() { "4" } else { "100" });
        let run = run.args(PATIENT).args(["--copy-workers", &workers, "--chunk-time", &chunk]);
        if wish == Wish::Guard || wish == Wish::RollBack { run.args(["--guard", guard]) } else { run }
    };
    let (mut kills, mut told) = (0, false);
    // The longest a run was alive; moments are chosen within it.
    let mut longest = 1_500;
    let started = Instant::now();
    loop {
        // Of what is over, nothing may be asked again: whether it is must be known.
        let state = table.state_for_sure().await;
        let turn = state.as_ref().map_or(0, |(_, turn)| *turn);
        let is_over = state
            .as_ref()
            .is_some_and(|(phase, _)| ["done", "aborted", "rolledback"].contains(&phase.as_str()));
        if is_over {
            break;
        }
        let limit = if rough.is_some() { LONG * 12 } else { LONG * 6 };
        assert!(started.elapsed() < limit, "{what}: does not come to an end: {state:?}");
        let command = match wish {
            Wish::RollBack if turn == 1 => {
                table.call(&["rollback", "--yes", "--progress", "none", "--stall-budget", "2s"])
            }
            Wish::RollBack if turn == 2 => table.call(&["finish"]),
            Wish::Abort if kills > 2 && turn == 0 && state.is_some() => table.call(&["abort", "--yes"]),
            Wish::Change | Wish::Guard | Wish::RollBack | Wish::Abort => call(),
        };
        let mut run = command.spawn();
        let begun = Instant::now();
        let lives = Duration::from_micros(rng.random_range(0..=longest * 1_000));
        let is_spared = kills >= KILLS_MAX;
        while !run.is_over() && (is_spared || begun.elapsed() < lives) {
            sleep(Duration::from_millis(1)).await;
            // What holds is told to go on.
            let now = table.state().await;
            let goes_back = wish == Wish::RollBack
                && now.as_ref().is_some_and(|(phase, turn)| *turn == 2 && phase == "ready");
            if is_spared && !told && goes_back {
                // Where the server is away, it is told again.
                told = tell(&table.url(), "finish", "t").await.code() == Some(0);
            }
            let guards = now.is_some_and(|(phase, turn)| turn == 1 && phase == "guard");
            if is_spared && wish == Wish::RollBack && guards {
                // Whoever says so may have to do it himself, and stay: it is what is run next.
                if turn != 1 {
                    break;
                }
            }
            // Where everything is lost every few seconds, it begins again and again.
            assert!(
                begun.elapsed() < if rough.is_some() { LONG * 8 } else { LONG * 2 },
                "{what}: stuck\n{}{}",
                run.stdout(),
                run.stderr()
            );
        }
        if run.is_over() {
            let output = run.wait(SOON).await;
            let is_rough = rough.is_some() && [Some(1), Some(7)].contains(&output.code());
            let is_fine = is_rough
                || output.code().is_some_and(|code| [0, 5, 6].contains(&code))
                || (matches!(wish, Wish::RollBack | Wish::Abort) && output.code() == Some(3));
            assert!(is_fine, "{what}: {} after {state:?}\n{}", output.status, printed(&output));
        } else {
            longest = longest.max(begun.elapsed().as_millis() as u64);
            run.signal(Signal::SIGKILL);
            run.wait(SOON).await;
            kills += 1;
        }
    }
    let _server_lives = host.lives.read().await;
    if rough.is_some() {
        table.db = until_there(host, &table.name).await;
    }
    let is_changed = matches!(wish, Wish::Change | Wish::Guard) || table.state().await.unwrap().0 == "done";
    table.holds(&what, rough.is_some()).await;
    assert_eq!(table.has_new_type().await, is_changed, "{what}: {:?}", table.state().await);
    kills
}

/// A session, as soon as the server lets us in.
async fn until_there(host: &Host, name: &str) -> Db {
    let begun = Instant::now();
    loop {
        if let Some(db) = host.try_connect(name).await {
            return db;
        }
        assert!(begun.elapsed() < SOON, "{:?} does not come back", host.kind);
        sleep(Duration::from_millis(20)).await;
    }
}

async fn crashed(kind: Kind, runs: u64, seed: u64) {
    let host = Host::start(kind).await;
    let all = (seed..seed + runs).map(|seed| {
        let host = &host;
        async move {
            let kills = crashes(host, seed, None).await;
            println!("{kind:?} seed {seed}: {kills} kills");
            kills
        }
    });
    let kills: Vec<u32> = stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
    println!("{kind:?}: {runs} tables, {} kills, nothing lost", kills.iter().sum::<u32>());
}

/// A few of each in CI; `SHADOWSWAP_CRASH_RUNS`, `SHADOWSWAP_CRASH_SEED` and `SHADOWSWAP_CRASH_SERVER` are set by `scripts/crash`.
#[tokio::test]
async fn kills_at_any_moment_lose_nothing_on_any_product() {
    let runs = number("SHADOWSWAP_CRASH_RUNS").unwrap_or(3);
    let seed = number("SHADOWSWAP_CRASH_SEED").unwrap_or(1);
    let server = std::env::var("SHADOWSWAP_CRASH_SERVER").unwrap_or_default();
    for name in ["postgres", "mysql", "mariadb", "postgres18"] {
        let is_meant = if server.is_empty() { name != "postgres18" } else { name == server };
        if is_meant {
            crashed(Kind::named(name).unwrap(), runs, seed).await;
        }
    }
    assert!(server.is_empty() || Kind::named(&server).is_some(), "there is no server {server:?}");
}
