//! What may happen to a run: kills, stops, commands, other people's DDL, sessions in the way, servers that go away.
//!
//! Each test has its own server: open transactions here would hold up the slots of all others. Phases are held by locks of the test's,
//! so that nothing depends on how fast the machine is.

mod ends;
mod guard;
mod kills;
mod schemas;

use shadowswap_testkit::load::{Ledger, Load, Running, TableShape};
use shadowswap_testkit::{Binary, Postgres, Signal, Version};
use tokio_postgres::Client;

use crate::case::difference;
use crate::catalog::{traces, whole};
use crate::operator::{
    LONG, SOON, is_true, line, phase, printed, reached, run, seen, shadowswap, sql, status, tell, texts,
    until_true,
};

const ALTER: &str = "alter column n type bigint";

/// The stall is measured elsewhere; here it only must not make a run give up on a busy machine.
const PATIENT: [&str; 2] = ["--stall-budget", "1s"];

struct Site {
    server: Postgres,
    client: Client,
    url: String,
}

impl Site {
    /// A server with the table `public.t`, not yet filled.
    async fn new(version: Version) -> Site {
        let server = Postgres::start(version).await;
        let (client, url) = (server.connect("postgres").await, server.url("postgres"));
        TableShape::standard("public.t").create(&client).await;
        Site { server, client, url }
    }

    async fn filled(version: Version, rows: u64) -> Site {
        let site = Site::new(version).await;
        site.fill(rows).await;
        site
    }

    async fn fill(&self, rows: u64) -> Ledger {
        Ledger::fill(&self.client, TableShape::standard("public.t"), rows, 1).await
    }

    /// Fills the table and lets two writers loose on it.
    async fn busy(version: Version, rows: u64) -> (Site, Running) {
        let site = Site::new(version).await;
        let ledger = site.fill(rows).await;
        let load = Load::new(&site.url).writers(2).start(ledger).await.unwrap();
        load.reached(50, SOON).await;
        (site, load)
    }

    /// A function for the projection that waits, on rows beyond the first hundred, while somebody holds the advisory lock 4711. Only
    /// copying and comparing wait: changes are applied meanwhile.
    async fn gate(&self) {
        let text = "create function gate(n integer, id bigint) returns bigint language plpgsql immutable as
            $$ begin if id > 100 and current_setting('application_name') not like '%/apply%' then perform pg_advisory_xact_lock_shared(4711); end if; return n; end $$";
        sql(&self.client, text).await;
    }

    fn run(&self) -> Binary {
        run(&self.url, "t", ALTER).args(PATIENT)
    }

    async fn other(&self) -> Client {
        self.server.connect("postgres").await
    }

    /// Writers see nothing, the rows are those that were acknowledged, nothing is left behind.
    async fn is_changed(&self, load: Running) {
        load.reached(100, SOON).await;
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "{report}");
        self.holds(&ledger).await;
        assert!(self.has_new_type().await, "the column has its new type");
        assert_eq!(traces(&self.client).await, Vec::<String>::new());
    }

    async fn holds(&self, ledger: &Ledger) {
        let differences = ledger.check(&self.client, "public.t").await.unwrap();
        assert!(differences.is_empty(), "{differences}");
    }

    async fn has_new_type(&self) -> bool {
        let text = "exists (select from pg_attribute where attrelid = 'public.t'::regclass and attname = 'n'
            and atttypid = 'bigint'::regtype)";
        is_true(&self.client, text).await
    }
}

const AT_GATE: &str = "exists (select from pg_locks where locktype = 'advisory' and not granted)";
const CLOSE_GATE: &str = "select pg_advisory_lock(4711)";
const OPEN_GATE: &str = "select pg_advisory_unlock(4711)";

#[tokio::test]
async fn sigterm_stops_and_next_run_goes_on() {
    let (site, load) = Site::busy(Version::Pip, 20_000).await;
    let args = ["--chunk-time", "5ms", "--copy-workers", "1", "--cutover", "manual"];
    let mut first = site.run().args(args).spawn();
    seen(&site.client, &mut first, "exists (select from shadowswap.chunk where done)").await;
    first.signal(Signal::SIGTERM);
    let output = first.wait(SOON).await.expect_code(1);
    assert!(printed(&output).contains("run the same command again"), "{}", printed(&output));
    assert!(!site.has_new_type().await);
    until_true(
        &site.client,
        "not exists (select from pg_stat_activity where application_name like 'shadowswap/%')",
        SOON,
    )
    .await;
    let copied = texts(&site.client, "select sum(rows)::text from shadowswap.chunk where done").await;
    // What is kept is announced: the server holds WAL for it.
    assert!(printed(&output).contains("change stream"), "{}", printed(&output));
    // Chunks as large as they may be: the first run's were small only to be interrupted between two of them.
    let mut second = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut second, &["ready"]).await;
    second.signal(Signal::SIGINT);
    second.wait(SOON).await.expect_code(1);
    site.run().run(LONG).await.expect_code(0);
    assert!(copied[0].parse::<u64>().unwrap() > 0);
    site.is_changed(load).await;
}

