//! What fills up and must not: the change log, and what the server keeps for us. People are told; copying waits before anything breaks.
//!
//! A run that is stopped makes both worse: nobody reads the stream then, and the server goes on keeping it. So nothing here stops one.
//! Where an operator has given a limit of their own (`--throttle retained=…` or `slot-budget=…`), that one counts instead.

use crate::{
    control::Control,
    engine::{Engine, Load},
    error::Result,
    progress::Progress,
    steward::Steward,
    units::human_bytes,
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;
use tracing::{info, warn};

/// In hundredths of what the server is willing to keep (`max_slot_wal_keep_size`; the time after which binlogs expire): people are told,
/// copying waits, copying goes on.
const PERCENT: Levels = Levels { warn: 50.0, hold: 75.0, go_on: 60.0 };
/// Bytes, where the server would keep whatever it takes, until its disk is full.
const BYTES: Levels = Levels { warn: 16.0 * GIB, hold: 32.0 * GIB, go_on: 24.0 * GIB };
const GIB: f64 = (1_u64 << 30) as f64;
/// The log has room again once it had so for this long: while it is full, there is room for a moment whenever something is applied.
const ROOM_FOR: Duration = Duration::from_secs(10);

struct Levels {
    warn: f64,
    hold: f64,
    go_on: f64,
}

/// How full it was when it was looked at last.
#[derive(Default)]
pub(crate) struct Brim {
    kept: Kept,
    /// Why copying waits.
    why: Option<String>,
    log_full: Option<Instant>,
}

/// What is done about what the server keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kept {
    /// Nothing.
    #[default]
    Fine,
    /// People are told.
    Much,
    /// Copying waits.
    TooMuch,
}

impl Kept {
    /// What follows from another reading.
    fn after(self, value: f64, levels: &Levels) -> Kept {
        match self {
            _ if value >= levels.hold => Kept::TooMuch,
            Kept::TooMuch if value > levels.go_on => Kept::TooMuch,
            // Told once, until it is well below.
            Kept::Much | Kept::TooMuch if value > levels.warn * 0.8 => Kept::Much,
            _ if value >= levels.warn => Kept::Much,
            Kept::Fine | Kept::Much | Kept::TooMuch => Kept::Fine,
        }
    }
}

impl Brim {
    /// Looks at a new reading. Adds to the warnings, notes what changed, and gives the reason why copying waits, if it does.
    pub(crate) async fn observe<E: Engine>(
        &mut self,
        steward: &Steward<E>,
        progress: &mut Progress,
        load: Option<&Load>,
    ) -> Result<Option<String>> {
        if let Some(said) = self.log(steward, progress) {
            note(steward, &said, self.log_full.is_none()).await?;
        }
        // A reading that failed says nothing.
        let Some(load) = load else { return Ok(self.why.clone()) };
        let has_limit = |c: &crate::config::Config| {
            // What is on our own disk may go from the server's.
            c.is_durable
                || c.all_limits().iter().any(|l| matches!(l.name.as_str(), "retained" | "slot-budget"))
        };
        if steward.live.with(has_limit) {
            return Ok(None);
        }
        let (value, levels) = match load.retained_percent {
            Some(percent) => (percent, &PERCENT),
            None => (load.retained_bytes as f64, &BYTES),
        };
        let before = self.kept;
        self.kept = before.after(value, levels);
        let what = kept_text(load, steward.opener.engine.caps().log);
        if before != self.kept {
            let said = match self.kept {
                Kept::Fine => format!("{what}: well below what matters again"),
                Kept::Much => what.clone(),
                Kept::TooMuch => format!("{what}; copying waits until it is less"),
            };
            note(steward, &said, self.kept == Kept::Fine).await?;
        }
        if self.kept != Kept::Fine {
            progress.warnings.push(format!("{what} (--spool durable would let it go)"));
        }
        self.why = (self.kept == Kept::TooMuch).then_some(what);
        Ok(self.why.clone())
    }

    /// Says when the log begins and ends to be full.
    fn log<E: Engine>(&mut self, steward: &Steward<E>, progress: &mut Progress) -> Option<String> {
        let is_full = steward.counters.log_full.load(Ordering::Relaxed);
        let (before, now) = (self.log_full, Instant::now());
        match before {
            _ if is_full => self.log_full = Some(now),
            Some(at) if now - at > ROOM_FOR => self.log_full = None,
            Some(_) | None => {}
        }
        let log = steward.opener.engine.caps().log;
        let limit = human_bytes(steward.live.with(|c| c.log_disk));
        let text = format!(
            "the change log is full (--log-disk {limit}): the change stream is not read until changes are applied, and the server keeps its {log}"
        );
        let said = match (before.is_some(), self.log_full.is_some()) {
            (false, true) => Some(text.clone()),
            (true, false) => Some("the change log has room again: the change stream is read".to_string()),
            (true, true) | (false, false) => None,
        };
        if self.log_full.is_some() {
            progress.warnings.push(text);
        }
        said
    }
}

async fn note<E: Engine>(steward: &Steward<E>, text: &str, is_well: bool) -> Result<()> {
    if is_well {
        info!("{text}");
    } else {
        warn!("{text}");
    }
    let phase = steward.desk.now();
    steward.hooks.tell(steward.opener.event("warning", phase, Some(text.to_string())));
    let who = steward.live.with(|c| c.who.clone());
    steward.control.note(steward.opener.migration, &who, text).await
}

fn kept_text(load: &Load, log: &str) -> String {
    let bytes = human_bytes(load.retained_bytes);
    match load.retained_percent {
        Some(percent) => {
            format!(
                "the server keeps {bytes} of {log} for this run, {percent:.0}% of what it is willing to keep"
            )
        }
        None => format!("the server keeps {bytes} of {log} for this run, and has no limit but its disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_before_copying_waits_and_it_does_not_flap() {
        let mut kept = Kept::Fine;
        let mut after = |percent: f64| {
            kept = kept.after(percent, &PERCENT);
            kept
        };
        assert_eq!(
            [10.0, 49.9, 50.0, 74.0].map(&mut after),
            [Kept::Fine, Kept::Fine, Kept::Much, Kept::Much]
        );
        assert_eq!(
            [45.0, 75.0, 70.0, 61.0].map(&mut after),
            [Kept::Much, Kept::TooMuch, Kept::TooMuch, Kept::TooMuch]
        );
        assert_eq!(
            [60.0, 41.0, 40.0, 45.0].map(&mut after),
            [Kept::Much, Kept::Much, Kept::Fine, Kept::Fine]
        );
        assert_eq!(after(99.0), Kept::TooMuch, "also at once");
    }
}
