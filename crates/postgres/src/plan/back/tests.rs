use super::*;
use serde_json::json;
use shadowswap_core::plan::Severity;

fn column(number: i16, name: &str, data_type: &str, not_null: bool, default: Option<&str>) -> Column {
    serde_json::from_value(json!({
        "number": number, "name": name, "type_name": data_type, "type_oid": data_type.len(),
        "typmod": data_type.bytes().map(i32::from).sum::<i32>(), "base": data_type,
        "not_null": not_null, "default": default, "generation": null, "generated": "", "identity": "", "missing": null,
        "collation": null, "deterministic": true, "target": null, "options": [], "comment": null
    }))
    .unwrap()
}

fn table(columns: Vec<Column>) -> Table {
    let mut table: Table = serde_json::from_value(json!({
        "oid": 1, "schema": "s", "name": "t", "kind": "r", "persistence": "p", "owner": "o", "access_method": "heap",
        "tablespace": null, "filenode": null, "options": [], "toast_options": [], "identity": "d", "row_security": false,
        "of_type": false, "is_partition": false, "inherits": false, "comment": null, "triggers": [], "rules": [], "policies": [],
        "columns": [], "indexes": [], "constraints": [], "statistics": [], "sequences": []
    }))
    .unwrap();
    table.columns = columns;
    table
}

fn mapping(column: &str, from: Option<&str>, expression: Option<&str>, note: &str) -> Mapping {
    Mapping {
        column: column.into(),
        data_type: String::new(),
        from: from.map(Into::into),
        from_type: None,
        expression: expression.map(Into::into),
        note: note.into(),
    }
}

fn taken(column: &str, from: &str) -> Mapping {
    mapping(column, Some(from), Some(&format!("\"{from}\"")), "same")
}

fn severities(back: &Back, has_guard: bool) -> Vec<Severity> {
    back.findings(has_guard).iter().map(|f| f.severity).collect()
}

#[test]
fn what_was_taken_over_comes_back_whatever_its_name() {
    let old = table(vec![column(1, "a", "integer", true, None), column(2, "b", "text", false, None)]);
    let new = table(vec![
        column(1, "a", "integer", true, None),
        column(2, "c", "text", false, None),
        column(3, "new", "text", true, None),
    ]);
    let forward = [taken("a", "a"), taken("c", "b"), mapping("new", None, None, "new")];
    let back = project(&old, &new, &forward, &[]);
    let expressions: Vec<_> = back.columns.iter().map(|m| m.mapping.expression.as_deref()).collect();
    assert_eq!(expressions, [Some("\"a\""), Some("\"c\"")]);
    assert!(back.columns.iter().all(|m| m.is_plain) && back.is_exact(&old, &new));
    assert_eq!(severities(&back, true), [Severity::Passed]);
}

#[test]
fn widened_type_is_checked_and_narrowed_one_is_told() {
    let (small, large) = (
        table(vec![column(1, "n", "integer", true, None)]),
        table(vec![column(1, "n", "bigint", true, None)]),
    );
    let widened = project(&small, &large, &[taken("n", "n")], &[]);
    let expression = widened.columns[0].mapping.expression.clone().unwrap();
    assert!(expression.contains("((\"n\")::integer)::bigint") && expression.contains(TELLS), "{expression}");
    assert_eq!(severities(&widened, true), [Severity::Warning]);
    assert!(widened.is_exact(&small, &large), "rows that are not written come back as they were");
    let narrowed = project(&large, &small, &[taken("n", "n")], &[]);
    assert_eq!(narrowed.columns[0].mapping.expression.as_deref(), Some("\"n\""));
    assert_eq!(
        severities(&narrowed, true),
        [Severity::Passed],
        "no value was cut off, or the change was refused"
    );
    let text =
        |length: &str| table(vec![column(1, "n", &format!("character varying({length})"), true, None)]);
    let cut = project(&text("50"), &text("20"), &[taken("n", "n")], &[]);
    assert_eq!(cut.columns[0].mapping.expression.as_deref(), Some("\"n\""));
    assert_eq!(severities(&cut, true), [Severity::Warning]);
    assert!(!cut.is_exact(&text("50"), &text("20")), "what the change has cut off is still in the old table");
}

#[test]
fn dropped_column_needs_a_value_for_new_rows() {
    let new = table(vec![column(1, "a", "integer", true, None)]);
    let old = |default, not_null| {
        table(vec![column(1, "a", "integer", true, None), column(2, "gone", "text", not_null, default)])
    };
    let going =
        |old: &Table, set_backs: &[(String, String)]| project(old, &new, &[taken("a", "a")], set_backs);
    let must = going(&old(None, true), &[]);
    assert_eq!(severities(&must, true), [Severity::Refused]);
    assert_eq!(severities(&must, false), [Severity::Warning]);
    assert!(must.findings(true)[0].next.as_ref().unwrap().contains("--set-back 'gone="));
    for old in [old(None, false), old(Some("'x'"), true)] {
        let back = going(&old, &[]);
        assert_eq!(
            (severities(&back, true), back.columns[1].mapping.expression.clone()),
            (vec![Severity::Warning], None)
        );
    }
    let given = going(&old(None, true), &[("gone".into(), "a::text".into())]);
    assert_eq!(severities(&given, true), [Severity::Passed]);
    assert_eq!(given.columns[1].mapping.expression.as_deref(), Some("(a::text)"));
    let wrong = going(&old(None, false), &[("other".into(), "1".into())]);
    assert!(
        severities(&wrong, false).contains(&Severity::Refused),
        "a column that is not there is never ignored"
    );
}

#[test]
fn computed_column_is_not_turned_round_by_guessing() {
    let both = table(vec![column(1, "n", "integer", true, None)]);
    let forward = [mapping("n", Some("n"), Some("(n * 100)"), "computed")];
    assert_eq!(severities(&project(&both, &both, &forward, &[]), true), [Severity::Refused]);
    let given = project(&both, &both, &forward, &[("n".into(), "n / 100".into())]);
    assert_eq!(severities(&given, true), [Severity::Passed]);
    assert!(!given.is_exact(&both, &both));
}

#[test]
fn null_that_only_the_new_table_allows_is_told() {
    let old = table(vec![column(1, "n", "integer", true, None)]);
    let new = table(vec![column(1, "n", "integer", false, None)]);
    let back = project(&old, &new, &[taken("n", "n")], &[]);
    assert!(back.findings(true)[0].message.contains("NULL"), "{:?}", back.losses);
}

#[test]
fn keys_are_compared_in_a_type_in_which_none_becomes_another() {
    let typed =
        |old: &str, new: &str| key_type(&column(1, "k", old, true, None), &column(1, "k", new, true, None));
    assert_eq!(typed("integer", "bigint").as_deref(), Some("bigint"));
    assert_eq!(typed("uuid", "uuid").as_deref(), Some("uuid"));
    assert_eq!(
        typed("character varying(10)", "text").as_deref(),
        Some("text"),
        "cut off, one key would be another"
    );
    assert_eq!(typed("integer", "numeric"), None, "3.5 would be 4");
}
