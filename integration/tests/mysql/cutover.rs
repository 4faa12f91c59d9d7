//! What clients have queued while the tables are locked for the swap.

use mysql_async::prelude::Queryable;
use shadowswap_testkit::mysql::{Product, shared};
use tokio::sync::Mutex;

use super::visibility::server_without_replica;
use super::{PRODUCTS, phase, reached, sql, texts, until_found};
use crate::operator::{LONG, POLL, SOON, run, tell};

/// The lock by which a swap is held up has one name on a server.
static HELD: Mutex<()> = Mutex::const_new(());

/// Sends a statement while the tables are locked and nothing is renamed yet. Gives whether the client was told that it is done, the run's
/// exit code and what it printed.
async fn queued(
    product: Product,
    statement: &'static str,
    is_prepared: bool,
) -> (bool, Option<i32>, String, Vec<String>) {
    let _alone = HELD.lock().await;
    let database = shared(product).await.database().await;
    let mut conn = database.connect().await;
    sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    sql(&mut conn, "create procedure p() begin set @x = 1; truncate t; end").await;
    let mut migration = run(&database.url(), "t", "modify n bigint")
        .args(["--cutover", "manual", "--stall-budget", "30s"])
        .env("SHADOWSWAP_TEST_HOLD_SWAP", "1")
        .spawn();
    reached(&mut conn, &mut migration, &["ready"]).await;
    let mut holder = database.connect().await;
    sql(&mut holder, "do get_lock('shadowswap test', 0)").await;
    tell(&database.url(), "cutover", "t").await.expect_code(0);
    // On the same server other tables may be swapped; none of them is held up.
    let held = "select 1 from information_schema.processlist where info like 'do get_lock(''shadowswap test''%' and id <> connection_id()";
    until_found(&mut conn, held, SOON).await;
    let mut client = database.connect().await;
    let id = client.id();
    let sent = tokio::spawn(async move {
        if is_prepared {
            client.exec_drop(statement, ()).await.is_ok()
        } else {
            client.query_drop(statement).await.is_ok()
        }
    });
    let waits = format!(
        "select 1 from information_schema.processlist where id = {id} and state = 'Waiting for table metadata lock'"
    );
    until_found(&mut conn, &waits, SOON).await;
    sql(&mut holder, "do release_lock('shadowswap test')").await;
    let was_done = tokio::time::timeout(SOON, sent).await.expect("the client is answered").unwrap();
    let output = migration.wait(LONG).await;
    let rows = texts(&mut conn, "select id from t order by id").await;
    (was_done, output.status.code(), format!("{}{}", output.stdout, output.stderr), rows)
}

#[tokio::test]
async fn rows_truncated_by_a_client_that_queued_before_the_swap_stay_gone() {
    for product in PRODUCTS {
        for (statement, is_prepared) in [
            ("truncate t", false),
            ("truncate t", true),
            ("/* app */ -- x\n truncate table t", false),
            ("call p()", false),
        ] {
            let (was_done, code, printed, rows) = queued(product, statement, is_prepared).await;
            assert!(was_done, "{product:?} {statement}");
            assert_eq!(rows, Vec::<String>::new(), "{product:?} {statement}: {code:?}\n{printed}");
        }
    }
}

#[tokio::test]
async fn reads_and_writes_that_queued_before_the_swap_do_not_hold_it_up() {
    for product in PRODUCTS {
        for statement in
            ["update t set n = 5", "/* app */ (select * from t)", "lock tables t write; unlock tables"]
        {
            let (was_done, code, printed, rows) = queued(product, statement, false).await;
            assert!(was_done && code == Some(0), "{product:?} {statement}: {code:?}\n{printed}");
            assert!(!printed.contains("served before the swap"), "{printed}");
            assert_eq!(rows, ["1", "2"]);
        }
    }
}

/// The session that swaps loses its connection while its RENAME commits, which nobody sees and nothing can stop. (Where two sessions swap, the
/// first of them would wait for the replica before the RENAME does.)
#[tokio::test]
async fn rename_that_commits_after_its_connection_is_lost_is_waited_for() {
    for is_behind_another in [false, true] {
        rename_commits_unseen(is_behind_another).await;
    }
}

/// With `is_behind_another`, another session's commit waits for the replica, and the RENAME for that one.
async fn rename_commits_unseen(is_behind_another: bool) {
    let product = Product::MySql;
    let (server, prefix) = server_without_replica(product, &[]).await;
    let url = server.url("shop");
    let mut conn = server.connect("shop").await;
    sql(&mut conn, "create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    let mut migration = run(&url, "t", "modify n bigint")
        .args(["--cutover", "manual", "--stall-budget", "30s"])
        .env("SHADOWSWAP_TEST_HOLD_SWAP", "1")
        .spawn();
    reached(&mut conn, &mut migration, &["ready"]).await;
    let mut holder = server.connect("shop").await;
    sql(&mut holder, "do get_lock('shadowswap test', 0)").await;
    tell(&url, "cutover", "t").await.expect_code(0);
    let held = "select 1 from information_schema.processlist where info like 'do get_lock(''shadowswap test''%' and id <> connection_id()";
    until_found(&mut conn, held, SOON).await;
    sql(&mut conn, &format!("set global {prefix}_enabled = 1")).await;
    let waits = "select id from information_schema.processlist where state like '%semi-sync ACK%'";
    if is_behind_another {
        let mut other = server.connect("shop").await;
        tokio::spawn(async move { drop(other.query_drop("create table beside (id int)").await) });
        until_found(&mut conn, waits, SOON).await;
    }
    sql(&mut holder, "do release_lock('shadowswap test')").await;
    // Whatever commits first waits for the replica, also our own progress; the others wait behind it.
    let commits = "select id from information_schema.processlist where info like 'rename table%' \
        and (state like '%semi-sync ACK%' or state = 'waiting for handler commit')";
    until_found(&mut conn, waits, SOON).await;
    until_found(&mut conn, commits, SOON).await;
    for id in texts(&mut conn, commits).await {
        sql(&mut conn, &format!("kill {id}")).await;
    }
    let start = std::time::Instant::now();
    while !migration.stderr().contains("the answer to the swap was lost") {
        assert!(start.elapsed() < SOON && !migration.is_over(), "{product:?}\n{}", migration.stderr());
        tokio::time::sleep(POLL).await;
    }
    // Whoever takes it for missed says so now.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    sql(&mut conn, &format!("set global {prefix}_enabled = 0")).await;
    let output = migration.wait(LONG).await;
    assert_eq!(output.status.code(), Some(0), "{product:?}\n{}", output.stderr);
    assert!(!output.stderr.contains("no cutover yet"), "{}", output.stderr);
    assert_eq!(phase(&mut conn).await.as_deref(), Some("done"));
    let column = "select data_type from information_schema.columns where table_schema = 'shop' and table_name = 't' and column_name = 'n'";
    assert_eq!(texts(&mut conn, column).await, ["bigint"], "{product:?}");
}
