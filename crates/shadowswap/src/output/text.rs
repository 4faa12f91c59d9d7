//! Text for people: plans, reports, status and progress.

mod history;
mod plan;
mod status;

pub use history::history;
pub use plan::plan;
pub use status::{state, status};

use crate::units::{human_bytes, human_count, human_ms, human_rate, human_seconds, plural};
use shadowswap_core::{
    Phase,
    progress::{Progress, Report},
};
use std::env;

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub is_unicode: bool,
    pub has_color: bool,
}

impl Style {
    /// ASCII without colours.
    #[cfg(test)]
    pub const PLAIN: Style = Style { is_unicode: false, has_color: false };

    /// Colours on a terminal alone, unless NO_COLOR says no; signs beyond ASCII where the locale has them.
    pub fn detect(is_terminal: bool) -> Style {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let is_dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
        let no_color = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Style {
            is_unicode: locale.contains("utf-8") || locale.contains("utf8"),
            has_color: is_terminal && !is_dumb && !no_color,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.has_color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// The sign of a check that passed.
    pub fn passed(self) -> String {
        self.green(if self.is_unicode { "✓" } else { "ok" })
    }

    /// The sign of a warning.
    pub fn warning(self) -> String {
        self.yellow(if self.is_unicode { "!" } else { " !" })
    }

    /// The sign of a refusal.
    pub fn refused(self) -> String {
        self.red(if self.is_unicode { "✗" } else { "no" })
    }

    /// An arrow to the left.
    pub fn from(self) -> &'static str {
        if self.is_unicode { "←" } else { "<-" }
    }
}

/// Rows done and to do, in phases that go through rows.
pub fn done(p: &Progress) -> Option<(u64, u64)> {
    match p.phase {
        Phase::Copy => Some((p.rows_copied, p.rows_total)),
        Phase::Verify => Some((p.rows_verified.min(p.rows_total), p.rows_total)),
        Phase::Prepare
        | Phase::Index
        | Phase::Ready
        | Phase::Cutover
        | Phase::Guard
        | Phase::Done
        | Phase::Aborted
        | Phase::RolledBack => None,
    }
}

/// How much of the phase is done, in per cent; 100 only if all of it is.
pub fn percent(p: &Progress) -> Option<u64> {
    let (done, total) = done(p)?;
    let percent = if total == 0 { 100.0 } else { done as f64 * 100.0 / total as f64 };
    Some(percent.floor().min(100.0) as u64)
}

/// What holds the copy, what is being done, and the numbers that matter in this phase; without the rows, which the bar shows.
pub fn numbers(p: &Progress) -> Vec<String> {
    let mut parts = Vec::new();
    parts.extend(
        p.throttled
            .as_ref()
            .filter(|_| matches!(p.phase, Phase::Copy | Phase::Verify))
            .map(|why| format!("held: {why}")),
    );
    parts.extend(p.detail.clone());
    if p.phase == Phase::Copy {
        parts.push(format!("{} rows/s", human_rate(p.rows_per_second)));
    }
    parts.extend(p.eta_s.map(|s| format!("{} left", human_seconds(s))));
    if p.phase.applies_changes() || p.guard_left_s.is_some() {
        parts.push(format!("lag {}", human_ms(p.lag_ms)));
        parts.extend((p.backlog > 0).then(|| format!("backlog {}", human_count(p.backlog))));
    }
    parts.extend(p.guard_left_s.map(|s| format!("{} of the guard left", human_seconds(s))));
    parts.extend(
        (p.phase == Phase::Copy && p.chunk_ms > 0.0).then(|| format!("chunk {}", human_ms(p.chunk_ms))),
    );
    parts
}

/// The rows, then the numbers.
pub fn numbers_and_rows(p: &Progress) -> String {
    let rows = done(p).map(|(done, total)| format!("{} of {} rows", human_count(done), human_count(total)));
    rows.into_iter().chain(numbers(p)).collect::<Vec<_>>().join(", ")
}

/// One line for a log.
pub fn progress_line(p: &Progress) -> String {
    let percent = percent(p).map_or_else(String::new, |n| format!("{n:>3}%  "));
    format!("{:<8} {percent}{}", p.phase.name(), numbers_and_rows(p)).trim_end().to_string()
}

/// How a run ended well.
pub fn report(r: &Report, style: Style) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if r.strategy == "shadow" {
        rows.push((
            "copied",
            format!("{}, {} applied here", plural(r.rows_copied, "row"), plural(r.changes_applied, "change")),
        ));
        rows.push(("verified", verified(r)));
        rows.push(("was", format!("{} until the swap", r.shadow_table)));
    }
    let attempts = if r.attempts == 1 {
        "at the first attempt".to_string()
    } else {
        format!("after {} attempts", r.attempts)
    };
    let steps: Vec<_> = r.stall_steps.iter().map(|(name, ms)| format!("{name} {}", human_ms(*ms))).collect();
    let steps = if steps.is_empty() { String::new() } else { format!(" ({})", steps.join(", ")) };
    rows.push(("stall", format!("{} {attempts}{steps}", human_ms(r.stall_ms))));
    match &r.old_table {
        Some(old) => {
            rows.push(("old table", format!("kept as {old}; drop it when nobody needs it any more")));
        }
        None if r.strategy == "shadow" => rows.push(("old table", "dropped".to_string())),
        None => {}
    }
    rows.extend(r.guard.iter().map(|guard| ("guard", guard.clone())));
    let phases: Vec<_> = r.phases.iter().map(|(name, s)| format!("{name} {}", human_seconds(*s))).collect();
    let phases = if phases.is_empty() { String::new() } else { format!(" ({})", phases.join(", ")) };
    rows.push(("took", format!("{}{phases}", human_ms(r.elapsed_s * 1e3))));
    let title = format!("{} {} is changed", style.passed(), style.bold(&r.table));
    [title]
        .into_iter()
        .chain(rows.into_iter().map(|(name, value)| format!("  {name:<10} {value}")))
        .collect::<Vec<_>>()
        .join("\n")
}

fn verified(r: &Report) -> String {
    if r.chunks_verified == 0 {
        return "nothing was compared by this run".to_string();
    }
    format!("{} in {}, none differs", plural(r.rows_verified, "row"), plural(r.chunks_verified, "chunk"))
}

/// Cells in columns that stand below each other. The last column is not padded.
fn columns(rows: &[Vec<String>], indent: &str) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<_> = (0..count)
        .map(|i| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or_default())
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("{indent}{}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_string()
        })
        .collect()
}

/// A text over several lines, all but the first moved to the right.
fn hanging(text: &str, indent: usize) -> String {
    text.trim_end().replace('\n', &format!("\n{}", " ".repeat(indent)))
}

/// Sizes as one phrase.
fn sizes(table: u64, indexes: u64) -> String {
    format!("{} and {} of indexes", human_bytes(table), human_bytes(indexes))
}

#[cfg(test)]
mod tests;
