//! Going back: the guard, rolling back and forward again, and the end of it. Under writers whose every acknowledged write must be there,
//! whichever table has the name.

use shadowswap_testkit::binary::Run;
use shadowswap_testkit::{Binary, Signal, Version};

use super::{PATIENT, Site};
use crate::case::difference;
use crate::catalog::{facts, traces, whole};
use crate::operator::{
    LONG, SOON, is_true, line, phase, printed, reached, run, seen, shadowswap, sql, status, tell, texts,
    until_true,
};

/// One change of each kind that can go back, all at once.
const ALTERS: [&str; 6] = [
    "alter column status drop default, alter column status type integer using status::integer",
    "alter column status set default 1",
    "add column more integer default 7, drop column gone",
    "alter column n type bigint",
    "add column domain text",
    "rename column former to renamed",
];
const SETS: [&str; 4] = ["--set", "domain=split_part(email,'@',2)", "--set-back", "status=status::text"];
/// What the writers do not know of, on a table some of whose columns were dropped long ago.
const EXTRAS: &str = "alter table t add column ancient text;
    alter table t drop column ancient;
    alter table t add column gone text default 'never said', add column status text not null default '1', add column former text;
    insert into t (id, email) select 2000000 + i, 'of no writer ' || i from generate_series(1, 100) i;
    update t set gone = 'kept ' || id, former = 'was ' || id;
    create index t_body on t (body) where n > 0;
    create index t_former on t (former);
    alter table t add constraint t_n_small check (n < 1000000);
    comment on table t is 'the original';
    do $$ begin if not exists (select from pg_roles where rolname = 'reader') then create role reader; end if; end $$;
    grant select on t to reader";

fn guarded(site: &Site) -> Binary {
    let mut args =
        vec!["run", "--yes", "--max-load", "off", "--progress", "none", "--table", "t", "--guard", "1h"];
    args.extend(ALTERS.iter().flat_map(|alter| ["--alter", alter]));
    shadowswap(&site.url).args(args).args(SETS).args(PATIENT)
}

fn simple(site: &Site) -> Binary {
    site.run().args(["--guard", "1h"])
}

