//! The names that a run needs.

use super::Facts;
use shadowswap_core::plan::Finding;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_taken = |name: &str| {
        facts.taken.iter().any(|t| t == name || facts.server.lower_case != 0 && t.eq_ignore_ascii_case(name))
    };
    if is_taken(&facts.shadow.name) {
        found.push(Finding::refused(
            "names",
            format!("{} is there already", facts.shadow),
            "if it is the shadow of another migration (`shadowswap status`), `shadowswap abort` removes it; else, if nobody needs it, drop or rename it",
        ));
    }
    if is_taken(&facts.old.name) {
        found.push(Finding::refused(
            "names",
            format!("{} is there already, from an earlier run perhaps", facts.old),
            format!("if nobody needs it any more: DROP TABLE {}", crate::sql::table(&facts.old)),
        ));
    }
    if !facts.server.renames_under_lock() && is_taken(&facts.sentry.name) {
        found.push(Finding::refused(
            "names",
            format!("{} is there already; the swap needs that name for a moment", facts.sentry),
            "rename it for the run",
        ));
    }
    if found.is_empty() {
        found.push(Finding::passed("names", format!("{} and {} are free", facts.shadow, facts.old)));
    }
    found
}
