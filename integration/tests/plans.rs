//! Query plans that must not go wrong, whatever the statistics say: seen as scans that the server counted.

use shadowswap_testkit::{Signal, Version, shared};
use tokio_postgres::Client;

use crate::operator::{LONG, SOON, reached, run, sql, until_true};

/// Scans of the shadow that read all of it, and look-ups by index.
async fn scans(client: &Client) -> (i64, i64) {
    let text = "select coalesce(seq_scan, 0), coalesce(idx_scan, 0) from pg_stat_user_tables where relname = '_t_shadow'";
    let row = client.query_one(text, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn applying_never_reads_the_whole_shadow() {
    for version in Version::ALL {
        let database = shared(version).await.database().await;
        let client = database.connect().await;
        let create = "create table t (id bigint primary key, code text unique, n integer);
                      insert into t select i, 'c' || i, i from generate_series(1, 20000) i";
        sql(&client, create).await;
        sql(&client, "vacuum analyze t").await;
        let alter = "alter column n type bigint";
        let mut run = run(&database.url(), "public.t", alter).args(["--cutover", "manual"]).spawn();
        reached(&client, &mut run, &["ready"]).await;
        // A session that is gone has handed in what it counted.
        let gone = "not exists (select from pg_stat_activity where datname = current_database() and application_name ~ '^shadowswap/(copy|index|verify|prepare)')";
        until_true(&client, gone, SOON).await;
        let (read_before, looked_up_before) = scans(&client).await;
        for i in 1..=40 {
            let (a, b) = (i, i + 100);
            let statements = [
                format!("update t set n = n + 1 where id = {i}"),
                format!("delete from t where id = {}", i + 200),
                format!(
                    "begin; update t set code = 'x' where id = {a}; update t set code = 'c{a}' where id = {b};
                     update t set code = 'c{b}' where id = {a}; commit"
                ),
            ];
            for statement in statements {
                sql(&client, &statement).await;
            }
        }
        sql(&client, "update t set n = n + 1 where id <= 4000; delete from t where id between 5000 and 9000")
            .await;
        sql(&client, "update t set n = -1 where id = 19999").await;
        until_true(&client, "(select n from _t_shadow where id = 19999) = -1", SOON).await;
        run.signal(Signal::SIGTERM);
        run.wait(LONG).await.expect_code(1);
        until_true(&client, &gone.replace("copy|", "copy|apply|"), SOON).await;
        let (read, looked_up) = scans(&client).await;
        assert!(
            looked_up >= looked_up_before + 8_000,
            "{looked_up_before} → {looked_up}: nothing was applied"
        );
        assert_eq!(read, read_before, "the whole shadow was read {} times", read - read_before);
    }
}