/// The guard keeps a table in step: what is written now is on the old table soon.
async fn in_step(site: &Site, run: &mut Run, table: &str) {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let mark = format!("mark {}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let before = texts(&site.client, "select coalesce(body, 'NULL') from t where id = 1000001").await;
    let write = if before.is_empty() {
        format!("insert into t (id, email, body) values (1000001, 'marker', '{mark}')")
    } else {
        format!("update t set body = '{mark}' where id = 1000001")
    };
    sql(&site.client, &write).await;
    seen(&site.client, run, &format!("exists (select from {table} where id = 1000001 and body = '{mark}')"))
        .await;
}

async fn unmark(site: &Site) {
    sql(&site.client, "delete from t where id > 1000000").await;
}

async fn turned(site: &Site, run: &mut Run, turn: i64) {
    let phase = if turn % 2 == 0 { "ready" } else { "guard" };
    seen(
        &site.client,
        run,
        &format!("exists (select from shadowswap.migration where turn = {turn} and phase = '{phase}')"),
    )
    .await;
}

#[tokio::test]
async fn every_kind_of_change_goes_back_and_forth_under_writers_and_loses_nothing() {
    for version in Version::ALL {
        let site = Site::new(version).await;
        let ledger = site.fill(2_000).await;
        sql(&site.client, EXTRAS).await;
        let before = whole(&site.client).await;
        let load = shadowswap_testkit::load::Load::new(&site.url).writers(2).start(ledger).await.unwrap();
        let mut guard = guarded(&site).spawn();
        turned(&site, &mut guard, 1).await;
        in_step(&site, &mut guard, "_t_old").await;
        load.reached(300, SOON).await;
        assert!(is_true(&site.client, "(select count(*) from t where more = 7) > 1000").await);
        // What only the new table has, what only the old one has, and what has another name or form in each.
        sql(&site.client, "update t set more = 8, status = 5, renamed = 'now ' || id where id = 1000001")
            .await;
        sql(&site.client, "grant update (body) on t to reader; revoke select on t from reader; grant select (renamed) on t to reader").await;
        sql(&site.client, "update t set body = 'touched' where id > 2000000").await;
        seen(
            &site.client,
            &mut guard,
            "(select progress::json ->> 'guard_left_s' is not null from shadowswap.migration)",
        )
        .await;
        let shown = status(&site.url).await;
        assert!(
            shown["guard_left_s"].as_f64().is_some_and(|left| left > 3000.0 && left <= 3600.0),
            "{shown}"
        );
        assert!(shown["progress"]["guard_left_s"].is_number(), "{shown}");
        tell(&site.url, "verify", "t").await.expect_code(0);

        shadowswap(&site.url).args(["rollback", "--yes", "--table", "t"]).run(LONG).await.expect_code(0);
        turned(&site, &mut guard, 2).await;
        assert!(is_true(&site.client, "(select status = '5' and former = 'now 1000001' and gone = 'never said' from t where id = 1000001)").await);
        let lost = "exists (select from t where gone is null)
            or exists (select from t where gone <> 'never said' group by gone having count(*) > 1)";
        assert!(!is_true(&site.client, lost).await, "a row has another row's value");
        let kept =
            "(select count(*) from t where id > 2000000 and gone = 'kept ' || id and body = 'touched') = 100";
        assert!(is_true(&site.client, kept).await, "rows that were written keep what only the old table has");
        let rights = texts(&site.client, "select concat_ws(' ', has_column_privilege('reader', 't', 'body', 'update'),
            has_column_privilege('reader', 't', 'former', 'select'), has_column_privilege('reader', 't', 'email', 'select'))").await;
        assert_eq!(rights, ["t t f"], "privileges are those of now");
        in_step(&site, &mut guard, "_t_shadow").await;
        load.reached(300, SOON).await;
        assert!(
            is_true(&site.client, "(select more = 8 from _t_shadow where id = 1000001)").await,
            "the new table keeps what only it has"
        );

        tell(&site.url, "cutover", "t").await.expect_code(0);
        turned(&site, &mut guard, 3).await;
        in_step(&site, &mut guard, "_t_old").await;
        assert!(
            is_true(&site.client, "(select more = 8 and domain is not null from t where id = 1000001)").await
        );
        load.reached(300, SOON).await;
        shadowswap(&site.url).args(["rollback", "--yes"]).run(LONG).await.expect_code(0);
        turned(&site, &mut guard, 4).await;
        load.reached(200, SOON).await;
        unmark(&site).await;
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "on {version}: {report}");
        site.holds(&ledger).await;
        sql(&site.client, "revoke all on t from reader; revoke all (renamed) on _t_shadow from reader; grant select on t to reader").await;
        shadowswap(&site.url).args(["finish", "--table", "t"]).run(SOON).await.expect_code(0);
        let output = guard.wait(SOON).await.expect_code(6);
        assert!(printed(&output).contains("_t_shadow"), "{}", printed(&output));
        assert_eq!(phase(&site.client).await.as_deref(), Some("rolledback"));
        let again = printed(&guarded(&site).run(SOON).await.expect_code(3));
        assert!(again.contains("drop or rename it"), "what is in the way of another run:\n{again}");
        // Everything has its own name again.
        sql(&site.client, "drop table _t_shadow").await;
        assert_eq!(difference(&whole(&site.client).await, &before), None, "on {version}");
        assert_eq!(traces(&site.client).await, Vec::<String>::new());
    }
}

