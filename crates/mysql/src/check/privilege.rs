//! What we may do, with the statement that lets us.

use super::Facts;
use crate::sql::quote;
use shadowswap_core::plan::Finding;

/// What making, filling and swapping a table takes.
const ON_TABLE: [&str; 9] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "LOCK TABLES"];
/// What the control tables and the trial take. Batches are staged in temporary tables.
const ON_CONTROL: [&str; 9] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "CREATE TEMPORARY TABLES"];
/// What the trial alone takes, of both.
const TRIAL: [&str; 5] = ["SELECT", "INSERT", "CREATE", "DROP", "ALTER"];

/// What it takes to try the change on a copy, and to make it in place.
pub fn general(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(lacking(facts, &facts.control, &TRIAL));
    found.extend(lacking(facts, &facts.source.schema, &["SELECT", "ALTER", "CREATE", "INSERT"]));
    found
}

pub fn shadow(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(lacking(facts, &facts.source.schema, &ON_TABLE));
    found.extend(lacking(facts, &facts.control, &ON_CONTROL));
    if !facts.grants.has(&["TRIGGER"], &facts.source.schema) {
        found.push(refused(
            facts,
            "whether the table has triggers cannot be seen without the privilege TRIGGER",
            &format!("TRIGGER ON {}.*", quote(&escaped(&facts.source.schema))),
        ));
    }
    let status = ["REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"];
    let status_name = if facts.server.is_mariadb() { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
    for (names, name) in [(&["REPLICATION SLAVE"] as &[&str], "REPLICATION SLAVE"), (&status, status_name)] {
        if !facts.grants.has_global(names) {
            found.push(refused(facts, &format!("{} lacks {name}", facts.user), &format!("{name} ON *.*")));
        }
    }
    let sees_all = facts.grants.has_global(&["PROCESS"]);
    if !sees_all && !facts.server.renames_under_lock() {
        let what = format!(
            "{} lacks PROCESS: a TRUNCATE that another session has queued before the swap could not be seen, and would be lost",
            facts.user
        );
        found.push(refused(facts, &what, "PROCESS ON *.*"));
    }
    if found.is_empty() {
        found.push(Finding::passed("privileges", "all privileges are there"));
    }
    if !sees_all && facts.server.renames_under_lock() {
        found.push(Finding::warning(
            "privileges",
            format!("{} lacks PROCESS: who stands in the way of the swap cannot be seen", facts.user),
            grant(facts, "PROCESS ON *.*"),
        ));
    }
    found
}

fn lacking(facts: &Facts, database: &str, wanted: &[&str]) -> Option<Finding> {
    let lacking: Vec<&str> = wanted.iter().filter(|p| !facts.grants.has(&[p], database)).copied().collect();
    if lacking.is_empty() {
        return None;
    }
    let what = format!("{} lacks {} on database {database}", facts.user, lacking.join(", "));
    Some(refused(facts, &what, &format!("{} ON {}.*", lacking.join(", "), quote(&escaped(database)))))
}

fn refused(facts: &Facts, what: &str, granted: &str) -> Finding {
    Finding::refused("privileges", what, grant(facts, granted))
}

fn grant(facts: &Facts, what: &str) -> String {
    let user = match facts.user.rsplit_once('@') {
        Some((name, host)) => format!("{}@{}", quote(name), quote(host)),
        None => quote(&facts.user),
    };
    format!("GRANT {what} TO {user}")
}

/// In a GRANT a database's name is a pattern.
fn escaped(database: &str) -> String {
    database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%")
}
