//! How a guard ends, and what is refused beforehand.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use shadowswap_testkit::Signal;
use shadowswap_testkit::mysql::{Mysql, Product, shared};

use super::{PATIENT, TWO, follows, guarded, in_guard, turned};
use crate::mysql::{PRODUCTS, numbered, reached, sql, texts, traces, until_found};
use crate::operator::{LONG, POLL, SOON, run, shadowswap, tell};

#[tokio::test]
async fn changes_of_the_new_tables_definition_end_the_guard() {
    for product in PRODUCTS {
        for change in ["truncate table t", "alter table t add column z int", "create index z on t (n)"] {
            let (database, mut conn, run) = in_guard(product, TWO, "modify n bigint", &[]).await;
            sql(&mut conn, change).await;
            let output = run.wait(LONG).await.expect_code(1);
            assert!(
                output.stderr.contains("guarded") && output.stderr.contains("shadowswap finish"),
                "{change}: {}",
                output.stderr
            );
            // There is no way back any more, and the new table is as the client made it.
            let output = tell(&database.url(), "rollback", "t").await;
            assert_ne!(output.status.code(), Some(0), "{product:?} {change}: {}", output.stderr);
            tell(&database.url(), "finish", "t").await.expect_code(0);
            assert_eq!(texts(&mut conn, "show tables").await, ["_t_old", "t"], "{product:?} {change}");
            assert_eq!(texts(&mut conn, "select count(*) from _t_old").await, ["3"]);
            assert_eq!(traces(&mut conn).await, Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn finish_ends_the_guard_with_and_without_a_runner() {
    for product in PRODUCTS {
        for (is_killed, drop_old) in [(false, false), (false, true), (true, false), (true, true)] {
            let (database, mut conn, run) = in_guard(product, TWO, "modify n bigint", &[]).await;
            if is_killed {
                run.signal(Signal::SIGKILL);
            }
            let finish = || {
                let args = if drop_old {
                    vec!["finish", "--table", "t", "--drop-old"]
                } else {
                    vec!["finish", "--table", "t"]
                };
                shadowswap(&database.url()).args(args)
            };
            if is_killed {
                drop(run.wait(SOON).await);
                finish().run(SOON).await.expect_code(0);
            } else {
                finish().run(SOON).await.expect_code(0);
                run.wait(LONG).await.expect_code(0);
            }
            let what = format!("{product:?} {is_killed} {drop_old}");
            let left: &[&str] = if drop_old { &["t"] } else { &["_t_old", "t"] };
            assert_eq!(texts(&mut conn, "show tables").await, left, "{what}");
            assert_eq!(traces(&mut conn).await, Vec::<String>::new(), "{what}");
            // Again, and then with the table that was kept.
            finish().run(SOON).await.expect_code(0);
            shadowswap(&database.url())
                .args(["finish", "--table", "t", "--drop-old"])
                .run(SOON)
                .await
                .expect_code(0);
            assert_eq!(texts(&mut conn, "show tables").await, ["t"], "{what}");
        }
        // Another table by that name is not dropped.
        let (database, mut conn, run) = in_guard(product, TWO, "modify n bigint", &[]).await;
        tell(&database.url(), "finish", "t").await.expect_code(0);
        run.wait(LONG).await.expect_code(0);
        sql(&mut conn, "drop table _t_old; create table _t_old (precious int)").await;
        let output =
            shadowswap(&database.url()).args(["finish", "--table", "t", "--drop-old"]).run(SOON).await;
        assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
        assert_eq!(texts(&mut conn, "show tables").await, ["_t_old", "t"]);
    }
}

#[tokio::test]
async fn rollback_without_a_guard_is_refused() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, TWO).await;
        run(&database.url(), "t", "modify n bigint").run(LONG).await.expect_code(0);
        let output = tell(&database.url(), "rollback", "t").await;
        assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
        assert_eq!(texts(&mut conn, "select data_type from information_schema.columns where table_schema = database() and table_name = 't' and column_name = 'n'").await, ["bigint"]);
    }
}

/// A guard is refused beforehand where there is no way back, and `plan` says so in any case.
#[tokio::test]
async fn plan_says_what_going_back_would_lose() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, "create table t (id int primary key, gone int not null, s varchar(9), d datetime)")
            .await;
        let plan = async |alter: &str, more: &[&str]| {
            let args = ["plan", "--strategy", "shadow", "--table", "t", "--alter", alter];
            let output = shadowswap(&database.url()).args(args).args(more.iter().copied()).run(SOON).await;
            (output.status.code(), format!("{}{}", output.stdout, output.stderr))
        };
        let guard = ["--guard", "1h"];
        let mended = ["--guard", "1h", "--set-back", "gone=id * 2"];
        let (code, text) = plan("drop column gone", &[]).await;
        assert!(
            code == Some(0) && text.contains("going back is not possible") && text.contains("--set-back"),
            "{text}"
        );
        let (code, text) = plan("drop column gone", &guard).await;
        assert!(code == Some(3) && text.contains("column gone"), "{code:?} {text}");
        let (code, text) = plan("drop column gone", &mended).await;
        assert!(code == Some(0), "{text}");
        let (code, text) = plan("drop column gone", &["--set-back", "gone=nowhere + 1"]).await;
        assert!(code == Some(3) && text.contains("nowhere"), "{code:?} {text}");
        let (code, text) = plan("drop column gone", &["--set-back", "gone=rand()"]).await;
        assert!(code == Some(3), "{code:?} {text}");
        let (_, text) = plan("modify id bigint", &guard).await;
        assert!(text.contains("column id: a value of bigint"), "{text}");
        let (_, text) = plan("modify s varchar(5)", &guard).await;
        assert!(text.contains("going back loses nothing"), "{text}");
        let (code, text) = plan("modify d timestamp null", &["--guard", "1h", "--set", "d=d"]).await;
        assert!(code == Some(3) && text.contains("column d"), "{code:?} {text}");
    }
}

