use super::*;
use crate::{
    args::Choices,
    command::fake::{self, Fake},
    config,
};
use shadowswap_core::plan::Finding;

fn intent(table: &str) -> Intent {
    let flags = Choices {
        table: Some(table.into()),
        alter: vec!["ADD COLUMN domain text;".into(), "ALTER COLUMN id TYPE bigint".into()],
        set: vec!["domain = split_part(email, '@', 2)".into()],
        ..Choices::default()
    };
    config::intent(flags, Choices::default()).unwrap()
}

fn yes() -> Approval {
    Approval { yes: true, ..Approval::default() }
}

fn copying() -> Fake {
    Fake::with(vec![fake::status("public", "orders", Phase::Copy)])
}

#[tokio::test]
async fn same_request_goes_on_with_the_stored_plan_without_asking() {
    let engine = copying();
    let begun = begun(&engine, &intent("orders")).await.unwrap().unwrap();
    assert_eq!((begun.migration, begun.phase), (3, Phase::Copy));
    let plan = resume(begun, &intent("orders"), &Approval::default(), fake::OUTPUT).unwrap();
    assert_eq!(plan.source.to_string(), "public.orders");
}

#[tokio::test]
async fn run_without_a_change_goes_on_with_what_is_unfinished() {
    let mut bare = intent("public.orders");
    (bare.alters, bare.sets) = (Vec::new(), Vec::new());
    let found = begun(&copying(), &bare).await.unwrap().unwrap();
    assert!(resume(found, &bare, &Approval::default(), fake::OUTPUT).is_ok());
    let failure = fresh(&Fake::default(), &bare, &yes(), fake::OUTPUT).await.unwrap_err();
    assert_eq!(failure.code(), 2);
    assert_eq!(failure.state.as_deref(), Some("no migration of public.orders is unfinished"));
}

#[tokio::test]
async fn other_request_is_refused_and_says_how_to_go_on_or_give_up() {
    let mut other = intent("orders");
    other.alters = vec!["DROP COLUMN email".into()];
    let found = begun(&copying(), &other).await.unwrap().unwrap();
    let failure = resume(found, &other, &yes(), fake::OUTPUT).unwrap_err();
    assert_eq!(failure.code(), 3);
    let text = failure.text(crate::output::text::Style::PLAIN);
    for part in [
        "unfinished: ADD COLUMN domain text; ALTER COLUMN id TYPE bigint; set domain = ",
        "asked for: DROP COLUMN email",
        "`shadowswap run --table public.orders`",
        "`shadowswap abort --table public.orders`",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn table_of_the_same_name_in_another_schema_is_another_table() {
    let mut engine = copying();
    engine.schema = Some("tenant_b".into());
    assert!(begun(&engine, &intent("orders")).await.unwrap().is_none());
    assert!(begun(&copying(), &intent("sales.orders")).await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_is_planned_where_nobody_can_approve() {
    let engine = Fake::default();
    let failure = fresh(&engine, &intent("orders"), &Approval::default(), fake::OUTPUT).await.unwrap_err();
    assert_eq!(failure.code(), 2);
    assert!(engine.told().is_empty());
}

#[tokio::test]
async fn approved_plan_must_still_be_the_plan() {
    let engine = Fake::default();
    let id = fresh(&engine, &intent("orders"), &yes(), fake::OUTPUT).await.unwrap().id;
    let approval = Approval { plan_id: Some(id.clone()), ..Approval::default() };
    assert!(fresh(&engine, &intent("orders"), &approval, fake::OUTPUT).await.is_ok());
    let mut other = intent("orders");
    other.alters.pop();
    let failure = fresh(&engine, &other, &approval, fake::OUTPUT).await.unwrap_err();
    assert_eq!(failure.code(), 3);
    assert!(failure.error.message.contains(&format!("not the approved {id}")));
    let found = begun(&copying(), &intent("orders")).await.unwrap().unwrap();
    let stale = Approval { plan_id: Some("000000000000".into()), ..Approval::default() };
    assert_eq!(resume(found, &intent("orders"), &stale, fake::OUTPUT).unwrap_err().code(), 3);
}

#[tokio::test]
async fn refusing_check_is_named_with_its_remedy_and_nothing_is_run() {
    let findings =
        vec![Finding::refused("wal-level", "wal_level is replica", "set wal_level = logical and restart")];
    let mut engine = Fake::default();
    engine.findings = findings;
    let failure = fresh(&engine, &intent("orders"), &yes(), fake::OUTPUT).await.unwrap_err();
    assert_eq!(failure.code(), 3);
    let text = failure.text(crate::output::text::Style::PLAIN);
    assert!(
        text.contains("wal-level: wal_level is replica\n    set wal_level = logical and restart"),
        "{text}"
    );
    assert!(text.contains("state: nothing was changed"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
    assert_eq!(json["error"]["findings"][1]["check"], "wal-level");
}
