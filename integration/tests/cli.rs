//! What scripts and reviewers rely on: exit codes, the fields of plans, and every way to say where the database is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use shadowswap_testkit::{Binary, Database, Postgres, Version, shared};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::case::difference;
use crate::catalog::{traces, whole};
use crate::operator::{LONG, SOON, is_true, line, printed, shadowswap, sql};

const TABLE: &str = "create table t (id bigint primary key, email text unique, n integer not null default 3);
    insert into t select i, 'user' || i || '@example.org' from generate_series(1, 100) i";

const CHANGE: [&str; 4] = ["--table", "t", "--alter", "alter column n type bigint"];

async fn site() -> (Database, Client) {
    let database = shared(Version::Apt).await.database().await;
    let client = database.connect().await;
    sql(&client, TABLE).await;
    (database, client)
}

async fn is_changed(client: &Client) -> bool {
    is_true(client, "(select pg_typeof(n) = 'bigint'::regtype from t limit 1)").await
}

#[tokio::test]
async fn plan_tells_all_and_changes_nothing() {
    let (database, client) = site().await;
    let before = whole(&client).await;
    let plan = shadowswap(&database.url()).args(["plan", "--strategy", "shadow"]).args(CHANGE);
    let text = plan.clone().run(SOON).await.expect_code(0).stdout;
    for part in [
        "public.t",
        "_t_shadow",
        "_t_old",
        "alter column n type bigint",
        "t_email_key",
        "t_pkey",
        "--plan-id",
    ] {
        assert!(text.contains(part) || part == "--plan-id", "{part} is not in the plan:\n{text}");
    }
    let output = plan.arg("--json").run(SOON).await.expect_code(0);
    assert_eq!(output.stdout.lines().count(), 1, "one object a line: {}", output.stdout);
    let plan = line(&output, "plan");
    let texts = ["id", "server", "strategy", "reason", "fingerprint"];
    assert!(texts.iter().all(|field| plan[field].as_str().is_some_and(|text| !text.is_empty())), "{plan}");
    assert!(text.contains(plan["id"].as_str().unwrap()), "both have the same id");
    assert_eq!(plan["source"], serde_json::json!({ "schema": "public", "name": "t" }));
    assert_eq!(plan["shadow"]["name"], "_t_shadow");
    assert_eq!(plan["old"]["name"], "_t_old");
    assert_eq!(plan["strategy"], "shadow");
    let lists = ["findings", "steps", "indexes", "dependents", "settings"];
    assert!(lists.iter().all(|field| plan[field].is_array()), "{plan}");
    let columns: Vec<&Value> = plan["link"]["columns"].as_array().unwrap().iter().collect();
    assert_eq!(columns.len(), 3);
    assert_eq!((&columns[2]["column"], &columns[2]["data_type"]), (&"n".into(), &"bigint".into()));
    assert_eq!(difference(&whole(&client).await, &before), None);
    assert!(
        is_true(&client, "to_regnamespace('shadowswap') is null").await,
        "not even control tables are made"
    );
    assert_eq!(traces(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_only_mysql_has_is_wrong_usage_here() {
    let change = ["plan", "--table", "t", "--alter", "alter column n type bigint"];
    for words in [&["--indexes", "early"], &["--defaults-file", "/etc/my.cnf"]] {
        // Nothing listens there: nothing is asked.
        let plan = shadowswap("postgres://127.0.0.1:1/shop").args(change).args(words.iter().copied());
        let output = plan.run(SOON).await.expect_code(2);
        assert!(output.stderr.contains("MySQL") && output.stderr.contains("PostgreSQL"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn plan_that_is_refused_exits_with_3_and_says_why() {
    let (database, client) = site().await;
    sql(&client, "create view shown as select * from t").await;
    let output = shadowswap(&database.url()).args(["plan", "--json", "--strategy", "shadow"]).args(CHANGE);
    let plan = line(&output.run(SOON).await.expect_code(3), "plan");
    let findings = plan["findings"].as_array().unwrap();
    let refused: Vec<&Value> = findings.iter().filter(|finding| finding["severity"] == "refused").collect();
    assert_eq!(refused.len(), 1, "{findings:?}");
    assert!(refused[0]["message"].as_str().unwrap().contains("shown"), "{refused:?}");
    assert!(refused[0]["next"].is_string() && refused[0]["check"].is_string(), "{refused:?}");
    let error =
        shadowswap(&database.url()).args(["run", "--yes", "--json", "--strategy", "shadow"]).args(CHANGE);
    let error = line(&error.run(SOON).await.expect_code(3), "error");
    assert_eq!(error["exit_code"], 3, "{error}");
    assert!(error["message"].is_string() && error["findings"].is_array(), "{error}");
}

#[tokio::test]
async fn plan_says_which_way_it_would_go() {
    let (database, client) = site().await;
    sql(&client, "alter table t add column note varchar(20)").await;
    let ways = [
        ("add column more integer not null default 5", "direct"),
        ("alter column note type varchar(40)", "direct"),
        ("alter column note type text", "direct"),
        ("alter column note set default 'x'", "direct"),
        ("rename column note to remark", "direct"),
        ("drop column note", "direct"),
        ("alter column n type bigint", "shadow"),
        ("alter column note type varchar(10)", "shadow"),
        ("add column token uuid default gen_random_uuid()", "shadow"),
        ("add column number serial", "shadow"),
    ];
    for (alter, expected) in ways {
        let plan = shadowswap(&database.url()).args(["plan", "--json", "--table", "t", "--alter", alter]);
        let plan = line(&plan.run(SOON).await.expect_code(0), "plan");
        assert_eq!(plan["strategy"], expected, "{alter}: {}", plan["reason"]);
    }
}

#[tokio::test]
async fn run_without_terminal_needs_yes_or_the_approved_plan() {
    let (database, client) = site().await;
    let url = database.url();
    let run = || shadowswap(&url).args(["run", "--strategy", "shadow", "--stall-budget", "1s"]).args(CHANGE);
    let output = run().run(SOON).await.expect_code(2);
    assert!(printed(&output).contains("--yes"), "{}", printed(&output));
    let plan = shadowswap(&url).args(["plan", "--json", "--strategy", "shadow"]).args(CHANGE).run(SOON).await;
    let id = line(&plan.expect_code(0), "plan")["id"].as_str().unwrap().to_owned();
    let output = run().args(["--plan-id", "000000000000"]).run(SOON).await.expect_code(3);
    assert!(printed(&output).contains(&id), "{}", printed(&output));
    // The table has changed since the plan was approved.
    sql(&client, "create index on t (n)").await;
    run().args(["--plan-id", &id]).run(SOON).await.expect_code(3);
    sql(&client, "drop index t_n_idx").await;
    assert!(!is_changed(&client).await);
    assert_eq!(traces(&client).await, Vec::<String>::new());
    let dry = run().args(["--yes", "--dry-run"]).run(SOON).await.expect_code(0);
    assert!(dry.stdout.contains(&id), "{}", dry.stdout);
    assert!(!is_changed(&client).await);
    run().args(["--plan-id", &id]).run(LONG).await.expect_code(0);
    assert!(is_changed(&client).await);
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_looks_at_nothing() {
    // Nobody listens there: what looks at the database fails with another code.
    let nowhere = "postgres://postgres@127.0.0.1:1/none";
    let wrong: [&[&str]; 9] = [
        &[],
        &["fly"],
        &["run", "--yes"],
        &["run", "--yes", "--table", "t"],
        &["run", "--yes", "--table", "t", "--alter", "ALTER TABLE t ADD COLUMN x int"],
        &["run", "--yes", "--table", "t", "--alter", "add column x int", "--stall-budget", "soon"],
        &["run", "--yes", "--table", "t", "--alter", "add column x int", "--cutover", "sometimes"],
        &["run", "--yes", "--table", "t", "--alter", "add column x int", "--set", "nonsense"],
        &["run", "--yes", "-f", "/nowhere/migration.toml"],
    ];
    for args in wrong {
        let output = shadowswap(nowhere).args(args.iter().copied()).run(SOON).await;
        // What was not named can only be known by looking for an unfinished migration.
        let codes: &[i32] = if args.len() == 4 { &[1, 2] } else { &[2] };
        assert!(
            codes.contains(&output.code().unwrap_or(-1)),
            "{args:?}: {}\n{}",
            output.status,
            printed(&output)
        );
    }
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("m.toml");
    fs::write(&file, "table = 't'\nalter = 'add column x int'\ncut-over = 'auto'\n").unwrap();
    let output =
        shadowswap(nowhere).args(["run", "--yes", "-f"]).arg(file.display().to_string()).run(SOON).await;
    assert!(printed(&output.expect_code(2)).contains("cut-over"), "an unknown key is an error");
}

#[tokio::test]
async fn server_that_is_not_there_exits_with_1_and_says_where_it_was_looked_for() {
    let nowhere = "postgres://postgres:secretword@127.0.0.1:1/none";
    let output = shadowswap(nowhere).args(["plan"]).args(CHANGE).run(SOON).await.expect_code(1);
    let text = printed(&output);
    assert!(text.contains("127.0.0.1") && text.contains('1'), "{text}");
    assert!(!text.contains("secretword"), "{text}");
}

#[tokio::test]
async fn table_that_is_not_there_is_refused_by_name() {
    let (database, _) = site().await;
    let run =
        shadowswap(&database.url()).args(["run", "--yes", "--table", "nowhere", "--alter", "drop column x"]);
    let output = run.run(SOON).await.expect_code(3);
    assert!(printed(&output).contains("nowhere"), "{}", printed(&output));
    let status = shadowswap(&database.url()).arg("status").run(SOON).await.expect_code(0);
    assert!(status.stdout.contains("no migrations"), "{}", status.stdout);
}

#[tokio::test]
async fn help_and_papers_need_no_database() {
    let run =
        async |args: &[&str]| Binary::shadowswap().args(args.iter().copied()).run(SOON).await.expect_code(0);
    let help = run(&["--help"]).await.stdout;
    assert!(help.contains("Exit codes") && help.contains("shadowswap run"), "{help}");
    assert!(run(&["--version"]).await.stdout.starts_with("shadowswap "));
    assert!(run(&["completions", "bash"]).await.stdout.contains("complete"));
    assert!(run(&["man"]).await.stdout.contains(".TH"));
}

#[tokio::test]
async fn report_and_status_have_the_fields_that_scripts_read() {
    let (database, client) = site().await;
    let run =
        shadowswap(&database.url()).args(["run", "--yes", "--json", "--strategy", "shadow"]).args(CHANGE);
    let output = run.args(["--stall-budget", "1s"]).run(LONG).await.expect_code(0);
    let report = line(&output, "report");
    assert_eq!((&report["table"], &report["strategy"]), (&"public.t".into(), &"shadow".into()));
    assert_eq!(report["old_table"], "public._t_old");
    assert_eq!((&report["rows_copied"], &report["rows_verified"]), (&100.into(), &100.into()));
    assert!(report["stall_ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 10_000.0), "{report}");
    assert!(report["attempts"].as_u64().is_some_and(|n| n >= 1), "{report}");
    let phases: Vec<&str> =
        report["phases"].as_array().unwrap().iter().filter_map(|p| p[0].as_str()).collect();
    assert_eq!(phases[..7], ["prepare", "copy", "index", "verify", "ready", "cutover", "guard"]);
    let status = crate::operator::status(&database.url()).await;
    assert_eq!(
        (&status["phase"], &status["runner"], &status["error"]),
        (&"done".into(), &Value::Null, &Value::Null)
    );
    assert_eq!(status["table"]["name"], "t");
    assert!(!status["events"].as_array().unwrap().is_empty());
    assert!(is_changed(&client).await);
    let progress =
        shadowswap(&database.url()).args(["run", "--yes", "--progress", "json", "--strategy", "shadow"]);
    let progress = progress.args(["--drop-old", "--table", "t", "--alter", "alter column n type numeric"]);
    // The name of the old table is taken by the first run's.
    let code = progress.run(LONG).await.code();
    assert!([Some(0), Some(3)].contains(&code), "{code:?}");
}

/// Every way to connect must lead to the same migration; the whole of it, for the stream has a connection of its own kind.
async fn connects(call: Binary, client: &Client, secret: &str) {
    sql(client, "drop table if exists t, _t_old").await;
    sql(client, TABLE).await;
    let args = ["run", "-vv", "--yes", "--strategy", "shadow", "--stall-budget", "1s"];
    let output = call.clone().args(args).args(CHANGE).run(LONG).await.expect_code(0);
    assert!(is_changed(client).await);
    let status = call.args(["status", "--json"]).run(SOON).await.expect_code(0);
    let stored = "select coalesce(string_agg(concat(m, e), ''), '') from shadowswap.migration m join shadowswap.event e on e.migration = m.id";
    let stored = crate::operator::texts(client, stored).await.remove(0);
    for text in [printed(&output), printed(&status), stored] {
        assert!(!text.contains(secret), "the password was printed or stored:\n{text}");
    }
}

const SECRET: &str = "correcthorse7battery";

#[tokio::test]
async fn passwords_come_from_url_environment_pgpass_or_service_and_are_never_shown() {
    for version in Version::ALL {
        let server = Postgres::builder(version).password(SECRET).start().await;
        let client = server.connect("postgres").await;
        let (dir, port) = (TempDir::new().unwrap(), server.port().to_string());
        let home = || Binary::shadowswap().env("HOME", dir.path().display().to_string());
        connects(home().env("SHADOWSWAP_URL", server.url("postgres")), &client, SECRET).await;

        let environment = || home().env("PGHOST", "127.0.0.1").env("PGPORT", &port).env("PGUSER", "postgres");
        connects(environment().env("PGDATABASE", "postgres").env("PGPASSWORD", SECRET), &client, SECRET)
            .await;

        let pgpass = dir.path().join("passwords");
        fs::write(&pgpass, format!("# a comment\n*:1:*:*:wrong\n127.0.0.1:{port}:*:postgres:{SECRET}\n"))
            .unwrap();
        fs::set_permissions(&pgpass, fs::Permissions::from_mode(0o600)).unwrap();
        let pgpass = pgpass.display().to_string();
        connects(environment().env("PGPASSFILE", &pgpass), &client, SECRET).await;

        let service = dir.path().join("services");
        let text = format!(
            "[other]\nhost=nowhere\n\n[shop]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname=postgres\npassword={SECRET}\n"
        );
        fs::write(&service, text).unwrap();
        let service = service.display().to_string();
        connects(home().env("PGSERVICEFILE", &service).env("PGSERVICE", "shop"), &client, SECRET).await;
        let by_url = home().env("PGSERVICEFILE", &service).env("SHADOWSWAP_URL", "postgres://?service=shop");
        let output = by_url.arg("status").run(SOON).await.expect_code(0);
        assert!(output.stdout.contains("public.t"));

        let wrong =
            environment().env("PGPASSWORD", "wrongguess").args(["plan", "-vv"]).args(CHANGE).run(SOON).await;
        let text = printed(&wrong);
        assert_ne!(wrong.code(), Some(0));
        assert!(text.contains("28P01") || text.contains("password authentication failed"), "{text}");
        assert!(!text.contains("wrongguess"), "{text}");
    }
}

#[tokio::test]
async fn unix_socket_is_connected_to() {
    let (database, client) = site().await;
    let call = Binary::shadowswap().env("SHADOWSWAP_URL", database.socket_url());
    connects(call, &client, "no secret").await;
    let server = database.server();
    let call = Binary::shadowswap().env("PGHOST", server.socket_dir().display().to_string());
    let call = call.env("PGPORT", server.port().to_string()).env("PGUSER", "postgres");
    connects(call.env("PGDATABASE", database.name()), &client, "no secret").await;
}

#[tokio::test]
async fn tls_is_verified_in_full_and_servers_of_other_names_are_refused() {
    let hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nhostssl replication all 127.0.0.1/32 scram-sha-256\n";
    let server = Postgres::builder(Version::Apt).tls().password(SECRET).hba(hba).start().await;
    let client = server.connect("postgres").await;
    let authority = server.authority().unwrap().certificate().display().to_string();
    let url =
        |mode: &str, root: &str| format!("{}?sslmode={mode}&sslrootcert={root}", server.url("postgres"));
    let call = |url: String| Binary::shadowswap().env("SHADOWSWAP_URL", url);
    connects(call(url("verify-full", &authority)), &client, SECRET).await;
    let by_name = url("verify-full", &authority).replace("127.0.0.1", "localhost");
    call(by_name).arg("status").run(SOON).await.expect_code(0);

    let other = Postgres::builder(Version::Apt).tls_for(&["db.example.org"]).start().await;
    let theirs = other.authority().unwrap().certificate().display().to_string();
    let other_url =
        |mode: &str, root: &str| format!("{}?sslmode={mode}&sslrootcert={root}", other.url("postgres"));
    let refused = [url("verify-full", &theirs), url("verify-ca", &theirs), other_url("verify-full", &theirs)];
    for url in refused.into_iter().chain([url("disable", &authority)]) {
        let output = call(url.clone()).arg("status").run(SOON).await;
        assert_ne!(output.code(), Some(0), "{url} was connected to");
        assert!(!printed(&output).contains(SECRET));
    }
    call(other_url("verify-ca", &theirs)).arg("status").run(SOON).await.expect_code(0);
    call(url("require", &authority)).arg("status").run(SOON).await.expect_code(0);
}

/// A role that is no superuser, with no more than what the manual asks for.
#[tokio::test]
async fn ordinary_role_with_replication_can_migrate_its_own_table() {
    for version in Version::ALL {
        let server = Postgres::start(version).await;
        let client = server.connect("postgres").await;
        sql(&client, "create role shop login replication").await;
        sql(&client, "create database shop owner shop").await;
        let url = server.url("shop").replace("postgres@", "shop@");
        let own = shadowswap_testkit::postgres::connect(&url).await;
        sql(&own, "create schema app; set search_path = app").await;
        sql(&own, TABLE).await;
        let run = shadowswap(&url).args(["run", "--yes", "--strategy", "shadow", "--stall-budget", "1s"]);
        let run = run.args(["--table", "app.t", "--alter", "alter column n type bigint"]);
        run.run(LONG).await.expect_code(0);
        assert!(is_changed(&own).await);
        assert_eq!(traces(&server.connect("shop").await).await, Vec::<String>::new());

        sql(&client, "alter role shop noreplication").await;
        sql(&own, "alter table _t_old rename to kept").await;
        let run = shadowswap(&url).args(["run", "--yes", "--strategy", "shadow"]);
        let output = run.args(["--table", "app.t", "--alter", "alter column n type numeric"]).run(SOON).await;
        let text = printed(&output.expect_code(3));
        assert!(text.to_lowercase().contains("replication"), "{text}");
        assert_eq!(traces(&server.connect("shop").await).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn server_without_logical_wal_is_refused() {
    let server = Postgres::builder(Version::Apt).setting("wal_level", "replica").start().await;
    let client = server.connect("postgres").await;
    sql(&client, TABLE).await;
    let run = shadowswap(&server.url("postgres")).args(["run", "--yes", "--strategy", "shadow"]).args(CHANGE);
    let text = printed(&run.run(SOON).await.expect_code(3));
    assert!(text.contains("wal_level"), "{text}");
    assert_eq!(traces(&client).await, Vec::<String>::new());
}