/// Changes of a prepared transaction are in the binlog before it is known whether they commit.
#[tokio::test]
async fn xa_transactions_on_the_guarded_table_end_the_guard() {
    for product in PRODUCTS {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        sql(&mut conn, TWO).await;
        sql(&mut conn, "create table other (id int primary key)").await;
        // Prepared before the swap, of another table, and decided after it.
        let mut client = server.connect("shop").await;
        let mut run = run(&server.url("shop"), "t", "modify n bigint")
            .args(PATIENT)
            .args(["--cutover", "manual"])
            .spawn();
        reached(&mut conn, &mut run, &["ready"]).await;
        sql(&mut client, "xa start 'a'; insert into other values (1); xa end 'a'; xa prepare 'a'").await;
        tell(&server.url("shop"), "cutover", "t").await.expect_code(0);
        turned(&mut conn, &mut run, 1).await;
        sql(&mut client, "xa commit 'a'").await;
        sql(&mut conn, "insert into t values (4, 4, 4)").await;
        follows(&mut conn, &mut run, guarded(product), "id = 4").await;
        sql(
            &mut client,
            "xa start 'b'; insert into t values (5, 5, 5); xa end 'b'; xa prepare 'b'; xa commit 'b'",
        )
        .await;
        let output = run.wait(LONG).await.expect_code(1);
        assert!(
            output.stderr.contains("XA") && output.stderr.contains("finish"),
            "{product:?}: {}",
            output.stderr
        );
        tell(&server.url("shop"), "finish", "t").await.expect_code(0);
        assert_eq!(texts(&mut conn, "select count(*) from t").await, ["5"]);
    }
}

