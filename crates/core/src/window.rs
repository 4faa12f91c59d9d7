//! Times of the week in which something may be done: `Mon-Fri 01:00-05:00 Europe/Berlin; Sat,Sun 22:00-04:00`.
//!
//! Pure: the caller says what time it is. An edge of a window is *the first instant of its day at which a clock on that zone's wall
//! shows the edge's time or a later one*. So where the clock is put forward over an edge, the edge is the moment of the change; where
//! it is put back, the edge is the first of the two; and a window is open once a day, whatever the clocks do. A window holds its
//! beginning and not its end.

mod blackout;
mod calendar;

pub use blackout::Blackouts;
pub use calendar::{Calendar, Forecast};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use std::{fmt, str::FromStr};

/// A week, and a day on each side for windows over midnight: nothing new comes after that.
const HORIZON_DAYS: i32 = 8;
/// A window can fall out once, where the clocks are put forward over all of it; then it opens a week later.
const SEARCH_DAYS: i32 = 2 * HORIZON_DAYS;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAYS_LONG: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Any number of windows. None at all: always open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows(Vec<Window>);

/// One span of the clock on some days of the week, in one time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    begin: Time,
    /// At or before `begin`: the window ends on the following day. Midnight stands for 24:00.
    end: Time,
    /// `None`: the zone of the machine.
    zone: Option<TimeZone>,
}

/// From the first instant up to the second, without it.
type Interval = (Timestamp, Timestamp);

impl Windows {
    /// These windows.
    pub fn new(windows: Vec<Window>) -> Windows {
        Windows(windows)
    }

    /// No window was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These windows and those.
    #[must_use]
    pub fn and(mut self, other: Windows) -> Windows {
        self.0.extend(other.0);
        self
    }

    /// Whether a window is open now; always true where there is none.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.is_empty() || self.intervals(now, 1).iter().any(|i| contains(i, now))
    }

    /// When a window is open next: `now` itself if one is open, `None` if none ever will be.
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_open(now) {
            return Some(now);
        }
        self.intervals(now, SEARCH_DAYS).iter().map(|i| i.0).find(|begin| *begin > now)
    }

    /// When the last of the windows that are open now, or that follow without a break, closes; `None`: none is open, or it never closes.
    pub fn closes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let intervals = self.intervals(now, HORIZON_DAYS);
        let mut until = intervals.iter().filter(|i| contains(i, now)).map(|i| i.1).max()?;
        for (begin, end) in intervals {
            if begin <= until {
                until = until.max(end);
            }
        }
        // Open for a whole week without a break is open for ever.
        let is_endless = until.duration_since(now) >= jiff::SignedDuration::from_hours(24 * 7);
        (!is_endless).then_some(until)
    }

    /// What begins between two days ago and `days` ahead, in order.
    fn intervals(&self, now: Timestamp, days: i32) -> Vec<Interval> {
        let mut intervals: Vec<_> = self.0.iter().flat_map(|w| w.intervals(now, days)).collect();
        intervals.sort_unstable();
        intervals
    }
}

fn contains(interval: &Interval, now: Timestamp) -> bool {
    interval.0 <= now && now < interval.1
}

impl Window {
    fn intervals(&self, now: Timestamp, days: i32) -> impl Iterator<Item = Interval> {
        let zone = self.zone.clone().unwrap_or_else(TimeZone::system);
        let today = zone.to_datetime(now).date();
        (-2..=days).filter_map(move |ahead| {
            let day = today.checked_add(ahead.days()).ok()?;
            let interval = self.on(day, &zone)?;
            (interval.0 < interval.1).then_some(interval)
        })
    }

    /// The window that begins on this day, if one does.
    fn on(&self, day: Date, zone: &TimeZone) -> Option<Interval> {
        if !*self.days.get(usize::try_from(day.weekday().to_monday_zero_offset()).ok()?)? {
            return None;
        }
        let last = if self.end > self.begin { day } else { day.tomorrow().ok()? };
        Some((
            first_instant(day.to_datetime(self.begin), zone)?,
            first_instant(last.to_datetime(self.end), zone)?,
        ))
    }
}

/// The first instant at which the clock shows this time or a later one.
fn first_instant(wall: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let instant = zone.to_ambiguous_timestamp(wall);
    match instant.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => instant.earlier().ok(),
        // The clock never shows this time. `earlier` is as far before the change as `wall` is before the gap's end.
        AmbiguousOffset::Gap { .. } => Some(zone.following(instant.earlier().ok()?).next()?.timestamp()),
    }
}

impl FromStr for Windows {
    type Err = String;

