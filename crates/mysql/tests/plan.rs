//! Plans against real servers. What a plan says is carried out by hand and compared with the same change made in place: definition and rows.

#![allow(clippy::unwrap_used)]

use mysql_async::{Conn, Row, Value, prelude::Queryable};
use shadowswap_core::{
    error::{Kind, Result},
    name::TableName,
    plan::{Indexes, Plan, Request, Severity, Strategy},
};
use shadowswap_mysql::{
    catalog,
    lacks::lacks,
    plan::{Detail, direct, plan, twin},
    sql,
};
use shadowswap_testkit::mysql::{Database, Product, shared};

mod cases;
use cases::{CASES, CONVERSIONS, Case, REFUSED};

fn request(
    table: &str,
    alters: &[&str],
    sets: &[(&str, &str)],
    strategy: Strategy,
    control: &str,
) -> Request {
    Request {
        table: table.to_string(),
        alters: alters.iter().map(|a| a.to_string()).collect(),
        sets: sets.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        set_backs: Vec::new(),
        guard_s: None,
        strategy,
        indexes: Indexes::Auto,
        control_schema: control.to_string(),
    }
}

async fn run(conn: &mut Conn, text: &str) {
    if let Err(e) = conn.query_drop(text).await {
        panic!("{text}: {e}");
    }
}

async fn start(product: Product) -> (Database, Conn, String) {
    let database = shared(product).await.database().await;
    let mut conn = database.connect().await;
    run(&mut conn, twin::SETUP).await;
    // A control database of its own: it is made and dropped by each plan.
    let control = format!("control_{}", database.name());
    (database, conn, control)
}

async fn databases(conn: &mut Conn, name: &str) -> usize {
    let text = "select SCHEMA_NAME from information_schema.SCHEMATA where SCHEMA_NAME = ?";
    let found: Vec<String> = conn.exec(text, (name,)).await.unwrap();
    found.len()
}

fn is_for(only: Option<Product>, product: Product) -> bool {
    only.is_none_or(|p| p == product)
}

fn refusals(plan: &Plan) -> Vec<String> {
    plan.refusals().map(|f| format!("{}: {}", f.check, f.message)).collect()
}

async fn rows(conn: &mut Conn, table: &str) -> Vec<String> {
    let found: Vec<Row> = conn.query(format!("select * from {}", sql::quote(table))).await.unwrap();
    let text = |v: &Value| match v {
        Value::Bytes(bytes) => format!("'{}'", bytes.escape_ascii()),
        other => other.as_sql(false),
    };
    let row = |r: Row| r.unwrap().iter().map(text).collect::<Vec<_>>().join(", ");
    let mut shown: Vec<String> = found.into_iter().map(row).collect();
    shown.sort();
    shown
}

/// Carries the plan out by hand beside the same change made in place.
async fn carry_out(conn: &mut Conn, case: &Case, product: Product, plan: &Plan) {
    let what = format!("{product}: {:?}", case.alters);
    let detail = Detail::of(plan).unwrap();
    run(conn, &case.create.replace("{T}", "`ref`")).await;
    for text in case.rows {
        run(conn, &text.replace("{T}", "`ref`")).await;
    }
    for body in case.alters {
        run(conn, &format!("alter table `ref` {body}")).await;
    }
    if !case.after.is_empty() {
        run(conn, case.after).await;
    }
    for text in &detail.create {
        run(conn, text).await;
    }
    let filled: Vec<_> = plan.link.columns.iter().filter(|c| c.expression.is_some()).collect();
    let columns = filled.iter().map(|c| sql::quote(&c.column)).collect::<Vec<_>>().join(", ");
    let values = filled.iter().map(|c| c.expression.clone().unwrap()).collect::<Vec<_>>().join(", ");
    let key = plan.link.key.iter().map(|k| sql::quote(&k.from)).collect::<Vec<_>>().join(", ");
    let (source, shadow) = (sql::table(&plan.source), sql::table(&plan.shadow));
    // As the sessions that copy do.
    run(conn, "set names binary").await;
    run(conn, &format!("insert into {shadow} ({columns}) select {values} from {source} order by {key}"))
        .await;
    run(conn, "set names utf8mb4").await;
    for index in &detail.late {
        run(conn, &format!("alter table {shadow} {}", index.clause)).await;
    }
    let now = catalog::table(conn, &plan.shadow).await.unwrap().unwrap();
    let reference = TableName::new(&plan.source.schema, "ref");
    let reference = catalog::table(conn, &reference).await.unwrap().unwrap();
    assert_eq!(lacks(&now, &detail.shadow), Vec::<String>::new(), "{what}: the shadow is not as planned");
    assert_eq!(
        lacks(&reference, &detail.shadow),
        Vec::<String>::new(),
        "{what}: the plan is not what ALTER makes"
    );
    assert_eq!(
        lacks(&detail.shadow, &reference),
        Vec::<String>::new(),
        "{what}: the plan is not what ALTER makes"
    );
    let names = |t: &catalog::Table| t.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&now), names(&reference), "{what}: order of columns");
    if !case.fleeting {
        assert_eq!(rows(conn, &plan.shadow.name).await, rows(conn, "ref").await, "{what}: rows");
    }
}

