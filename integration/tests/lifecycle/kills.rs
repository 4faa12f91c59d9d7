//! Kills in each phase, and at any moment.

use std::time::Duration;

use shadowswap_testkit::{Signal, Version};
use tokio_postgres::Client;

use super::{AT_GATE, CLOSE_GATE, OPEN_GATE, Site};
use crate::operator::{LONG, SOON, is_true, phase, printed, reached, seen, sql, tell};

/// What holds a run in one phase: statements of another session, which end with `rollback` or an unlock.
async fn hold(site: &Site, holder: &Client, migration: &mut shadowswap_testkit::binary::Run, at: &str) {
    let blocked = "exists (select from pg_locks where not granted and pid in
        (select pid from pg_stat_activity where application_name like 'shadowswap/%'))";
    match at {
        // Making a slot waits for every transaction that writes.
        "prepare" => {
            seen(
                &site.client,
                migration,
                "exists (select from pg_publication where pubname like 'shadowswap%')",
            )
            .await;
        }
        "copy" => seen(&site.client, migration, AT_GATE).await,
        "index" | "verify" => {
            seen(&site.client, migration, AT_GATE).await;
            // Rows may still be written to the shadow; an index cannot be built.
            sql(holder, "begin; lock table _t_shadow in row exclusive mode").await;
            sql(holder, OPEN_GATE).await;
            reached(&site.client, migration, &["index"]).await;
            seen(&site.client, migration, blocked).await;
            if at == "verify" {
                sql(holder, CLOSE_GATE).await;
                sql(holder, "rollback").await;
                reached(&site.client, migration, &["verify"]).await;
                seen(&site.client, migration, AT_GATE).await;
            }
        }
        "ready" | "cutover" => {}
        "guard" => {
            reached(&site.client, migration, &["ready"]).await;
            // Whoever writes about a publication keeps it from being dropped.
            let text = "do $$ begin execute (select format('comment on publication %I is ''held''', pubname)
                from pg_publication where pubname like 'shadowswap%'); end $$";
            sql(holder, "begin").await;
            sql(holder, text).await;
            tell(&site.url, "cutover", "t").await.expect_code(0);
        }
        other => panic!("{other} is no phase"),
    }
    reached(&site.client, migration, &[at]).await;
}

/// SIGKILL in a phase; the same command again carries the run through, under load all the while.
async fn killed_in(version: Version, at: &str) {
    let (site, load) = Site::busy(version, 3_000).await;
    site.gate().await;
    let holder = site.other().await;
    match at {
        "prepare" => {
            sql(&holder, "create table unrelated (); begin; insert into unrelated default values").await;
        }
        "copy" | "index" | "verify" => sql(&holder, CLOSE_GATE).await,
        "cutover" => sql(&holder, "begin; select from t limit 1").await,
        _ => {}
    }
    let call = || site.run().args(["--set", "n=gate(n, id)", "--chunk-time", "20ms"]);
    let manual = if ["ready", "guard"].contains(&at) { "manual" } else { "auto" };
    let mut first = call().args(["--cutover", manual]).spawn();
    hold(&site, &holder, &mut first, at).await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.wait(SOON).await.signal(), Some(Signal::SIGKILL));
    assert_eq!(phase(&site.client).await.as_deref(), Some(at), "killed where it was meant to be");

    // The dead runner's statements still wait for their locks while the next one takes over.
    let mut second = call().spawn();
    seen(&site.client, &mut second, "(select epoch from shadowswap.migration) = 2").await;
    sql(&holder, "rollback; select pg_advisory_unlock_all()").await;
    let output = second.wait(LONG).await.expect_code(0);
    site.is_changed(load).await;
    assert!(printed(&output).contains("stall"), "the report says what clients noticed:\n{}", output.stdout);
    assert!(
        is_true(&site.client, "(select count(*) from shadowswap.migration) = 1").await,
        "it went on, not anew"
    );
}

async fn killed_on_all(at: &str) {
    for version in Version::ALL {
        killed_in(version, at).await;
    }
}

#[tokio::test]
async fn kill_in_prepare_is_recovered_from() {
    killed_on_all("prepare").await;
}

#[tokio::test]
async fn kill_in_copy_is_recovered_from() {
    killed_on_all("copy").await;
}

#[tokio::test]
async fn kill_in_index_is_recovered_from() {
    killed_on_all("index").await;
}

#[tokio::test]
async fn kill_in_verify_is_recovered_from() {
    killed_on_all("verify").await;
}

#[tokio::test]
async fn kill_in_ready_is_recovered_from() {
    killed_on_all("ready").await;
}

#[tokio::test]
async fn kill_in_cutover_is_recovered_from() {
    killed_on_all("cutover").await;
}

#[tokio::test]
async fn kill_in_guard_is_recovered_from() {
    killed_on_all("guard").await;
}

/// Kills at whatever moment it happens to be, again and again, until a run gets through.
#[tokio::test]
async fn kills_at_any_moment_are_recovered_from() {
    let (site, load) = Site::busy(Version::Apt, 20_000).await;
    let mut kills = 0;
    loop {
        let mut migration = site.run().args(["--chunk-time", "20ms"]).spawn();
        // Later each time, so that it gets through in the end.
        let more = 60 * (kills + 1);
        let (goal, mut is_over) = (load.statements() + more, false);
        while load.statements() < goal && !is_over {
            is_over = migration.is_over();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if !is_over && kills < 40 {
            migration.signal(Signal::SIGKILL);
            migration.wait(SOON).await;
            kills += 1;
            continue;
        }
        migration.wait(LONG).await.expect_code(0);
        break;
    }
    assert!(kills > 0, "the first run was too fast to be killed");
    site.is_changed(load).await;
}
