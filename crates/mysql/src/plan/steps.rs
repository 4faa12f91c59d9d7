//! The statements of the run, for people.

use super::Detail;
use crate::sql::{quote, table};
use shadowswap_core::{
    error::Result,
    plan::{Plan, Step, Strategy},
};

/// All statements in order.
///
/// # Errors
/// `Usage` if a body cannot be read.
pub fn steps(plan: &Plan, detail: &Detail) -> Result<Vec<Step>> {
    let mut all = Vec::new();
    let mut add = |phase: &str, statement: String| all.push(Step { phase: phase.to_string(), statement });
    let (source, shadow, old) = (table(&plan.source), table(&plan.shadow), table(&plan.old));
    match plan.strategy {
        Strategy::Direct => {
            for statement in super::direct(plan, detail)? {
                add("direct", unmarked(&statement));
            }
            return Ok(all);
        }
        Strategy::Auto | Strategy::Shadow => {}
    }
    if plan.link.key.is_empty() {
        return Ok(all);
    }
    for statement in &detail.create {
        add("prepare", unmarked(statement));
    }
    let filled: Vec<_> =
        plan.link.columns.iter().filter_map(|c| Some((quote(&c.column), c.expression.as_deref()?))).collect();
    let columns = filled.iter().map(|f| f.0.as_str()).collect::<Vec<_>>().join(", ");
    let values = filled.iter().map(|f| f.1).collect::<Vec<_>>().join(", ");
    add("copy", format!("insert into {shadow} ({columns}) select {values} from {source} where …"));
    for index in &detail.late {
        add("index", format!("alter table {shadow} {}", index.clause));
    }
    add("index", format!("analyze table {shadow}"));
    add("cutover", format!("lock tables {source} write, {shadow} write"));
    add("cutover", format!("rename table {source} to {old}, {shadow} to {source}"));
    add("finish", format!("drop table {old} (only with --drop-old)"));
    Ok(all)
}

fn unmarked(statement: &str) -> String {
    statement.trim_start_matches(super::twin::MARK).trim_start().to_string()
}
