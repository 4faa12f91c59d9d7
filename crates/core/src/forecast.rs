//! When it will be done, and what would break before. Pure.

use crate::{
    units::{human_bytes, human_seconds},
    window::Calendar,
};
use jiff::{Timestamp, tz::TimeZone};
use std::time::Duration;

/// Something that fills up, by how much a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Filling {
    /// Now.
    pub now: f64,
    /// When it is full.
    pub full: f64,
    /// How fast it fills; at or below zero: it does not.
    pub per_second: f64,
}

impl Filling {
    /// Seconds until it is full; `None`: never, at this rate.
    fn lasts(&self) -> Option<f64> {
        (self.per_second > 0.0).then(|| (self.full - self.now).max(0.0) / self.per_second)
    }
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// Work that is left, at the rates that were measured; `None`: not known.
    pub needs: Option<Duration>,
    /// When it may be done.
    pub calendar: Calendar,
    /// What the server keeps for us, in hundredths of what it is willing to keep.
    pub retained: Option<Filling>,
    /// The change log's disk, in bytes.
    pub log: Option<Filling>,
}

/// A sentence for people, and warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `needs 2.4 windows, done about Thu 03:10; WAL retention holds`.
    pub forecast: Option<String>,
    /// What would break before it is done.
    pub warnings: Vec<String>,
}

/// Says it. `log`: what the server's log is called.
pub fn tell(outlook: &Outlook, now: Timestamp, zone: &TimeZone, log: &str) -> Told {
    let done = outlook.needs.map(|needs| outlook.calendar.forecast(now, needs));
    let until = match done {
        Some(Some(forecast)) => forecast.done.duration_since(now).as_secs_f64(),
        // Not within a year.
        Some(None) => f64::INFINITY,
        None => 0.0,
    };
    let mut told = Told::default();
    let breaks = |what: Option<Filling>| what.and_then(|f| f.lasts()).filter(|lasts| *lasts < until);
    if let Some(lasts) = breaks(outlook.retained) {
        let percent = outlook.retained.map_or(0.0, |f| f.now);
        told.warnings.push(format!(
            "{log} retention does not hold: {percent:.0}% of what the server is willing to keep is used, and the rest in {}",
            human_seconds(lasts)
        ));
    }
    if let Some(lasts) = breaks(outlook.log) {
        let (used, full) = outlook.log.map_or((0.0, 0.0), |f| (f.now, f.full));
        told.warnings.push(format!(
            "the change log fills its disk in {}: {} of {} (--log-disk) are used",
            human_seconds(lasts),
            human_bytes(used as u64),
            human_bytes(full as u64)
        ));
    }
    let holds = if told.warnings.is_empty() && outlook.retained.is_some() {
        format!("; {log} retention holds")
    } else {
        String::new()
    };
    told.forecast = match done {
        None => None,
        Some(None) => Some("does not fit into the windows of a year".to_string()),
        Some(Some(forecast)) => {
            let at = clock(forecast.done, now, zone);
            let windows = match outlook.calendar.windows.is_empty() {
                true => String::new(),
                false => format!("needs {:.1} windows, ", forecast.windows),
            };
            Some(format!("{windows}done about {at}{holds}"))
        }
    };
    told
}

/// A time within a week by its day's name, a later one by its date.
fn clock(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let format = match at.date() {
        day if day == now.date() => "%H:%M",
        _ if at.timestamp().duration_since(now.timestamp()).as_hours() < 24 * 6 => "%a %H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    at.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(needs: f64, windows: &str, retained: Option<Filling>) -> Told {
        let calendar = Calendar { windows: windows.parse().unwrap(), ..Calendar::default() };
        let outlook =
            Outlook { needs: Some(Duration::from_secs_f64(needs * 3600.0)), calendar, retained, log: None };
        // A Monday.
        tell(&outlook, "2026-01-05T12:00:00Z".parse().unwrap(), &TimeZone::UTC, "WAL")
    }

    #[test]
    fn forecast_says_how_many_windows_and_when() {
        let holds = Some(Filling { now: 3.0, full: 100.0, per_second: 0.0 });
        assert_eq!(
            told(8.55, "daily 01:00-05:00 UTC", holds).forecast.unwrap(),
            "needs 2.1 windows, done about Thu 01:33; WAL retention holds"
        );
        assert_eq!(told(1.5, "", None).forecast.unwrap(), "done about 13:30");
        assert_eq!(
            told(40.0, "Sat 01:00-05:00 UTC", None).forecast.unwrap(),
            "needs 10.0 windows, done about 2026-03-14 05:00"
        );
        assert!(told(1e5, "Sat 01:00-05:00 UTC", None).forecast.unwrap().contains("does not fit"));
    }

    #[test]
    fn what_breaks_before_is_said() {
        let fills = Filling { now: 20.0, full: 100.0, per_second: 80.0 / 36_000.0 };
        let all = told(9.6, "daily 01:00-05:00 UTC", Some(fills));
        assert!(!all.forecast.unwrap().contains("holds"));
        assert_eq!(
            all.warnings,
            [
                "WAL retention does not hold: 20% of what the server is willing to keep is used, and the rest in 10 h"
            ]
        );
        assert!(told(9.0, "", Some(fills)).warnings.is_empty(), "it is done before");
    }
}
