//! The projection back: for each column of the old table, one expression over a row of the new one.
//!
//! 1. A column that the change took over as it was, perhaps by another name or type, is taken back the same way: the INSERT converts.
//! 2. What the operator gives by `--set-back` comes first.
//! 3. A column without a counterpart is left out: new rows get its default, rows that are there keep what they have.
//! 4. A column whose counterpart was computed by `--set` cannot be worked out: writes to the new column would be lost, or be nonsense.
//!
//! Where a value taken back is not the one that is there (a computed one, or digits that a FLOAT cannot hold), the column is not compared:
//! rows that nobody touched since the swap still have their own.

use super::{
    conversion::{fits, objection},
    mapping::{Mapped, is_named},
};
use crate::{
    catalog::{Column, Index, Table, same_name},
    lacks::constraints,
    sql::quote,
};
use shadowswap_core::plan::{Finding, Mapping};

/// The check's name.
pub const CHECK: &str = "going-back";

/// The projection back, and what is to be said about it.
#[derive(Clone, Debug, Default)]
pub struct Back {
    /// One entry for each column of the old table.
    pub columns: Vec<Mapped>,
    /// Columns of the old table that are not compared.
    pub uncompared: Vec<String>,
    /// Why going back is not possible: what is so, and what mends it.
    pub obstacles: Vec<(String, String)>,
    /// What is lost on the way back, or may stop the guard.
    pub losses: Vec<(String, String)>,
    /// `--set-back` that makes no sense, whether anybody goes back or not.
    pub mistakes: Vec<Finding>,
}

impl Back {
    /// Whether there is a way back.
    pub fn is_possible(&self) -> bool {
        self.obstacles.is_empty() && self.mistakes.is_empty()
    }

    /// What the plan says. If the way back is asked for, having none is refused.
    pub fn findings(&self, is_asked_for: bool) -> Vec<Finding> {
        let mut found = self.mistakes.clone();
        for (why, next) in &self.obstacles {
            let message = format!("going back is not possible: {why}");
            found.push(match is_asked_for {
                true => Finding::refused(CHECK, message, format!("{next}; or leave --guard out")),
                false => Finding::warning(CHECK, message, next.clone()),
            });
        }
        for (what, next) in &self.losses {
            found.push(Finding::warning(CHECK, format!("going back: {what}"), next.clone()));
        }
        if found.is_empty() {
            found.push(Finding::passed(CHECK, "going back loses nothing"));
        }
        found
    }

    fn obstacle(&mut self, why: String, next: String) {
        self.obstacles.push((why, next));
    }

    fn loss(&mut self, what: String, next: impl Into<String>) {
        self.losses.push((what, next.into()));
    }
}

/// Works the projection back out. `forward`: the projection there. `old`, `new`: the tables before and after the change.
pub fn back(forward: &[Mapping], old: &Table, new: &Table, set_backs: &[(String, String)]) -> Back {
    let mut all = Back::default();
    for (name, _) in set_backs {
        if !old.columns.iter().any(|c| is_named(c, name)) {
            let message = format!("--set-back {name}: the present table has no such column");
            all.mistakes.push(Finding::refused(CHECK, message, "give the column's name before the change"));
        }
    }
    for to in &old.columns {
        let set = set_backs.iter().find(|(name, _)| is_named(to, name)).map(|(_, e)| e.as_str());
        let mapped = one(forward, new, to, set, &mut all);
        all.columns.push(mapped);
    }
    unique(old, new, &mut all);
    let (was, is) = (constraints(old), constraints(new));
    for text in was.iter().filter(|t| !is.contains(t)) {
        all.loss(
            format!("the old table has a constraint that the new one has not, and a row that breaks it stops the guard: {text}"),
            "see that the application keeps to it for as long as you may want to go back",
        );
    }
    all
}

