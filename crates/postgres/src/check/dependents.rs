//! Objects that are tied to the table itself and not to its name: a swap would leave them on the old table.

use super::{Facts, few};
use shadowswap_core::plan::Finding;

/// For a view, a trigger and its like.
const REMAKE: &str = "drop them before the run and make them again after it";
/// For foreign keys either way.
const READD: &str =
    "drop them before the run; after it, add them again with NOT VALID and VALIDATE CONSTRAINT";

pub fn check(facts: &Facts) -> Vec<Finding> {
    let (table, source) = (&facts.table, &facts.source);
    let lists: [(&str, &str, &[String], &str); 9] = [
        ("views", "views on the table", &table.views, REMAKE),
        ("foreign-keys", "foreign keys to the table", &table.keys_in, READD),
        ("foreign-keys", "foreign keys of the table", &table.keys_out, READD),
        ("triggers", "triggers on the table", &source.triggers, REMAKE),
        ("rules", "rules on the table", &source.rules, REMAKE),
        ("policies", "row security policies", &source.policies, REMAKE),
        ("functions", "functions tied to the table or its row type", &table.functions, REMAKE),
        ("row-type", "objects tied to the table or its row type", &table.others, REMAKE),
        ("security-labels", "security labels", &table.labels, REMAKE),
    ];
    let listed = lists.iter().filter(|(_, _, objects, _)| !objects.is_empty());
    let mut found: Vec<Finding> = listed
        .map(|(check, what, objects, next)| {
            Finding::refused(check, format!("{what}: {}", few(objects)), *next)
        })
        .collect();
    if source.row_security && source.policies.is_empty() {
        let next = format!("ALTER TABLE {} DISABLE ROW LEVEL SECURITY for the run", source.quoted());
        found.push(Finding::refused("policies", "row security is on for the table", next));
    }
    if let Some(extension) = &table.extension {
        let message = format!("the table belongs to extension {extension}");
        found.push(Finding::refused("extension", message, "change it through the extension"));
    }
    found.extend(publications(facts));
    if found.is_empty() {
        found.push(Finding::passed("dependents", "nothing is tied to the table"));
    }
    found
}

fn publications(facts: &Facts) -> Option<Finding> {
    let table = &facts.table;
    if table.publications.is_empty() {
        return None;
    }
    let next = if table.publications_all.is_empty() {
        "take the table out of them for the run; their subscribers miss its changes meanwhile"
    } else {
        "a publication FOR ALL TABLES would send the shadow's rows too: list its tables one by one first"
    };
    Some(Finding::refused(
        "publications",
        format!("publications with the table: {}", few(&table.publications)),
        next,
    ))
}

/// All of them, for the plan.
pub fn list(facts: &Facts) -> Vec<String> {
    let (table, source) = (&facts.table, &facts.source);
    let named = |what: &'static str, names: &[String]| {
        names.iter().map(|n| format!("{what}: {n}")).collect::<Vec<_>>()
    };
    [
        table.views.clone(),
        table.functions.clone(),
        table.others.clone(),
        named("foreign key", &table.keys_in),
        named("foreign key", &table.keys_out),
        named("trigger", &source.triggers),
        named("rule", &source.rules),
        named("policy", &source.policies),
        named("publication", &table.publications),
    ]
    .concat()
}
