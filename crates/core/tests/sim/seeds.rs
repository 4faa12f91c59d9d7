//! Many seeds.

use crate::scenario::{Choices, Ended, simulate};
use shadowswap_core::mutations::Mutation;
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
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

/// What a search came to.
#[derive(Default)]
struct Search {
    /// Seeds that showed a violation, in order.
    found: Vec<(u64, Ended)>,
    seeds: u64,
    total: Ended,
}

/// Runs seeds on all processors: all of them, or until one shows a violation.
fn search(seeds: Range<u64>, choices: Choices, goes_on: bool) -> Search {
    let next = AtomicU64::new(seeds.start);
    let search: Mutex<Search> = Mutex::default();
    let began = Instant::now();
    let is_late =
        || setting("SHADOWSWAP_SIM_SECONDS").is_some_and(|seconds| began.elapsed().as_secs() >= seconds);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end
                        || is_late()
                        || (!goes_on && !search.lock().unwrap().found.is_empty())
                    {
                        return;
                    }
                    let ended = catch_unwind(AssertUnwindSafe(|| simulate(seed, choices)));
                    let ended = ended
                        .unwrap_or_else(|_| Ended { violations: vec!["a panic".into()], ..Ended::default() });
                    let mut search = search.lock().unwrap();
                    search.seeds += 1;
                    search.total.add(&ended);
                    if !ended.violations.is_empty() {
                        search.found.push((seed, ended));
                    }
                }
            });
        }
    });
    let mut search = search.into_inner().unwrap();
    search.found.sort_by_key(|(seed, _)| *seed);
    search
}

/// Long: `scripts/simulate --seeds N --from S`; one: `scripts/simulate --seed S`.
#[test]
fn nothing_is_lost_whatever_happens() {
    if let Some(seed) = setting("SHADOWSWAP_SIM_SEED") {
        let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "debug".into());
        let said =
            tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().without_time().finish();
        let ended = tracing::subscriber::with_default(said, || simulate(seed, Choices::default()));
        println!("{ended:#?}");
        assert!(ended.violations.is_empty(), "seed {seed}");
        return;
    }
    let (from, seeds) =
        (setting("SHADOWSWAP_SIM_FROM").unwrap_or(1), setting("SHADOWSWAP_SIM_SEEDS").unwrap_or(2000));
    let began = Instant::now();
    let goes_on = setting("SHADOWSWAP_SIM_ALL").is_some();
    let Search { found, seeds, total } = search(from..from + seeds, Choices::default(), goes_on);
    println!(
        "{seeds} seeds from {from} in {:.0?}: {} swaps, {} commits, {} runners, {} calls, {} hours of the model's time",
        began.elapsed(),
        total.swaps,
        total.commits,
        total.runners,
        total.calls,
        total.virtual_s / 3600
    );
    let mut ends: Vec<_> = total.kinds.iter().collect();
    ends.sort();
    println!("how runners ended: {ends:?}");
    for (seed, ended) in &found {
        println!(
            "seed {seed}: {:#?}\nagain, and step by step: scripts/simulate --seed {seed}",
            ended.violations
        );
    }
    assert!(found.is_empty(), "{} seeds show violations", found.len());
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in 1..40 {
        let (a, b) = (simulate(seed, Choices::default()), simulate(seed, Choices::default()));
        assert_eq!(
            (a.fingerprint, a.calls, a.virtual_s),
            (b.fingerprint, b.calls, b.virtual_s),
            "seed {seed}"
        );
    }
}

/// A test of the tests: with this rule broken, one of so many seeds shows it; without, it does not.
fn is_caught(mutation: Mutation, within: u64, verify: Option<bool>) {
    shows(mutation, within, Choices { verify, ..Choices::default() });
}

fn shows(mutation: Mutation, within: u64, sound: Choices) {
    let mut from = 1;
    loop {
        let search = search(from..within + 1, Choices { mutation: Some(mutation), ..sound }, false);
        let Some((seed, ended)) = search.found.first() else {
            panic!("{mutation:?} survives {within} seeds")
        };
        if simulate(*seed, sound).violations.is_empty() {
            println!("{mutation:?} is caught by seed {seed}: {}", ended.violations[0]);
            return;
        }
        from = seed + 1;
    }
}

#[test]
fn ticket_after_the_floor_is_caught() {
    is_caught(Mutation::TicketAfterFloor, 3000, None);
}

#[test]
fn applying_beyond_the_horizon_is_caught() {
    is_caught(Mutation::NoHorizon, 3000, None);
}

#[test]
fn missing_fence_is_caught() {
    is_caught(Mutation::NoFence, 3000, None);
}

#[test]
fn fence_at_the_end_is_caught() {
    is_caught(Mutation::FenceAtTheEnd, 3000, None);
}

#[test]
fn images_before_deletes_are_caught() {
    is_caught(Mutation::UpsertsBeforeDeletes, 3000, None);
}

#[test]
fn checkpoint_before_its_batch_is_caught() {
    is_caught(Mutation::CheckpointBeforeBatch, 3000, None);
}

#[test]
fn checkpoint_inside_a_transaction_is_caught() {
    is_caught(Mutation::CheckpointInsideTransaction, 3000, None);
}

#[test]
fn swap_without_drain_is_caught() {
    is_caught(Mutation::SwapWithoutDrain, 3000, None);
}

#[test]
fn another_try_after_a_lost_answer_is_caught() {
    is_caught(Mutation::RetriesAmbiguous, 3000, None);
}

#[test]
fn migration_that_begins_anew_is_caught() {
    is_caught(Mutation::BeginsAnew, 3000, None);
}

#[test]
fn abort_that_is_forgotten_is_caught() {
    is_caught(Mutation::ForgetsAbort, 3000, None);
}

#[test]
fn difference_under_an_old_name_is_caught() {
    let sound = Choices { verify: Some(true), renames: true, ..Choices::default() };
    shows(Mutation::VerifyKeepsOldNames, 600, sound);
}

/// A row that is wrong and changed all the time: comparing never passes it; with its second looks left out it does.
#[test]
fn comparing_that_skips_moved_keys_is_caught() {
    let choices = Choices { verify: Some(true), spoils: true, ..Choices::default() };
    let sound = search(1..60, choices, false);
    assert!(sound.found.is_empty(), "{:?}", sound.found);
    let mutation = Mutation::VerifySkipsMovedKeys;
    let broken = search(1..60, Choices { mutation: Some(mutation), ..choices }, false);
    let Some((seed, ended)) = broken.found.first() else { panic!("{mutation:?} survives") };
    println!(
        "{mutation:?} is caught by seed {seed}, the {}th that was run: {}",
        broken.seeds, ended.violations[0]
    );
}
