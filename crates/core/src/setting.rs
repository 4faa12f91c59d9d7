//! Settings that can be changed while a run goes on: `chunk-time=50ms`, `max-lag=5s`, `replica-lag=5s..2s`, `cutover=manual`.
//!
//! The same text is checked where it is typed and applied where the run is; in between it lies in the control tables. The names are
//! those of the flags, and those of signals for their limits.

use crate::{
    config::{Config, CutoverWhen, MaxLoad},
    throttle::limit::{self, Limit},
    units::{duration, duration_text, size, size_text},
    window::{Blackouts, Windows},
};
use std::time::Duration;

/// Each copying session is a connection of the server; beyond this they only get in each other's way.
pub const WORKERS_MAX: usize = 64;
/// Less would let a chunk's overhead outweigh its rows.
pub const CHUNK_TIME_MIN: Duration = Duration::from_millis(5);
/// A chunk is a transaction, and the server cannot clean up behind it while it runs.
pub const CHUNK_TIME_MAX: Duration = Duration::from_secs(60);
/// Clients that wait longer than this have noticed.
pub const STALL_BUDGET_MAX: Duration = Duration::from_secs(60);
/// Longer is a slip of the finger.
pub const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// A guard is counted in seconds.
pub const GUARD_MIN: Duration = Duration::from_secs(1);
/// The server keeps its log and both tables for as long.
pub const GUARD_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The least that the guard's budget can be.
pub const RETENTION_MIN: u64 = 1 << 20;

/// The names of settings that are no limits of signals.
pub const NAMES: [&str; 16] = [
    "chunk-time",
    "copy-workers",
    "max-lag",
    "max-replica-lag",
    "max-load",
    "copy-window",
    "blackout",
    "cutover",
    "stall-budget",
    "cutover-attempts",
    "overload-after",
    "guard",
    "guard-retention",
    "watch-for",
    "rollback",
    "drop-old",
];
/// Before the name of what is watched during the guard: its limit there is not the limit that holds the copy.
pub const WATCH: &str = "watch.";

/// Reads `SETTING=VALUE` and checks it. Gives the name and the value.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        format!("{text:?} is not SETTING=VALUE; write it like chunk-time=50ms or replica-lag=5s")
    })?;
    let (name, value) = (name.trim(), value.trim());
    if name == crate::journal::SETTING {
        return Err("where changes are kept is chosen when a migration begins: --spool".to_string());
    }
    if name == crate::offline::GIVING_UP {
        return Err("`shadowswap abort` gives a migration up".to_string());
    }
    // Which signals of the operator's own a run has, only the run knows; it says so if there is none of this name.
    let mut config = Config::default();
    if !NAMES.contains(&name) && limit::unit(name).is_none() && limit::is_name(name) {
        let source = crate::throttle::signal::Source::Command(String::new());
        config.signals.push(crate::throttle::signal::Custom { name: name.to_string(), source });
    }
    if let Some(watched) = name.strip_prefix(WATCH).filter(|watched| limit::is_name(watched)) {
        let source = crate::throttle::signal::Source::Command(String::new());
        config.watches.push(crate::throttle::signal::Custom { name: watched.to_string(), source });
    }
    apply(&config, name, value)?;
    Ok((name.to_string(), value.to_string()))
}

