//! The server itself: its version and its part.

use super::Facts;
use crate::plan::LateIndex;
use shadowswap_core::plan::{Finding, Indexes};

/// The oldest versions that have what a run needs.
const MYSQL_MIN: (u16, u16, u16) = (8, 0, 13);
const MARIADB_MIN: (u16, u16, u16) = (10, 5, 0);
/// The newest that runs were tested on.
const MYSQL_TESTED: (u16, u16) = (9, 7);
const MARIADB_TESTED: (u16, u16) = (11, 8);

pub fn general(facts: &Facts) -> Vec<Finding> {
    let server = &facts.server;
    let (min, tested) =
        if server.is_mariadb() { (MARIADB_MIN, MARIADB_TESTED) } else { (MYSQL_MIN, MYSQL_TESTED) };
    let mut found = vec![if server.version < min {
        let next = format!("{}.{}.{} is the oldest that works", min.0, min.1, min.2);
        Finding::refused("server-version", format!("the server is {server}"), next)
    } else if (server.version.0, server.version.1) > tested {
        let message = format!("the server is {server}, newer than any tested");
        Finding::warning("server-version", message, "try the change on a copy first")
    } else {
        Finding::passed("server-version", server.to_string())
    }];
    let closed = ["read_only", "super_read_only", "innodb_read_only"]
        .into_iter()
        .find(|name| !matches!(facts.variable(name).as_str(), "off" | "0" | ""));
    if let Some(name) = closed {
        found.push(Finding::refused(
            "read-only",
            format!("{name} is on: the server takes no changes"),
            "connect to the primary",
        ));
    }
    found
}

pub fn shadow(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.variable("wsrep_on") == "on" {
        found.push(Finding::refused(
            "cluster",
            "the server is a node of a Galera cluster, where LOCK TABLES and named locks hold on one node only",
            "use the cluster's own rolling schema upgrade",
        ));
    }
    if !facts.variable("group_replication_group_name").is_empty()
        && facts.variable("group_replication_single_primary_mode") == "off"
    {
        found.push(Finding::refused(
            "cluster",
            "the server is one of several primaries of a group, and locks hold on one of them only",
            "switch the group to a single primary for the run",
        ));
    }
    found
}

/// When the secondary indexes of the shadow are built, why, and what that means for replicas. `late`: those that are built after the copy.
pub fn indexes(facts: &Facts, asked: Indexes, late: &[LateIndex]) -> Vec<Finding> {
    let replicas = match facts.replicas {
        0 => "no replica is attached".to_string(),
        1 => "a replica is attached".to_string(),
        n => format!("{n} replicas are attached"),
    };
    let early = "there while rows are copied, but for those that keep values apart or hold expressions";
    let message = match (asked, is_early(facts, asked)) {
        (Indexes::Auto, true) => {
            format!("{early}: {replicas}, where building one later is one long statement")
        }
        (Indexes::Auto, false) => format!("built after the copy, which is faster: {replicas}"),
        (Indexes::Early, _) => format!("{early}: --indexes early"),
        (Indexes::Late, _) => "built after the copy: --indexes late".to_string(),
    };
    let mut found = vec![Finding::passed("indexes", message)];
    if facts.replicas > 0 && !late.is_empty() {
        let names = late.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", ");
        found.push(Finding::warning(
            "replicas",
            format!(
                "{replicas}: there, building {names} after the copy is one statement, and holds up what comes after it"
            ),
            match asked {
                Indexes::Late => "leave --indexes late out, or watch their lag; --max-replica-lag holds the copy, not an index",
                Indexes::Auto | Indexes::Early => "watch their lag; --max-replica-lag holds the copy, not an index",
            },
        ));
    }
    found
}

/// Whether indexes are made before the copy, where they can be.
pub fn is_early(facts: &Facts, asked: Indexes) -> bool {
    match asked {
        Indexes::Early => true,
        Indexes::Late => false,
        Indexes::Auto => facts.replicas > 0,
    }
}
