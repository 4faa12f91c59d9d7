use super::*;
use crate::{alter::read, plan::conversion::tests::column};
use shadowswap_core::plan::Severity;

fn table(columns: &[(&str, &str)]) -> Table {
    Table {
        schema: "s".into(),
        name: "t".into(),
        engine: "InnoDB".into(),
        create: String::new(),
        columns: columns.iter().map(|(n, t)| column(n, t)).collect(),
        indexes: Vec::new(),
    }
}

/// `states`: the columns after each body.
fn map(bodies: &[&str], states: &[&[(&str, &str)]], sets: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let bodies: Vec<Body> = bodies.iter().map(|b| read(b).unwrap()).collect();
    let states: Vec<Table> = states.iter().map(|s| table(s)).collect();
    let sets: Vec<_> = sets.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    let found = project(&states[0], &bodies, &states, &sets);
    let shown = found.columns.iter().map(|m| {
        format!("{} {} {}", m.mapping.column, m.mapping.expression.as_deref().unwrap_or("-"), m.mapping.note)
    });
    let refused = found.findings.iter().filter(|f| f.severity == Severity::Refused);
    (shown.collect(), refused.map(|f| f.message.clone()).collect())
}

#[test]
fn two_names_may_be_swapped_in_one_body() {
    let (columns, refused) = map(
        &["rename column a to b, rename column b to a"],
        &[&[("id", "int"), ("a", "int"), ("b", "text")], &[("id", "int"), ("b", "int"), ("a", "text")]],
        &[],
    );
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(columns, ["id `id` same", "b `a` renamed", "a `b` renamed"]);
}

#[test]
fn a_column_is_followed_through_several_bodies() {
    let (columns, refused) = map(
        &["change a b int", "change b `c d` bigint", "drop column x"],
        &[
            &[("a", "int"), ("x", "int")],
            &[("b", "int"), ("x", "int")],
            &[("c d", "bigint"), ("x", "int")],
            &[("c d", "bigint")],
        ],
        &[],
    );
    assert_eq!((columns, refused), (vec!["c d `a` type".to_string()], vec![]));
}

#[test]
fn a_column_that_came_or_went_unexplained_is_refused() {
    // The server renamed, and the words do not say so.
    let (_, refused) = map(&["force"], &[&[("a", "int")], &[("b", "int")]], &[]);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("b came") && refused[0].contains("a went"), "{refused:?}");
    // The words say so, and the server did not.
    assert_eq!(map(&["change a b int"], &[&[("a", "int")], &[("a", "int")]], &[]).1.len(), 1);
    // The name lives on as another column: the values would go to the wrong one.
    let (_, refused) =
        map(&["drop a, add a text"], &[&[("a", "int"), ("c", "int")], &[("c", "int"), ("a", "text")]], &[]);
    assert!(refused[0].contains("dropped, and there afterwards"), "{refused:?}");
    let (_, refused) =
        map(&["change a b int, add a int"], &[&[("a", "int")], &[("b", "int"), ("a", "int")]], &[]);
    assert_eq!(refused.len(), 1, "{refused:?}");
}

#[test]
fn dropped_in_one_body_and_added_in_the_next_is_a_new_column() {
    let (columns, refused) = map(
        &["drop a", "add a int"],
        &[&[("a", "int"), ("c", "int")], &[("c", "int")], &[("c", "int"), ("a", "int")]],
        &[],
    );
    assert_eq!((columns, refused), (vec!["c `c` same".to_string(), "a 0 new".to_string()], vec![]));
}

#[test]
fn values_that_the_server_would_not_give_are_asked_for() {
    assert_eq!(map(&["modify a datetime"], &[&[("a", "timestamp")], &[("a", "datetime")]], &[]).1.len(), 1);
    let (columns, refused) = map(
        &["modify a datetime"],
        &[&[("a", "timestamp")], &[("a", "datetime")]],
        &[("A", "a + interval '1' day")],
    );
    assert_eq!((columns, refused), (vec!["a (a + interval _utf8mb4'1' day) computed".to_string()], vec![]));
    let twice = map(
        &["modify a bigint", "modify a int"],
        &[&[("a", "int")], &[("a", "bigint")], &[("a", "int")]],
        &[],
    );
    assert_eq!(twice.1.len(), 1);
    assert_eq!(map(&[], &[&[("a", "int")]], &[("b", "1")]).1.len(), 1);
    assert_eq!(map(&[], &[&[("a", "int")]], &[("a", "1), (2")]).1.len(), 1);
}
