//! How fast to copy within the band between recovery level and limit. Pure.
//!
//! The *ease* is the share of full speed at which copying goes: 1 while every signal is at or below its recovery level, less the nearer
//! the worst one comes to its limit. It is steered, not looked up: the same reading may come from us or from others, and only what
//! follows a change of pace tells.

use std::time::Duration;

/// The least: a worker that rests nineteen twentieths of the time. Slower is what holding is for.
pub const EASE_MIN: f64 = 0.05;
/// Where in the band readings are steered to.
const AIM: f64 = 0.5;
/// How fast the ease falls above the aim, and rises below it, in shares a second at the band's edges.
const FALL: f64 = 0.5;
const RISE: f64 = 0.25;
/// Chunks are not made shorter than this share of their time: what a chunk costs without any row would outweigh its rows.
const CHUNK_MIN: f64 = 0.25;

/// The ease and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Steer {
    ease: f64,
}

impl Default for Steer {
    fn default() -> Steer {
        Steer { ease: 1.0 }
    }
}

impl Steer {
    /// The share of full speed.
    pub fn ease(&self) -> f64 {
        self.ease
    }

    /// The worst signal was at this place of its band for this long.
    pub fn observe(&mut self, pressure: f64, passed: Duration) {
        let seconds = passed.as_secs_f64().min(5.0);
        let off = pressure.clamp(0.0, 1.0) - AIM;
        let rate = if off > 0.0 { -FALL * off / (1.0 - AIM) } else { RISE * -off / AIM };
        self.ease = (self.ease * (rate * seconds).exp()).clamp(EASE_MIN, 1.0);
    }
}

/// How a copier works at an ease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gait {
    /// Sessions that copy.
    pub workers: usize,
    /// The time that a chunk should take.
    pub chunk_time: Duration,
    /// Rest after each chunk, in times of the chunk.
    pub rest: f64,
}

/// Nothing is slower than this: courtesy towards others may ask for less than signals do.
const FLOOR: f64 = 1e-4;

/// What an ease means for so many workers: first fewer of them, then rest for the last one; chunks become shorter all the while.
pub fn gait(ease: f64, workers: usize, chunk_time: Duration) -> Gait {
    let share = workers.max(1) as f64 * ease.clamp(FLOOR, 1.0);
    let at_work = share.ceil().max(1.0);
    Gait {
        workers: at_work as usize,
        chunk_time: chunk_time.mul_f64(ease.clamp(CHUNK_MIN, 1.0)),
        rest: at_work / share - 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ease_falls_under_pressure_and_comes_back() {
        let mut steer = Steer::default();
        for _ in 0..20 {
            steer.observe(1.0, SECOND);
        }
        assert_eq!(steer.ease(), EASE_MIN);
        for _ in 0..20 {
            steer.observe(0.0, SECOND);
        }
        assert_eq!(steer.ease(), 1.0);
    }

    #[test]
    fn band_is_held_instead_of_stop_and_go() {
        // A server whose reading follows our own pace: full speed is twice the limit, and nothing is nothing.
        let mut steer = Steer::default();
        let (recovery, limit) = (70.0, 100.0);
        let mut readings = Vec::new();
        for _ in 0..120 {
            let value = 200.0 * steer.ease();
            readings.push(value);
            steer.observe((value - recovery) / (limit - recovery), SECOND);
        }
        let settled = &readings[40..];
        assert!(settled.iter().all(|v| *v > recovery && *v < limit), "{settled:?}");
    }

    #[test]
    fn less_ease_is_fewer_workers_then_rest() {
        let gait = |ease| gait(ease, 4, Duration::from_millis(200));
        assert_eq!((gait(1.0).workers, gait(1.0).rest), (4, 0.0));
        assert_eq!((gait(0.5).workers, gait(0.5).rest, gait(0.5).chunk_time.as_millis()), (2, 0.0, 100));
        assert_eq!(gait(0.125).workers, 1);
        assert!((gait(0.125).rest - 1.0).abs() < 1e-9, "one worker, half of the time");
        for ease in [0.05, 0.3, 0.7] {
            let g = gait(ease);
            assert!((g.workers as f64 / (1.0 + g.rest) - 4.0 * ease).abs() < 1e-9, "{ease}");
        }
    }
}
