//! Which product and version answers, and what follows from it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The two products that speak this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// MySQL, Percona Server, and what is built from them.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// A server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The product.
    pub product: Product,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
    /// `@@version`, whole.
    pub text: String,
    /// `gtid_mode = ON`. MariaDB always has its own kind.
    pub has_gtids: bool,
    /// `@@lower_case_table_names`.
    pub lower_case: u8,
}

impl Server {
    /// Reads `@@version`: `9.7.4`, `10.11.19-MariaDB-log`. `None`: it is no version.
    pub fn parse(text: &str, has_gtids: bool, lower_case: u8) -> Option<Server> {
        let is_maria = text.to_ascii_lowercase().contains("mariadb");
        // Old drivers were told that MariaDB is a 5.5.5.
        let numbers = text.strip_prefix("5.5.5-").filter(|_| is_maria).unwrap_or(text);
        let mut parts = numbers.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u16>);
        let version =
            (parts.next()?.ok()?, parts.next()?.ok()?, parts.next().and_then(Result::ok).unwrap_or(0));
        let product = if is_maria { Product::MariaDb } else { Product::MySql };
        let has_gtids = has_gtids || is_maria;
        Some(Server { product, version, text: text.to_string(), has_gtids, lower_case })
    }

    /// Whether this is MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.product == Product::MariaDb
    }

    /// `RENAME TABLE` works in the session that holds the tables' write locks.
    pub fn renames_under_lock(&self) -> bool {
        self.product == Product::MySql && self.version >= (8, 0, 13)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.product {
            Product::MySql => "MySQL",
            Product::MariaDb => "MariaDB",
        };
        let (major, minor, patch) = self.version;
        write!(f, "{name} {major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_products_are_read() {
        let mysql = Server::parse("8.0.12", false, 0).expect("a version");
        assert!(!mysql.is_mariadb() && !mysql.renames_under_lock() && mysql.version == (8, 0, 12));
        assert!(Server::parse("9.7.4-0debian1", true, 0).expect("a version").renames_under_lock());
        let maria = Server::parse("5.5.5-10.11.6-MariaDB-0+deb12u1-log", false, 0).expect("a version");
        assert!(maria.is_mariadb() && maria.has_gtids && maria.version == (10, 11, 6));
        assert_eq!(maria.to_string(), "MariaDB 10.11.6");
        assert!(Server::parse("unknown", false, 0).is_none());
    }
}
