//! Whether the change needs a shadow: what the server did on a twin, by which algorithm.

use super::twin::Algorithm;
use crate::alter::Body;
use shadowswap_core::plan::Strategy;

/// How, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `Shadow` or `Direct`.
    pub strategy: Strategy,
    /// Why, in the server's terms.
    pub reason: String,
    /// In place it would rebuild the table or build an index.
    pub is_heavy: bool,
    /// What every statement says if the change is made in place.
    pub clause: Option<&'static str>,
}

/// Decides. `algorithms`: for each body. With a guard, the table as it was is to be kept in step.
pub fn judge(
    bodies: &[Body],
    algorithms: &[Algorithm],
    asked: Strategy,
    has_sets: bool,
    has_guard: bool,
) -> Verdict {
    let clause = in_place(bodies, algorithms).filter(|_| !has_sets);
    let heavy: Vec<String> = bodies
        .iter()
        .zip(algorithms)
        .filter_map(|(b, a)| Some(format!("`{}` {}", b.text, work(b, *a)?)))
        .collect();
    let reason = if !heavy.is_empty() {
        format!("in place, the server {}", heavy.join("; "))
    } else if has_sets {
        "values are computed by --set, which ALTER TABLE cannot do".to_string()
    } else if bodies.is_empty() {
        "no change was asked for: the table is rebuilt as it is".to_string()
    } else if clause.is_some_and(|c| c == INSTANT) {
        "the server changes only its catalog (ALGORITHM=INSTANT)".to_string()
    } else if clause.is_some() {
        "the server drops or renames indexes and touches no row (ALGORITHM=INPLACE, LOCK=NONE)".to_string()
    } else {
        "some of it is instant and some only drops indexes: run them apart, and neither needs a shadow"
            .to_string()
    };
    let is_heavy = clause.is_none();
    let strategy = match asked {
        Strategy::Shadow => Strategy::Shadow,
        Strategy::Direct => Strategy::Direct,
        Strategy::Auto if is_heavy || has_guard => Strategy::Shadow,
        Strategy::Auto => Strategy::Direct,
    };
    let reason = match strategy {
        Strategy::Shadow if !is_heavy && asked == Strategy::Shadow => format!("asked for, although {reason}"),
        Strategy::Shadow if !is_heavy => format!("a guard keeps the table as it was, although {reason}"),
        Strategy::Shadow | Strategy::Direct | Strategy::Auto => reason,
    };
    Verdict { strategy, reason, is_heavy, clause: clause.filter(|_| strategy == Strategy::Direct) }
}

const INSTANT: &str = "ALGORITHM=INSTANT";
const INPLACE: &str = "ALGORITHM=INPLACE, LOCK=NONE";

/// One clause for all bodies: INPLACE would rebuild the table for what could be instant.
fn in_place(bodies: &[Body], algorithms: &[Algorithm]) -> Option<&'static str> {
    if bodies.is_empty() {
        return None;
    }
    if algorithms.iter().all(|a| *a == Algorithm::Instant) {
        return Some(INSTANT);
    }
    let drops = |(b, a): (&Body, &Algorithm)| {
        b.only_drops_indexes && matches!(a, Algorithm::Instant | Algorithm::Inplace)
    };
    bodies.iter().zip(algorithms).all(drops).then_some(INPLACE)
}

fn work(body: &Body, algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Instant => None,
        Algorithm::Inplace if body.only_drops_indexes => None,
        Algorithm::Inplace => {
            Some("rebuilds the table or an index (ALGORITHM=INPLACE), and replicas stand still for as long")
        }
        Algorithm::InplaceLocked => {
            Some("rebuilds the table or an index (ALGORITHM=INPLACE) while writers wait")
        }
        Algorithm::Copy => Some("copies the table (ALGORITHM=COPY) while writers wait"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alter::read;

    fn judged(
        bodies: &[(&str, Algorithm)],
        asked: Strategy,
        has_sets: bool,
    ) -> (Strategy, Option<&'static str>, bool) {
        let (texts, algorithms): (Vec<Body>, Vec<Algorithm>) =
            bodies.iter().map(|(b, a)| (read(b).unwrap(), *a)).unzip();
        let verdict = judge(&texts, &algorithms, asked, has_sets, false);
        (verdict.strategy, verdict.clause, verdict.is_heavy)
    }

    #[test]
    fn only_what_touches_no_row_is_made_in_place() {
        use Algorithm::{Copy, Inplace, Instant};
        use Strategy::{Auto, Direct, Shadow};
        assert_eq!(judged(&[("add a int", Instant)], Auto, false), (Direct, Some(INSTANT), false));
        assert_eq!(judged(&[("drop index a", Inplace)], Auto, false), (Direct, Some(INPLACE), false));
        assert_eq!(
            judged(&[("add a int", Instant), ("drop index a", Inplace)], Auto, false),
            (Shadow, None, true)
        );
        assert_eq!(judged(&[("add index (a)", Inplace)], Auto, false), (Shadow, None, true));
        assert_eq!(judged(&[("modify a bigint", Copy)], Direct, false), (Direct, None, true));
        assert_eq!(judged(&[("add a int", Instant)], Auto, true), (Shadow, None, true));
        assert_eq!(judged(&[("add a int", Instant)], Shadow, false), (Shadow, None, false));
        assert_eq!(judged(&[], Auto, false), (Shadow, None, true));
    }
}