#[tokio::test]
async fn abort_of_running_and_of_stopped_run_leaves_nothing() {
    for version in Version::ALL {
        let site = Site::filled(version, 2_000).await;
        let before = whole(&site.client).await;
        let check = async || {
            assert_eq!(difference(&whole(&site.client).await, &before), None, "on {version}");
            assert_eq!(traces(&site.client).await, Vec::<String>::new());
            assert_eq!(phase(&site.client).await.as_deref(), Some("aborted"));
        };

        let mut running = site.run().args(["--cutover", "manual"]).spawn();
        reached(&site.client, &mut running, &["ready"]).await;
        shadowswap(&site.url).args(["abort", "--yes", "--table", "t"]).run(SOON).await.expect_code(0);
        running.wait(SOON).await.expect_code(6);
        check().await;

        let mut killed = site.run().args(["--cutover", "manual"]).spawn();
        reached(&site.client, &mut killed, &["ready"]).await;
        killed.signal(Signal::SIGKILL);
        killed.wait(SOON).await;
        shadowswap(&site.url).args(["abort", "--yes"]).run(SOON).await.expect_code(0);
        check().await;

        let again = shadowswap(&site.url).args(["abort", "--yes"]).run(SOON).await;
        assert!(printed(&again.expect_code(3)).contains("no unfinished migration"));
        // An aborted migration is no obstacle to the next.
        site.run().run(LONG).await.expect_code(0);
        assert!(site.has_new_type().await);
    }
}

/// Without a primary key, the source's replica identity is changed for the run; an abort must put it back.
#[tokio::test]
async fn abort_puts_replica_identity_back() {
    let site = Site::new(Version::Apt).await;
    sql(
        &site.client,
        "create table k (id bigint not null unique, n integer); insert into k select i, i from generate_series(1, 100) i",
    )
    .await;
    let before = whole(&site.client).await;
    let mut running = run(&site.url, "k", ALTER).args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut running, &["ready"]).await;
    sql(&site.client, "update k set n = 0 where id = 1; update k set n = 1 where id = 1").await;
    shadowswap(&site.url).args(["abort", "--yes", "--table", "k"]).run(SOON).await.expect_code(0);
    running.wait(SOON).await.expect_code(6);
    assert_eq!(difference(&whole(&site.client).await, &before), None);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

#[tokio::test]
async fn second_runner_is_told_who_holds_the_migration() {
    let site = Site::filled(Version::Apt, 100).await;
    let mut first = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut first, &["ready"]).await;
    let second = site.run().run(SOON).await.expect_code(7);
    let (text, holder) = (printed(&second), format!(":{}", first.pid()));
    assert!(text.contains(&holder), "the holder's process, {holder}, is not named:\n{text}");
    assert!(!first.is_over(), "the first goes on");
    tell(&site.url, "cutover", "t").await.expect_code(0);
    first.wait(LONG).await.expect_code(0);
    assert!(site.has_new_type().await);
}

#[tokio::test]
async fn manual_cutover_holds_until_told_and_verify_compares_again() {
    for version in Version::ALL {
        let (site, load) = Site::busy(version, 2_000).await;
        let mut migration = site.run().args(["--cutover", "manual", "--json"]).spawn();
        reached(&site.client, &mut migration, &["ready"]).await;
        // Changes go on being applied while it holds.
        load.reached(200, SOON).await;
        tell(&site.url, "verify", "t").await.expect_code(0);
        let verified = "exists (select from shadowswap.event where what like 'verified:%none differs')";
        seen(&site.client, &mut migration, verified).await;
        assert_eq!(phase(&site.client).await.as_deref(), Some("ready"));
        assert_eq!(status(&site.url).await["phase"], "ready");
        assert!(!site.has_new_type().await);
        tell(&site.url, "cutover", "t").await.expect_code(0);
        let output = migration.wait(LONG).await.expect_code(0);
        let report = line(&output, "report");
        assert!(report["rows_verified"].as_u64().unwrap() > 0, "{report}");
        site.is_changed(load).await;
        shadowswap(&site.url).args(["verify", "--table", "t"]).run(SOON).await.expect_code(0);
    }
}

