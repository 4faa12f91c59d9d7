//! What is added to the names of slots, publications, sessions and marks, so that two control schemas of one database do not get in each
//! other's way: each counts its migrations from 1.

use sha2::{Digest, Sha256};
use shadowswap_core::plan::Plan;

/// The control schema whose names have nothing added.
const DEFAULT: &str = "shadowswap";

/// What is added for this control schema.
pub fn of(control_schema: &str) -> String {
    if control_schema == DEFAULT {
        return String::new();
    }
    let digest = Sha256::digest(control_schema.as_bytes());
    let hex: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("c{}_", &hex[..7])
}

/// What was added when the plan was made: nothing by versions that did not know of it.
pub fn of_plan(plan: &Plan) -> &str {
    plan.detail.get("scope").and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// A migration's number as it stands in names.
pub fn tag(plan: &Plan, migration: i64) -> String {
    format!("{}{migration}", of_plan(plan))
}

/// The schema's name, from how it is quoted.
pub fn unquoted(schema: &str) -> String {
    let inner = schema.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(schema);
    inner.replace("\"\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_control_schemas_have_something_added() {
        assert_eq!(of("shadowswap"), "");
        let other = of("Night \"shift\"");
        assert!(other.len() == 9 && other.starts_with('c') && other.ends_with('_'), "{other}");
        assert_ne!(other, of("night"));
        assert_eq!(unquoted(&crate::sql::quote("Night \"shift\"")), "Night \"shift\"");
    }
}
