//! Whether a table really has a planned definition.

use crate::catalog::Table;

/// What the table lacks of the planned definition, for people. What it has beyond that is not looked at.
pub fn lacks(now: &Table, planned: &Table) -> Vec<String> {
    let mut lacks = Vec::new();
    for wanted in &planned.columns {
        let Some(column) = now.columns.iter().find(|c| c.name == wanted.name) else {
            lacks.push(format!("column {} is not there", wanted.name));
            continue;
        };
        if column.type_name != wanted.type_name {
            lacks.push(format!("column {} is {}, not {}", wanted.name, column.type_name, wanted.type_name));
        }
        if wanted.not_null && !column.not_null {
            lacks.push(format!("column {} may be NULL", wanted.name));
        }
        if (&column.generated, &column.identity) != (&wanted.generated, &wanted.identity) {
            lacks.push(format!("column {} is generated in another way", wanted.name));
        }
    }
    for column in &now.columns {
        if !planned.columns.iter().any(|c| c.name == column.name) {
            lacks.push(format!("column {} is there, and was not planned", column.name));
        }
    }
    for wanted in &planned.indexes {
        match now.indexes.iter().find(|i| i.name == wanted.name) {
            None => lacks.push(format!("index {} is not there", wanted.name)),
            Some(index) if index.tail != wanted.tail || index.unique != wanted.unique => {
                lacks.push(format!("index {} has another definition", wanted.name));
            }
            Some(_) => {}
        }
    }
    for wanted in &planned.constraints {
        if !now.constraints.iter().any(|c| c.name == wanted.name && c.def == wanted.def) {
            lacks.push(format!("constraint {} ({}) is not there", wanted.name, wanted.def));
        }
    }
    lacks
}
