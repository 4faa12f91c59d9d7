//! Two control schemas in one database, each of which counts its migrations from 1.

use shadowswap_testkit::{Binary, Signal, Version};

use super::{PATIENT, Site};
use crate::catalog::traces;
use crate::operator::{
    LONG, SOON, is_true, printed, reached, run, seen, shadowswap, sql, tell, texts, until_true,
};

const OTHER: [&str; 2] = ["--control-schema", "Night \"shift\""];

fn other(site: &Site) -> Binary {
    run(&site.url, "u", "alter column n type bigint").args(PATIENT).args(OTHER).args(["--guard", "1h"])
}

/// A table of its own for the other control schema.
async fn make(site: &Site) {
    sql(&site.client, "create table u (id int primary key, n int); insert into u select i, i from generate_series(1, 500) i").await;
}

const OTHERS_PHASE: &str = "select phase from \"Night \"\"shift\"\"\".migration";

async fn others_reach(site: &Site, run: &mut shadowswap_testkit::binary::Run, phase: &str) {
    // The tables are made by the run.
    until_true(&site.client, "to_regclass('\"Night \"\"shift\"\"\".command') is not null", SOON).await;
    seen(&site.client, run, &format!("exists ({OTHERS_PHASE} where phase = '{phase}')")).await;
}

