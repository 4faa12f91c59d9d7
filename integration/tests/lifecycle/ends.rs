//! What is confirmed to the server, and what is done long after the end.

use shadowswap_testkit::Version;
use std::time::Duration;

use super::{PATIENT, Site};
use crate::catalog::traces;
use crate::operator::{LONG, SOON, is_true, reached, run, seen, shadowswap, sql, tell, texts};

/// From the swap until the next turn's stream is open: here for longer than the server waits for a word of us.
#[tokio::test]
async fn nothing_is_confirmed_beyond_the_swap_before_the_guard_reads() {
    let site = Site::filled(Version::Apt, 100).await;
    let mut run = site.run().args(["--cutover", "manual", "--guard", "1h"]).spawn();
    reached(&site.client, &mut run, &["ready"]).await;
    let gate = "create function hold() returns trigger language plpgsql as $$ begin
            if new.what = 'phase guard' then perform pg_advisory_xact_lock_shared(4712); end if; return new; end $$;
        create trigger hold before insert on shadowswap.event for each row execute function hold();
        create table noise (i int)";
    sql(&site.client, gate).await;
    sql(&site.client, "select pg_advisory_lock(4712)").await;
    tell(&site.url, "cutover", "t").await.expect_code(0);
    seen(&site.client, &mut run, "exists (select from shadowswap.migration where swap_position is not null)")
        .await;
    let told = "exists (select from shadowswap.migration m, pg_replication_slots where confirmed_flush_lsn > swap_position::pg_lsn)";
    // Positions are confirmed each second, and others move on.
    for i in 0..30 {
        sql(
            &site.client,
            &format!(
                "insert into noise values ({i}); update t set n = {i} where id = (select min(id) from t)"
            ),
        )
        .await;
        assert!(!is_true(&site.client, told).await, "confirmed beyond the swap");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sql(&site.client, "select pg_advisory_unlock(4712)").await;
    seen(&site.client, &mut run, "exists (select from _t_old where id = (select min(id) from t) and n = 29)")
        .await;
    tell(&site.url, "finish", "t").await.expect_code(0);
    run.wait(LONG).await.expect_code(0);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

/// Nothing of ours changes, and yet what comes before need not be kept.
#[tokio::test]
async fn position_is_saved_while_nothing_of_the_table_changes() {
    let site = Site::filled(Version::Apt, 100).await;
    let mut run = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut run, &["ready"]).await;
    sql(&site.client, "create table noise as select i from generate_series(1, 1000) i").await;
    let here = texts(&site.client, "select pg_current_wal_lsn()::text").await.remove(0);
    let mut left = 45 * 4;
    let saved = format!("exists (select from shadowswap.checkpoint where position::pg_lsn >= '{here}')");
    while !is_true(&site.client, &saved).await {
        assert!(left > 0 && !run.is_over(), "not saved\n{}", run.stderr());
        left -= 1;
        sql(&site.client, "insert into noise values (0)").await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    tell(&site.url, "abort", "t").await.expect_code(0);
    run.wait(LONG).await.expect_code(6);
}

/// Long after the end the table is its users' own.
#[tokio::test]
async fn finish_long_after_the_end_drops_the_old_table_and_nothing_else() {
    let site = Site::filled(Version::Apt, 100).await;
    sql(&site.client, "alter table t replica identity nothing").await;
    site.run().args(["--guard", "1s"]).run(LONG).await.expect_code(0);
    let identity = "select relreplident::text from pg_class where oid = 't'::regclass";
    assert_eq!(texts(&site.client, identity).await, ["n"]);
    sql(&site.client, "alter table t replica identity full").await;
    let finish = async || {
        let args = ["finish", "--drop-old", "--table", "t"];
        shadowswap(&site.url).args(args).run(SOON).await.expect_code(0).stdout
    };
    // Another table by that name, and the old one under another.
    sql(&site.client, "alter table _t_old rename to precious; create table _t_old (i int)").await;
    let said = finish().await;
    assert!(said.contains("is not there any more"), "{said}");
    sql(&site.client, "drop table _t_old; alter table precious rename to _t_old").await;
    let said = finish().await;
    assert!(said.contains("_t_old is dropped"), "{said}");
    let said = finish().await;
    assert!(said.contains("is not there any more"), "{said}");
    let noted =
        texts(&site.client, "select what from shadowswap.event where what = 'the old table is dropped'")
            .await;
    assert_eq!(noted.len(), 1);
    assert_eq!(texts(&site.client, identity).await, ["f"]);
    // A table with an index as its identity and no primary key goes there and back.
    sql(&site.client, "create table k (id int not null unique, n int); alter table k replica identity using index k_id_key; insert into k values (1, 1)").await;
    let mut guard =
        run(&site.url, "k", "alter column n type bigint").args(PATIENT).args(["--guard", "1h"]).spawn();
    reached(&site.client, &mut guard, &["guard"]).await;
    sql(&site.client, "update k set n = 2").await;
    seen(&site.client, &mut guard, "exists (select from _k_old where n = 2)").await;
    tell(&site.url, "finish", "k").await.expect_code(0);
    guard.wait(LONG).await.expect_code(0);
}
