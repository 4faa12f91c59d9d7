//! Windows without the blackouts in them, and how many of them a piece of work needs. Pure.

use super::{Blackouts, Windows};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Spans that are looked at before a search gives up: years of nightly windows.
const SPANS_MAX: u32 = 2_000;
/// Farther ahead nothing is foretold.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24 * 365);

/// When something may be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calendar {
    /// Within these; none: always.
    pub windows: Windows,
    /// But not on these days.
    pub blackouts: Blackouts,
}

/// When work will be done that may only be done within windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// How many windows it takes: whole ones, and the part of the last. What is left of a window that is open now counts as one.
    pub windows: f64,
    /// When it is done.
    pub done: Timestamp,
}

impl Calendar {
    /// Neither windows nor blackouts.
    pub fn is_always(&self) -> bool {
        self.windows.is_empty() && self.blackouts.is_empty()
    }

    /// Whether it may be done now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.blackouts.until(now).is_none() && self.windows.is_open(now)
    }

    /// When it may be done next: `now` itself if it may be done now, `None` if never.
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        let mut at = now;
        for _ in 0..SPANS_MAX {
            at = self.windows.next_open(at)?;
            match self.blackouts.until(at) {
                None => return Some(at),
                Some(until) => at = until,
            }
        }
        None
    }

    /// When it may no longer be done; `None`: it may not be done now, or for ever.
    pub fn closes_at(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.is_open(now) {
            return None;
        }
        let blackout = self.blackouts.next(now);
        let window = if self.windows.is_empty() { None } else { self.windows.closes_at(now) };
        blackout.into_iter().chain(window).min()
    }

    /// Whether work of this length that begins now is done before it may no longer be done.
    pub fn fits(&self, now: Timestamp, needs: Duration) -> bool {
        self.is_open(now)
            && self.closes_at(now).is_none_or(|until| {
                until.duration_since(now) >= SignedDuration::try_from(needs).unwrap_or(SignedDuration::MAX)
            })
    }

    /// When work of this length is done; `None`: not within a year.
    pub fn forecast(&self, now: Timestamp, needs: Duration) -> Option<Forecast> {
        let mut left = SignedDuration::try_from(needs).ok()?;
        let (mut at, mut windows) = (now, 0.0);
        for _ in 0..SPANS_MAX {
            let begin = self.next_open(at)?;
            if begin.duration_since(now) > AHEAD_MAX {
                return None;
            }
            let done = begin.checked_add(left).ok()?;
            match self.closes_at(begin) {
                Some(end) if end < done => {
                    left -= end.duration_since(begin);
                    (at, windows) = (end, windows + 1.0);
                }
                Some(end) => {
                    let whole = end.duration_since(begin).as_secs_f64();
                    return Some(Forecast { windows: windows + left.as_secs_f64() / whole, done });
                }
                None => return Some(Forecast { windows: windows + 1.0, done }),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(windows: &str, blackouts: &str) -> Calendar {
        Calendar {
            windows: windows.parse().unwrap(),
            blackouts: if blackouts.is_empty() { Blackouts::default() } else { blackouts.parse().unwrap() },
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn blackout_closes_windows() {
        let c = calendar("daily 22:00-04:00 UTC", "2026-12-20..2026-12-24 UTC");
        assert!(c.is_open(at("2026-12-19T23:00:00Z")));
        assert_eq!(c.closes_at(at("2026-12-19T23:00:00Z")), Some(at("2026-12-20T00:00:00Z")));
        assert!(!c.is_open(at("2026-12-20T23:00:00Z")));
        // The window of the 24th goes on after midnight, when the blackout is over.
        assert_eq!(c.next_open(at("2026-12-20T01:00:00Z")), Some(at("2026-12-25T00:00:00Z")));
        let c = calendar("", "2026-12-20 UTC");
        assert_eq!(c.closes_at(at("2026-12-01T00:00:00Z")), Some(at("2026-12-20T00:00:00Z")));
        assert_eq!(c.next_open(at("2026-12-20T12:00:00Z")), Some(at("2026-12-21T00:00:00Z")));
        assert!(calendar("", "").is_always());
    }

    #[test]
    fn work_that_does_not_fit_is_not_begun() {
        let c = calendar("daily 02:00-04:00 UTC", "");
        assert!(c.fits(at("2026-01-05T02:00:00Z"), 2 * HOUR));
        assert!(!c.fits(at("2026-01-05T02:00:01Z"), 2 * HOUR));
        assert!(!c.fits(at("2026-01-05T01:00:00Z"), Duration::ZERO));
        assert!(calendar("", "").fits(at("2026-01-05T01:00:00Z"), 100 * HOUR));
    }

    #[test]
    fn forecast_counts_windows() {
        let c = calendar("daily 01:00-05:00 UTC", "");
        // 9.6 hours of work, begun on Monday noon: two nights of four hours, and 1.6 hours of the third.
        let f = c.forecast(at("2026-01-05T12:00:00Z"), HOUR.mul_f64(9.6)).unwrap();
        assert!((f.windows - 2.4).abs() < 1e-9, "{f:?}");
        assert_eq!(f.done, at("2026-01-08T02:36:00Z"));
        let open = calendar("", "").forecast(at("2026-01-05T12:00:00Z"), HOUR).unwrap();
        assert_eq!(open.done, at("2026-01-05T13:00:00Z"));
        assert_eq!(c.forecast(at("2026-01-05T12:00:00Z"), 3000 * HOUR), None, "more than a year of nights");
    }

    /// Steps a clock through a day, and gives the seconds for which it was open.
    fn open_seconds(c: &Calendar, from: &str, hours: i64) -> i64 {
        let begin = at(from);
        (0..hours * 60)
            .filter(|minute| c.is_open(begin.checked_add(SignedDuration::from_mins(*minute)).unwrap()))
            .count() as i64
            * 60
    }

    #[test]
    fn simulated_clock_over_both_changes_opens_each_night_once_and_as_long_as_the_wall_says() {
        let c = calendar("daily 01:00-05:00 Europe/Berlin", "");
        // 2026-03-29: the night has no hour from 2 to 3; 2026-10-25: it has it twice.
        for (from, hours) in
            [("2026-03-27T11:00:00Z", 4), ("2026-03-28T11:00:00Z", 3), ("2026-03-29T11:00:00Z", 4)]
        {
            assert_eq!(open_seconds(&c, from, 24), hours * 3600, "{from}");
        }
        for (from, hours) in
            [("2026-10-23T11:00:00Z", 4), ("2026-10-24T11:00:00Z", 5), ("2026-10-25T11:00:00Z", 4)]
        {
            assert_eq!(open_seconds(&c, from, 24), hours * 3600, "{from}");
        }
        // Work of twelve hours over three nights, the second of which is short: done an hour later into the third... and fourth.
        let f = c.forecast(at("2026-03-27T11:00:00Z"), 12 * HOUR).unwrap();
        assert_eq!(f.done, at("2026-03-31T00:00:00Z"), "an hour was missing: 1 hour into the fourth night");
        let f = c.forecast(at("2026-10-23T11:00:00Z"), 12 * HOUR).unwrap();
        assert_eq!(f.done, at("2026-10-26T03:00:00Z"), "an hour was to spare");
    }
}