/// The choices with this setting changed.
///
/// # Errors
/// Says what is wrong with the name or the value.
pub fn apply(config: &Config, name: &str, value: &str) -> Result<Config, String> {
    let mut new = config.clone();
    let is_none = value == "none";
    match name {
        "chunk-time" => new.chunk_time = time(value, CHUNK_TIME_MIN, CHUNK_TIME_MAX)?,
        "copy-workers" => new.copy_workers = number(value, 1, WORKERS_MAX)?,
        "max-lag" => new.max_lag = time(value, Duration::from_millis(1), WEEK)?,
        "max-replica-lag" if is_none => new.max_replica_lag = None,
        "max-replica-lag" => new.max_replica_lag = Some(time(value, Duration::from_millis(1), WEEK)?),
        "max-load" => new.max_load = max_load(value)?,
        "copy-window" if value == "always" => new.copy_windows = Windows::default(),
        "copy-window" => new.copy_windows = windows(value)?,
        "blackout" if is_none => new.blackouts = Blackouts::default(),
        "blackout" => new.blackouts = value.parse()?,
        "cutover" => new.cutover = cutover(value)?,
        "stall-budget" => new.stall_budget = time(value, Duration::from_millis(1), STALL_BUDGET_MAX)?,
        "cutover-attempts" => new.cutover_attempts = number(value, 1, u32::MAX)?,
        // No settings, but stored among them: see journal.rs and offline.rs.
        crate::journal::SETTING | crate::offline::GIVING_UP => {}
        "overload-after" => new.overload_after = time(value, Duration::from_secs(1), WEEK)?,
        "guard" => new.guard_set = Some(time(value, GUARD_MIN, GUARD_MAX)?),
        "guard-retention" => {
            new.guard_retention = between(size(value)?, RETENTION_MIN, u64::MAX, size_text)?;
        }
        "watch-for" => new.watch_for = time(value, Duration::from_secs(1), WEEK)?,
        "rollback" => new.rolls_back = rollback(value)?,
        "drop-old" => new.drop_old = yes(value)?,
        signal => {
            if let Some(watched) = signal.strip_prefix(WATCH) {
                watch(&mut new, watched, value)?;
                return Ok(new);
            }
            let has = |s: &crate::throttle::signal::Custom| s.name == signal;
            if limit::unit(signal).is_none() && !config.signals.iter().any(has) {
                let signals = limit::BUILT_IN.map(|(name, ..)| name).join(", ");
                return Err(format!(
                    "{signal:?} is no setting; there are {}, the signals {signals}, those of this run's own, and {WATCH}NAME for what is watched during the guard",
                    NAMES.join(", ")
                ));
            }
            new.limits.retain(|l| l.name != signal);
            if !is_none {
                new.limits.push(Limit::level(signal, value)?);
            }
        }
    }
    Ok(new)
}

/// Gives what is watched during the guard another limit; `none` takes it away.
fn watch(config: &mut Config, watched: &str, value: &str) -> Result<(), String> {
    let is_it = |custom: &crate::throttle::signal::Custom| custom.name == watched;
    if limit::unit(watched).is_none() && !config.watches.iter().chain(&config.signals).any(is_it) {
        return Err(format!("nothing that this run watches is called {watched:?}"));
    }
    config.watch_limits.retain(|l| l.name != watched);
    if value != "none" {
        config.watch_limits.push(Limit::level(watched, value)?);
    }
    Ok(())
}

/// Whether what is watched swaps back by itself.
///
/// # Errors
/// Says what is wrong with the text.
pub fn rollback(text: &str) -> Result<bool, String> {
    match text {
        "auto" => Ok(true),
        "warn" => Ok(false),
        other => Err(format!("{other:?} is neither auto nor warn")),
    }
}

fn yes(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("{other:?} is neither yes nor no")),
    }
}

/// A time between two bounds.
///
/// # Errors
/// Says what is wrong with the text.
pub fn time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    between(duration(text)?, least, most, duration_text)
}

/// A whole number between two bounds.
///
/// # Errors
/// Says what is wrong with the text.
pub fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + Copy + ToString,
{
    let value = text.trim().parse::<T>().map_err(|_| format!("{text:?} is no whole number that fits"))?;
    between(value, least, most, |v| v.to_string())
}

/// The value, if it is within its bounds.
///
/// # Errors
/// Says which bound it breaks.
pub fn between<T: PartialOrd + Copy>(
    value: T,
    least: T,
    most: T,
    text: impl Fn(T) -> String,
) -> Result<T, String> {
    match () {
        () if value < least => Err(format!("{} is too little; the least is {}", text(value), text(least))),
        () if value > most => Err(format!("{} is too much; the most is {}", text(value), text(most))),
        () => Ok(value),
    }
}

/// `auto`, `off` (or `none`), a number of sessions, or a share of the time.
///
/// # Errors
/// Says what is wrong with the text.
pub fn max_load(text: &str) -> Result<MaxLoad, String> {
    match text.trim() {
        "auto" => return Ok(MaxLoad::Auto),
        "off" | "none" => return Ok(MaxLoad::Off),
        _ => {}
    }
    match text.trim().strip_suffix('%') {
        Some(percent) => Ok(MaxLoad::Share(f64::from(number::<u8>(percent, 1, 99)?) / 100.0)),
        None => number(text, 1, u64::MAX)
            .map(MaxLoad::Sessions)
            .map_err(|e| format!("{e} (or say `auto`, `off`, or a share like 10%)")),
    }
}

