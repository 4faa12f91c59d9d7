use super::*;
use shadowswap_core::Kind;

fn orders() -> Choices {
    Choices { table: Some("orders".into()), alter: vec!["ADD COLUMN note text".into()], ..Choices::default() }
}

fn refused(flags: Choices) -> Error {
    let e = intent(flags, Choices::default()).unwrap_err();
    assert_eq!(e.kind, Kind::Usage);
    e
}

fn setting<'a>(intent: &'a Intent, name: &str) -> (&'a str, Origin) {
    let found = intent.settings.iter().find(|s| s.name == name).unwrap();
    (&found.value, found.origin)
}

#[test]
fn nothing_said_means_the_defaults() {
    let intent = intent(orders(), Choices::default()).unwrap();
    let config = Config { who: crate::who::runner(), ..Config::default() };
    assert_eq!(intent.config, config);
    assert_eq!(intent.control_schema, "shadowswap");
    assert_eq!(intent.request().strategy, Strategy::Auto);
    assert!(intent.settings.iter().all(|s| s.origin == Origin::Default));
    assert_eq!(setting(&intent, "stall-budget"), ("50ms", Origin::Default));
    assert_eq!(setting(&intent, "max-load"), ("auto", Origin::Default));
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let flags = Choices { stall_budget: Some("80ms".into()), ..Choices::default() };
    let file = Choices {
        stall_budget: Some("20ms".into()),
        chunk_time: Some("1s".into()),
        copy_workers: Some("4".into()),
        drop_old: true,
        strategy: Some("shadow".into()),
        control_schema: Some("ops".into()),
        ..orders()
    };
    let intent = intent(flags, file).unwrap();
    assert_eq!(intent.config.stall_budget, Duration::from_millis(80));
    assert_eq!(intent.config.chunk_time, Duration::from_secs(1));
    assert_eq!((intent.config.copy_workers, intent.config.drop_old), (4, true));
    assert_eq!((intent.table.as_str(), intent.control_schema.as_str()), ("orders", "ops"));
    assert_eq!(intent.strategy, Some(Strategy::Shadow));
    assert_eq!(setting(&intent, "stall-budget").1, Origin::Flag);
    assert_eq!(setting(&intent, "drop-old"), ("yes", Origin::File));
    assert_eq!(setting(&intent, "max-lag").1, Origin::Default);
}

#[test]
fn changes_of_the_flags_replace_those_of_the_file() {
    let flags = Choices { alter: vec!["DROP COLUMN note;".into()], ..Choices::default() };
    let file = Choices { set: vec!["a = 1".into()], ..orders() };
    let intent = intent(flags, file).unwrap();
    assert_eq!(intent.alters, ["DROP COLUMN note"]);
    assert_eq!(intent.sets, [("a".to_string(), "1".to_string())]);
}

#[test]
fn every_value_is_checked_and_named() {
    let with = |change: fn(&mut Choices)| {
        let mut flags = orders();
        change(&mut flags);
        refused(flags).message
    };
    assert_eq!(
        with(|c| c.stall_budget = Some("50".into())),
        "--stall-budget: \"50\" is no duration; write it like 50ms, 1.5s, 10m or 24h"
    );
    assert!(with(|c| c.stall_budget = Some("0ms".into())).contains("too little; the least is 1ms"));
    assert!(with(|c| c.stall_budget = Some("2m".into())).contains("too much; the most is 1m"));
    assert!(with(|c| c.chunk_time = Some("1ms".into())).contains("--chunk-time: 1ms is too little"));
    assert!(
        with(|c| c.copy_workers = Some("0".into()))
            .contains("--copy-workers: 0 is too little; the least is 1")
    );
    assert!(with(|c| c.copy_workers = Some("-1".into())).contains("no whole number"));
    assert!(with(|c| c.max_load = Some("many".into())).starts_with("--max-load:"));
    assert!(with(|c| c.max_load = Some("0%".into())).contains("0 is too little"));
    assert!(with(|c| c.max_load = Some("100%".into())).contains("100 is too much; the most is 99"));
    assert!(with(|c| c.log_memory = Some("1KiB".into())).contains("the least is 1MiB"));
    assert!(with(|c| c.cutover = Some("maybe".into())).contains("(or say `auto` or `manual`)"));
    assert!(with(|c| c.cutover = Some(String::new())).starts_with("--cutover: the window is empty"));
    assert!(
        with(|c| c.copy_window = vec!["Mun 01:00-02:00".into()])
            .starts_with("--copy-window: \"Mun\" is no day")
    );
    assert!(with(|c| c.set = vec!["domain".into()]).contains("not column=expression"));
    assert!(with(|c| c.set = vec!["=1".into()]).contains("not column=expression"));
    assert!(with(|c| c.alter = vec![" ; ".into()]).contains("--alter is empty"));
    assert!(
        with(|c| c.alter = vec!["alter  TABLE orders add column a int".into()])
            .contains("only what follows ALTER TABLE")
    );
    assert!(with(|c| c.table = None).contains("no table is named"));
}

#[test]
fn value_of_the_file_is_named_without_dashes() {
    let file = Choices { max_lag: Some("soon".into()), ..Choices::default() };
    assert!(intent(orders(), file).unwrap_err().message.starts_with("max-lag: \"soon\""));
}

#[test]
fn expression_may_hold_further_equals_signs() {
    let flags = Choices { set: vec!["is_big = (n >= 10) = true".into()], ..orders() };
    let intent = intent(flags, Choices::default()).unwrap();
    assert_eq!(intent.sets, [("is_big".to_string(), "(n >= 10) = true".to_string())]);
}