fn one(forward: &[Mapping], new: &Table, to: &Column, set: Option<&str>, all: &mut Back) -> Mapped {
    let mut mapped = Mapped {
        from: None,
        to: to.clone(),
        is_plain: false,
        is_operators: false,
        mapping: Mapping {
            column: to.name.clone(),
            data_type: to.column_type.clone(),
            from: None,
            from_type: None,
            expression: None,
            note: "kept".to_string(),
        },
    };
    if to.generated {
        mapped.mapping.note = "generated".to_string();
        if set.is_some() {
            let message = format!("--set-back {}: the column is generated; the server computes it", to.name);
            all.mistakes.push(Finding::refused(CHECK, message, "leave --set-back out"));
        }
        let there = forward.iter().find(|m| m.from.as_ref().is_some_and(|f| same_name(f, &to.name)));
        if there.and_then(|m| new.column(&m.column)).is_some_and(|c| !c.generated) {
            let what =
                format!("column {} is generated in the old table: what is written to it is lost", to.name);
            all.loss(what, "nothing need be done if the application writes what would be generated");
        }
        return mapped;
    }
    if let Some(expression) = set {
        mapped.mapping.note = "computed".to_string();
        all.uncompared.push(to.name.clone());
        match crate::alter::expression(expression) {
            Ok(text) => {
                mapped.is_operators = true;
                mapped.mapping.expression = Some(format!("({text})"));
            }
            Err(e) => {
                let message = format!("--set-back {}: {}", to.name, e.message);
                all.mistakes.push(Finding::refused(
                    CHECK,
                    message,
                    "give one SQL expression over the changed row",
                ));
            }
        }
        return mapped;
    }
    let there = forward.iter().find(|m| m.from.as_ref().is_some_and(|f| same_name(f, &to.name)));
    let counterpart = there.and_then(|m| Some((m, new.column(&m.column)?)));
    match counterpart {
        Some((there, from)) => counted(there, from, to, &mut mapped, all),
        None => without(to, all),
    }
    mapped
}

/// `--set-back` for this column.
fn mend(to: &Column) -> String {
    format!("give it: --set-back '{}=expression over the changed row'", to.name)
}

/// A column that the new table has too.
fn counted(there: &Mapping, from: &Column, to: &Column, mapped: &mut Mapped, all: &mut Back) {
    if there.expression.is_some() && there.expression.as_deref() != Some(quote(&to.name).as_str()) {
        let why = format!("column {} is computed by --set, and it is not known how to undo that", to.name);
        return all.obstacle(why, mend(to));
    }
    mapped.from = Some(from.clone());
    mapped.is_plain = true;
    mapped.mapping.from = Some(from.name.clone());
    mapped.mapping.from_type = Some(from.column_type.clone());
    mapped.mapping.expression = Some(quote(&from.name));
    let (was, now) = (&from.column_type, &to.column_type);
    mapped.mapping.note = if from.shape() != to.shape() {
        if let Some(why) = objection(from, to) {
            all.obstacle(format!("column {} would change from {was} to {now}, {why}", to.name), mend(to));
        } else if is_rounded(from, to) {
            all.uncompared.push(to.name.clone());
            all.loss(format!("column {}: {was} is rounded to {now}", to.name), mend(to));
        } else if !fits(from, to) {
            let what =
                format!("column {}: a value of {was} that does not fit into {now} stops the guard", to.name);
            all.loss(what, mend(to));
        }
        "type"
    } else if same_name(&from.name, &to.name) {
        "same"
    } else {
        "renamed"
    }
    .to_string();
    if from.generated {
        // What was there before may be anything.
        all.uncompared.push(to.name.clone());
        all.loss(
            format!("column {}: rows that change after the swap get the generated value", to.name),
            mend(to),
        );
    }
    if from.nullable && !to.nullable {
        all.loss(
            format!("column {} may be NULL in the new table and not in the old one: a row with NULL stops the guard", to.name),
            mend(to),
        );
    }
}