/// `auto`, `manual`, or windows.
///
/// # Errors
/// Says what is wrong with the text.
pub fn cutover(text: &str) -> Result<CutoverWhen, String> {
    match text.trim() {
        "auto" => Ok(CutoverWhen::Auto),
        "manual" => Ok(CutoverWhen::Manual),
        window => {
            windows(window).map(CutoverWhen::Window).map_err(|e| format!("{e} (or say `auto` or `manual`)"))
        }
    }
}

/// Windows, and at least one: an empty text must not mean "always".
///
/// # Errors
/// Says what is wrong with the text.
pub fn windows(text: &str) -> Result<Windows, String> {
    let windows: Windows = text.parse()?;
    if windows.is_empty() {
        Err("the window is empty; write it like `Mon-Fri 01:00-05:00`".into())
    } else {
        Ok(windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Config {
        apply(&Config::default(), name, value).unwrap()
    }

    #[test]
    fn each_setting_changes_what_its_flag_says() {
        assert_eq!(set("chunk-time", "50ms").chunk_time.as_millis(), 50);
        assert_eq!(set("copy-workers", "7").copy_workers, 7);
        assert_eq!(set("max-lag", "2s").max_lag.as_secs(), 2);
        assert_eq!(set("max-load", "10%").max_load, MaxLoad::Share(0.1));
        assert_eq!(
            (set("max-load", "none").max_load, set("max-load", "auto").max_load),
            (MaxLoad::Off, MaxLoad::Auto)
        );
        assert_eq!(set("cutover", "manual").cutover, CutoverWhen::Manual);
        assert!(!set("copy-window", "daily 01:00-05:00 UTC").copy_windows.is_empty());
        assert_eq!(set("stall-budget", "80ms").stall_budget.as_millis(), 80);
        let limited = set("undo", "1000");
        assert_eq!(limited.all_limits().iter().find(|l| l.name == "undo").map(|l| l.limit), Some(1_000.0));
        assert_eq!(apply(&limited, "undo", "none").unwrap(), Config::default());
        for name in NAMES {
            assert!(apply(&Config::default(), name, "no such value").is_err(), "{name}");
        }
    }

    #[test]
    fn guard_and_what_is_watched_in_it_can_be_changed() {
        assert_eq!(set("guard", "2h").guard_set, Some(Duration::from_secs(7_200)));
        assert_eq!(set("guard-retention", "2GiB").guard_retention, 2 << 30);
        assert_eq!(set("watch-for", "5s").watch_for.as_secs(), 5);
        assert!(set("rollback", "auto").rolls_back && set("drop-old", "yes").drop_old);
        // The limit that holds the copy is another one.
        let watched = set("watch.commit", "20ms");
        assert_eq!(watched.limits, []);
        assert_eq!(watched.watch_limits, [Limit::level("commit", "20ms").unwrap()]);
        assert_eq!(apply(&watched, "watch.commit", "none").unwrap(), Config::default());
        assert_eq!(parse("watch.errors=5..2"), Ok(("watch.errors".into(), "5..2".into())));
        let said = apply(&Config::default(), "watch.errors", "5").unwrap_err();
        assert!(said.contains("nothing that this run watches"), "{said}");
        for text in [
            "guard=0s",
            "guard=900d",
            "guard=none",
            "guard-retention=1KiB",
            "watch.=1",
            "watch.a b=1",
            "drop-old=perhaps",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limit_of_a_signal_goes_before_its_flag() {
        let config = apply(&set("max-lag", "2s"), "lag", "1s..500ms").unwrap();
        let lags: Vec<_> = config.all_limits().into_iter().filter(|l| l.name == "lag").collect();
        assert_eq!((lags.len(), lags[0].limit, lags[0].recovery), (1, 1.0, 0.5));
    }

    #[test]
    fn wrong_settings_are_refused_before_they_are_sent() {
        for text in ["chunk-time", "chunk-time=1h", "copy-workers=0", "no such=1", "undo=lots", "cutover="] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse(" chunk-time = 50ms "), Ok(("chunk-time".into(), "50ms".into())));
        assert_eq!(parse("queue=5"), Ok(("queue".into(), "5".into())));
        let said = apply(&Config::default(), "queue", "5").unwrap_err();
        assert!(said.contains("\"queue\" is no setting"), "{said}");
    }
}