/// A row of the shadow that somebody changed is found, named, and keeps the swap from happening.
#[tokio::test]
async fn difference_is_found_and_nothing_is_swapped() {
    for version in Version::ALL {
        let site = Site::filled(version, 1_000).await;
        let mut migration = site.run().args(["--cutover", "manual"]).spawn();
        reached(&site.client, &mut migration, &["ready"]).await;
        let damage =
            "update _t_shadow set body = 'damaged' where id = 712; delete from _t_shadow where id = 1500";
        sql(&site.client, damage).await;
        let verify = tell(&site.url, "verify", "t").await.expect_code(4);
        let output = migration.wait(LONG).await.expect_code(4);
        for text in [printed(&verify), printed(&output)] {
            assert!(text.contains("712") && text.contains("1500"), "the keys are not named:\n{text}");
        }
        assert!(!site.has_new_type().await);
    }
}

#[tokio::test]
async fn pause_stops_the_copy_and_resume_goes_on() {
    let site = Site::filled(Version::Pip, 20_000).await;
    site.gate().await;
    let holder = site.other().await;
    sql(&holder, CLOSE_GATE).await;
    let mut migration = site.run().args(["--set", "n=gate(n, id)", "--chunk-time", "5ms"]).spawn();
    seen(&site.client, &mut migration, AT_GATE).await;
    tell(&site.url, "pause", "t").await.expect_code(0);
    let held = "(select progress::json ->> 'throttled' is not null from shadowswap.migration)";
    seen(&site.client, &mut migration, held).await;
    sql(&holder, OPEN_GATE).await;
    seen(&site.client, &mut migration, "not exists (select from shadowswap.chunk where not done)").await;
    let chunks = texts(&site.client, "select count(*)::text from shadowswap.chunk").await;
    assert_eq!(status(&site.url).await["paused"], true);
    // A change of now is applied though the copy is paused.
    sql(&site.client, "update t set body = 'during the pause' where id = 2").await;
    seen(&site.client, &mut migration, "(select body = 'during the pause' from _t_shadow where id = 2)")
        .await;
    assert_eq!(phase(&site.client).await.as_deref(), Some("copy"));
    assert_eq!(
        texts(&site.client, "select count(*)::text from shadowswap.chunk").await,
        chunks,
        "no new chunk"
    );
    tell(&site.url, "resume", "t").await.expect_code(0);
    migration.wait(LONG).await.expect_code(0);
    assert!(site.has_new_type().await);
}

/// Something happened to the source that the shadow cannot follow: it stops, and the source is what its owner made of it.
async fn spoilt_by(version: Version, spoil: &str, check: &str) {
    let site = Site::filled(version, 500).await;
    let mut migration = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut migration, &["ready"]).await;
    sql(&site.client, spoil).await;
    sql(&site.client, "insert into t (id, email) values (1000001, 'after')").await;
    // It may notice at once or when it is about to swap.
    tell(&site.url, "cutover", "t").await;
    let output = migration.wait(LONG).await;
    assert!([Some(1), Some(3)].contains(&output.code()), "{spoil}: {}\n{}", output.status, printed(&output));
    assert!(printed(&output).contains("next:"), "{spoil}: what to do is not said:\n{}", printed(&output));
    assert!(!site.has_new_type().await, "{spoil}: not swapped");
    assert!(is_true(&site.client, check).await, "{spoil}: the source is not as its owner left it");
    if phase(&site.client).await.as_deref() != Some("aborted") {
        shadowswap(&site.url).args(["abort", "--yes"]).run(SOON).await.expect_code(0);
    }
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

#[tokio::test]
async fn truncate_of_the_source_stops_the_run() {
    for version in Version::ALL {
        spoilt_by(version, "truncate t", "(select count(*) from t) = 1").await;
    }
}

#[tokio::test]
async fn ddl_on_the_source_stops_the_run() {
    let has = |what: &str| format!("exists ({what})");
    let column =
        has("select from pg_attribute where attrelid = 'public.t'::regclass and attname = 'surprise'");
    let index = has("select from pg_class where relname = 'surprise'");
    spoilt_by(Version::Apt, "alter table t add column surprise int default 5", &column).await;
    spoilt_by(Version::Pip, "alter table t drop column n; alter table t add column surprise text", &column)
        .await;
    spoilt_by(Version::Apt, "create index surprise on t (body)", &index).await;
    let default = "pg_get_expr(adbin, adrelid) = '7'";
    let default = has(&format!("select from pg_attrdef where adrelid = 'public.t'::regclass and {default}"));
    spoilt_by(Version::Pip, "alter table t alter column n set default 7", &default).await;
    let trigger = "create function noop() returns trigger language plpgsql as 'begin return new; end';
        create trigger surprise before insert on t for each row execute function noop()";
    spoilt_by(Version::Apt, trigger, &has("select from pg_trigger where tgname = 'surprise'")).await;
}

