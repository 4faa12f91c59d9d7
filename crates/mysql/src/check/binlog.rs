//! The binlog: whether the server writes a change stream that is whole.

use super::{Facts, few};
use shadowswap_core::plan::Finding;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.variable("log_bin") != "on" {
        found.push(Finding::refused(
            "binlog",
            "log_bin = OFF: the server writes no change stream",
            "start the server with --log-bin (and a server_id); it needs a restart",
        ));
        return found;
    }
    found.push(Finding::passed("binlog", "log_bin = ON"));
    found.push(format(facts));
    found.push(image(facts));
    found.extend(partial_json(facts));
    found.extend(compression(facts));
    found.extend(filters(facts));
    found.extend(replicated(facts));
    found.push(gtids(facts));
    found
}

/// A run that is interrupted for longer than this cannot go on, most likely.
const RETENTION_MIN_S: f64 = 86_400.0;

/// For how long the binlog is there for a run that was interrupted. `guard_s`: how long the old table is to be kept in step.
pub fn retention(facts: &Facts, guard_s: Option<u64>) -> Finding {
    const CHECK: &str = "binlog-retention";
    let number = |name: &str| facts.variable(name).parse::<f64>().ok().filter(|n| *n > 0.0);
    let kept =
        number("binlog_expire_logs_seconds").or(number("expire_logs_days").map(|days| days * 86_400.0));
    let Some(kept) = kept else {
        return Finding::passed(CHECK, "the server keeps its binlog until it is told to purge it");
    };
    let hours = kept / 3600.0;
    if kept >= RETENTION_MIN_S {
        return Finding::passed(CHECK, format!("the server keeps its binlog for {hours:.0} hours"));
    }
    let what = if guard_s.is_some() { "a run or a guard" } else { "a run" };
    Finding::warning(
        CHECK,
        format!(
            "the server keeps its binlog for {hours:.1} hours: {what} that is interrupted for longer cannot go on"
        ),
        "SET GLOBAL binlog_expire_logs_seconds = 604800 until the end, also in the configuration file",
    )
}

fn format(facts: &Facts) -> Finding {
    match facts.variable("binlog_format").as_str() {
        // Versions that know nothing else have no such variable.
        "row" | "" => Finding::passed("binlog-format", "binlog_format = ROW"),
        other => Finding::refused(
            "binlog-format",
            format!(
                "binlog_format = {}: changes may be in the stream as statements",
                other.to_ascii_uppercase()
            ),
            "SET GLOBAL binlog_format = 'ROW', also in the configuration file; then let every client connect anew: an open session keeps the old one",
        ),
    }
}

fn image(facts: &Facts) -> Finding {
    match facts.variable("binlog_row_image").as_str() {
        "full" | "" => Finding::passed("binlog-row-image", "binlog_row_image = FULL"),
        other => Finding::refused(
            "binlog-row-image",
            format!("binlog_row_image = {}: changes come without all columns", other.to_ascii_uppercase()),
            "SET GLOBAL binlog_row_image = 'FULL', also in the configuration file; then let every client connect anew: an open session keeps the old one",
        ),
    }
}

fn partial_json(facts: &Facts) -> Option<Finding> {
    let has_json = facts.source.columns.iter().any(|c| c.data_type == "json");
    (has_json && facts.variable("binlog_row_value_options").contains("partial_json")).then(|| {
        Finding::warning(
            "binlog-row-value-options",
            "binlog_row_value_options = PARTIAL_JSON: JSON columns come in parts; each changed row is read again from the table",
            "nothing need be done",
        )
    })
}

/// The server then sends a transaction as one event, which is held until its checksum was compared.
fn compression(facts: &Facts) -> Option<Finding> {
    (facts.variable("binlog_transaction_compression") == "on").then(|| {
        Finding::warning(
            "binlog-transaction-compression",
            "binlog_transaction_compression = ON: a transaction comes in one piece, and takes as much memory here as it has bytes \
             compressed, with its rows of other tables",
            "SET GLOBAL binlog_transaction_compression = OFF until the end, if there are transactions of gigabytes; then let their \
             clients connect anew",
        )
    })
}

fn filters(facts: &Facts) -> Option<Finding> {
    let (only, never) = facts.filters.as_ref()?;
    let left_out = [facts.source.schema.as_str(), facts.control.as_str()]
        .into_iter()
        .filter(|db| (!only.is_empty() && !only.iter().any(|n| n == db)) || never.iter().any(|n| n == db))
        .map(str::to_string)
        .collect::<Vec<_>>();
    (!left_out.is_empty()).then(|| {
        Finding::refused(
            "binlog-filter",
            format!("binlog-do-db or binlog-ignore-db keeps out of the binlog: {}", few(&left_out)),
            "take the filter out of the configuration; it needs a restart (filter on the replicas instead)",
        )
    })
}

fn replicated(facts: &Facts) -> Option<Finding> {
    if !facts.is_replica {
        return None;
    }
    let logs = [facts.variable("log_replica_updates"), facts.variable("log_slave_updates")];
    Some(if logs.iter().any(|v| v == "on") {
        Finding::warning(
            "replica",
            "the server replicates from another: the change reaches this server and its replicas only",
            "run it on the primary, unless that is what you want",
        )
    } else {
        Finding::refused(
            "replica",
            "the server replicates from another, and does not write those changes into its own binlog",
            "run it on the primary",
        )
    })
}

fn gtids(facts: &Facts) -> Finding {
    let message = if facts.server.is_mariadb() {
        "MariaDB's GTIDs"
    } else if facts.server.has_gtids {
        "gtid_mode = ON"
    } else {
        "gtid_mode is not ON: the run goes by file and offset, and chunks read under share locks"
    };
    Finding::passed("gtids", message)
}