#[tokio::test]
async fn migrations_of_two_control_schemas_do_not_get_in_each_others_way() {
    let site = Site::filled(Version::Apt, 500).await;
    make(&site).await;
    let mut one = site.run().args(["--cutover", "manual", "--guard", "1h"]).spawn();
    let mut two = other(&site).args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut one, &["ready"]).await;
    others_reach(&site, &mut two, "ready").await;
    let slots = texts(&site.client, "select slot_name::text from pg_replication_slots").await;
    assert!(slots.len() == 2 && slots.iter().all(|s| s.ends_with("_1")), "{slots:?}");
    // Neither is taken for dead by the other, nor ended as the other's orphan.
    two.signal(Signal::SIGKILL);
    two.wait(SOON).await;
    let mut two = other(&site).args(["--cutover", "manual"]).spawn();
    seen(
        &site.client,
        &mut two,
        "exists (select from \"Night \"\"shift\"\"\".event where what like 'resumed%')",
    )
    .await;
    others_reach(&site, &mut two, "ready").await;
    shadowswap(&site.url).args(["cutover", "--table", "u"]).args(OTHER).run(SOON).await.expect_code(0);
    others_reach(&site, &mut two, "guard").await;
    sql(
        &site.client,
        "update u set n = 7 where id = 7; update t set body = 'seen' where id = (select min(id) from t)",
    )
    .await;
    seen(&site.client, &mut two, "exists (select from _u_old where id = 7 and n = 7)").await;
    assert!(!one.is_over(), "{}{}", one.stdout(), one.stderr());
    let resumed = texts(&site.client, "select what from shadowswap.event where what like '%resumed%'").await;
    assert!(resumed.is_empty(), "{resumed:?}");
    // What is dead is found and removed; what lives beside it under the same number is not.
    two.signal(Signal::SIGKILL);
    two.wait(SOON).await;
    let sessions =
        "(select count(*) from pg_stat_activity where application_name like 'shadowswap/%control%') < 2";
    until_true(&site.client, sessions, SOON).await;
    shadowswap(&site.url)
        .args(["finish", "--drop-old", "--table", "u"])
        .args(OTHER)
        .run(SOON)
        .await
        .expect_code(0);
    let slot = "select pg_create_logical_replication_slot(slot_name || '0', 'pgoutput') from (select 'shadowswap_' || d.oid || '_' as slot_name from pg_database d where datname = current_database()) s";
    sql(&site.client, &slot.replace("|| '0'", "|| 'c0000000_1'")).await;
    let ours = shadowswap(&site.url)
        .args(["cleanup", "--yes", "--unfinished"])
        .args(OTHER)
        .run(SOON)
        .await
        .expect_code(0);
    assert!(ours.stderr.contains("nothing is left behind"), "{}", printed(&ours));
    tell(&site.url, "cutover", "t").await.expect_code(0);
    reached(&site.client, &mut one, &["guard"]).await;
    tell(&site.url, "finish", "t").await.expect_code(0);
    one.wait(LONG).await.expect_code(0);
    assert!(
        site.has_new_type().await
            && is_true(&site.client, "(select count(*) = 1 from t where body = 'seen')").await
    );
    sql(&site.client, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like '%c0000000_1'").await;
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
    // Left behind by ours, with another control schema beside it.
    let dead = other(&site).args(["--alter", "add column x int", "--cutover", "manual"]);
    let mut dead = dead.spawn();
    seen(
        &site.client,
        &mut dead,
        "exists (select from \"Night \"\"shift\"\"\".migration where id = 2 and phase = 'ready')",
    )
    .await;
    dead.signal(Signal::SIGKILL);
    dead.wait(SOON).await;
    until_true(&site.client, "not exists (select from pg_replication_slots where active)", SOON).await;
    sql(&site.client, "update \"Night \"\"shift\"\"\".migration set phase = 'aborted' where id = 2").await;
    let removed =
        shadowswap(&site.url).args(["cleanup", "--yes"]).args(OTHER).run(SOON).await.expect_code(0).stderr;
    for part in ["removed: replication slot", "removed: publication", "removed: table"] {
        assert!(removed.contains(part), "{part}:\n{removed}");
    }
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

/// A program that did not tell control schemas apart has begun it.
#[tokio::test]
async fn migration_that_was_begun_with_plain_names_goes_on_with_them() {
    let site = Site::new(Version::Apt).await;
    make(&site).await;
    let mut first = other(&site).args(["--cutover", "manual"]).spawn();
    others_reach(&site, &mut first, "ready").await;
    first.signal(Signal::SIGKILL);
    first.wait(SOON).await;
    until_true(&site.client, "not exists (select from pg_replication_slots where active)", SOON).await;
    let renamed = "update \"Night \"\"shift\"\"\".migration set plan = (plan::jsonb #- '{detail,scope}')::text where plan::jsonb -> 'detail' ? 'scope';
        do $$ declare p text; begin for p in select pubname from pg_publication loop
            execute format('alter publication %I rename to %I', p, regexp_replace(p, 'c[0-9a-f]{7}_', '')); end loop; end $$;
        do $$ declare t text; begin select obj_description('_u_shadow'::regclass) into t;
            execute format('comment on table _u_shadow is %L', regexp_replace(t, 'c[0-9a-f]{7}_', '')); end $$";
    sql(&site.client, renamed).await;
    sql(&site.client, "select pg_copy_logical_replication_slot(slot_name, regexp_replace(slot_name, 'c[0-9a-f]{7}_', '')) from pg_replication_slots").await;
    sql(&site.client, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name ~ 'c[0-9a-f]{7}_'").await;
    // What was decoded before would ask for the publication by its former name.
    sql(
        &site.client,
        "select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from pg_replication_slots",
    )
    .await;
    sql(&site.client, "update \"Night \"\"shift\"\"\".checkpoint set position = confirmed_flush_lsn::text from pg_replication_slots").await;
    sql(&site.client, "update u set n = 9 where id = 9").await;
    let mut second = other(&site).spawn();
    others_reach(&site, &mut second, "guard").await;
    sql(&site.client, "update u set n = 10 where id = 10").await;
    seen(&site.client, &mut second, "exists (select from _u_old where id = 10 and n = 10)").await;
    shadowswap(&site.url)
        .args(["finish", "--drop-old", "--table", "u"])
        .args(OTHER)
        .run(SOON)
        .await
        .expect_code(0);
    second.wait(LONG).await.expect_code(0);
    assert!(is_true(&site.client, "(select n = 9 from u where id = 9)").await);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

#[tokio::test]
async fn publication_of_another_table_is_not_used() {
    let site = Site::filled(Version::Pip, 100).await;
    make(&site).await;
    sql(&site.client, "create publication shadowswap_1 for table u").await;
    let output = site.run().run(LONG).await.expect_code(3);
    assert!(printed(&output).contains("publication shadowswap_1"), "{}", printed(&output));
    assert!(texts(&site.client, "select slot_name::text from pg_replication_slots").await.is_empty());
    sql(&site.client, "drop publication shadowswap_1").await;
    site.run().run(LONG).await.expect_code(0);
    assert!(site.has_new_type().await);
}
