//! What the server says about one table: columns, indexes, and its own text of the definition.

mod read;
mod resolve;
pub mod show;

pub use read::{counter, server_of as server, table};
pub use resolve::resolve;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A table's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its database.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The storage engine: `InnoDB`.
    pub engine: String,
    /// `SHOW CREATE TABLE` without the counter of AUTO_INCREMENT.
    pub create: String,
    /// In the order of the table.
    pub columns: Vec<Column>,
    /// In the server's order; the primary key is called `PRIMARY`.
    pub indexes: Vec<Index>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its bare type, lower case: `int`, `varchar`, `enum`.
    pub data_type: String,
    /// Its whole type: `int(11) unsigned`, `enum('a','b')`, `datetime(6)`.
    pub column_type: String,
    /// The character set of text, ENUM and SET.
    pub charset: Option<String>,
    /// The collation of the same.
    pub collation: Option<String>,
    /// Takes NULL.
    pub nullable: bool,
    /// Its default, as the server tells it.
    pub default: Option<String>,
    /// `auto_increment`, `on update current_timestamp()`, `DEFAULT_GENERATED` and so on.
    pub extra: String,
    /// The server computes it, stored or not.
    pub generated: bool,
    /// MySQL's `INVISIBLE` or MariaDB's.
    pub invisible: bool,
}

/// One index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Keeps its values apart.
    pub unique: bool,
    /// `BTREE`, `HASH`, `FULLTEXT`, `SPATIAL`.
    pub kind: String,
    /// In order.
    pub parts: Vec<Part>,
    /// Its line in `SHOW CREATE TABLE`, without the comma: after `ADD` it makes the index again.
    pub definition: String,
}

/// One part of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The column; `None` for an expression.
    pub column: Option<String>,
    /// Only so many characters or bytes of it.
    pub prefix: Option<u64>,
    /// Sorted the other way.
    pub descending: bool,
}

impl Table {
    /// A hash of the definition. The counter of AUTO_INCREMENT is no part of it.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.create.as_bytes());
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The column of this name; names of columns do not differ by case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| same_name(&c.name, name))
    }

    /// The index of this name.
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|i| same_name(&i.name, name))
    }
}

/// Whether two names of columns or indexes are one to the server.
pub fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

impl Column {
    /// What must be the same for values to be the same: type, character set and collation.
    pub fn shape(&self) -> (&str, Option<&str>, Option<&str>) {
        (&self.column_type, self.charset.as_deref(), self.collation.as_deref())
    }

    /// Numbers its rows itself.
    pub fn is_auto_increment(&self) -> bool {
        self.extra.to_ascii_lowercase().contains("auto_increment")
    }

    /// The server sets it to the present time in every update that does not assign it.
    pub fn is_stamped(&self) -> bool {
        self.extra.to_ascii_lowercase().contains("on update")
    }
}

impl Index {
    /// The columns, if it has neither expressions nor prefixes.
    pub fn whole_columns(&self) -> Option<Vec<&str>> {
        self.parts.iter().map(|p| p.column.as_deref().filter(|_| p.prefix.is_none())).collect()
    }
}