#[test]
fn indexes_are_early_or_late_or_left_to_the_engine() {
    let said = |flag: Option<&str>, file: Option<&str>| {
        let flags = Choices { indexes: flag.map(str::to_string), ..orders() };
        let file = Choices { indexes: file.map(str::to_string), ..Choices::default() };
        intent(flags, file)
    };
    assert_eq!(said(None, None).unwrap().request().indexes, Indexes::Auto);
    assert_eq!(said(None, Some("early")).unwrap().request().indexes, Indexes::Early);
    assert_eq!(said(Some("late"), Some("early")).unwrap().request().indexes, Indexes::Late);
    assert!(said(None, Some("soon")).unwrap_err().message.contains("none of auto, early, late"));
    let stored = said(Some("early"), None).unwrap().request();
    assert!(said(None, None).unwrap().matches(&stored), "what was not said does not differ");
    assert!(!said(Some("late"), None).unwrap().matches(&stored));
    assert!(!serde_json::to_string(&said(None, None).unwrap().request()).unwrap().contains("indexes"));
}

#[test]
fn replicas_are_named_for_a_limit_of_their_lag() {
    let flags =
        |replica: &[&str]| Choices { replica: replica.iter().map(ToString::to_string).collect(), ..orders() };
    let limited = |replica: &[&str]| Choices { max_replica_lag: Some("5s".into()), ..flags(replica) };
    assert!(refused(flags(&["db2"])).message.contains("--replica"));
    let file = Choices { replica: vec!["db3:3307".into()], ..Choices::default() };
    let named = intent(limited(&["db1", "db2"]), file.clone()).unwrap();
    assert_eq!(named.replicas, ["db1", "db2"]);
    assert_eq!(setting(&named, "replica"), ("db1, db2", Origin::Flag));
    assert_eq!(intent(limited(&[]), file).unwrap().replicas, ["db3:3307"]);
}

#[test]
fn windows_are_read() {
    let flags = Choices {
        cutover: Some("Sun 03:00-05:00 UTC".into()),
        copy_window: vec!["Mon-Fri 01:00-05:00 UTC".into(), "Sat,Sun 22:00-04:00 UTC".into()],
        ..orders()
    };
    let config = intent(flags, Choices::default()).unwrap().config;
    assert_eq!(config.cutover, CutoverWhen::Window("Sun 03:00-05:00 UTC".parse().unwrap()));
    assert_eq!(config.copy_windows.to_string(), "Mon-Fri 01:00-05:00 UTC; Sat,Sun 22:00-04:00 UTC");
}

#[test]
fn guard_and_the_way_back_are_part_of_the_request() {
    let flags = Choices { guard: Some("24h".into()), set_back: vec!["a=b + 1".into()], ..orders() };
    let guarded = intent(flags, Choices::default()).unwrap();
    let request = guarded.request();
    assert_eq!((request.guard_s, guarded.config.guard), (Some(86_400), Some(Duration::from_secs(86_400))));
    assert_eq!(request.set_backs, [("a".to_string(), "b + 1".to_string())]);
    assert!(guarded.matches(&request));
    let plain = intent(orders(), Choices::default()).unwrap();
    assert!(plain.matches(&request), "what is not said does not differ");
    assert_eq!(plain.request().guard_s, None);
    let file =
        Choices { guard: Some("1500ms".into()), guard_retention: Some("1GiB".into()), ..Choices::default() };
    let from_file = intent(orders(), file).unwrap();
    assert_eq!((from_file.request().guard_s, from_file.config.guard_retention), (Some(2), 1 << 30));
    assert!(refused(Choices { guard: Some("10ms".into()), ..orders() }).message.starts_with("--guard: "));
    assert!(refused(Choices { set_back: vec!["a".into()], ..orders() }).message.starts_with("--set-back: "));
}

#[test]
fn request_matches_what_was_stored_unless_it_says_otherwise() {
    let intent = |flags: Choices| intent(flags, Choices::default()).unwrap();
    let sets = |texts: &[&str]| Choices { set: texts.iter().map(ToString::to_string).collect(), ..orders() };
    let stored = Request { strategy: Strategy::Shadow, ..intent(sets(&["a=1", "b=2"])).request() };
    assert!(intent(sets(&["b=2", "a=1"])).matches(&stored));
    assert!(intent(Choices { alter: Vec::new(), ..orders() }).matches(&stored));
    assert!(!intent(sets(&["a=1"])).matches(&stored));
    assert!(!intent(Choices { strategy: Some("direct".into()), ..sets(&["a=1", "b=2"]) }).matches(&stored));
    assert!(
        !intent(Choices { alter: vec!["DROP COLUMN a".into()], ..sets(&["a=1", "b=2"]) }).matches(&stored)
    );
}

#[test]
fn url_comes_from_the_flag_else_from_the_variable_else_from_libpq() {
    let (url, warning) = url(Some("postgres://app:s3cret@db/shop"), Some("postgres://other/shop")).unwrap();
    assert_eq!(url.unwrap().expose(), "postgres://app:s3cret@db/shop");
    assert!(warning.is_some_and(|w| w.contains("SHADOWSWAP_URL") && !w.contains("s3cret")));
    let (from_variable, warning) = super::url(None, Some("postgres://app:s3cret@db/shop")).unwrap();
    assert!(from_variable.is_some() && warning.is_none());
    assert_eq!(super::url(None, Some("")).unwrap(), (None, None));
    assert_eq!(super::url(None, None).unwrap(), (None, None));
}
