//! Migrations as `status` shows them.

use super::{Style, hanging, numbers_and_rows, percent};
use crate::units::{human_bytes, human_count, human_ms, human_rate, human_seconds};
use jiff::Timestamp;
use shadowswap_core::{Phase, control::Status, progress::Progress};

/// Events shown of each migration; JSON has all that the control tables gave.
const EVENTS: usize = 10;

/// All of them, newest first.
pub fn status(all: &[Status], now: Timestamp, style: Style) -> String {
    if all.is_empty() {
        return "no migrations".to_string();
    }
    all.iter().map(|s| one(s, now, style)).collect::<Vec<_>>().join("\n\n")
}

fn one(s: &Status, now: Timestamp, style: Style) -> String {
    let phase = match s.phase {
        Phase::Done => style.green(s.phase.name()),
        Phase::Aborted | Phase::RolledBack => style.dim(s.phase.name()),
        Phase::Prepare
        | Phase::Copy
        | Phase::Index
        | Phase::Verify
        | Phase::Ready
        | Phase::Cutover
        | Phase::Guard => style.yellow(s.phase.name()),
    };
    let percent = s.progress.as_ref().filter(|p| p.phase == s.phase).and_then(percent);
    let percent = percent.map_or_else(String::new, |n| format!(" {n}%"));
    let paused = if s.paused && !s.phase.is_over() { ", paused" } else { "" };
    let mut rows = vec![("change", s.alters.join("\n")), ("runner", runner(s, now))];
    rows.extend(s.progress.as_ref().map(|p| lines(s, p)).unwrap_or_default());
    rows.extend(s.guard_left_s.map(|left| ("guard", guard(s, left))));
    rows.extend(s.stall_ms.filter(|_| s.phase.is_swapped()).map(|ms| ("stall", human_ms(ms))));
    rows.extend(s.error.as_ref().filter(|_| s.phase != Phase::Done).map(|e| ("error", style.red(e))));
    rows.push(("began", format!("{}, {} ago", clock(&s.started_at), ago(&s.started_at, now))));
    let head = format!(
        "{}  {phase}{percent}{paused}  (migration {}, plan {})",
        style.bold(&s.table.to_string()),
        s.id,
        s.plan_id
    );
    let mut lines = vec![head];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    lines.extend(rows.map(|(name, value)| format!("  {name:<9} {}", hanging(&value, 12))));
    let skip = s.events.len().saturating_sub(EVENTS);
    for (i, event) in s.events.iter().skip(skip).enumerate() {
        let name = if i == 0 { "events" } else { "" };
        let what = hanging(&event.what, 12);
        lines.push(format!(
            "  {name:<9} {}  {}",
            style.dim(&format!("{} {}", clock(&event.at), event.who)),
            what
        ));
    }
    lines.join("\n")
}

/// What is kept in step, and for how long.
fn guard(s: &Status, left: f64) -> String {
    let (kept, use_it) = if s.turn % 2 == 0 {
        ("rolled back; the new table is kept in step", "`cutover` swaps to it again")
    } else {
        ("the old table is kept in step", "`rollback` loses nothing")
    };
    match (left > 0.0, &s.runner) {
        (false, _) => "the time is up; only the cleaning up is left".to_string(),
        (true, Some(_)) => format!("{kept} for another {}; {use_it}", human_seconds(left)),
        (true, None) => format!(
            "nobody keeps the tables in step now; {} left; run the same command again",
            human_seconds(left)
        ),
    }
}

fn runner(s: &Status, now: Timestamp) -> String {
    match (&s.runner, s.phase) {
        (_, Phase::Done | Phase::Aborted | Phase::RolledBack) => String::new(),
        (Some(runner), _) => format!("{runner}, last heard of {} ago", ago(&s.updated_at, now)),
        (None, _) => format!(
            "none since {} ago: run the same command again to go on, or `shadowswap abort --table {}`",
            ago(&s.updated_at, now),
            s.table
        ),
    }
}

