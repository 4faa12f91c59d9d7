//! Whether a table really has a planned definition.

use crate::catalog::{Table, show};

/// What the table lacks of the planned definition, for people.
///
/// Constraints are compared without their names, which MySQL gives anew to every copy of a table; indexes beyond the planned ones are not
/// looked at.
pub fn lacks(now: &Table, planned: &Table) -> Vec<String> {
    let mut lacks = Vec::new();
    for wanted in &planned.columns {
        let Some(column) = now.columns.iter().find(|c| c.name == wanted.name) else {
            lacks.push(format!("column {} is not there", wanted.name));
            continue;
        };
        if column.shape() != wanted.shape() {
            let text = |c: &crate::catalog::Column| match &c.collation {
                Some(collation) => format!("{} collate {collation}", c.column_type),
                None => c.column_type.clone(),
            };
            lacks.push(format!("column {} is {}, not {}", wanted.name, text(column), text(wanted)));
        }
        if column.nullable != wanted.nullable {
            let may = if column.nullable { "may be NULL" } else { "may not be NULL" };
            lacks.push(format!("column {} {may}", wanted.name));
        }
        if column.default != wanted.default {
            lacks.push(format!("column {} has another default", wanted.name));
        }
        if column.extra != wanted.extra || generation(now, &column.name) != generation(planned, &wanted.name)
        {
            lacks.push(format!("column {} is generated, numbered or hidden in another way", wanted.name));
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
            Some(index) if index.definition != wanted.definition => {
                lacks.push(format!("index {} has another definition", wanted.name));
            }
            Some(_) => {}
        }
    }
    let (have, want) = (constraints(now), constraints(planned));
    for text in &want {
        let count = |all: &[String]| all.iter().filter(|t| *t == text).count();
        if count(&have) < count(&want) {
            lacks.push(format!("constraint {text} is not there"));
        }
    }
    let (have, want) = (options(now), options(planned));
    if have != want {
        lacks.push(format!("the table's options are {have:?}, not {want:?}"));
    }
    lacks
}

/// The definition of a generated column.
fn generation(table: &Table, name: &str) -> Option<String> {
    if !table.column(name)?.generated {
        return None;
    }
    let elements = show::parts(&table.create).ok()?.elements;
    elements.into_iter().find(|e| show::column_name(e).as_deref() == Some(name))
}

/// The constraints of a table but for indexes, without their names.
pub fn constraints(table: &Table) -> Vec<String> {
    let elements = show::parts(&table.create).map(|p| p.elements).unwrap_or_default();
    elements.iter().filter_map(|e| show::constraint(e)).map(|(_, text)| text).collect()
}

fn options(table: &Table) -> String {
    show::parts(&table.create).map(|p| p.options).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::conversion::tests::column;

    fn table(create: &str) -> Table {
        let columns = vec![column("id", "int"), column("a", "varchar(10)")];
        Table {
            schema: "s".into(),
            name: "t".into(),
            engine: "InnoDB".into(),
            create: create.to_string(),
            columns,
            indexes: Vec::new(),
        }
    }

    #[test]
    fn names_of_constraints_do_not_matter_and_their_texts_do() {
        let planned = table(
            "CREATE TABLE `t` (\n `id` int,\n CONSTRAINT `t_chk_1` CHECK ((`id` > 0))\n) ENGINE=InnoDB",
        );
        let renamed =
            table("CREATE TABLE `t` (\n `id` int,\n CONSTRAINT `x` CHECK ((`id` > 0))\n) ENGINE=InnoDB");
        assert_eq!(lacks(&renamed, &planned), Vec::<String>::new());
        let other = table(
            "CREATE TABLE `t` (\n `id` int,\n CONSTRAINT `x` CHECK ((`id` > 1))\n) ENGINE=InnoDB COMMENT='x'",
        );
        assert_eq!(lacks(&other, &planned).len(), 2);
    }

    #[test]
    fn every_difference_of_a_column_is_told() {
        let planned = table("CREATE TABLE `t` (\n `id` int\n)");
        let mut now = planned.clone();
        now.columns[0].column_type = "bigint".into();
        now.columns[1].nullable = true;
        now.columns[1].default = Some("x".into());
        now.columns.push(column("b", "int"));
        assert_eq!(lacks(&now, &planned).len(), 4);
        now.columns.clear();
        assert_eq!(lacks(&now, &planned).len(), 2);
    }
}