/// The plan is of no use then; what the dead run has made, least of all the slot, is not left behind.
#[tokio::test]
async fn preparations_for_a_table_that_was_changed_meanwhile_are_removed() {
    let site = Site::filled(Version::Apt, 100).await;
    site.run().env("SHADOWSWAP_TEST_DIE_AT", "ShadowMade").run(LONG).await;
    assert_ne!(traces(&site.client).await, Vec::<String>::new(), "it died too early");
    sql(&site.client, "alter table t add column surprise int").await;
    let output = site.run().run(LONG).await.expect_code(3);
    assert!(printed(&output).contains("since the plan was made"), "{}", printed(&output));
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
    site.run().run(LONG).await.expect_code(0);
    assert!(site.has_new_type().await);
}

/// They would stay with the old table, and go on showing or checking its rows.
#[tokio::test]
async fn dependents_made_during_the_run_stop_it() {
    let view = "create view surprise as select * from t";
    spoilt_by(Version::Apt, view, "(select count(*) from surprise) = 501").await;
    let foreign = "create table surprise (t bigint references t); insert into surprise values (2)";
    let on_source = "exists (select from pg_constraint where confrelid = 'public.t'::regclass)";
    spoilt_by(Version::Pip, foreign, on_source).await;
    let on_source = "exists (select from pg_publication_rel where prrelid = 'public.t'::regclass)";
    spoilt_by(Version::Apt, "create publication surprise for table t", on_source).await;
}

/// A session in the way: exit code 5 names it; nothing is swapped; once it is gone, the same command goes through.
async fn in_the_way(version: Version, open: &str) {
    let (site, load) = Site::busy(version, 1_000).await;
    let mut first = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut first, &["copy", "index", "verify", "ready"]).await;
    first.signal(Signal::SIGTERM);
    first.wait(SOON).await.expect_code(1);
    let holder = site.other().await;
    sql(&holder, open).await;
    let pid = texts(&holder, "select pg_backend_pid()::text").await.remove(0);
    let limits = ["--cutover-attempts", "2", "--stall-budget", "50ms"];
    let args = ["run", "--yes", "--max-load", "off", "--table", "t", "--alter", ALTER];
    let output = shadowswap(&site.url).args(args).args(limits).run(LONG).await.expect_code(5);
    let text = printed(&output);
    assert!(text.contains(&format!("pid {pid}")), "pid {pid} is not named:\n{text}");
    assert!(text.contains("next:"), "{text}");
    assert!(!site.has_new_type().await);
    sql(&holder, "rollback").await;
    site.run().run(LONG).await.expect_code(0);
    site.is_changed(load).await;
}

#[tokio::test]
async fn long_transaction_in_the_way_is_named() {
    for version in Version::ALL {
        in_the_way(version, "begin; update t set body = body where id = 2; select pg_sleep(1.2)").await;
        in_the_way(version, "begin; select from t limit 1").await;
    }
}

/// It would see an empty table after the swap, without an error.
#[tokio::test]
async fn snapshot_older_than_the_copy_keeps_the_swap_from_happening() {
    for version in Version::ALL {
        let site = Site::filled(version, 1_000).await;
        sql(&site.client, "create table unrelated as select 1 as one").await;
        let reader = site.other().await;
        sql(&reader, "begin isolation level repeatable read; select one from unrelated").await;
        let pid = texts(&reader, "select pg_backend_pid()::text").await.remove(0);
        let output = site.run().args(["--cutover-attempts", "2"]).run(LONG).await.expect_code(5);
        assert!(printed(&output).contains(&format!("pid {pid}")), "{}", printed(&output));
        assert_eq!(
            texts(&reader, "select count(*)::text from t").await,
            ["1000"],
            "its rows are still there"
        );
        sql(&reader, "commit").await;
        site.run().run(LONG).await.expect_code(0);
        assert!(site.has_new_type().await);
    }
}

