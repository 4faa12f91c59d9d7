//! Past migrations as `history` shows them.

use super::{Style, columns, status::clock};
use crate::{
    command::Past,
    units::{human_count, human_ms, human_seconds},
};

/// One line for each, newest first, below a line of titles; then what it changed.
pub fn history(past: &[Past], style: Style) -> String {
    if past.is_empty() {
        return "no migration is over".to_string();
    }
    let titles = ["", "table", "ended", "how", "took", "copied", "applied", "compared", "stall", "change"];
    let mut rows = vec![titles.map(str::to_string).to_vec()];
    rows.extend(past.iter().map(row));
    let mut lines = columns(&rows, "");
    if let Some(first) = lines.first_mut() {
        *first = style.dim(first);
    }
    lines.join("\n")
}

fn row(past: &Past) -> Vec<String> {
    let Past { status, report } = past;
    let progress = status.progress.as_ref();
    let none = || "-".to_string();
    let took = report.as_ref().map(|r| r.elapsed_s).or(progress.map(|p| p.elapsed_s));
    let rows = report.as_ref().map(|r| r.rows_copied).or(progress.map(|p| p.rows_copied));
    let changes = report.as_ref().map(|r| r.changes_applied).or(progress.map(|p| p.changes));
    let compared = report.as_ref().map(|r| r.rows_verified).filter(|n| *n > 0);
    vec![
        status.id.to_string(),
        status.table.to_string(),
        clock(status.ended_at.as_deref().unwrap_or(&status.updated_at)),
        status.phase.to_string(),
        took.map_or_else(none, human_seconds),
        rows.map_or_else(none, human_count),
        changes.map_or_else(none, human_count),
        compared.map_or_else(none, human_count),
        status.stall_ms.map_or_else(none, human_ms),
        status.alters.join("; ").replace('\n', " "),
    ]
}
