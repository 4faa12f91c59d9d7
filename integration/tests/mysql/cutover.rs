//! What clients have queued while the tables are locked for the swap.

use mysql_async::prelude::Queryable;
use shadowswap_testkit::mysql::{Product, shared};
use tokio::sync::Mutex;

use super::{PRODUCTS, reached, sql, texts, until_found};
use crate::operator::{LONG, SOON, run, tell};

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
