//! Limits as people type them: `replica-lag=5s`, `retained=8GiB..4GiB`, `slot-budget=70%`, `queue=100..20`. Pure.
//!
//! A limit has a *recovery level*: a signal that went over the limit holds the copy until it is at or below that level, so that
//! copying does not stop and go with every reading. Between the two lies the band in which copying is slowed down.

use crate::units::{duration, human_bytes, human_count, human_ms, size};
use std::time::Duration;

/// The recovery level where none is said, as a share of the limit.
const RECOVERY: f64 = 0.7;

/// In what a signal is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Time,
    /// Bytes.
    Size,
    /// Hundredths of what the server allows.
    Percent,
    /// A number.
    Count,
}

/// The signals that every run has, what they are measured in, and what they mean.
pub const BUILT_IN: [(&str, Unit, &str); 10] = [
    ("lag", Unit::Time, "how far the shadow is behind (as --max-lag)"),
    ("replica-lag", Unit::Time, "how far the slowest replica is behind (as --max-replica-lag)"),
    ("sessions", Unit::Count, "other people's sessions at work (as --max-load)"),
    ("commit", Unit::Time, "how long a small commit of our own takes"),
    ("retained", Unit::Size, "WAL or binlog that the server keeps for us"),
    ("slot-budget", Unit::Percent, "the same, of what the server is willing to keep"),
    ("undo", Unit::Count, "InnoDB's history list length (MySQL, MariaDB)"),
    ("vacuum", Unit::Count, "vacuums at work on the table (PostgreSQL)"),
    ("wraparound", Unit::Percent, "the table's age, of autovacuum_freeze_max_age (PostgreSQL)"),
    ("archive", Unit::Count, "WAL files not archived yet (PostgreSQL)"),
];

/// The flag file's signal.
pub const FLAG_FILE: &str = "flag-file";

/// The unit of a signal of this name; `None`: one of the operator's own.
pub fn unit(name: &str) -> Option<Unit> {
    BUILT_IN.iter().find(|(known, ..)| *known == name).map(|(_, unit, _)| *unit)
}

/// A level that a signal must not go over.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The signal.
    pub name: String,
    /// Over this, copying waits.
    pub limit: f64,
    /// At or below this, it goes on.
    pub recovery: f64,
    /// How values are shown.
    pub unit: Unit,
}

impl Limit {
    /// A limit with the usual recovery level.
    pub fn new(name: &str, limit: f64, unit: Unit) -> Limit {
        Limit { name: name.to_string(), limit, recovery: limit * RECOVERY, unit }
    }

    /// Reads `NAME=LIMIT` or `NAME=LIMIT..RECOVERY`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Limit, String> {
        let (name, level) = text.split_once('=').ok_or_else(|| {
            format!("{text:?} is not NAME=LIMIT; write it like replica-lag=5s or retained=8GiB..4GiB")
        })?;
        Limit::level(name.trim(), level)
    }

    /// Reads `LIMIT` or `LIMIT..RECOVERY` for a signal of this name.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn level(name: &str, text: &str) -> Result<Limit, String> {
        if !is_name(name) {
            return Err(format!("{name:?} is no name of a signal; names have letters, digits and dashes"));
        }
        let (limit, recovery) = text.split_once("..").map_or((text, None), |(l, r)| (l, Some(r)));
        let (limit, unit) = value(name, limit)?;
        let limit = Limit::new(name, limit, unit);
        let Some(recovery) = recovery else { return Ok(limit) };
        let (recovery, same) = value(name, recovery)?;
        if same != unit || recovery > limit.limit {
            return Err(format!(
                "{text:?}: the level at which copying goes on must be of the same kind as the limit, and not above it"
            ));
        }
        Ok(Limit { recovery, ..limit })
    }

    /// Where a reading stands in the band: 0 at or below the recovery level, 1 at the limit, more above it. Without a band, 0: it holds
    /// the copy or does not.
    pub fn pressure(&self, value: f64) -> f64 {
        match () {
            () if value <= self.recovery => 0.0,
            () if self.limit > self.recovery => (value - self.recovery) / (self.limit - self.recovery),
            () => 0.0,
        }
    }

    /// A value of this signal for people.
    pub fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Time => human_ms(value * 1e3),
            Unit::Size => human_bytes(value.max(0.0) as u64),
            Unit::Percent => format!("{value:.0}%"),
            Unit::Count if value.fract() == 0.0 => human_count(value.max(0.0) as u64),
            Unit::Count => format!("{value}"),
        }
    }
}