    fn from_str(text: &str) -> Result<Windows, String> {
        text.split(';')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Windows)
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Window, String> {
        let mut words = text.split_whitespace().peekable();
        let has_days = words.peek().is_some_and(|w| !w.starts_with(|c: char| c.is_ascii_digit()));
        let days = if has_days { days(words.next().unwrap_or_default())? } else { [true; 7] };
        let span = words
            .next()
            .ok_or_else(|| format!("{text:?} has no times; write it like `Mon-Fri 01:00-05:00`"))?;
        let (begin, end) = span
            .split_once('-')
            .ok_or_else(|| format!("{span:?} is no span of time; write it like `01:00-05:00`"))?;
        let (begin, end) = (time(begin)?, if end == "24:00" { Time::midnight() } else { time(end)? });
        if begin == end && (begin != Time::midnight() || !span.ends_with("24:00")) {
            return Err(format!("{span:?} begins and ends at the same time; a whole day is `00:00-24:00`"));
        }
        let zone = words.next().map(zone).transpose()?;
        match words.next() {
            Some(more) => Err(format!("{more:?} was not expected in {text:?}; join several windows by `;`")),
            None => Ok(Window { days, begin, end, zone }),
        }
    }
}

fn time(text: &str) -> Result<Time, String> {
    let wrong = || format!("{text:?} is no time of day; write it like `01:00`");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let is_plain = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !is_plain(hour) || !is_plain(minute) || minute.len() != 2 {
        return Err(wrong());
    }
    let (hour, minute) = (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("no time zone is called {name:?}; write it like `Europe/Berlin` or `UTC`"))
}

fn days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (weekday(first)?, weekday(last)?);
        loop {
            if let Some(is_in) =
                usize::try_from(day.to_monday_zero_offset()).ok().and_then(|i| days.get_mut(i))
            {
                *is_in = true;
            }
            if day == last {
                break;
            }
            day = day.next();
        }
    }
    Ok(days)
}

