//! How much goes wrong, and for how long.

use crate::chance::Chance;
use std::time::Duration;

/// Rates: once in so many calls; 0: never.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Trouble ends after this time: then the run has to come to its end.
    pub lasts: Duration,
    /// A call's connection breaks: before, during or after it.
    pub breaks: u64,
    /// Any delay is long.
    pub slow: u64,
    /// A commit is invisible for long.
    pub hidden: u64,
    /// For how long, in milliseconds.
    pub hidden_ms: u64,
    /// Connections that cannot be opened.
    pub unreachable: u64,
    /// Something has no room: a stream ends with an error that stops the run.
    pub full: u64,
    /// A runner crashes within so many calls.
    pub crash: u64,
    /// Between two looks whether something larger happens: a restart, a second runner, a session ended by somebody.
    pub events: u64,
}

impl Weather {
    pub fn draw(chance: &mut Chance) -> Weather {
        let lasts = Duration::from_secs(5 + chance.below(40));
        match chance.below(10) {
            0 | 1 => Weather {
                lasts,
                breaks: 0,
                slow: 50,
                hidden: 4,
                hidden_ms: 60,
                unreachable: 0,
                full: 0,
                crash: 0,
                events: 0,
            },
            2..=5 => Weather {
                lasts,
                breaks: 60,
                slow: 30,
                hidden: 4,
                hidden_ms: 300,
                unreachable: 60,
                full: 400,
                crash: 500,
                events: 20,
            },
            6..=8 => Weather {
                lasts,
                breaks: 20,
                slow: 12,
                hidden: 3,
                hidden_ms: 1500,
                unreachable: 30,
                full: 300,
                crash: 250,
                events: 10,
            },
            _ => Weather {
                lasts,
                breaks: 0,
                slow: 20,
                hidden: 3,
                hidden_ms: 1000,
                unreachable: 0,
                full: 0,
                crash: 60,
                events: 4,
            },
        }
    }

    /// After all.
    pub fn calm() -> Weather {
        Weather {
            lasts: Duration::ZERO,
            breaks: 0,
            slow: 0,
            hidden: 5,
            hidden_ms: 5,
            unreachable: 0,
            full: 0,
            crash: 0,
            events: 0,
        }
    }
}
