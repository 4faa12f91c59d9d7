use super::*;
use crate::{alter, catalog::Column, plan::conversion::tests::column};
use shadowswap_core::plan::Severity;

/// Facts of a table that nothing keeps from a run.
fn facts(version: &str) -> Facts {
    let variables = [
        ("log_bin", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("read_only", "OFF"),
        ("log_replica_updates", "ON"),
    ];
    let source = Table {
        schema: "shop".into(),
        name: "orders".into(),
        engine: "InnoDB".into(),
        create: "CREATE TABLE `orders` (\n  `id` int NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB".into(),
        columns: vec![column("id", "int")],
        indexes: Vec::new(),
    };
    Facts {
        server: Server::parse(version, true, 0).unwrap(),
        user: "app@10.0.%".into(),
        variables: variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        grants: Grants::read(&["GRANT ALL PRIVILEGES ON *.* TO `app`@`10.0.%`".to_string()]),
        shadow: TableName::new("shop", "_orders_shadow"),
        old: TableName::new("shop", "_orders_old"),
        sentry: TableName::new("shop", "orders_swapped"),
        control: "shadowswap".into(),
        kind: "BASE TABLE".into(),
        rows: 1_000_000,
        table_bytes: 200 << 20,
        index_bytes: 100 << 20,
        keys_out: Vec::new(),
        keys_in: Vec::new(),
        triggers: Vec::new(),
        views: Vec::new(),
        replicas: 0,
        is_replica: false,
        filters: Some((Vec::new(), Vec::new())),
        taken: Vec::new(),
        source,
    }
}

fn found(facts: &Facts, severity: Severity) -> Vec<String> {
    let all = [general(facts), shadow(facts)].concat();
    let mut names: Vec<String> =
        all.into_iter().filter(|f| f.severity == severity).map(|f| f.check).collect();
    names.dedup();
    names
}

/// What is refused once the facts are changed so.
fn refused(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = facts("9.7.4");
    change(&mut facts);
    found(&facts, Severity::Refused)
}

fn warned(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = facts("9.7.4");
    change(&mut facts);
    assert_eq!(found(&facts, Severity::Refused), Vec::<String>::new());
    found(&facts, Severity::Warning)
}

fn set(facts: &mut Facts, name: &str, value: &str) {
    facts.variables.insert(name.to_string(), value.to_string());
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for version in ["8.0.13", "8.4.0", "9.7.4", "10.5.0-MariaDB", "11.8.6-MariaDB-log"] {
        let facts = facts(version);
        assert_eq!(found(&facts, Severity::Refused), Vec::<String>::new(), "{version}");
        assert_eq!(found(&facts, Severity::Warning), Vec::<String>::new(), "{version}");
    }
}

#[test]
fn versions_out_of_reach_are_told() {
    assert_eq!(found(&facts("8.0.12"), Severity::Refused), ["server-version"]);
    assert_eq!(found(&facts("5.7.44"), Severity::Refused), ["server-version"]);
    assert_eq!(found(&facts("10.4.30-MariaDB"), Severity::Refused), ["server-version"]);
    assert_eq!(found(&facts("99.0.0"), Severity::Warning), ["server-version"]);
}

#[test]
fn a_stream_that_is_not_whole_is_refused() {
    assert_eq!(refused(|f| set(f, "log_bin", "OFF")), ["binlog"]);
    assert_eq!(refused(|f| set(f, "binlog_format", "MIXED")), ["binlog-format"]);
    assert_eq!(refused(|f| set(f, "binlog_row_image", "FULL_NODUP")), ["binlog-row-image"]);
    assert_eq!(refused(|f| f.filters = Some((vec!["shop".into()], Vec::new()))), ["binlog-filter"]);
    assert_eq!(refused(|f| f.filters = Some((Vec::new(), vec!["shop".into()]))), ["binlog-filter"]);
    assert_eq!(refused(|f| f.filters = Some((Vec::new(), vec!["other".into()]))), Vec::<String>::new());
    let replica = |f: &mut Facts| {
        f.is_replica = true;
        set(f, "log_replica_updates", "OFF");
    };
    assert_eq!(refused(replica), ["replica"]);
    assert_eq!(warned(|f| f.is_replica = true), ["replica"]);
    let partial = |f: &mut Facts| {
        f.source.columns.push(column("j", "json"));
        set(f, "binlog_row_value_options", "PARTIAL_JSON");
    };
    assert_eq!(warned(partial), ["binlog-row-value-options"]);
    assert_eq!(warned(|f| set(f, "binlog_row_value_options", "PARTIAL_JSON")), Vec::<String>::new());
    let compressed = warned(|f| set(f, "binlog_transaction_compression", "ON"));
    assert_eq!(compressed, ["binlog-transaction-compression"]);
}

#[test]
fn the_servers_part_is_looked_at() {
    assert_eq!(refused(|f| set(f, "read_only", "ON")), ["read-only"]);
    assert_eq!(refused(|f| set(f, "read_only", "NO_LOCK")), ["read-only"]);
    assert_eq!(refused(|f| set(f, "wsrep_on", "ON")), ["cluster"]);
    let group = |f: &mut Facts| {
        set(f, "group_replication_group_name", "x");
        set(f, "group_replication_single_primary_mode", "OFF");
    };
    assert_eq!(refused(group), ["cluster"]);
}

#[test]
fn tables_that_cannot_be_followed_are_refused() {
    assert_eq!(refused(|f| f.source.engine = "MyISAM".into()), ["engine"]);
    assert_eq!(refused(|f| f.kind = "SYSTEM VERSIONED".into()), ["table-kind"]);
    assert_eq!(refused(|f| f.control = "shop".into()), ["table-kind"]);
    let compressed = |f: &mut Facts| {
        let column = Column { column_type: "text /*M!100301 COMPRESSED*/".into(), ..column("c", "text") };
        f.source.columns.push(column);
    };
    assert_eq!(refused(compressed), ["compressed-columns"]);
    assert_eq!(refused(|f| f.keys_in = vec!["a".into()]), ["foreign-keys"]);
    assert_eq!(refused(|f| f.keys_out = vec!["a".into()]), ["foreign-keys"]);
    assert_eq!(refused(|f| f.triggers = vec!["a".into()]), ["triggers"]);
    assert_eq!(refused(|f| f.taken = vec!["_orders_shadow".into(), "_orders_old".into()]), ["names"]);
    assert_eq!(refused(|f| f.taken = vec!["_ORDERS_OLD".into()]), Vec::<String>::new());
    assert_eq!(warned(|f| f.table_bytes = 9 << 30), ["disk"]);
    let named = |f: &mut Facts| {
        f.source.create = "CREATE TABLE `orders` (\n `id` int,\n CONSTRAINT `orders_chk_1` CHECK (1),\n CONSTRAINT `pos` CHECK (2)\n)".into();
    };
    assert_eq!(warned(named), ["check-names"]);
    assert_eq!(warned(|f| f.source.create.push_str(" PARTITION BY HASH (`id`)")), ["partitions"]);
}

#[test]
fn what_may_not_be_seen_is_told() {
    let some = [
        "GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`%`",
        "GRANT REPLICATION SLAVE, BINLOG MONITOR, PROCESS ON *.* TO `u`@`%`",
    ];
    let some = some.map(str::to_string);
    let mut facts = facts("11.8.6-MariaDB");
    facts.grants = Grants::read(&some);
    facts.control = "shop".into();
    assert_eq!(found(&facts, Severity::Warning), ["foreign-keys"]);
}

#[test]
fn views_matter_only_if_a_column_goes() {
    let mut facts = facts("9.7.4");
    facts.views = vec!["shop.v".into()];
    assert!(views(&facts, &[]).is_none());
    assert!(views(&facts, &["a".into()]).unwrap().message.contains("shop.v"));
    assert_eq!(dependents_list(&facts), ["view: shop.v"]);
}

#[test]
fn a_privilege_that_lacks_is_named_with_its_grant() {
    let mut facts = facts("10.11.6-MariaDB");
    facts.source.schema = "a_b".into();
    facts.grants = Grants::read(&["GRANT ALL PRIVILEGES ON `shadowswap`.* TO `app`@`%`".to_string()]);
    let all = shadow(&facts);
    let next: Vec<_> =
        all.iter().filter(|f| f.check == "privileges").filter_map(|f| f.next.clone()).collect();
    assert_eq!(
        next,
        [
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, LOCK TABLES ON `a\\_b`.* TO `app`@`10.0.%`",
            "GRANT TRIGGER ON `a\\_b`.* TO `app`@`10.0.%`",
            "GRANT REPLICATION SLAVE ON *.* TO `app`@`10.0.%`",
            "GRANT BINLOG MONITOR ON *.* TO `app`@`10.0.%`",
            "GRANT PROCESS ON *.* TO `app`@`10.0.%`",
        ]
    );
}

#[test]
fn what_the_change_makes_of_the_table_is_looked_at() {
    let facts = facts("9.7.4");
    let mut changed = facts.source.clone();
    assert_eq!(after(&facts, &changed), []);
    changed.engine = "MyISAM".into();
    changed.create = "CREATE TABLE `orders` (\n CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `b` (`c`)\n) PARTITION BY HASH (`a`)".into();
    let names: Vec<_> = after(&facts, &changed).into_iter().map(|f| f.check).collect();
    assert_eq!(names, ["engine", "foreign-keys", "partitions"]);
}

#[test]
fn a_value_may_be_given_once_and_bodies_are_read() {
    let request = shadowswap_core::plan::Request {
        table: "t".into(),
        alters: vec!["add a int".into(), "rename to x".into()],
        sets: vec![("a".into(), "1".into()), ("A ".into(), "2".into())],
        set_backs: Vec::new(),
        guard_s: None,
        strategy: shadowswap_core::plan::Strategy::Auto,
        indexes: shadowswap_core::plan::Indexes::Auto,
        control_schema: "shadowswap".into(),
    };
    assert_eq!(duplicates(&request).len(), 1);
    let bodies: Vec<alter::Body> = read(&request).unwrap();
    assert_eq!(super::refused(&bodies).len(), 1);
}

#[test]
fn indexes_are_early_where_asked_or_where_replicas_are_attached() {
    use crate::plan::LateIndex;
    use shadowswap_core::plan::Indexes;
    let unique = LateIndex {
        name: "u".into(),
        clause: "ADD UNIQUE KEY `u` (`a`)".into(),
        unique: true,
        existed_on_source: true,
    };
    let said = |replicas: u64, asked: Indexes, late: &[LateIndex]| {
        let facts = Facts { replicas, ..facts("9.7.4") };
        let found = indexes(&facts, asked, late);
        let warned = found.iter().any(|f| f.check == "replicas" && f.message.contains("building u after"));
        (is_early(&facts, asked), found[0].message.clone(), warned)
    };
    let late = [unique];
    let (early, why, warned) = said(0, Indexes::Auto, &late);
    assert!(!early && why.ends_with("no replica is attached") && !warned, "{why}");
    let (early, why, warned) = said(2, Indexes::Auto, &late);
    assert!(early && why.contains("2 replicas are attached") && warned, "{why}");
    assert!(!said(1, Indexes::Auto, &[]).2, "nothing is built late");
    let (early, why, warned) = said(0, Indexes::Early, &late);
    assert!(early && why.ends_with("--indexes early") && !warned, "{why}");
    let (early, why, warned) = said(1, Indexes::Late, &late);
    assert!(!early && why.ends_with("--indexes late") && warned, "{why}");
}