fn weekday(text: &str) -> Result<Weekday, String> {
    let is = |name: &&str| name.eq_ignore_ascii_case(text);
    DAYS.iter()
        .position(&is)
        .or_else(|| DAYS_LONG.iter().position(is))
        .and_then(|i| Weekday::from_monday_zero_offset(i8::try_from(i).ok()?).ok())
        .ok_or_else(|| format!("{text:?} is no day; write Mon, Tue, Wed, Thu, Fri, Sat, Sun or `daily`"))
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, window) in self.0.iter().enumerate() {
            write!(f, "{}{window}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&days_text(&self.days))?;
        write!(f, " {:02}:{:02}-", self.begin.hour(), self.begin.minute())?;
        match (self.end.hour(), self.end.minute()) {
            (0, 0) => f.write_str("24:00")?,
            (hour, minute) => write!(f, "{hour:02}:{minute:02}")?,
        }
        match self.zone.as_ref().and_then(TimeZone::iana_name) {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

/// `daily`, or runs of days: three and more with a dash, fewer with commas.
fn days_text(days: &[bool; 7]) -> String {
    if days.iter().all(|d| *d) {
        return "daily".to_string();
    }
    let named: Vec<_> = DAYS.iter().zip(days).collect();
    let runs = named.chunk_by(|a, b| *a.1 && *b.1).filter(|run| run.iter().all(|(_, is_in)| **is_in));
    runs.map(|run| match run {
        [(first, _), .., (last, _)] if run.len() > 2 => format!("{first}-{last}"),
        few => few.iter().map(|(name, _)| **name).collect::<Vec<_>>().join(","),
    })
    .collect::<Vec<_>>()
    .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str) -> Windows {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Zoned>().map(|z| z.timestamp()).or_else(|_| text.parse()).unwrap()
    }

    fn berlin(text: &str) -> Timestamp {
        at(&format!("{text}[Europe/Berlin]"))
    }

    #[test]
    fn text_comes_back_as_it_was() {
        for text in [
            "Mon-Fri 01:00-05:00 Europe/Berlin",
            "Sat,Sun 22:00-04:00",
            "daily 01:00-05:00 UTC",
            "daily 00:00-24:00",
            "Mon,Wed-Fri 09:30-24:00; Sun 00:00-00:30 America/New_York",
        ] {
            assert_eq!(windows(text).to_string(), text);
            assert_eq!(windows(&windows(text).to_string()), windows(text));
        }
        assert_eq!(
            windows("fri-monday 1:00-2:00 europe/berlin").to_string(),
            "Mon,Fri-Sun 01:00-02:00 Europe/Berlin"
        );
        assert_eq!(windows("01:00-02:00").to_string(), "daily 01:00-02:00");
        assert_eq!(windows("22:00-00:00").to_string(), "daily 22:00-24:00");
    }

    #[test]
    fn nonsense_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("Mon", "no times"),
            ("Mun 01:00-02:00", "\"Mun\" is no day"),
            ("Mon 01:00", "no span"),
            ("Mon 01:00-25:00", "\"25:00\""),
            ("Mon 1-2", "no time of day"),
            ("Mon 01:00-01:00", "same time"),
            ("00:00-00:00", "same time"),
            ("Mon 24:00-01:00", "\"24:00\""),
            ("Mon 01:00-02:00 Berlin", "no time zone"),
            ("Mon 01:00-02:00 UTC Tue", "\"Tue\" was not expected"),
            ("Mon +1:00-02:00", "no time of day"),
        ] {
            let said = text.parse::<Windows>().unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn no_window_is_always_open() {
        let none = windows(" ; ");
        let now = at("2026-01-01T00:00:00Z");
        assert!(none.is_empty() && none.is_open(now));
        assert_eq!(none, Windows::default());
        assert_eq!((none.next_open(now), none.closes_at(now)), (Some(now), None));
    }

    #[test]
    fn window_holds_its_beginning_and_not_its_end() {
        // 2026-01-05 is a Monday.
        let w = windows("Mon 01:00-05:00 UTC");
        assert!(!w.is_open(at("2026-01-05T00:59:59Z")));
        assert!(w.is_open(at("2026-01-05T01:00:00Z")));
        assert!(w.is_open(at("2026-01-05T04:59:59Z")));
        assert!(!w.is_open(at("2026-01-05T05:00:00Z")));
        assert!(!w.is_open(at("2026-01-06T01:00:00Z")));
        assert_eq!(w.next_open(at("2026-01-05T05:00:00Z")), Some(at("2026-01-12T01:00:00Z")));
        assert_eq!(w.closes_at(at("2026-01-05T02:00:00Z")), Some(at("2026-01-05T05:00:00Z")));
        assert_eq!(w.closes_at(at("2026-01-05T05:00:00Z")), None);
    }

    #[test]
    fn window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let w = windows("Sun 22:00-04:00 UTC");
        assert!(w.is_open(at("2026-01-04T23:00:00Z")));
        assert!(w.is_open(at("2026-01-05T03:59:00Z")));
        assert!(!w.is_open(at("2026-01-04T03:00:00Z")));
        assert!(!w.is_open(at("2026-01-05T22:00:00Z")));
        assert_eq!(w.closes_at(at("2026-01-04T23:00:00Z")), Some(at("2026-01-05T04:00:00Z")));
    }

    #[test]
    fn windows_that_touch_close_together() {
        let w = windows("Mon 20:00-24:00 UTC; Tue 00:00-06:00 UTC");
        assert_eq!(w.closes_at(at("2026-01-05T21:00:00Z")), Some(at("2026-01-06T06:00:00Z")));
        let always = windows("daily 00:00-24:00 UTC");
        assert!(always.is_open(at("2026-01-05T00:00:00Z")));
        assert_eq!(always.closes_at(at("2026-01-05T00:00:00Z")), None);
    }

    #[test]
    fn clock_put_forward_over_an_edge_makes_the_change_the_edge() {
        // 2026-03-29: 02:00 becomes 03:00 in Berlin.
        let change = at("2026-03-29T01:00:00Z");
        let begins = windows("daily 02:30-05:00 Europe/Berlin");
        assert_eq!(begins.next_open(berlin("2026-03-29T01:00")), Some(change));
        assert_eq!(begins.closes_at(change), Some(berlin("2026-03-29T05:00")));
        let ends = windows("daily 01:00-02:30 Europe/Berlin");
        assert_eq!(ends.closes_at(berlin("2026-03-29T01:30")), Some(change));
        assert!(!ends.is_open(change));
        // Wholly inside the gap: not on that day.
        let inside = windows("Sun 02:15-02:45 Europe/Berlin");
        assert_eq!(inside.next_open(berlin("2026-03-29T00:00")), Some(berlin("2026-04-05T02:15")));
    }

    #[test]
    fn clock_put_back_opens_no_window_twice() {
        // 2026-10-25: 03:00 becomes 02:00 in Berlin; 02:30 comes at 00:30Z and at 01:30Z.
        let w = windows("daily 02:15-02:45 Europe/Berlin");
        assert_eq!(w.next_open(at("2026-10-24T23:00:00Z")), Some(at("2026-10-25T00:15:00Z")));
        assert_eq!(w.closes_at(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T00:45:00Z")));
        assert!(!w.is_open(at("2026-10-25T01:30:00Z")));
        // Around the change it lasts an hour longer, as the night does.
        let night = windows("daily 01:00-05:00 Europe/Berlin");
        assert!(night.is_open(at("2026-10-25T01:30:00Z")));
        assert_eq!(night.closes_at(at("2026-10-24T23:00:00Z")), Some(at("2026-10-25T04:00:00Z")));
    }
}