async fn every_case(product: Product) {
    let (database, mut conn, control) = start(product).await;
    for case in CASES.iter().filter(|c| is_for(c.only, product)) {
        for table in ["t", "ref", "_t_shadow", "t_shadow"] {
            run(&mut conn, &format!("drop table if exists `{table}`")).await;
        }
        run(&mut conn, &case.create.replace("{T}", "`t`")).await;
        for text in case.rows {
            run(&mut conn, &text.replace("{T}", "`t`")).await;
        }
        let request = request("t", case.alters, case.sets, Strategy::Shadow, &control);
        let name = TableName::new(database.name(), "t");
        let before = catalog::table(&mut conn, &name).await.unwrap().unwrap();
        let planned = plan(&mut conn, &request).await;
        let planned = planned.unwrap_or_else(|e| panic!("{product} {:?}: {}", case.alters, e.message));
        assert_eq!(refusals(&planned), Vec::<String>::new(), "{product} {:?}", case.alters);
        let notes =
            planned.link.columns.iter().map(|c| format!("{}:{}", c.column, c.note)).collect::<Vec<_>>();
        assert_eq!(notes.join(" "), case.notes, "{product} {:?}", case.alters);
        assert_eq!(databases(&mut conn, &control).await, 0, "the trial's database stays behind");
        let after = catalog::table(&mut conn, &name).await.unwrap().unwrap();
        assert_eq!(before, after, "planning changed the source");
        assert_eq!(before.fingerprint(), planned.fingerprint);
        carry_out(&mut conn, case, product, &planned).await;
    }
}

#[tokio::test]
async fn what_is_planned_is_what_alter_makes_mariadb() {
    every_case(Product::MariaDb).await;
}

