//! The statements of a run, for people. What runs is worked out again at its time.

use crate::{
    plan::Detail,
    sql::{quote, table},
    swap::{OldNames, columns_text, rename_statements},
};
use shadowswap_core::plan::{Plan, Step, Strategy};

/// All statements in order.
pub fn steps(plan: &Plan, detail: &Detail) -> Vec<Step> {
    let mut all = Vec::new();
    let mut add = |phase: &str, statement: String| all.push(Step { phase: phase.to_string(), statement });
    let (source, shadow) = (table(&plan.source), table(&plan.shadow));
    match plan.strategy {
        Strategy::Direct => {
            for body in &plan.request.alters {
                add("direct", format!("alter table {source} {body}"));
            }
            return all;
        }
        Strategy::Auto | Strategy::Shadow => {}
    }
    if plan.link.key.is_empty() {
        return all;
    }
    if let Some(statement) = &detail.set_identity {
        add("prepare", statement.clone());
    }
    add("prepare", format!("create publication … for table only {source}"));
    if plan.request.guard_s.is_some() {
        add("prepare", format!("create publication …_back for table only {shadow}"));
    }
    add("prepare", "select pg_create_logical_replication_slot(…, 'pgoutput')".to_string());
    add(
        "prepare",
        format!(
            "create table {shadow} (like {source} including all excluding indexes excluding constraints)"
        ),
    );
    for body in &plan.request.alters {
        add("prepare", format!("alter table {shadow} {body}"));
    }
    let (columns, values) = columns_text(&plan.link);
    let key = crate::sql::quoted_list(plan.link.key.iter().map(|k| k.to.as_str()));
    add(
        "copy",
        format!(
            "insert into {shadow} ({columns}) select {values} from {source} as {} where … on conflict ({key}) do nothing",
            quote(&plan.source.name)
        ),
    );
    for step in &detail.index_steps {
        add("index", step.statement.clone());
    }
    add("index", format!("analyze {shadow}"));
    let swap = rename_statements(plan, detail, &mut OldNames::default());
    add("cutover", format!("lock table {source}, {shadow} in share update exclusive mode"));
    for statement in swap.before {
        add("cutover", statement);
    }
    add("cutover", format!("lock table {source} in share row exclusive mode"));
    add("cutover", format!("lock table {source}, {shadow} in access exclusive mode"));
    for statement in swap.locked {
        add("cutover", statement);
    }
    add("finish", format!("drop table {} (only with --drop-old)", table(&plan.old)));
    all
}
