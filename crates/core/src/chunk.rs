//! How large the next chunk is.

use std::time::Duration;

/// Steers the rows of a chunk so that a chunk takes about the time that the operator wants.
///
/// It grows by at most half and shrinks at once: a chunk that took far too long holds its snapshot, its locks on the shadow and the
/// applier's frontier for as long as it runs.
#[derive(Clone, Debug)]
pub struct Servo {
    target: Duration,
    rows: f64,
}

/// Small enough to be harmless on rows of many megabytes.
const ROWS_MIN: f64 = 1.0;
/// Fewer rows than this only where a chunk takes longer than [`SLOW`].
const ROWS_LEAST: f64 = 100.0;
const SLOW: Duration = Duration::from_secs(1);
/// Larger chunks were not faster (measured with 10,000 rows and 200,000 rows on PostgreSQL 15) and hold the applier up for longer.
const ROWS_MAX: f64 = 50_000.0;
/// The first chunk of each worker.
const ROWS_FIRST: f64 = 1_000.0;
const GROWTH_MAX: f64 = 2.0;
const SHRINK_MAX: f64 = 0.1;

impl Servo {
    /// Chunks of about this time.
    pub fn new(target: Duration) -> Servo {
        Servo { target, rows: ROWS_FIRST }
    }

    /// From now on chunks of about this time: at once, in proportion.
    pub fn aim(&mut self, target: Duration) {
        if target != self.target {
            let ratio = target.as_secs_f64() / self.target.as_secs_f64().max(1e-6);
            self.rows = (self.rows * ratio).clamp(ROWS_MIN, ROWS_MAX);
            self.target = target;
        }
    }

    /// How many rows the next chunk should have.
    pub fn rows(&self) -> u64 {
        self.rows as u64
    }

    /// A chunk that spanned `rows` rows of the source took this long, however many of them it had to write.
    pub fn observe(&mut self, rows: u64, took: Duration) {
        if rows == 0 {
            return;
        }
        let ratio = self.target.as_secs_f64() / took.as_secs_f64().max(1e-6);
        // A chunk that was smaller than asked for (the table's end) says little about larger ones.
        let whole = rows as f64 >= self.rows * 0.5;
        let ratio = if whole { ratio } else { ratio.min(1.0) };
        // What a chunk costs without any row does not shrink with it: only a chunk that takes truly long has rows to blame.
        let least = if took > SLOW { ROWS_MIN } else { ROWS_LEAST.min(self.rows) };
        self.rows = (self.rows * ratio.clamp(SHRINK_MAX, GROWTH_MAX)).clamp(least, ROWS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settles_where_a_chunk_takes_the_target() {
        let mut servo = Servo::new(Duration::from_millis(200));
        for _ in 0..30 {
            let rows = servo.rows();
            servo.observe(rows, Duration::from_micros(rows * 20));
        }
        assert_eq!(servo.rows(), 10_000);
    }

    #[test]
    fn new_target_counts_at_once() {
        let mut servo = Servo::new(Duration::from_millis(200));
        servo.aim(Duration::from_millis(50));
        assert_eq!(servo.rows(), 250);
        servo.aim(Duration::from_millis(50));
        assert_eq!(servo.rows(), 250);
    }

    #[test]
    fn busy_server_does_not_make_chunks_of_single_rows() {
        let mut servo = Servo::new(Duration::from_millis(10));
        for _ in 0..50 {
            servo.observe(servo.rows(), Duration::from_millis(80));
        }
        assert_eq!(servo.rows(), 100);
        for _ in 0..5 {
            servo.observe(servo.rows(), Duration::from_millis(1));
        }
        assert!(servo.rows() > 1_000, "and it recovers");
    }

    #[test]
    fn shrinks_at_once_when_rows_become_heavy() {
        let mut servo = Servo::new(Duration::from_millis(200));
        servo.observe(1_000, Duration::from_secs(60));
        assert_eq!(servo.rows(), 100);
        for _ in 0..10 {
            servo.observe(servo.rows(), Duration::from_secs(60));
        }
        assert_eq!(servo.rows(), 1);
    }
}