/// Letters, digits, dashes: what stands before a `=` without a question.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 40 && name.chars().all(is_plain)
}

/// A value and what it is measured in. The operator's own signals may be measured in anything.
fn value(name: &str, text: &str) -> Result<(f64, Unit), String> {
    let text = text.trim();
    let percent = |text: &str| {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end().parse::<f64>().ok();
        number
            .filter(|n| (0.0..=1e6).contains(n))
            .ok_or_else(|| format!("{name}: {text:?} is no percentage; write it like 70%"))
    };
    let count = |text: &str| {
        let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        number.ok_or_else(|| format!("{name}: {text:?} is no number; write it like 100"))
    };
    let seconds = |text: &str| duration(text).as_ref().map(Duration::as_secs_f64).map_err(Clone::clone);
    let bytes = |text: &str| size(text).map(|bytes| bytes as f64);
    match unit(name) {
        Some(Unit::Time) => seconds(text).map(|v| (v, Unit::Time)).map_err(|e| format!("{name}: {e}")),
        Some(Unit::Size) => bytes(text).map(|v| (v, Unit::Size)).map_err(|e| format!("{name}: {e}")),
        Some(Unit::Percent) => percent(text).map(|v| (v, Unit::Percent)),
        Some(Unit::Count) => count(text).map(|v| (v, Unit::Count)),
        None if text.ends_with('%') => percent(text).map(|v| (v, Unit::Percent)),
        None => seconds(text)
            .map(|v| (v, Unit::Time))
            .or_else(|_| bytes(text).map(|v| (v, Unit::Size)))
            .or_else(|_| count(text).map(|v| (v, Unit::Count))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Limit {
        Limit::parse(text).unwrap()
    }

    #[test]
    fn limits_are_read_in_the_unit_of_their_signal() {
        assert_eq!(limit("replica-lag=5s").limit, 5.0);
        assert_eq!(limit("retained=8GiB..4GiB").recovery, (4_u64 << 30) as f64);
        assert_eq!(limit("slot-budget=70%"), Limit { recovery: 49.0, ..limit("slot-budget=70") });
        assert_eq!((limit("vacuum=0").limit, limit("vacuum=0").recovery), (0.0, 0.0));
        assert_eq!(limit("queue=100..20").show(1_234.0), "1,234");
        assert_eq!(limit("p99=20ms").unit, Unit::Time);
        assert_eq!(limit("p99=20ms").show(0.0215), "22 ms");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "replica-lag",
            "replica-lag=",
            "replica-lag=5",
            "retained=8s",
            "undo=many",
            "slot-budget=-1%",
            "a b=1",
            "=1",
            "undo=10..20",
            "p99=20ms..1MiB",
            "undo=NaN",
            "queue=inf",
        ] {
            assert!(Limit::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pressure_is_the_place_in_the_band() {
        let limit = limit("undo=200..100");
        assert_eq!([50.0, 100.0, 150.0, 200.0].map(|v| limit.pressure(v)), [0.0, 0.0, 0.5, 1.0]);
        assert!(limit.pressure(201.0) > 1.0);
        let switch = Limit::parse("vacuum=0").unwrap();
        assert_eq!((switch.pressure(0.0), switch.pressure(1.0)), (0.0, 0.0));
    }
}