#[tokio::test]
async fn server_that_restarts_during_the_copy_is_waited_for() {
    for version in Version::ALL {
        let (site, load) = Site::busy(version, 5_000).await;
        site.gate().await;
        let holder = site.other().await;
        sql(&holder, CLOSE_GATE).await;
        let mut migration = site.run().args(["--set", "n=gate(n, id)", "--chunk-time", "5ms"]).spawn();
        seen(&site.client, &mut migration, AT_GATE).await;
        // The gate's lock goes with its session.
        match version {
            Version::Apt => site.server.restart().await,
            Version::Pip => {
                site.server.kill9().await;
                site.server.restart().await;
            }
        }
        migration.wait(LONG).await.expect_code(0);
        load.reached(100, SOON).await;
        let (report, ledger) = load.stop().await;
        assert!(report.violations.is_empty(), "{report}");
        let site = Site { client: site.other().await, ..site };
        site.holds(&ledger).await;
        assert!(site.has_new_type().await);
        assert_eq!(traces(&site.client).await, Vec::<String>::new());
    }
}

/// Whoever ends our sessions, one or all, is not a reason to fail.
#[tokio::test]
async fn sessions_that_are_terminated_are_opened_again() {
    let (site, load) = Site::busy(Version::Pip, 5_000).await;
    site.gate().await;
    let holder = site.other().await;
    sql(&holder, CLOSE_GATE).await;
    let mut migration = site.run().args(["--set", "n=gate(n, id)", "--cutover", "manual"]).spawn();
    seen(&site.client, &mut migration, AT_GATE).await;
    let end =
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'shadowswap/%'";
    sql(&site.client, end).await;
    seen(&site.client, &mut migration, "(select epoch from shadowswap.migration) > 1").await;
    sql(&holder, OPEN_GATE).await;
    reached(&site.client, &mut migration, &["ready"]).await;
    // The reader of the stream alone.
    sql(&site.client, "select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    load.reached(100, SOON).await;
    tell(&site.url, "cutover", "t").await.expect_code(0);
    migration.wait(LONG).await.expect_code(0);
    site.is_changed(load).await;
}

/// A slot that is gone cannot be made anew: changes would be missing.
#[tokio::test]
async fn lost_slot_stops_the_run_for_good() {
    let site = Site::filled(Version::Apt, 500).await;
    let mut first = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut first, &["ready"]).await;
    first.signal(Signal::SIGKILL);
    first.wait(SOON).await;
    until_true(&site.client, "not exists (select from pg_replication_slots where active)", SOON).await;
    sql(&site.client, "select pg_drop_replication_slot(slot_name) from pg_replication_slots").await;
    let output = site.run().run(LONG).await.expect_code(1);
    assert!(printed(&output).contains("slot"), "{}", printed(&output));
    assert!(!site.has_new_type().await);
    shadowswap(&site.url).args(["abort", "--yes"]).run(SOON).await.expect_code(0);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}

#[tokio::test]
async fn another_change_of_the_same_table_does_not_take_over_an_unfinished_one() {
    let site = Site::filled(Version::Apt, 100).await;
    let mut first = site.run().args(["--cutover", "manual"]).spawn();
    reached(&site.client, &mut first, &["ready"]).await;
    first.signal(Signal::SIGTERM);
    first.wait(SOON).await.expect_code(1);
    let other = run(&site.url, "t", "add column other text").run(SOON).await;
    assert!([Some(2), Some(3)].contains(&other.code()), "{}\n{}", other.status, printed(&other));
    assert!(printed(&other).contains("unfinished"), "{}", printed(&other));
    assert_eq!(phase(&site.client).await.as_deref(), Some("ready"));
    site.run().run(LONG).await.expect_code(0);
    // The same change once more is no error of ours: the server says that there is nothing left to do, or does it again.
    assert!(site.has_new_type().await);
}

#[tokio::test]
async fn next_migration_of_the_same_table_works_beside_the_old_table() {
    let site = Site::filled(Version::Pip, 100).await;
    site.run().args(["--drop-old"]).run(LONG).await.expect_code(0);
    let second =
        run(&site.url, "t", "add column more text default 'x'").args(PATIENT).run(LONG).await.expect_code(0);
    assert!(printed(&second).contains("_t_old"), "{}", printed(&second));
    // The old table's name is taken now: a refusal or another name, but never its loss.
    let third = run(&site.url, "t", "drop column more").args(PATIENT).run(LONG).await;
    assert!([Some(0), Some(3)].contains(&third.code()), "{}", printed(&third));
    assert!(is_true(&site.client, "(select count(*) from _t_old) = 100").await);
    assert_eq!(traces(&site.client).await, Vec::<String>::new());
}