/// Sequences go on where the other table's were, both ways; numbers are never given twice.
async fn sequences(version: Version, key: &str) {
    let site = Site::new(version).await;
    sql(
        &site.client,
        &format!(
            "create table k (id {key}, n integer); insert into k (n) select i from generate_series(1, 10) i"
        ),
    )
    .await;
    let next =
        || async { texts(&site.client, "insert into k (n) values (0) returning id::text").await.remove(0) };
    let facts = async || {
        let mut all = facts(&site.client, "public.k").await;
        all.retain(|fact| !fact.starts_with("published by"));
        all
    };
    let before = facts().await;
    let mut guard = run(&site.url, "k", ALTER).args(["--guard", "1h"]).args(PATIENT).spawn();
    turned(&site, &mut guard, 1).await;
    assert_eq!([next().await, next().await], ["11", "12"], "{key}");
    shadowswap(&site.url).args(["rollback", "--yes"]).run(LONG).await.expect_code(0);
    turned(&site, &mut guard, 2).await;
    assert_eq!(next().await, "13", "{key}");
    assert_eq!(difference(&facts().await, &before), None, "{key}");
    tell(&site.url, "cutover", "k").await.expect_code(0);
    turned(&site, &mut guard, 3).await;
    assert_eq!(next().await, "14", "{key}");
    shadowswap(&site.url).args(["finish", "--drop-old", "--yes"]).run(SOON).await.expect_code(0);
    guard.wait(SOON).await.expect_code(0);
    assert_eq!(next().await, "15", "{key}: its sequence outlives the old table");
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

const ALTER: &str = super::ALTER;

#[tokio::test]
async fn sequences_go_on_where_they_were() {
    sequences(Version::Apt, "bigserial primary key").await;
    sequences(Version::Pip, "integer generated always as identity primary key").await;
}

#[tokio::test]
async fn kill_in_the_guard_and_after_a_roll_back_is_recovered_from() {
    for version in Version::ALL {
        let (site, load) = Site::busy(version, 1_000).await;
        let mut first = simple(&site).spawn();
        seen(
            &site.client,
            &mut first,
            "exists (select from shadowswap.migration where guard_until is not null)",
        )
        .await;
        load.reached(50, SOON).await;
        first.signal(Signal::SIGKILL);
        first.wait(SOON).await;
        load.reached(200, SOON).await;
        let left = texts(&site.client, "select guard_until::text from shadowswap.migration").await;
        let mut second = simple(&site).spawn();
        in_step(&site, &mut second, "_t_old").await;
        assert_eq!(
            texts(&site.client, "select guard_until::text from shadowswap.migration").await,
            left,
            "its time runs on"
        );
        second.signal(Signal::SIGKILL);
        second.wait(SOON).await;
        load.reached(100, SOON).await;

        // Nobody runs it: the command does it itself, and is killed where it waits for a lock.
        let holder = site.other().await;
        sql(&holder, "begin; select from t limit 1").await;
        let mut third =
            shadowswap(&site.url).args(["rollback", "--yes", "--progress", "none"]).args(PATIENT).spawn();
        let waits = "exists (select from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.application_name like 'shadowswap/cutover%')";
        seen(&site.client, &mut third, waits).await;
        third.signal(Signal::SIGKILL);
        third.wait(SOON).await;
        // Its statement ends by its own timeout. Released before, it would swap after its client's death.
        until_true(&site.client, &format!("not {waits}"), SOON).await;
        sql(&holder, "rollback").await;
        assert_eq!(phase(&site.client).await.as_deref(), Some("guard"));
        let mut fourth =
            shadowswap(&site.url).args(["rollback", "--yes", "--progress", "none"]).args(PATIENT).spawn();
        turned(&site, &mut fourth, 2).await;
        load.reached(100, SOON).await;
        fourth.signal(Signal::SIGKILL);
        fourth.wait(SOON).await;
        assert!(!site.has_new_type().await);
        load.reached(100, SOON).await;

        // The same command as in the beginning goes on from there: it holds, and swaps forward when told to.
        let mut fifth = simple(&site).spawn();
        in_step(&site, &mut fifth, "_t_shadow").await;
        assert_eq!(phase(&site.client).await.as_deref(), Some("ready"));
        tell(&site.url, "cutover", "t").await.expect_code(0);
        turned(&site, &mut fifth, 3).await;
        load.reached(100, SOON).await;
        fifth.signal(Signal::SIGKILL);
        fifth.wait(SOON).await;
        unmark(&site).await;
        // Without a runner, too.
        shadowswap(&site.url).args(["finish"]).run(SOON).await.expect_code(0);
        assert_eq!(phase(&site.client).await.as_deref(), Some("done"));
        assert!(is_true(&site.client, "to_regclass('_t_old') is not null").await);
        shadowswap(&site.url).args(["finish", "--drop-old"]).run(SOON).await.expect_code(0);
        assert!(is_true(&site.client, "to_regclass('_t_old') is null").await);
        shadowswap(&site.url).args(["finish", "--drop-old"]).run(SOON).await.expect_code(0);
        site.is_changed(load).await;
    }
}

#[tokio::test]
async fn row_that_cannot_be_carried_back_stops_the_guard_and_nobody_else() {
    for version in Version::ALL {
        let (site, load) = Site::busy(version, 300).await;
        let mut guard = simple(&site).spawn();
        turned(&site, &mut guard, 1).await;
        sql(&site.client, "insert into t (id, email, n) values (1000001, 'too large', 5000000000)").await;
        let output = guard.wait(SOON).await.expect_code(1);
        let text = printed(&output);
        assert!(text.contains("1000001") && text.contains("integer"), "the key is not named:\n{text}");
        assert!(text.contains("finish"), "what to do is not said:\n{text}");
        load.reached(200, SOON).await;
        let mut again = simple(&site).spawn();
        assert!(
            printed(&again.wait(SOON).await.expect_code(1)).contains("1000001"),
            "the row is still there"
        );
        sql(&site.client, "update t set n = 5 where id = 1000001").await;
        // The large value is still in the stream before the small one.
        again = simple(&site).spawn();
        seen(&site.client, &mut again, "exists (select from _t_old where id = 1000001 and n = 5)").await;
        unmark(&site).await;
        shadowswap(&site.url).args(["rollback", "--yes"]).run(LONG).await.expect_code(0);
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "{report}");
        site.holds(&ledger).await;
        assert!(!site.has_new_type().await);
        tell(&site.url, "finish", "t").await.expect_code(0);
        again.wait(SOON).await.expect_code(6);
    }
}

