//! Table names, and the names derived from them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// A schema-qualified table name as the catalog spells it, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// The schema (PostgreSQL) or database (MySQL).
    pub schema: String,
    /// The table.
    pub name: String,
}

impl TableName {
    /// A name from its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> TableName {
        TableName { schema: schema.into(), name: name.into() }
    }

    /// The same schema, another table.
    pub fn sibling(&self, name: impl Into<String>) -> TableName {
        TableName { schema: self.schema.clone(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// `prefix + base + suffix` in at most `limit` bytes.
///
/// A name that would be longer is shortened and given eight hexadecimal digits of the hash of the whole base, so that two long names
/// with the same beginning never meet in one short one.
pub fn derived(prefix: &str, base: &str, suffix: &str, limit: usize) -> String {
    let full = format!("{prefix}{base}{suffix}");
    if full.len() <= limit {
        return full;
    }
    let digest = Sha256::digest(base.as_bytes());
    let hash = digest.iter().take(4).map(|b| format!("{b:02x}")).collect::<String>();
    let room = limit.saturating_sub(prefix.len() + suffix.len() + hash.len() + 1);
    let mut cut = room.min(base.len());
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{prefix}{}_{hash}{suffix}", &base[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_readable() {
        assert_eq!(derived("_", "orders", "_shadow", 63), "_orders_shadow");
    }

    #[test]
    fn long_names_differ_though_their_beginnings_are_the_same() {
        let a = "a".repeat(62);
        let (x, y) = (derived("_", &format!("{a}x"), "_old", 63), derived("_", &format!("{a}y"), "_old", 63));
        assert_ne!(x, y);
        assert!(x.len() <= 63 && y.len() <= 63);
        assert!(x.ends_with("_old"));
    }

    #[test]
    fn a_character_is_never_cut_in_two() {
        let name = derived("_", &"é".repeat(31), "_shadow", 63);
        assert!(name.len() <= 63);
        assert!(name.contains('é'));
    }
}