/// A column that the new table does not have.
fn without(to: &Column, all: &mut Back) {
    let has_default = to.default.is_some() || to.extra.to_ascii_uppercase().contains("DEFAULT_GENERATED");
    if !(to.nullable || has_default || to.is_auto_increment()) {
        let why = format!("column {} is dropped; it is NOT NULL and has no default for new rows", to.name);
        return all.obstacle(why, mend(to));
    }
    let what = format!(
        "column {} is dropped: rows written after the swap, or given another key, get its default; all others keep their value",
        to.name
    );
    all.loss(
        what,
        format!(
            "if that is not what they should have: --set-back '{}=expression over the changed row'",
            to.name
        ),
    );
}

/// A FLOAT cannot hold the digits of a DOUBLE, and the server does not say so.
fn is_rounded(from: &Column, to: &Column) -> bool {
    let is_floating = |c: &Column| matches!(c.data_type.as_str(), "float" | "double");
    is_floating(to) && from.data_type != to.data_type && (is_floating(from) || from.data_type == "decimal")
}

/// Unique indexes of the old table whose values the new one does not keep apart.
fn unique(old: &Table, new: &Table, all: &mut Back) {
    let origin = |name: &str| {
        let found = all.columns.iter().find(|m| same_name(&m.to.name, name) && m.is_same())?;
        found.from.as_ref().map(|f| f.name.clone())
    };
    let is_kept = |index: &Index| {
        let columns: Option<Vec<(String, Option<u64>)>> =
            index.parts.iter().map(|p| Some((origin(p.column.as_deref()?)?, p.prefix))).collect();
        let Some(columns) = columns else { return false };
        let has = |p: &crate::catalog::Part| {
            columns.iter().any(|(name, prefix)| {
                p.column.as_deref().is_some_and(|c| same_name(c, name)) && *prefix == p.prefix
            })
        };
        new.indexes.iter().any(|i| i.unique && i.parts.iter().all(has))
    };
    let narrower: Vec<String> =
        old.indexes.iter().filter(|i| i.unique && !is_kept(i)).map(|i| i.name.clone()).collect();
    // Of the key that rows are named by, another check tells.
    for name in narrower.into_iter().filter(|n| n != "PRIMARY") {
        all.loss(
            format!("unique index {name} of the old table: values that the new one has twice stop the guard"),
            "see that the application keeps to it for as long as you may want to go back",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::conversion::tests::column;

    fn table(columns: Vec<Column>) -> Table {
        Table {
            schema: "s".into(),
            name: "t".into(),
            engine: "InnoDB".into(),
            create: "CREATE TABLE `t` (\n  `id` int\n)".into(),
            columns,
            indexes: Vec::new(),
        }
    }

    fn mapping(column: &str, from: Option<&str>, expression: Option<&str>) -> Mapping {
        Mapping {
            column: column.into(),
            data_type: String::new(),
            from: from.map(str::to_string),
            from_type: None,
            expression: expression.map(str::to_string),
            note: String::new(),
        }
    }

    fn same(name: &str) -> Mapping {
        mapping(name, Some(name), Some(&format!("`{name}`")))
    }

    fn nullable(name: &str, kind: &str) -> Column {
        Column { nullable: true, ..column(name, kind) }
    }

    /// What an old column is filled with.
    fn expression<'a>(back: &'a Back, name: &str) -> Option<&'a str> {
        back.columns.iter().find(|m| m.to.name == name).and_then(|m| m.mapping.expression.as_deref())
    }

    #[test]
    fn columns_are_taken_back_by_whatever_name_and_type_they_have() {
        let old = table(vec![column("id", "int"), column("name", "varchar(10)"), nullable("n", "int")]);
        let new = table(vec![
            column("id", "bigint"),
            column("title", "varchar(20)"),
            nullable("n", "int"),
            column("x", "int"),
        ]);
        let forward =
            [same("id"), mapping("title", Some("name"), Some("`name`")), same("n"), mapping("x", None, None)];
        let back = back(&forward, &old, &new, &[]);
        assert!(back.is_possible());
        assert_eq!(expression(&back, "id"), Some("`id`"));
        assert_eq!(expression(&back, "name"), Some("`title`"));
        assert_eq!(expression(&back, "n"), Some("`n`"));
        let told = back.findings(false).into_iter().map(|f| f.message).collect::<Vec<_>>().join("\n");
        assert!(
            told.contains("column id") && told.contains("column name") && !told.contains("column n:"),
            "{told}"
        );
        assert!(back.uncompared.is_empty());
    }

    #[test]
    fn what_only_grows_wider_on_the_way_back_loses_nothing() {
        let old = table(vec![column("id", "bigint"), column("e", "enum('a','b')")]);
        let new = table(vec![column("id", "bigint"), column("e", "enum('b','a')")]);
        let back = back(&[same("id"), same("e")], &old, &new, &[]);
        assert_eq!(back.findings(false), [Finding::passed(CHECK, "going back loses nothing")]);
    }

    #[test]
    fn dropped_columns_are_kept_or_stand_in_the_way() {
        let old = table(vec![column("id", "int"), nullable("a", "int"), column("b", "int")]);
        let new = table(vec![column("id", "int")]);
        let without = back(&[same("id")], &old, &new, &[]);
        assert!(!without.is_possible() && without.obstacles.len() == 1 && without.losses.len() == 1);
        assert!(
            without.obstacles[0].0.contains("column b") && without.obstacles[0].1.contains("--set-back 'b=")
        );
        assert_eq!(expression(&without, "a"), None);
        assert!(
            without.findings(true).iter().any(|f| f.severity == shadowswap_core::plan::Severity::Refused)
        );
        assert!(
            without.findings(false).iter().all(|f| f.severity == shadowswap_core::plan::Severity::Warning)
        );
        let sets = [("b".to_string(), "id * 2".to_string())];
        let with = back(&[same("id")], &old, &new, &sets);
        assert!(with.is_possible() && with.uncompared == ["b"]);
        assert_eq!(expression(&with, "b"), Some("(id * 2)"));
    }

    #[test]
    fn computed_columns_are_not_guessed() {
        let old = table(vec![column("id", "int"), column("s", "varchar(9)")]);
        let new = table(vec![column("id", "int"), column("s", "int")]);
        let forward = [same("id"), mapping("s", Some("s"), Some("(case s when 'a' then 1 end)"))];
        let made = back(&forward, &old, &new, &[]);
        assert!(!made.is_possible() && made.obstacles[0].0.contains("computed by --set"));
        assert_eq!(expression(&made, "s"), None);
    }

    #[test]
    fn wrong_set_backs_are_refused_whether_anybody_goes_back_or_not() {
        let old = table(vec![column("id", "int"), Column { generated: true, ..column("g", "int") }]);
        for (name, text) in [("x", "1"), ("g", "1"), ("id", "1; drop table t")] {
            let sets = [(name.to_string(), text.to_string())];
            let made = back(&[same("id")], &old, &old, &sets);
            assert!(!made.is_possible() && made.mistakes.len() == 1, "{name}");
        }
    }

    #[test]
    fn values_that_the_old_type_rounds_are_not_compared() {
        let old = table(vec![column("id", "int"), column("f", "float")]);
        let new = table(vec![column("id", "int"), column("f", "double")]);
        let back = back(&[same("id"), same("f")], &old, &new, &[]);
        assert!(back.is_possible() && back.uncompared == ["f"]);
    }

    #[test]
    fn null_and_objections_are_told() {
        let old = table(vec![column("n", "int"), column("d", "datetime")]);
        let new = table(vec![nullable("n", "int"), column("d", "timestamp")]);
        let back = back(&[same("n"), same("d")], &old, &new, &[]);
        assert!(back.losses[0].0.contains("NULL") && back.obstacles[0].0.contains("time zone"));
    }
}