/// The server would round it without a word.
#[tokio::test]
async fn value_that_the_old_type_would_round_stops_the_guard() {
    let site = Site::filled(Version::Apt, 50).await;
    let mut guard = run(&site.url, "t", "alter column n type numeric(12,2)")
        .args(["--guard", "1h"])
        .args(PATIENT)
        .spawn();
    turned(&site, &mut guard, 1).await;
    sql(&site.client, "update t set n = 3 where id = 2").await;
    seen(&site.client, &mut guard, "exists (select from _t_old where id = 2 and n = 3)").await;
    sql(&site.client, "update t set n = 3.07 where id = 4").await;
    let text = printed(&guard.wait(SOON).await.expect_code(1));
    assert!(text.contains("3.07") && text.contains("id=4"), "{text}");
    assert!(
        is_true(&site.client, "(select n <> 3 or n is null from _t_old where id = 4)").await,
        "nothing was rounded"
    );
    tell(&site.url, "finish", "t").await.expect_code(0);
}

#[tokio::test]
async fn old_table_that_somebody_changed_is_not_gone_back_to() {
    let site = Site::filled(Version::Pip, 500).await;
    let mut guard = simple(&site).spawn();
    turned(&site, &mut guard, 1).await;
    in_step(&site, &mut guard, "_t_old").await;
    sql(&site.client, "update _t_old set body = 'damaged' where id = 712").await;
    let rollback = shadowswap(&site.url).args(["rollback", "--yes"]).run(SOON).await.expect_code(4);
    assert!(printed(&rollback).contains("712"), "{}", printed(&rollback));
    guard.wait(SOON).await.expect_code(4);
    assert!(site.has_new_type().await);
    assert_eq!(phase(&site.client).await.as_deref(), Some("guard"));
    tell(&site.url, "finish", "t").await.expect_code(0);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

#[tokio::test]
async fn guard_ends_by_itself_when_its_time_is_up_or_it_costs_too_much() {
    let site = Site::filled(Version::Apt, 100).await;
    let short = site.run().args(["--guard", "1s", "--drop-old", "--json"]).run(LONG).await.expect_code(0);
    let report = line(&short, "report");
    assert!(report["guard"].as_str().is_some_and(|guard| guard.contains("time is up")), "{report}");
    assert!(is_true(&site.client, "to_regclass('_t_old') is null").await);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());

    let args = ["--guard", "1h", "--guard-retention", "32MiB", "--json"];
    let mut costly = run(&site.url, "t", "alter column n type integer").args(PATIENT).args(args).spawn();
    turned(&site, &mut costly, 1).await;
    // The slot keeps what a transaction may still be decoded from.
    let holder = site.other().await;
    sql(&holder, "begin; insert into t (id, email) values (1000001, 'open')").await;
    sql(&site.client, "create table noise as select i, repeat('x', 1000) from generate_series(1, 60000) i")
        .await;
    let output = costly.wait(LONG).await.expect_code(0);
    assert!(printed(&output).contains("guard-retention"), "{}", printed(&output));
    let report = line(&output, "report");
    assert!(report["guard"].as_str().is_some_and(|guard| guard.contains("ended early")), "{report}");
    sql(&holder, "commit").await;
    assert_eq!(phase(&site.client).await.as_deref(), Some("done"));
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
    // A runner that had died between the guard's end and the removal: whoever goes on does not drop what is to be looked at.
    sql(&site.client, "update shadowswap.migration set phase = 'guard', ended_at = null where id = 2").await;
    let again = run(&site.url, "t", "alter column n type integer").args(["--guard", "1h", "--drop-old"]);
    again.run(LONG).await.expect_code(0);
    assert!(is_true(&site.client, "to_regclass('_t_old') is not null").await);
    shadowswap(&site.url).args(["finish", "--drop-old", "--table", "t"]).run(SOON).await.expect_code(0);
    assert!(is_true(&site.client, "to_regclass('_t_old') is null").await);
}

