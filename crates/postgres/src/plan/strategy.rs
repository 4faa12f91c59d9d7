//! Whether the change needs a shadow: read off what the server did to the twin.

use crate::shadow::twin::{State, Twin};
use shadowswap_core::plan::{Request, Strategy};
use std::collections::HashSet;

/// How, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `Shadow` or `Direct`.
    pub strategy: Strategy,
    /// Why, in the server's terms.
    pub reason: String,
    /// In place it would rewrite, read or index the table under its lock.
    pub is_heavy: bool,
}

/// Decides. `counts_scans`: the server's counters can be trusted to show a scan.
pub fn judge(twin: &Twin, request: &Request, counts_scans: bool) -> Verdict {
    let (asked, has_sets, has_guard) =
        (request.strategy, !request.sets.is_empty(), request.guard_s.is_some());
    let steps = twin.bodies.iter().zip(twin.states.windows(2));
    let mut heavy = Vec::new();
    for (body, pair) in steps {
        if let [before, after] = pair {
            let what = work(before, after, body.only_validates, counts_scans);
            if !what.is_empty() {
                heavy.push(format!("`{}` {}", body.text, what.join(" and ")));
            }
        }
    }
    let is_heavy = !heavy.is_empty() || has_sets;
    let reason = match (heavy.is_empty(), has_sets, twin.bodies.is_empty()) {
        (false, _, _) => format!("in place, the server {} while nobody can use the table", heavy.join("; ")),
        (true, true, _) => "values are computed by --set, which ALTER TABLE cannot do".to_string(),
        (true, false, true) => "no change was asked for: the table is rebuilt as it is".to_string(),
        (true, false, false) => {
            "the server changes only its catalog: no rewrite, no scan, no index is built".to_string()
        }
    };
    let strategy = match asked {
        Strategy::Shadow => Strategy::Shadow,
        Strategy::Direct => Strategy::Direct,
        Strategy::Auto if is_heavy || has_guard || twin.bodies.is_empty() => Strategy::Shadow,
        Strategy::Auto => Strategy::Direct,
    };
    let reason = match (asked, is_heavy) {
        (Strategy::Shadow, false) => format!("asked for, although {reason}"),
        (Strategy::Auto, false) if has_guard => format!("a guard needs a shadow, although {reason}"),
        _ => reason,
    };
    Verdict { strategy, reason, is_heavy }
}

/// What one body made the server do, beyond its catalog.
fn work(before: &State, after: &State, only_validates: bool, counts_scans: bool) -> Vec<String> {
    if only_validates {
        // Under SHARE UPDATE EXCLUSIVE: reads and writes go on.
        return Vec::new();
    }
    let (old, new) = (&before.table, &after.table);
    let mut found = Vec::new();
    if old.filenode != new.filenode {
        found.push("rewrites every row".to_string());
    } else if before.scans != after.scans || (!counts_scans && may_scan(before, after)) {
        found.push("reads every row".to_string());
    }
    let files: HashSet<Option<i64>> = old.indexes.iter().map(|i| i.filenode).collect();
    let built = new.indexes.iter().filter(|i| !files.contains(&i.filenode));
    found.extend(built.map(|i| format!("builds index {}", i.name)));
    found
}

/// Without counters: a constraint or NOT NULL that came to hold was perhaps checked.
fn may_scan(before: &State, after: &State) -> bool {
    let holds = |s: &State| {
        let checks =
            s.table.constraints.iter().filter(|c| c.validated).map(|c| (c.name.clone(), c.def.clone()));
        let columns =
            s.table.columns.iter().filter(|c| c.not_null).map(|c| (c.number.to_string(), String::new()));
        checks.chain(columns).collect::<HashSet<_>>()
    };
    let old = holds(before);
    holds(after).iter().any(|h| !old.contains(h))
}