/// A binlog that is gone ends the guard for good, and says so; the table in use is none the worse.
#[tokio::test]
async fn binlog_that_is_purged_ends_the_guard_clearly() {
    for product in PRODUCTS {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        sql(&mut conn, TWO).await;
        let start = || run(&server.url("shop"), "t", "modify n bigint").args(PATIENT).spawn();
        let mut first = start();
        turned(&mut conn, &mut first, 1).await;
        sql(&mut conn, "insert into t values (4, 4, 4)").await;
        follows(&mut conn, &mut first, guarded(product), "id = 4").await;
        first.signal(Signal::SIGKILL);
        drop(first.wait(SOON).await);
        sql(&mut conn, "insert into t values (5, 5, 5); flush binary logs; insert into t values (6, 6, 6)")
            .await;
        let files = texts(&mut conn, "show binary logs").await;
        let last = files.last().and_then(|f| f.split('|').next()).unwrap_or_default().to_string();
        let purged = format!("purge binary logs to '{last}'");
        // The server lets go of a file that was being read once it has noticed that nobody reads it any more.
        let start_at = Instant::now();
        while texts(&mut conn, "show binary logs").await.len() > 1 {
            drop(conn.query_drop(&purged).await);
            assert!(start_at.elapsed() < SOON, "not purged");
            tokio::time::sleep(POLL).await;
        }
        let output = start().wait(LONG).await.expect_code(1);
        assert!(
            output.stderr.contains("purged") && output.stderr.contains("finish"),
            "{product:?}: {}",
            output.stderr
        );
        tell(&server.url("shop"), "finish", "t").await.expect_code(0);
        assert_eq!(texts(&mut conn, "select id from t order by id").await, ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(texts(&mut conn, "show tables").await, ["_t_old", "t"]);
    }
}

/// Where dropping a table at once would hold clients up, its rows go before it, a little at a time; of a partitioned one the partitions.
#[tokio::test]
async fn old_table_is_dropped_in_steps() {
    for product in PRODUCTS {
        let server = Mysql::builder(product).setting("innodb_adaptive_hash_index", "ON").start().await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        for (rest, counter) in
            [("", "Com_delete"), (" partition by hash (id) partitions 4", "Com_alter_table")]
        {
            sql(
                &mut conn,
                &format!(
                    "create table t (id bigint, s varchar(20) default 'x', n int, primary key (id, s)){rest}"
                ),
            )
            .await;
            numbered(&mut conn, "t", 3_000).await;
            let count = format!("show global status like '{counter}'");
            let number = |found: Vec<String>| found[0].rsplit('|').next().unwrap().parse::<u32>().unwrap();
            let output = run(&server.url("shop"), "t", "modify n bigint").run(LONG).await;
            output.expect_code(0);
            let before = number(texts(&mut conn, &count).await);
            shadowswap(&server.url("shop"))
                .args(["finish", "--table", "t", "--drop-old"])
                .run(SOON)
                .await
                .expect_code(0);
            let after = number(texts(&mut conn, &count).await);
            assert!(after >= before + 4, "{product:?} {counter} {before} {after}");
            assert_eq!(texts(&mut conn, "show tables").await, ["t"]);
            sql(&mut conn, "drop table t").await;
        }
    }
}

/// The tables are locked, and nothing is renamed yet.
#[tokio::test]
async fn runner_that_is_killed_while_it_swaps_back_leaves_the_guard_as_it_was() {
    for product in PRODUCTS {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let url = server.url("shop");
        let mut conn = server.connect("shop").await;
        sql(&mut conn, TWO).await;
        let start = || run(&url, "t", "modify n bigint").args(["--stall-budget", "30s", "--guard", "1h"]);
        let mut first = start().env("SHADOWSWAP_TEST_HOLD_SWAP", "1").spawn();
        turned(&mut conn, &mut first, 1).await;
        let mut holder = server.connect("shop").await;
        sql(&mut holder, "do get_lock('shadowswap test', 0)").await;
        let asked = url.clone();
        let told = tokio::spawn(async move { tell(&asked, "rollback", "t").await });
        let held = "select 1 from information_schema.processlist where info like 'do get_lock(''shadowswap test''%' and id <> connection_id()";
        until_found(&mut conn, held, SOON).await;
        let mut client = server.connect("shop").await;
        let waiting =
            tokio::spawn(async move { client.query_drop("insert into t values (4, 4, 4)").await.is_ok() });
        first.signal(Signal::SIGKILL);
        drop(first.wait(SOON).await);
        sql(&mut holder, "do release_lock('shadowswap test')").await;
        assert!(tokio::time::timeout(SOON, waiting).await.expect("nobody waits for a dead runner").unwrap());
        told.abort();
        let mut second = start().spawn();
        follows(&mut conn, &mut second, guarded(product), "id = 4").await;
        tell(&url, "rollback", "t").await.expect_code(0);
        turned(&mut conn, &mut second, 2).await;
        assert_eq!(texts(&mut conn, "select id from t order by id").await, ["1", "2", "3", "4"]);
        tell(&url, "finish", "t").await.expect_code(0);
        second.wait(LONG).await.expect_code(6);
    }
}

/// Rows may be missing from it by then. (Where two sessions swap, it is given its last name before, for which a reader would keep it.)
#[tokio::test]
async fn old_table_whose_dropping_has_begun_is_not_swapped_back_to() {
    let (database, mut conn, guard) = in_guard(Product::MySql, TWO, "modify n bigint", &[]).await;
    guard.signal(Signal::SIGKILL);
    drop(guard.wait(SOON).await);
    // Somebody reads it, so that it cannot be dropped yet.
    let mut reader = database.connect().await;
    sql(&mut reader, "set autocommit = 0; select * from _t_old").await;
    let finish = || shadowswap(&database.url()).args(["finish", "--table", "t", "--drop-old"]);
    let dropping = finish().spawn();
    let noted = "select 1 from shadowswap.event e join shadowswap.migration m on m.id = e.migration\n\
                 where m.table_schema = database() and what = 'dropping the old table'";
    until_found(&mut conn, noted, SOON).await;
    dropping.signal(Signal::SIGKILL);
    drop(dropping.wait(SOON).await);
    let output = shadowswap(&database.url()).args(["rollback", "--yes", "--table", "t"]).run(LONG).await;
    let output = output.expect_code(3);
    assert!(output.stderr.contains("dropping the old table of"), "{}", output.stderr);
    sql(&mut reader, "rollback").await;
    finish().run(LONG).await.expect_code(0);
    assert_eq!(texts(&mut conn, "show tables").await, ["t"]);
    assert_eq!(traces(&mut conn).await, Vec::<String>::new());
}

/// Where one session swaps, no such name is needed; elsewhere it is, and that is said before anything is done.
#[tokio::test]
async fn table_of_somebody_elses_by_the_name_of_the_sentry_stays() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        sql(&mut conn, TWO).await;
        sql(&mut conn, "create table t_swapped (precious int); insert into t_swapped values (1)").await;
        let start = || run(&database.url(), "t", "modify n bigint").args(PATIENT);
        if product == Product::MariaDb {
            let output = start().run(LONG).await;
            assert!(output.code() == Some(3) && output.stderr.contains("t_swapped"), "{}", output.stderr);
        } else {
            let mut guard = start().spawn();
            turned(&mut conn, &mut guard, 1).await;
            sql(&mut conn, "insert into t values (4, 4, 4)").await;
            follows(&mut conn, &mut guard, guarded(product), "id = 4").await;
            tell(&database.url(), "rollback", "t").await.expect_code(0);
            turned(&mut conn, &mut guard, 2).await;
            tell(&database.url(), "finish", "t").await.expect_code(0);
            guard.wait(LONG).await.expect_code(6);
        }
        assert_eq!(texts(&mut conn, "select precious from t_swapped").await, ["1"], "{product:?}");
    }
}
