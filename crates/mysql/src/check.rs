//! What must hold before a run, and what is worth telling.
//!
//! Facts are gathered first; each check is a pure function over them. A change that is carried out in place needs only the general ones.

mod alter;
mod binlog;
mod dependents;
mod gather;
mod grants;
mod names;
mod privilege;
mod server;
mod size;
mod table;

pub use self::{
    alter::{duplicates, read, refused},
    binlog::retention,
    dependents::{list as dependents_list, views},
    gather::{gather, tied},
    server::{indexes, is_early},
    size::size,
    table::after,
};

use crate::{catalog::Table, flavor::Server};
use grants::Grants;
use shadowswap_core::{name::TableName, plan::Finding};
use std::collections::HashMap;

/// Everything the checks look at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The server.
    pub server: Server,
    /// `CURRENT_USER()`.
    pub user: String,
    /// Global variables, by lower-case name.
    pub variables: HashMap<String, String>,
    /// What we may do.
    pub grants: Grants,
    /// The table's definition.
    pub source: Table,
    /// The shadow's name.
    pub shadow: TableName,
    /// The old table's name.
    pub old: TableName,
    /// What the source is called for a moment where the swap takes two sessions.
    pub sentry: TableName,
    /// The database of the control tables.
    pub control: String,
    /// `SYSTEM VERSIONED`, or `BASE TABLE`.
    pub kind: String,
    /// Rows, as the server estimates them.
    pub rows: u64,
    /// Bytes of the rows.
    pub table_bytes: u64,
    /// Bytes of the indexes.
    pub index_bytes: u64,
    /// Its foreign keys.
    pub keys_out: Vec<String>,
    /// Foreign keys that point to it.
    pub keys_in: Vec<String>,
    /// Its triggers.
    pub triggers: Vec<String>,
    /// Views that speak of it.
    pub views: Vec<String>,
    /// Who reads the binlog now, without streams of our own, as far as can be seen.
    pub replicas: u64,
    /// The server is itself a replica.
    pub is_replica: bool,
    /// Databases that alone are in the binlog, and those that are not; `None`: it cannot be seen.
    pub filters: Option<(Vec<String>, Vec<String>)>,
    /// Which of the shadow's and the old table's names are taken.
    pub taken: Vec<String>,
}

impl Facts {
    /// A variable, lower case; empty where the server has none of that name.
    pub fn variable(&self, name: &str) -> String {
        self.variables.get(name).map(|v| v.to_ascii_lowercase()).unwrap_or_default()
    }
}

/// What any change needs. If one of these is refused, the change was not tried on a copy.
pub fn general(facts: &Facts) -> Vec<Finding> {
    [server::general(facts), table::kind(facts), privilege::general(facts)].concat()
}

/// What a shadow needs besides.
pub fn shadow(facts: &Facts) -> Vec<Finding> {
    let checks = [
        binlog::check,
        server::shadow,
        privilege::shadow,
        dependents::check,
        table::shadow,
        names::check,
        size::check,
    ];
    checks.iter().flat_map(|check| check(facts)).collect()
}

/// Names the first few of many.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

#[cfg(test)]
mod tests;
