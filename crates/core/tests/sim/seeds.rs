//! Many seeds.

use crate::scenario::{Choices, Ended, simulate};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs seeds on all processors until one shows a violation, and gives the first that did.
fn search(seeds: std::ops::Range<u64>, choices: Choices) -> (Option<(u64, Ended)>, Ended) {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<(u64, Ended)>> = Mutex::new(None);
    let total: Mutex<Ended> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || found.lock().unwrap().is_some() {
                        return;
                    }
                    let ended = simulate(seed, choices);
                    let mut total = total.lock().unwrap();
                    total.swaps += ended.swaps;
                    total.commits += ended.commits;
                    total.runners += ended.runners;
                    total.virtual_s += ended.virtual_s;
                    total.calls += ended.calls;
                    drop(total);
                    if !ended.violations.is_empty() {
                        let mut found = found.lock().unwrap();
                        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                            *found = Some((seed, ended));
                        }
                        return;
                    }
                }
            });
        }
    });
    (found.into_inner().unwrap(), total.into_inner().unwrap())
}

/// Long: `scripts/simulate --seeds N --from S`; one: `scripts/simulate --seed S`.
#[test]
fn nothing_is_lost_whatever_happens() {
    if let Some(seed) = setting("SHADOWSWAP_SIM_SEED") {
        let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "debug".into());
        let said = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().without_time().finish();
        let ended = tracing::subscriber::with_default(said, || simulate(seed, Choices::default()));
        println!("{ended:#?}");
        assert!(ended.violations.is_empty(), "seed {seed}");
        return;
    }
    let (from, seeds) = (setting("SHADOWSWAP_SIM_FROM").unwrap_or(1), setting("SHADOWSWAP_SIM_SEEDS").unwrap_or(2000));
    let began = Instant::now();
    let (found, total) = search(from..from + seeds, Choices::default());
    println!(
        "{seeds} seeds from {from} in {:.0?}: {} swaps, {} commits, {} runners, {} calls, {} hours of the model's time",
        began.elapsed(), total.swaps, total.commits, total.runners, total.calls, total.virtual_s / 3600
    );
    if let Some((seed, ended)) = found {
        panic!("seed {seed}: {ended:#?}\nagain, and step by step: scripts/simulate --seed {seed}");
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in 1..40 {
        let (a, b) = (simulate(seed, Choices::default()), simulate(seed, Choices::default()));
        assert_eq!((a.fingerprint, a.calls, a.virtual_s), (b.fingerprint, b.calls, b.virtual_s), "seed {seed}");
    }
}
