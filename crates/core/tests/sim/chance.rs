//! All that happens by chance, from one seed.

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Duration;

/// Draws.
pub struct Chance(StdRng);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(StdRng::seed_from_u64(seed))
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0.random_range(0..n.max(1))
    }

    /// True once in `n` times; never, if `n` is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    pub fn coin(&mut self) -> bool {
        self.one_in(2)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Up to so many milliseconds, mostly; sometimes none, and once in `rarely` times up to `long` milliseconds.
    pub fn time(&mut self, usual: u64, rarely: u64, long: u64) -> Duration {
        let most = if self.one_in(rarely) { long } else { usual };
        if self.one_in(3) { Duration::ZERO } else { Duration::from_millis(self.below(most + 1)) }
    }
}
