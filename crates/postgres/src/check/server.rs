//! The server itself: its version, its part, and who is busy on it.

use super::{Facts, ago, few};
use shadowswap_core::plan::Finding;

/// The oldest version that has what a run needs.
const VERSION_MIN: i32 = 130_000;
/// The newest version that runs were tested on.
const VERSION_TESTED: i32 = 189_999;

pub fn general(facts: &Facts) -> Vec<Finding> {
    let server = &facts.server;
    let mut found = Vec::new();
    found.push(match server.version_num {
        n if n < VERSION_MIN => Finding::refused(
            "server-version",
            format!("the server is PostgreSQL {}", server.version),
            "13 is the oldest that works",
        ),
        n if n > VERSION_TESTED => Finding::warning(
            "server-version",
            format!("the server is PostgreSQL {}, newer than any tested", server.version),
            "try the change on a copy first",
        ),
        _ => Finding::passed("server-version", format!("PostgreSQL {}", server.version)),
    });
    if server.is_standby {
        found.push(Finding::refused(
            "standby",
            "the server is a standby: it takes no changes",
            "connect to the primary",
        ));
    }
    if !server.event_triggers.is_empty() {
        found.push(Finding::warning(
            "event-triggers",
            format!(
                "event triggers see the statements of a run, on the copy and on the shadow: {}",
                few(&server.event_triggers)
            ),
            "make sure that they let tables be made, renamed and dropped",
        ));
    }
    found
}

/// Making the slot waits for every transaction that is open anywhere on the server.
pub fn transactions(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for p in &facts.server.prepared {
        found.push(Finding::warning(
            "prepared-transactions",
            format!("prepared transaction {:?} in database {}, {} old: the change stream cannot begin before it ends", p.gid, p.database, ago(p.seconds)),
            format!("COMMIT PREPARED '{0}' or ROLLBACK PREPARED '{0}'", p.gid.replace('\'', "''")),
        ));
    }
    for t in &facts.server.long_transactions {
        let app = if t.app.is_empty() { String::new() } else { format!(", app={}", t.app) };
        found.push(Finding::warning(
            "long-transactions",
            format!(
                "pid {}{app} has a transaction open for {} ({}): beginning and cutover wait for it",
                t.pid,
                ago(t.seconds),
                t.state
            ),
            "let it end first",
        ));
    }
    found
}
