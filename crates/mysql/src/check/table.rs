//! What kind of table it is, and what it would become.

use super::Facts;
use crate::catalog::{Table, show};
use shadowswap_core::plan::Finding;

pub fn kind(facts: &Facts) -> Vec<Finding> {
    let source = &facts.source;
    let name = format!("{}.{}", source.schema, source.name);
    if source.schema == facts.control {
        let next = "give another --control-schema, or another table";
        return vec![Finding::refused(
            "table-kind",
            format!("{name} is in the database of the control tables"),
            next,
        )];
    }
    if facts.kind != "BASE TABLE" || source.create.contains("WITH SYSTEM VERSIONING") {
        let next = "its history cannot be carried over: change it in place";
        return vec![Finding::refused("table-kind", format!("{name} is a system-versioned table"), next)];
    }
    if !source.engine.eq_ignore_ascii_case("innodb") {
        let message = format!(
            "{name} is a table of {}, which gives no consistent reads while others write",
            source.engine
        );
        let next = format!(
            "ALTER TABLE {}.{} ENGINE=InnoDB in a maintenance window",
            crate::sql::quote(&source.schema),
            crate::sql::quote(&source.name)
        );
        return vec![Finding::refused("engine", message, next)];
    }
    vec![Finding::passed("table-kind", "an InnoDB table")]
}

pub fn shadow(facts: &Facts) -> Vec<Finding> {
    let source = &facts.source;
    let mut found = Vec::new();
    let compressed = source.columns.iter().filter(|c| c.column_type.contains("COMPRESSED"));
    let compressed = compressed.map(|c| c.name.clone()).collect::<Vec<_>>();
    if !compressed.is_empty() {
        found.push(Finding::refused(
            "compressed-columns",
            format!(
                "compressed columns: {}; their values cannot be read from the binlog",
                super::few(&compressed)
            ),
            "take COMPRESSED away first, or use ROW_FORMAT=COMPRESSED or page compression",
        ));
    }
    let options = show::parts(&source.create).map(|p| p.options).unwrap_or_default();
    if options.to_ascii_uppercase().contains("DATA DIRECTORY") {
        let next = "move the new table afterwards, or leave it with the others";
        found.push(Finding::warning(
            "data-directory",
            "the table has a DATA DIRECTORY, which a copy of it does not get",
            next,
        ));
    }
    if is_partitioned(&options) {
        found.push(Finding::warning(
            "partitions",
            "the table is partitioned: the shadow gets the partitions that are there now",
            "let no job add or drop partitions during the run: it stops if the definition changes",
        ));
    }
    if !facts.server.is_mariadb() {
        found.extend(check_names(source));
    }
    found
}

fn is_partitioned(options: &str) -> bool {
    options.to_ascii_uppercase().contains("PARTITION BY")
}

/// MySQL names the CHECK constraints of a copy anew.
fn check_names(source: &Table) -> Option<Finding> {
    let elements = show::parts(&source.create).map(|p| p.elements).unwrap_or_default();
    let start = format!("{}_chk_", source.name);
    let named = elements
        .iter()
        .filter(|e| !show::is_foreign_key(e))
        .filter_map(|e| show::constraint(e))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with(&start))
        .collect::<Vec<_>>();
    (!named.is_empty()).then(|| {
        Finding::warning(
            "check-names",
            format!(
                "CHECK constraints get other names, as every copy of a table does: {}",
                super::few(&named)
            ),
            format!("they will be called {start}1 and so on"),
        )
    })
}

/// What the changed table may not be.
pub fn after(facts: &Facts, after: &Table) -> Vec<Finding> {
    let mut found = Vec::new();
    if !after.engine.eq_ignore_ascii_case("innodb") {
        let message = format!("the change makes it a table of {}", after.engine);
        found.push(Finding::refused(
            "engine",
            message,
            "only InnoDB tables can be filled while others write",
        ));
    }
    if after.create.contains("WITH SYSTEM VERSIONING") {
        let next = "add system versioning by itself, after the run";
        found.push(Finding::refused("table-kind", "the change makes it a system-versioned table", next));
    }
    let parts = show::parts(&after.create).unwrap_or_default();
    if parts.elements.iter().any(|e| show::is_foreign_key(e)) {
        let next = "leave it out; foreign keys are not carried: add it by itself, after the run";
        found.push(Finding::refused("foreign-keys", "the change adds a foreign key", next));
    }
    let was = show::parts(&facts.source.create).map(|p| is_partitioned(&p.options)).unwrap_or_default();
    if is_partitioned(&parts.options) && !was {
        let next = "a row without a partition stops the copy: see that every value has one";
        found.push(Finding::warning("partitions", "the change divides the table into partitions", next));
    }
    found
}