#[tokio::test]
async fn roll_back_without_a_guard_is_refused_and_says_why() {
    let site = Site::filled(Version::Pip, 100).await;
    let mut copying = site.run().args(["--cutover", "manual", "--guard", "1h"]).spawn();
    reached(&site.client, &mut copying, &["ready"]).await;
    let early = shadowswap(&site.url).args(["rollback", "--yes"]).run(SOON).await.expect_code(3);
    assert!(printed(&early).contains("not swapped yet"), "{}", printed(&early));
    tell(&site.url, "finish", "t").await.expect_code(3);
    shadowswap(&site.url).args(["abort", "--yes"]).run(SOON).await.expect_code(0);
    copying.wait(SOON).await.expect_code(6);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
    site.run().run(LONG).await.expect_code(0);
    let after = shadowswap(&site.url).args(["rollback", "--yes"]).run(SOON).await.expect_code(3);
    assert!(printed(&after).contains("not in step"), "{}", printed(&after));
}

/// Something in the way of a roll back: it is named, and the guard goes on.
#[tokio::test]
async fn view_on_the_new_table_hinders_the_roll_back_and_not_the_guard() {
    let site = Site::filled(Version::Apt, 100).await;
    let mut guard = simple(&site).spawn();
    turned(&site, &mut guard, 1).await;
    sql(&site.client, "create view surprise as select id from t").await;
    let rollback = shadowswap(&site.url).args(["rollback", "--yes"]).run(SOON).await.expect_code(3);
    assert!(printed(&rollback).contains("surprise"), "{}", printed(&rollback));
    in_step(&site, &mut guard, "_t_old").await;
    sql(&site.client, "drop view surprise").await;
    shadowswap(&site.url).args(["rollback", "--yes"]).run(SOON).await.expect_code(0);
    // After a roll back the migration can be given up, too.
    shadowswap(&site.url).args(["abort", "--yes"]).run(SOON).await.expect_code(0);
    guard.wait(SOON).await.expect_code(6);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
    assert!(is_true(&site.client, "to_regclass('_t_old') is null").await);
}

