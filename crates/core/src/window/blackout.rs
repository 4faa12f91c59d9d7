//! Days on which nothing is done: `2026-12-20..2027-01-02`, `2026-11-27`, `2026-12-24..2026-12-26 Europe/Berlin`.

use super::first_instant;
use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use std::{fmt, str::FromStr};

/// Any number of spans of days; both ends belong to a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blackouts(Vec<Blackout>);

#[derive(Clone, Debug, PartialEq)]
struct Blackout {
    first: Date,
    last: Date,
    /// `None`: the zone of the machine.
    zone: Option<TimeZone>,
}

impl Blackouts {
    /// None was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the blackout that is in force now ends; `None`: there is none now.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.spans().filter(|(begin, end)| *begin <= now && now < *end).map(|(_, end)| end).max()
    }

    /// When the next one begins.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.spans().map(|(begin, _)| begin).filter(|begin| *begin > now).min()
    }

    /// From the first midnight to the midnight after the last day.
    fn spans(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.0.iter().filter_map(|b| {
            let zone = b.zone.clone().unwrap_or_else(TimeZone::system);
            let begin = first_instant(b.first.to_datetime(Time::midnight()), &zone)?;
            Some((begin, first_instant(b.last.tomorrow().ok()?.to_datetime(Time::midnight()), &zone)?))
        })
    }
}

impl FromStr for Blackouts {
    type Err = String;

    fn from_str(text: &str) -> Result<Blackouts, String> {
        let parts = text.split(';').map(str::trim).filter(|t| !t.is_empty());
        let spans = parts.map(str::parse).collect::<Result<Vec<Blackout>, _>>()?;
        if spans.is_empty() {
            return Err("the blackout is empty; write it like `2026-12-20..2027-01-02`".into());
        }
        Ok(Blackouts(spans))
    }
}

impl FromStr for Blackout {
    type Err = String;

    fn from_str(text: &str) -> Result<Blackout, String> {
        let mut words = text.split_whitespace();
        let span = words.next().unwrap_or_default();
        let (first, last) = span.split_once("..").unwrap_or((span, span));
        let date = |text: &str| {
            text.parse::<Date>()
                .map_err(|_| format!("{text:?} is no date; write it like `2026-12-20..2027-01-02`"))
        };
        let (first, last) = (date(first)?, date(last)?);
        if last < first {
            return Err(format!("{span:?} ends before it begins"));
        }
        let zone = words.next().map(super::zone).transpose()?;
        match words.next() {
            Some(more) => {
                Err(format!("{more:?} was not expected in {text:?}; join several blackouts by `;`"))
            }
            None => Ok(Blackout { first, last, zone }),
        }
    }
}

impl fmt::Display for Blackouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "; " }, b.first)?;
            if b.last != b.first {
                write!(f, "..{}", b.last)?;
            }
            if let Some(name) = b.zone.as_ref().and_then(TimeZone::iana_name) {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_belong_to_it() {
        let b: Blackouts = "2026-12-20..2027-01-02 UTC".parse().unwrap();
        assert_eq!(b.until(at("2026-12-19T23:59:59Z")), None);
        for inside in ["2026-12-20T00:00:00Z", "2027-01-02T23:59:59Z"] {
            assert_eq!(b.until(at(inside)), Some(at("2027-01-03T00:00:00Z")));
        }
        assert_eq!(b.until(at("2027-01-03T00:00:00Z")), None);
        assert_eq!(b.next(at("2026-11-01T00:00:00Z")), Some(at("2026-12-20T00:00:00Z")));
        assert_eq!(b.next(at("2027-01-01T00:00:00Z")), None);
    }

    #[test]
    fn days_are_those_of_its_zone_whatever_the_clocks_do() {
        // A day of 23 hours and one of 25.
        for (day, begin, end) in [
            ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ] {
            let b: Blackouts = format!("{day} Europe/Berlin").parse().unwrap();
            assert_eq!(b.next(at("2026-01-01T00:00:00Z")), Some(at(begin)));
            assert_eq!(b.until(at(begin)), Some(at(end)));
        }
        // A zone whose clocks go forward at midnight: the day begins at one.
        let b: Blackouts = "2026-09-06 America/Santiago".parse().unwrap();
        assert_eq!(b.next(at("2026-09-01T00:00:00Z")), Some(at("2026-09-06T04:00:00Z")));
    }

    #[test]
    fn text_comes_back_and_nonsense_is_refused() {
        for text in ["2026-12-20..2027-01-02", "2026-11-27 UTC; 2026-12-24..2026-12-26 Europe/Berlin"] {
            assert_eq!(text.parse::<Blackouts>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "Christmas",
            "2026-13-01",
            "2027-01-02..2026-12-20",
            "2026-01-01 Nowhere",
            "2026-01-01 UTC x",
        ] {
            assert!(text.parse::<Blackouts>().is_err(), "{text}");
        }
    }
}
