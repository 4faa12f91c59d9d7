//! Objects that are tied to the table itself and not to its name: a swap would leave them on the old table.

use super::{Facts, few};
use shadowswap_core::plan::Finding;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let readd = "drop them before the run; after it, add them again (SET foreign_key_checks = 0 and ALGORITHM=INPLACE make that quick, and check no row)";
    let remake =
        "drop them before the run and make them again after it; changes that come meanwhile do not fire them";
    let lists: [(&str, &str, &[String], &str); 3] = [
        ("foreign-keys", "foreign keys to the table", &facts.keys_in, readd),
        ("foreign-keys", "foreign keys of the table", &facts.keys_out, readd),
        ("triggers", "triggers on the table", &facts.triggers, remake),
    ];
    let listed = lists.iter().filter(|(_, _, objects, _)| !objects.is_empty());
    let mut found: Vec<Finding> = listed
        .map(|(check, what, objects, next)| {
            Finding::refused(check, format!("{what}: {}", few(objects)), *next)
        })
        .collect();
    if found.is_empty() {
        found.push(Finding::passed("dependents", "no foreign keys and no triggers"));
    }
    // The server shows a foreign key only to who may see the table that has it.
    if !facts.grants.has_global(&["SELECT"]) {
        found.push(Finding::warning(
            "foreign-keys",
            format!("foreign keys to the table from databases that {} may not read cannot be seen, and would follow the old table", facts.user),
            format!(
                "let somebody who may read everything look: SELECT * FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE UNIQUE_CONSTRAINT_SCHEMA = {} AND REFERENCED_TABLE_NAME = {}",
                crate::sql::literal(&facts.source.schema),
                crate::sql::literal(&facts.source.name)
            ),
        ));
    }
    found
}

/// Views follow the name; they break if a column goes.
pub fn views(facts: &Facts, gone: &[String]) -> Option<Finding> {
    (!facts.views.is_empty() && !gone.is_empty()).then(|| {
        Finding::warning(
            "views",
            format!("views speak of the table, which loses {}: {}", few(gone), few(&facts.views)),
            "see that they do not need it, and make them again before the swap",
        )
    })
}

/// All of them, for the plan.
pub fn list(facts: &Facts) -> Vec<String> {
    let named = |what: &'static str, names: &[String]| {
        names.iter().map(|n| format!("{what}: {n}")).collect::<Vec<_>>()
    };
    [
        named("view", &facts.views),
        named("foreign key", &facts.keys_in),
        named("foreign key", &facts.keys_out),
        named("trigger", &facts.triggers),
    ]
    .concat()
}
