//! Logical replication: whether the server can stream changes to us.

use super::Facts;
use shadowswap_core::plan::Finding;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![wal_level(facts), privilege(facts)];
    found.extend(room(facts));
    found.extend(retention(facts));
    found.push(standbys(&facts.server.sync_standbys));
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

fn standbys(names: &str) -> Finding {
    match waited_for(names) {
        Some((message, next)) => Finding::refused("synchronous-standbys", message, next),
        None => Finding::passed(
            "synchronous-standbys",
            "the change stream does not count as a synchronous standby",
        ),
    }
}

/// What is to be said of a setting of `synchronous_standby_names` that takes everybody who streams for a standby, or us by our name, and
/// what to do about it.
pub fn waited_for(names: &str) -> Option<(String, &'static str)> {
    let inner = names.split_once('(').map_or(names, |(_, inner)| inner.trim_end().trim_end_matches(')'));
    let mut each = inner.split(',').map(|name| name.trim().trim_matches('"').to_lowercase());
    let counts = each.any(|name| name == "*" || name.starts_with("shadowswap/"));
    let message = || {
        format!(
            "synchronous_standby_names = {names}: the change stream would count as a synchronous standby; every client's commit could wait for \
             it, and would be told to be safe without being on a standby"
        )
    };
    counts.then(|| {
        (
            message(),
            "name the standbys that count instead of *, as ANY 1 (one, two), then SELECT pg_reload_conf()",
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_a_standby_where_everybody_is_or_it_is_named() {
        for names in [
            "*",
            "\"*\"",
            "ANY 1 (*)",
            "FIRST 2 (one, *)",
            "2 (one,*)",
            "one, *",
            "one, \"ShadowSwap/stream\"",
        ] {
            assert!(waited_for(names).is_some(), "{names}");
        }
        for names in ["", "one", "one, two", "ANY 1 (one, two)", "first 1 (\"a*b\")", "shadowswap"] {
            assert!(waited_for(names).is_none(), "{names}");
        }
    }
}