#[tokio::test]
async fn plan_says_what_going_back_loses() {
    let site = Site::filled(Version::Pip, 10).await;
    sql(&site.client, "alter table t add column must text not null default 'x'; alter table t alter column must drop default").await;
    let plan = async |args: &[&str]| {
        let output = shadowswap(&site.url)
            .args(["plan", "--json", "--strategy", "shadow", "--table", "t"])
            .args(args.iter().copied())
            .run(SOON)
            .await;
        let code = output.code();
        (
            code,
            line(&output, "plan")["findings"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|f| f["check"] == "going-back")
                .cloned()
                .collect::<Vec<_>>(),
        )
    };
    let (code, found) = plan(&["--alter", "add column more text"]).await;
    assert_eq!((code, found.len(), found[0]["severity"].as_str()), (Some(0), 1, Some("passed")), "{found:?}");
    let (code, found) = plan(&["--alter", "drop column must"]).await;
    assert_eq!((code, found[0]["severity"].as_str()), (Some(0), Some("warning")), "{found:?}");
    assert!(found[0]["next"].as_str().unwrap().contains("--set-back 'must="), "{found:?}");
    let (code, found) = plan(&["--alter", "drop column must", "--guard", "1h"]).await;
    assert_eq!((code, found[0]["severity"].as_str()), (Some(3), Some("refused")), "{found:?}");
    let (code, found) =
        plan(&["--alter", "drop column must", "--guard", "1h", "--set-back", "must='gone'"]).await;
    assert_eq!((code, found[0]["severity"].as_str()), (Some(0), Some("passed")), "{found:?}");
    let (code, found) = plan(&["--alter", "alter column n type bigint", "--guard", "1h"]).await;
    assert_eq!(code, Some(0));
    assert!(found[0]["message"].as_str().unwrap().contains("integer cannot hold"), "{found:?}");
    let (code, found) = plan(&["--alter", "alter column n type text using 'n' || n", "--guard", "1h"]).await;
    assert_eq!((code, found[0]["severity"].as_str()), (Some(3), Some("refused")), "{found:?}");
    let (code, _) = plan(&["--alter", "add column x int", "--guard", "1h", "--set-back", "nothing=1"]).await;
    assert_eq!(code, Some(3));
}

/// A program of an earlier version made the control tables, and left a migration in them.
#[tokio::test]
async fn control_tables_of_version_1_are_read_and_upgraded() {
    let site = Site::filled(Version::Apt, 500).await;
    let mut first = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut first, &["ready"]).await;
    first.signal(Signal::SIGKILL);
    first.wait(SOON).await;
    until_true(
        &site.client,
        "not exists (select from pg_stat_activity where application_name like 'shadowswap/%')",
        SOON,
    )
    .await;
    let older = "drop view shadowswap.state; drop table shadowswap.setting, shadowswap.report, shadowswap.probe;
        alter table shadowswap.migration drop column turn, drop column swap_position, drop column guard_from, drop column guard_until;
        alter table shadowswap.checkpoint drop column turn;
        drop index shadowswap.migration_unfinished;
        create unique index migration_unfinished on shadowswap.migration (table_schema, table_name) where phase not in ('done', 'aborted');
        update shadowswap.version set version = 1";
    sql(&site.client, older).await;
    // Looking changes nothing.
    assert_eq!(status(&site.url).await["phase"], "ready");
    assert_eq!(texts(&site.client, "select version::text from shadowswap.version").await, ["1"]);
    tell(&site.url, "history", "t").await.expect_code(0);
    let early =
        shadowswap(&site.url).args(["throttle", "--table", "t", "max-lag=5s"]).run(SOON).await.expect_code(3);
    assert!(printed(&early).contains("from version 2 on"), "{}", printed(&early));
    sql(&site.client, "update t set body = 'meanwhile' where id = 2").await;
    let (one, other) = tokio::join!(site.run().run(LONG), site.run().run(LONG));
    let codes = [one.code(), other.code()];
    assert!(codes.contains(&Some(0)), "{codes:?}\n{}\n{}", printed(&one), printed(&other));
    assert_eq!(texts(&site.client, "select version::text from shadowswap.version").await, ["3"]);
    // With all that steering needs.
    let kept = "select phase from shadowswap.state s join shadowswap.report r using (migration)";
    assert_eq!(texts(&site.client, kept).await.first().map(String::as_str), Some("done"));
    assert!(is_true(&site.client, "(select count(*) = 0 from shadowswap.setting, shadowswap.probe)").await);
    assert!(site.has_new_type().await);
    assert!(is_true(&site.client, "(select body = 'meanwhile' from t where id = 2)").await);
    assert_eq!(
        texts(&site.client, "select turn::text from shadowswap.migration order by id limit 1").await,
        ["1"]
    );
    version_2_guards(&site).await;
}

