//! Logical replication: whether the server can stream changes to us.

use super::Facts;
use shadowswap_core::plan::Finding;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![wal_level(facts), privilege(facts)];
    found.extend(room(facts));
    found.extend(retention(facts));
    found
}

fn wal_level(facts: &Facts) -> Finding {
    let server = &facts.server;
    if server.wal_level == "logical" {
        return Finding::passed("wal-level", "wal_level = logical");
    }
    let next = match server.provider.as_deref() {
        Some("rds") => "set rds.logical_replication = 1 in the parameter group and reboot the instance",
        Some("cloudsql") => {
            "set the flag cloudsql.logical_decoding (AlloyDB: alloydb.logical_decoding) to on; the instance restarts"
        }
        Some("azure") => "set the server parameter wal_level to LOGICAL and restart the server",
        Some(_) | None => "ALTER SYSTEM SET wal_level = 'logical', then restart the server",
    };
    Finding::refused(
        "wal-level",
        format!("wal_level = {}: the server writes no change stream", server.wal_level),
        next,
    )
}

fn privilege(facts: &Facts) -> Finding {
    let server = &facts.server;
    if server.may_replicate {
        return Finding::passed("replication-privilege", format!("{} may use replication", server.user));
    }
    if let Some(role) = &server.may_replicate_as {
        return Finding::passed(
            "replication-privilege",
            format!("{} may use replication through {role}", server.user),
        );
    }
    let user = crate::sql::quote(&server.user);
    let next = match server.provider.as_deref() {
        Some("rds") => format!("GRANT rds_replication TO {user}"),
        Some(_) | None => format!("ALTER ROLE {user} WITH REPLICATION"),
    };
    Finding::refused("replication-privilege", format!("{} may not use replication", server.user), next)
}

fn room(facts: &Facts) -> Vec<Finding> {
    let server = &facts.server;
    let mut found = Vec::new();
    for (check, what, setting, used, max) in [
        ("replication-slots", "replication slots", "max_replication_slots", server.slots, server.slots_max),
        ("wal-senders", "WAL senders", "max_wal_senders", server.senders, server.senders_max),
    ] {
        found.push(if used < max {
            Finding::passed(check, format!("{used} of {max} {what} in use"))
        } else {
            Finding::refused(
                check,
                format!("all {max} {what} are in use"),
                format!("raise {setting} (needs a restart), or drop one that is not needed"),
            )
        });
    }
    found
}

fn retention(facts: &Facts) -> Vec<Finding> {
    let server = &facts.server;
    let mut found = Vec::new();
    if let Some(limit) = server.slot_keep_mb.as_deref().filter(|l| *l != "-1") {
        found.push(Finding::warning(
            "slot-limit",
            format!("max_slot_wal_keep_size = {limit}: if the run stands still while more WAL than that is written, the server drops its changes and it starts again"),
            "resume an interrupted run soon, or raise the limit meanwhile",
        ));
    }
    if let Some(limit) =
        server.slot_idle_timeout.as_deref().filter(|l| *l != "0" && *l != "0s" && *l != "0min")
    {
        found.push(Finding::warning(
            "slot-idle-timeout",
            format!("idle_replication_slot_timeout = {limit}: an interrupted run that rests longer loses its changes and starts again"),
            "resume an interrupted run sooner than that",
        ));
    }
    found
}
