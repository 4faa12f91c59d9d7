//! The names that a run needs.

use super::Facts;
use shadowswap_core::plan::Finding;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(comment) = &facts.table.shadow_comment {
        let is_ours = comment.starts_with("shadowswap shadow of ");
        let next = if is_ours {
            "it is the shadow of another migration: `shadowswap status` shows which; `shadowswap abort` removes it"
        } else {
            "if nobody needs it, drop or rename it"
        };
        found.push(Finding::refused("names", format!("{} is there already", facts.shadow), next));
    }
    if facts.table.old_comment.is_some() {
        found.push(Finding::refused(
            "names",
            format!("{} is there already, from an earlier run perhaps", facts.old),
            format!("if nobody needs it any more: DROP TABLE {}", crate::sql::table(&facts.old)),
        ));
    }
    if found.is_empty() {
        found.push(Finding::passed("names", format!("{} and {} are free", facts.shadow, facts.old)));
    }
    found
}