/// Guards of version 2 knew when they end, and not when they had begun.
async fn version_2_guards(site: &Site) {
    sql(&site.client, "create table w (id int primary key, n int)").await;
    let mut first =
        run(&site.url, "w", "alter column n type bigint").args(["--guard", "1h"]).args(PATIENT).spawn();
    let begun = "exists (select from shadowswap.migration where phase = 'guard' and guard_until is not null)";
    seen(&site.client, &mut first, begun).await;
    first.signal(Signal::SIGKILL);
    first.wait(SOON).await;
    sql(
        &site.client,
        "alter table shadowswap.migration drop column guard_from; update shadowswap.version set version = 2",
    )
    .await;
    shadowswap(&site.url).args(["throttle", "--table", "w", "guard=3h"]).run(SOON).await.expect_code(0);
    let mut second =
        run(&site.url, "w", "alter column n type bigint").args(["--guard", "1h"]).args(PATIENT).spawn();
    let longer = "exists (select from shadowswap.migration where phase = 'guard' and guard_until between now() + interval '2 h 55 min' and now() + interval '3 h')";
    seen(&site.client, &mut second, longer).await;
    tell(&site.url, "finish", "w").await.expect_code(0);
    second.wait(LONG).await.expect_code(0);
}

/// Rows are deleted and written again where unique values wander between them; large values are read again from the new table.
#[tokio::test]
async fn values_that_only_the_old_table_has_survive_wandering_unique_values() {
    for version in Version::ALL {
        let site = Site::new(version).await;
        let table = "create table w (id integer primary key, tag text unique, big text, gone text default 'lost');
            alter table w alter column big set storage external;
            insert into w select i, 'tag ' || i, repeat('x', 5000), 'kept ' || i from generate_series(1, 40) i";
        sql(&site.client, table).await;
        let mut guard = run(&site.url, "w", "drop column gone").args(["--guard", "1h"]).args(PATIENT).spawn();
        turned(&site, &mut guard, 1).await;
        for round in 1..=30 {
            let (a, b, c) = (round % 40 + 1, (round * 7) % 40 + 1, (round * 11) % 40 + 1);
            // One transaction that swaps, then a chain of transactions in which a value goes on to the next row.
            let swap = format!(
                "begin; update w set tag = 'swap ' || id where id in ({a}, {b});
                update w set tag = 'round {round} of ' || ({a} + {b} - id) where id in ({a}, {b}); commit"
            );
            sql(&site.client, &swap).await;
            let chain = format!("update w set tag = 'free {round}' where id = {c};
                update w set tag = 'round {round} of {b}' where id = {c} and not exists (select from w where tag = 'round {round} of {b}')");
            sql(&site.client, &chain).await;
        }
        sql(&site.client, "insert into w values (41, 'last', 'x')").await;
        seen(&site.client, &mut guard, "exists (select from _w_old where id = 41)").await;
        assert!(
            is_true(
                &site.client,
                "not exists (select from w full join _w_old o using (id) where w.tag is distinct from o.tag)"
            )
            .await
        );
        let kept = texts(&site.client, "select count(*)::text from _w_old where gone = 'kept ' || id").await;
        assert_eq!(kept, ["40"], "on {version}");
        assert!(
            is_true(&site.client, "(select gone = 'lost' from _w_old where id = 41)").await,
            "a new row has the default"
        );
        shadowswap(&site.url).args(["rollback", "--yes"]).run(LONG).await.expect_code(0);
        tell(&site.url, "finish", "w").await.expect_code(0);
        guard.wait(SOON).await.expect_code(6);
        assert!(
            is_true(&site.client, "not exists (select from pg_class where relname like 'kept\\_%')").await
        );
    }
}