/// What the runner reported last.
fn lines(s: &Status, p: &Progress) -> Vec<(&'static str, String)> {
    if s.phase.is_over() {
        return vec![(
            "copied",
            format!("{} rows, {} changes applied", human_count(p.rows_copied), human_count(p.changes)),
        )];
    }
    let mut rows = vec![("progress", numbers_and_rows(&Progress { throttled: None, ..p.clone() }))];
    if s.phase.applies_changes() || s.guard_left_s.is_some() {
        let disk = (p.backlog_disk_bytes > 0)
            .then(|| format!(", {} of them on disk", human_bytes(p.backlog_disk_bytes)));
        rows.push((
            "applied",
            format!(
                "{} changes, {}/s; {} wait{}; the server keeps {} for us",
                human_count(p.changes),
                human_rate(p.changes_per_second),
                human_count(p.backlog),
                disk.unwrap_or_default(),
                human_bytes(p.retained_bytes)
            ),
        ));
    }
    if p.attempts > 0 {
        rows.push(("cutover", format!("{} attempts so far", p.attempts)));
    }
    rows.extend(p.throttled.clone().map(|why| ("held", why)));
    if p.phase == Phase::Copy || p.phase == Phase::Verify {
        let pace = (p.ease < 0.995 && p.throttled.is_none())
            .then(|| format!("at {:.0}% of full speed", p.ease * 100.0));
        let signals = p.signals.iter().map(|s| format!("{} {} of {}", s.name, s.value, s.limit));
        rows.push(("signals", pace.into_iter().chain(signals).collect::<Vec<_>>().join(", ")));
    }
    rows.extend(p.forecast.clone().filter(|_| p.phase == Phase::Copy).map(|text| ("forecast", text)));
    rows.extend(p.warnings.iter().map(|text| ("warning", text.clone())));
    rows
}

/// What state things are in, in a sentence for the end of an error message.
pub fn state(s: &Status) -> String {
    let table = &s.table;
    let stream = "the server keeps its change stream until the migration goes on or is aborted";
    match s.phase {
        Phase::Prepare => format!("{table} is in use and unchanged; the preparations are not finished"),
        Phase::Copy => {
            let part = s
                .progress
                .as_ref()
                .and_then(percent)
                .map_or_else(String::new, |n| format!(", {n}% of its rows"));
            format!("{table} is in use and unchanged; the shadow is being filled{part}; {stream}")
        }
        Phase::Index | Phase::Verify => {
            format!("{table} is in use and unchanged; every row is copied (phase {}); {stream}", s.phase)
        }
        Phase::Ready | Phase::Cutover if s.turn > 0 => {
            format!(
                "{table} is the original table again, with every write since; {stream}, or `shadowswap finish`"
            )
        }
        Phase::Ready | Phase::Cutover => {
            format!("{table} is in use and unchanged; the shadow is complete; nothing was swapped; {stream}")
        }
        Phase::Guard if s.guard_left_s.is_some_and(|left| left > 0.0) => {
            format!(
                "the swap is done: {table} is the new table; going back is possible once the guard is run again"
            )
        }
        Phase::Guard => format!("the swap is done: {table} is the new table; only the cleaning up is left"),
        Phase::Done => format!("the swap is done: {table} is the new table"),
        Phase::RolledBack => {
            format!(
                "{table} is the original table again, with every write since; the new one is kept beside it"
            )
        }
        Phase::Aborted => format!("{table} is in use and unchanged; everything that was made is removed"),
    }
}

/// How long ago, as far as the text can be read.
fn ago(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => human_seconds(now.duration_since(at).as_secs_f64()),
        Err(_) => "an unknown time".to_string(),
    }
}

/// Local date and time without fractions; what cannot be read stays as it is.
pub fn clock(at: &str) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => at.to_string(),
    }
}