#[tokio::test]
async fn what_is_planned_is_what_alter_makes_mysql() {
    every_case(Product::MySql).await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_leaves_nothing() {
    let mut wrong = Vec::new();
    for product in Product::ALL {
        let (_database, mut conn, control) = start(product).await;
        for case in REFUSED.iter().filter(|c| is_for(c.only, product)) {
            run(&mut conn, "drop table if exists child, t, parent").await;
            for text in case.create {
                run(&mut conn, text).await;
            }
            let made =
                plan(&mut conn, &request("t", case.alters, case.sets, Strategy::Shadow, &control)).await;
            let said = match made {
                Ok(plan) => refusals(&plan).join("\n"),
                Err(e) => {
                    assert!(
                        matches!(e.kind, Kind::Refused | Kind::Usage),
                        "{product} {:?}: {e:?}",
                        case.alters
                    );
                    e.message
                }
            };
            if !said.contains(case.says) {
                wrong.push(format!(
                    "{product} {:?} {:?}: says {said:?}, not {:?}",
                    case.alters, case.sets, case.says
                ));
            }
            assert!(!said.contains("_twin_"), "{product} {:?}: names the twin: {said}", case.alters);
            assert_eq!(databases(&mut conn, &control).await, 0, "the trial's database stays behind");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_strategy_is_what_the_server_agreed_to() {
    for product in Product::ALL {
        let (_database, mut conn, control) = start(product).await;
        run(&mut conn, "create table t (id int primary key, a int, key a (a))").await;
        for (alters, asked, chosen, clause) in [
            (&["add b int -- more"] as &[&str], Strategy::Auto, Strategy::Direct, Some("ALGORITHM=INSTANT")),
            (&["add b int", "add c int"], Strategy::Auto, Strategy::Direct, Some("ALGORITHM=INSTANT")),
            (&["drop index a"], Strategy::Auto, Strategy::Direct, Some("ALGORITHM=INPLACE, LOCK=NONE")),
            (&["modify a bigint"], Strategy::Auto, Strategy::Shadow, None),
            (&["add index b (a, id)"], Strategy::Auto, Strategy::Shadow, None),
            (&["add b int"], Strategy::Shadow, Strategy::Shadow, None),
            (&[], Strategy::Auto, Strategy::Shadow, None),
        ] {
            let made = plan(&mut conn, &request("t", alters, &[], asked, &control)).await.unwrap();
            assert_eq!(made.strategy, chosen, "{product} {alters:?}: {}", made.reason);
            let detail = Detail::of(&made).unwrap();
            assert_eq!(detail.direct.as_deref(), clause, "{product} {alters:?}");
            assert_eq!(refusals(&made), Vec::<String>::new());
            if chosen == Strategy::Direct {
                for text in direct(&made, &detail).unwrap() {
                    assert!(text.contains(clause.unwrap()), "{text}");
                    run(&mut conn, &text).await;
                }
                let now = catalog::table(&mut conn, &made.source).await.unwrap().unwrap();
                assert_eq!(lacks(&now, &detail.shadow), Vec::<String>::new());
            }
            run(&mut conn, "drop table t").await;
            run(&mut conn, "create table t (id int primary key, a int, key a (a))").await;
        }
        let request_heavy = request("t", &["modify a bigint"], &[], Strategy::Direct, &control);
        let heavy = plan(&mut conn, &request_heavy).await.unwrap();
        assert_eq!(heavy.refusals().map(|f| f.check.as_str()).collect::<Vec<_>>(), ["strategy"]);
        let sets = [("a", "1")];
        let set =
            plan(&mut conn, &request("t", &["add b int"], &sets, Strategy::Direct, &control)).await.unwrap();
        assert!(refusals(&set).iter().any(|r| r.contains("--set needs a shadow")));
    }
}

#[tokio::test]
async fn tables_are_found_by_the_servers_own_rules() {
    for product in Product::ALL {
        let (database, mut conn, control) = start(product).await;
        // With a CHECK, MySQL itself has no room for a copy of a table whose name is longer than this.
        let long = "ü".repeat(if product == Product::MySql { 57 } else { 64 });
        let names = ["Orders", "a b", "q`u.o'te\"", "日本語", "select", long.as_str()];
        for name in names {
            let text = format!(
                "create table {} (`I d` int primary key, `é` int, check (`é` > 0))",
                sql::quote(name)
            );
            run(&mut conn, &text).await;
            for typed in [sql::quote(name), format!("{}.{}", database.name(), sql::quote(name))] {
                let request = request(&typed, &["modify `é` bigint first"], &[], Strategy::Shadow, &control);
                let made = plan(&mut conn, &request)
                    .await
                    .unwrap_or_else(|e| panic!("{product} {typed}: {}", e.message));
                assert_eq!(made.source, TableName::new(database.name(), name));
                assert!(made.shadow.name.len() <= 64 && made.old.name.len() <= 64);
                let detail = Detail::of(&made).unwrap();
                for text in &detail.create {
                    run(&mut conn, text).await;
                }
                // MySQL makes names of CHECK constraints of the table's: they must not grow too long.
                let (shadow, old, source) =
                    (sql::table(&made.shadow), sql::table(&made.old), sql::table(&made.source));
                run(&mut conn, &format!("rename table {source} to {old}, {shadow} to {source}")).await;
                let swapped = catalog::table(&mut conn, &made.source).await.unwrap().unwrap();
                assert_eq!(lacks(&swapped, &detail.shadow), Vec::<String>::new());
                run(&mut conn, &format!("drop table {source}")).await;
                run(&mut conn, &format!("rename table {old} to {source}")).await;
            }
        }
        run(&mut conn, "create view v as select 1").await;
        for (typed, says) in [
            ("orders", "no table"),
            ("nowhere.t", "no table"),
            ("v", "a view"),
            ("mysql.user", "belongs to the server"),
            ("a.b.c", "no name of a table"),
        ] {
            let e = catalog::resolve(&mut conn, typed).await.unwrap_err();
            assert!(e.message.contains(says), "{product} {typed}: {}", e.message);
        }
        assert!(catalog::resolve(&mut conn, "orders").await.unwrap_err().next.unwrap().contains("Orders"));
        assert!(catalog::table(&mut conn, &TableName::new(database.name(), "v")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn privileges_are_read_and_each_grant_mends_its_refusal() {
    for product in Product::ALL {
        let (database, mut root, control) = start(product).await;
        let (db, user) = (database.name(), format!("u_{}", database.name()));
        run(&mut root, "create table t (id int primary key)").await;
        run(&mut root, &format!("create user {user}@'%' identified by 'pw'")).await;
        run(&mut root, &format!("grant select on {db}.t to {user}@'%'")).await;
        let request = request(&format!("{db}.t"), &["add a int"], &[], Strategy::Shadow, &control);
        let url = database.server().url_as(&user, "pw", "");
        let mut rounds = 0;
        loop {
            let mut conn = shadowswap_testkit::mysql::connect(&url).await;
            let made = plan(&mut conn, &request).await.unwrap_or_else(|e| panic!("{product}: {}", e.message));
            conn.disconnect().await.unwrap();
            let refused: Vec<_> = made.refusals().cloned().collect();
            if refused.is_empty() {
                let warned = |f: &&shadowswap_core::plan::Finding| {
                    f.severity == Severity::Warning && f.message.contains("PROCESS")
                };
                // MariaDB's swap cannot do without it.
                assert_eq!(made.findings.iter().find(warned).is_some(), product == Product::MySql);
                break;
            }
            for finding in refused {
                assert_eq!(finding.check, "privileges", "{product}: {}", finding.message);
                run(&mut root, &finding.next.unwrap()).await;
            }
            rounds += 1;
            assert!(rounds < 4, "{product}: grants do not mend the refusals");
        }
        run(&mut root, &format!("drop user {user}@'%'")).await;
    }
}

#[tokio::test]
async fn settings_of_the_binlog_are_looked_at() -> Result<()> {
    for product in Product::ALL {
        let server = shadowswap_testkit::mysql::Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        run(&mut conn, "create table t (id int primary key)").await;
        run(&mut conn, "set global binlog_row_image = 'MINIMAL'").await;
        run(&mut conn, "set global binlog_format = 'MIXED'").await;
        let request = request("t", &["add a int"], &[], Strategy::Shadow, "shadowswap");
        let said = refusals(&plan(&mut conn, &request).await?).join("\n");
        assert!(said.contains("binlog_format = MIXED"), "{product}: {said}");
        assert!(said.contains("binlog_row_image = MINIMAL"), "{product}: {said}");
        run(&mut conn, "set global binlog_row_image = 'FULL'").await;
        run(&mut conn, "set global binlog_format = 'ROW'").await;
        run(&mut conn, "set global read_only = 1").await;
        let said = refusals(&plan(&mut conn, &request).await?).join("\n");
        assert!(said.contains("read_only"), "{product}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_locked_source_is_not_waited_for_and_nothing_is_left() {
    for product in Product::ALL {
        let (database, mut conn, control) = start(product).await;
        run(&mut conn, "create table t (id int primary key)").await;
        run(&mut conn, &format!("create database {control}")).await;
        let mut other = database.connect().await;
        run(&mut other, "lock tables t write").await;
        let request = request("t", &["add a int"], &[], Strategy::Auto, &control);
        let e = plan(&mut conn, &request).await.unwrap_err();
        assert!(e.is_transient(), "{product}: {e:?}");
        run(&mut other, "unlock tables").await;
        plan(&mut conn, &request).await.unwrap();
        let left: Vec<String> = conn.query(format!("show tables in {control}")).await.unwrap();
        assert_eq!(left, Vec::<String>::new(), "{product}");
        assert_eq!(
            databases(&mut conn, &control).await,
            1,
            "{product}: a database that was there is not ours to drop"
        );
        run(&mut conn, &format!("drop database {control}")).await;
    }
}

/// Takes every type of the list at once, and compares with ALTER TABLE.
async fn every_conversion(product: Product) {
    let (_database, mut conn, control) = start(product).await;
    let columns: Vec<String> =
        CONVERSIONS.iter().enumerate().map(|(n, c)| format!("c{n} {} null", c.0)).collect();
    let create =
        format!("create table {{T}} (id int primary key, {}) default charset utf8mb4", columns.join(", "));
    let row = |at: usize| {
        let values: Vec<&str> = CONVERSIONS.iter().map(|c| c.2.get(at).copied().unwrap_or("null")).collect();
        format!("insert into {{T}} values ({at}, {})", values.join(", "))
    };
    let texts: Vec<String> = (0..4).map(row).collect();
    let rows: Vec<&'static str> = texts.into_iter().map(|t| &*t.leak()).collect();
    let body: Vec<String> =
        CONVERSIONS.iter().enumerate().map(|(n, c)| format!("modify c{n} {} null", c.1)).collect();
    let case = Case {
        create: create.leak(),
        rows: rows.leak(),
        alters: vec![&*body.join(", ").leak()].leak(),
        sets: &[],
        after: "",
        notes: "",
        fleeting: false,
        only: None,
    };
    run(&mut conn, &case.create.replace("{T}", "t")).await;
    for text in case.rows {
        run(&mut conn, &text.replace("{T}", "t")).await;
    }
    let request = request("t", case.alters, &[], Strategy::Auto, &control);
    let planned = plan(&mut conn, &request).await.unwrap_or_else(|e| panic!("{product}: {}", e.message));
    assert_eq!(refusals(&planned), Vec::<String>::new(), "{product}");
    assert!(planned.link.columns.iter().skip(1).all(|c| c.note == "type"));
    carry_out(&mut conn, &case, product, &planned).await;
}

#[tokio::test]
async fn values_are_converted_as_alter_does() {
    for product in Product::ALL {
        every_conversion(product).await;
    }
}

async fn detail(conn: &mut Conn, alters: &[&str], control: &str) -> Detail {
    detail_with(conn, request("t", alters, &[], Strategy::Shadow, control)).await
}

async fn detail_with(conn: &mut Conn, request: Request) -> Detail {
    let made = plan(conn, &request).await.unwrap();
    assert_eq!(refusals(&made), Vec::<String>::new());
    Detail::of(&made).unwrap()
}

#[tokio::test]
async fn the_detail_says_what_the_run_goes_by() {
    for product in Product::ALL {
        let (database, mut conn, control) = start(product).await;
        let text = "create table t (id int auto_increment, a int not null, b varchar(9), primary key (id), unique ab (a, b), key b (b desc), fulltext key f (b))";
        run(&mut conn, text).await;
        let d =
            detail(&mut conn, &["change a A2 int not null, add unique n (b, id), add c int"], &control).await;
        let late: Vec<_> = d.late.iter().map(|i| (i.name.as_str(), i.unique, i.existed_on_source)).collect();
        assert_eq!(late.len(), 4, "{product} {late:?}");
        for expected in [("ab", true, true), ("b", false, true), ("f", false, true), ("n", true, false)] {
            assert!(late.contains(&expected), "{product} {late:?}");
        }
        let asked =
            request("t", &["add unique n (b, id), add key c (a, id)"], &[], Strategy::Shadow, &control);
        let early = detail_with(&mut conn, Request { indexes: Indexes::Early, ..asked }).await;
        let early: Vec<_> = early.late.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(early, ["ab", "n"], "{product}: what keeps values apart comes late in any case");
        assert!(d.is_plain && d.keeps_order && !d.converts && !d.rereads, "{product}");
        assert_eq!((d.key_index.as_str(), d.create.len()), ("PRIMARY", 3));
        assert!(d.create.iter().all(|text| text.starts_with("/* shadowswap */ ")));
        let d = detail(&mut conn, &["modify b varchar(10)"], &control).await;
        assert!(!d.is_plain && d.converts && !d.rereads, "{product}");
        assert!(d.late.iter().filter(|i| i.name == "ab").all(|i| !i.existed_on_source));
        // The new primary key cannot be there while copying: nothing says that its values are apart at every moment.
        let d =
            detail(&mut conn, &["drop primary key, add unique id (id), add primary key (a)"], &control).await;
        let late: Vec<_> = d.late.iter().map(|i| i.name.as_str()).collect();
        assert!(late.contains(&"PRIMARY") && !late.contains(&"id"), "{product} {late:?}");
        // AUTO_INCREMENT keeps its index.
        let d = detail(
            &mut conn,
            &["add n int auto_increment, modify id int, add key n (n), drop index ab"],
            &control,
        )
        .await;
        assert!(d.late.iter().all(|i| i.name != "n"), "{product}");
        run(&mut conn, "insert into t values (41, 1, 'x'), (42, 2, 'y')").await;
        run(&mut conn, "delete from t where id = 42").await;
        let name = TableName::new(database.name(), "t");
        assert_eq!(catalog::counter(&mut conn, &name).await.unwrap(), Some(43), "{product}");
        run(&mut conn, "alter table t add j json, add g int generated always as (a + 1) stored").await;
        let d = detail(&mut conn, &["modify g int"], &control).await;
        assert!(d.rereads, "{product}: generated columns are in no row image");
        let d = detail(&mut conn, &["drop g"], &control).await;
        assert_eq!(d.rereads, product == Product::MySql, "{product}");
        run(&mut conn, "create view v as select a, g from t").await;
        let made =
            plan(&mut conn, &request("t", &["drop g"], &[], Strategy::Shadow, &control)).await.unwrap();
        assert!(
            made.findings.iter().any(|f| f.check == "views" && f.severity == Severity::Warning),
            "{product}"
        );
        assert_eq!(made.dependents, [format!("view: {}.v", database.name())]);
    }
}

#[tokio::test]
async fn names_are_folded_where_the_server_folds_them() {
    let builder = shadowswap_testkit::mysql::Mysql::builder(Product::MariaDb);
    let server = builder.setting("lower_case_table_names", "1").start().await;
    server.create_database("shop").await;
    let mut conn = server.connect("shop").await;
    run(&mut conn, "create table Orders (Id int primary key)").await;
    let made = plan(&mut conn, &request("SHOP.ORDERS", &["add a int"], &[], Strategy::Shadow, "Control"))
        .await
        .unwrap();
    assert_eq!(made.source, TableName::new("shop", "orders"));
    assert_eq!(refusals(&made), Vec::<String>::new());
    assert_eq!(databases(&mut conn, "control").await, 0, "the trial's database stays behind");
}

#[tokio::test]
async fn what_a_plan_leaves_that_is_given_up_does_not_stop_the_next() {
    for product in Product::ALL {
        let (database, mut conn, control) = start(product).await;
        run(&mut conn, "create table t (id int primary key)").await;
        let request = request("t", &["add a int", "add b int", "add c int"], &[], Strategy::Shadow, &control);
        for ms in [5, 10, 20, 40, 80] {
            let mut other = database.connect().await;
            let given_up =
                tokio::time::timeout(std::time::Duration::from_millis(ms), plan(&mut other, &request)).await;
            drop(given_up);
            drop(other);
        }
        let made = plan(&mut conn, &request).await.unwrap_or_else(|e| panic!("{product}: {}", e.message));
        assert_eq!(refusals(&made), Vec::<String>::new());
        run(&mut conn, &format!("drop database if exists {control}")).await;
    }
}
