//! Runs against clients that never rest. What the server acknowledged to them must be in the table afterwards, and nothing else.

use std::time::{Duration, Instant};

use shadowswap_testkit::load::{Column, KeyColumn, Ledger, Load, Op, TableShape};
use shadowswap_testkit::{Binary, Postgres, Version, shared};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::catalog::traces;
use crate::operator::{
    LONG, SOON, is_true, phase, reached, run, seen, shadowswap, sql, tell, texts, until_true,
};

/// Clients on a busy machine with a debug build: the stall is measured elsewhere, here it only must not make us give up.
const PATIENT: [&str; 2] = ["--stall-budget", "1s"];

/// Statements between the swap and the end of the load.
const AFTERWARDS: u64 = 200;

struct Race {
    shape: TableShape,
    rows: u64,
    writers: usize,
    mix: Vec<(Op, u32)>,
    alter: &'static str,
    /// More arguments of the run.
    more: &'static [&'static str],
}

impl Race {
    fn standard(mix: &[(Op, u32)]) -> Race {
        let shape = TableShape::standard("public.t");
        Race {
            shape,
            rows: 20_000,
            writers: 8,
            mix: mix.to_vec(),
            alter: "alter column n type bigint",
            more: &[],
        }
    }

    /// Migrates the table under the load, and checks it against the ledger.
    async fn run(self, url: &str, client: &Client) {
        self.shape.create(client).await;
        let table = self.shape.table().to_owned();
        let ledger = Ledger::fill(client, self.shape, self.rows, 1).await;
        let load = Load::new(url).writers(self.writers).mix(&self.mix).start(ledger).await.unwrap();
        load.reached(AFTERWARDS, SOON).await;
        let output = run(url, &table, self.alter)
            .args(PATIENT)
            .args(["--chunk-time", "20ms"])
            .args(self.more.iter().copied())
            .run(LONG)
            .await;
        let output = output.expect_code(0);
        load.reached(AFTERWARDS, SOON).await;
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "{report}\n{}", output.stderr);
        let differences = ledger.check(client, &table).await.unwrap();
        assert!(differences.is_empty(), "{differences}\n{}{}", output.stdout, output.stderr);
        assert_eq!(traces(client).await, Vec::<String>::new());
    }
}

async fn on_all(race: impl AsyncFn() -> Race) {
    for version in Version::ALL {
        let database = shared(version).await.database().await;
        race().await.run(&database.url(), &database.connect().await).await;
    }
}

#[tokio::test]
async fn no_write_is_lost_under_all_operations() {
    on_all(async || Race::standard(&Op::MIX)).await;
}

/// Copiers and comparers that rest between chunks, changes that are gathered, indexes one at a time.
#[tokio::test]
async fn no_write_is_lost_by_a_gentle_run() {
    on_all(async || Race { rows: 5_000, more: &["--max-load", "30%"], ..Race::standard(&Op::MIX) }).await;
}

#[tokio::test]
async fn unique_values_that_move_between_rows_arrive() {
    let mix = [(Op::SwapUnique, 6), (Op::UpdateOne, 2), (Op::Reinsert, 1), (Op::Delete, 1), (Op::Insert, 1)];
    on_all(async || Race { rows: 2_000, ..Race::standard(&mix) }).await;
}

#[tokio::test]
async fn keys_that_change_and_come_back_arrive() {
    let mix = [(Op::Rekey, 5), (Op::Reinsert, 5), (Op::Delete, 3), (Op::Insert, 3), (Op::UpdateOne, 1)];
    on_all(async || Race { rows: 5_000, ..Race::standard(&mix) }).await;
}

#[tokio::test]
async fn values_out_of_line_and_a_composite_key_arrive() {
    let key = vec![
        KeyColumn::new("tenant", "integer", |n| (n % 7).to_string()),
        KeyColumn::new("\"Code\"", "text collate \"C\"", |n| format!("c\\{}-{n}", n % 13)),
    ];
    let columns = vec![Column::large_text("body"), Column::unique_text("email"), Column::int("n")];
    let shape = TableShape::new("public.\"wide Table\"", key, columns);
    let wide = async || Race { shape: shape.clone(), rows: 600, writers: 4, ..Race::standard(&Op::MIX) };
    on_all(wide).await;
}

/// The server sends a transaction in parts before it knows whether it commits, as soon as it exceeds this.
#[tokio::test]
async fn streamed_transactions_with_rollbacks_and_savepoints_arrive() {
    let columns = vec![Column::large_text("body"), Column::large_text("more"), Column::int("n")];
    let shape = TableShape::new("public.t", vec![KeyColumn::bigint("id")], columns);
    let mix = [(Op::Batch, 3), (Op::Savepoint, 4), (Op::RolledBack, 3), (Op::Reinsert, 1)];
    for version in Version::ALL {
        let server = Postgres::builder(version).setting("logical_decoding_work_mem", "64kB").start().await;
        let race = Race { shape: shape.clone(), rows: 500, writers: 4, ..Race::standard(&mix) };
        race.run(&server.url("postgres"), &server.connect("postgres").await).await;
    }
}

/// Values go round among rows in transactions of their own: at every moment the shadow may hold a value that another row has now.
#[tokio::test]
async fn unique_values_that_go_round_across_transactions_arrive() {
    const ROWS: usize = 300;
    for version in Version::ALL {
        let database = shared(version).await.database().await;
        let client = database.connect().await;
        sql(&client, "create table t (id integer primary key, name text not null unique, n integer)").await;
        let filled =
            format!("insert into t select i, 'name' || i, 0 from generate_series(0, {}) i", ROWS - 1);
        sql(&client, &filled).await;
        let mut names: Vec<String> = (0..ROWS).map(|i| format!("name{i}")).collect();
        let writer = database.connect().await;
        let statement = writer.prepare("update t set name = $2 where id = $1").await.unwrap();
        let url = database.url();
        let mut migration = run(&url, "t", "alter column n type bigint").args(PATIENT).spawn();
        let (mut a, mut turns_left) = (0, 50);
        while turns_left > 0 {
            let b = (a * 7 + 3) % ROWS;
            if a != b {
                let (old_a, old_b) = (names[a].clone(), names[b].clone());
                for (id, name) in
                    [(a, format!("{old_a}, on its way")), (b, old_a.clone()), (a, old_b.clone())]
                {
                    writer
                        .execute(&statement, &[&(id as i32), &name])
                        .await
                        .expect("no client statement fails");
                }
                (names[a], names[b]) = (old_b, old_a);
            }
            a = (a + 1) % ROWS;
            turns_left -= usize::from(migration.is_over());
        }
        migration.wait(LONG).await.expect_code(0);
        let found = texts(&client, "select name from t order by id").await;
        assert_eq!(found, names, "on {version}");
        assert!(is_true(&client, "select pg_typeof(n) = 'bigint'::regtype from t limit 1").await);
    }
}

/// One transaction far larger than all batches, one that is rolled back, and one with a savepoint, all during the copy.
#[tokio::test]
async fn huge_transactions_during_the_copy_arrive_whole_or_not_at_all() {
    for version in Version::ALL {
        let server = Postgres::start(version).await;
        let (url, client) = (server.url("postgres"), server.connect("postgres").await);
        sql(
            &client,
            "create table t (id bigint primary key, n integer not null, v text);
             insert into t select i, i % 100, 'v' || i from generate_series(1, 60000) i;
             create table twin (id bigint primary key, n bigint not null, v text);
             insert into twin select * from t",
        )
        .await;
        let args = ["--chunk-time", "10ms", "--copy-workers", "1"];
        let mut migration = run(&url, "t", "alter column n type bigint").args(PATIENT).args(args).spawn();
        reached(&client, &mut migration, &["copy"]).await;
        let huge = "update {} set n = n + 1; delete from {} where id % 10 = 3; insert into {} select id + 1000000, n, 'new' from {} where id % 20 = 5";
        let half = "update {} set v = 'kept' where id % 7 = 0; savepoint s; delete from {} where id % 7 < 4; rollback to s; update {} set id = -id where id % 70 = 1";
        let gone = "delete from {} where id % 2 = 0; update {} set v = 'never'";
        for (body, end) in [(huge, "commit"), (gone, "rollback"), (half, "commit")] {
            // The twin in the same transaction: both have it or neither has.
            let text = format!("begin; {}; {}; {end}", body.replace("{}", "t"), body.replace("{}", "twin"));
            sql(&client, &text).await;
        }
        migration.wait(LONG).await.expect_code(0);
        let same = "not exists (select from (select * from t except all select * from twin) a)
            and not exists (select from (select * from twin except all select * from t) b)";
        assert!(is_true(&client, same).await, "on {version}, the table differs from its twin");
        assert!(
            is_true(&client, "(select count(*) from t) = 57000").await,
            "the transactions did what was meant"
        );
    }
}

/// How rows differ from what clients were told.
#[derive(Debug, Default, PartialEq)]
struct Damage {
    resurrected: Vec<String>,
    lost: Vec<String>,
}

impl Damage {
    /// Compares the keys and values of `t` with those of `expected`.
    async fn of(client: &Client) -> Damage {
        let only = async |one: &str, other: &str| {
            let text = "select id || ' ' || v from";
            let mut found = texts(
                client,
                &format!("{text} (select id, v from {one} except select id, v from {other}) d"),
            )
            .await;
            found.sort();
            found
        };
        Damage { resurrected: only("t", "expected").await, lost: only("expected", "t").await }
    }
}

/// Whether the applier waits until new readers see a transaction.
#[derive(Clone, Copy)]
enum Horizon {
    Kept,
    TakenOut,
}

/// The statements of both traps: what they do to rows that no chunk has brought yet, or that a chunk is about to bring.
const TRAPS: [&str; 4] = [
    "delete from {} where id between 2701 and 2710",
    "update {} set id = id + 100000 where id between 2711 and 2720",
    "update {} set v = 'changed' where id between 2721 and 2730",
    "insert into {} (id, v) select id + 200000, 'new' from {} where id between 2731 and 2740",
];

/// A table of 3000 rows with a copy of what it should become. `gate` runs in the projection, once for each row that is copied.
async fn set_trap(client: &Client, gate: &str) {
    // It says that it is immutable, which it is not: otherwise it would be refused as a projection.
    let function = format!(
        "create function gate(n integer, id bigint) returns bigint language plpgsql immutable as
         $$ begin {gate}; return n; end $$"
    );
    sql(client, &function).await;
    sql(
        client,
        "create table t (id bigint primary key, v text, n integer not null default 0);
         insert into t select i, 'v' || i from generate_series(1, 3000) i;
         create table expected as select id, v from t;
         create table pace (seconds float8);
         insert into pace values (0.001)",
    )
    .await;
    for text in TRAPS {
        sql(client, &text.replace("{}", "expected")).await;
    }
}

fn trapped_run(url: &str) -> Binary {
    let set = ["--set", "n=gate(n, id)", "--copy-workers", "1"];
    // Verification would find the damage before it is done; here the rows themselves are judged.
    run(url, "t", "alter column n type bigint").args(PATIENT).args(set).arg("--no-verify")
}

/// Gives an applier that does not wait for visibility the time to do its damage: until a later change is on the shadow, or a second
/// has passed, for the correct one never gets there.
async fn let_applier_act(client: &Client) {
    sql(client, "update t set v = 'later' where id = 1; update expected set v = 'later' where id = 1").await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1)
        && !is_true(client, "select v = 'later' from _t_shadow where id = 1").await
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Changes that are in the stream while new snapshots still show the old rows, because their commit waits for a standby that is not
/// there; and chunks that are read meanwhile.
async fn chunks_read_while_commits_wait_for_standby(version: Version, horizon: Horizon) -> Damage {
    let server = Postgres::builder(version)
        .setting("synchronous_standby_names", "absent")
        .setting("synchronous_commit", "local")
        .start()
        .await;
    let (url, client) = (server.url("postgres"), server.connect("postgres").await);
    set_trap(&client, "perform pg_sleep(seconds) from public.pace where seconds > 0").await;
    let migration = match horizon {
        Horizon::Kept => trapped_run(&url),
        Horizon::TakenOut => trapped_run(&url).env("SHADOWSWAP_TEST_NO_HORIZON", "1"),
    };
    let mut migration = migration.spawn();
    reached(&client, &mut migration, &["copy"]).await;
    seen(&client, &mut migration, "exists (select from shadowswap.chunk where done)").await;
    sql(&client, "update shadowswap.migration set paused = true").await;
    let held = "(select progress::json ->> 'throttled' is not null from shadowswap.migration)
        and not exists (select from shadowswap.chunk where not done)";
    seen(&client, &mut migration, held).await;
    assert!(
        is_true(&client, "not exists (select from _t_shadow where id > 2700)").await,
        "the copy was too fast"
    );

    let mut clients = JoinSet::new();
    for text in TRAPS {
        let client = server.connect("postgres").await;
        clients.spawn(async move {
            sql(&client, "set synchronous_commit = on").await;
            sql(&client, &text.replace("{}", "t")).await;
        });
    }
    let waiting =
        format!("(select count(*) from pg_stat_activity where wait_event = 'SyncRep') = {}", TRAPS.len());
    until_true(&client, &waiting, SOON).await;
    let end = texts(&client, "select pg_current_wal_lsn()::text").await.remove(0);
    let sent = format!("exists (select from pg_stat_replication where sent_lsn >= '{end}')");
    seen(&client, &mut migration, &sent).await;
    assert!(
        is_true(&client, "(select count(*) from t where id between 2701 and 2720) = 20").await,
        "still visible"
    );
    let_applier_act(&client).await;
    sql(&client, "update pace set seconds = 0; update shadowswap.migration set paused = false").await;
    seen(&client, &mut migration, "not exists (select from shadowswap.migration where phase = 'copy')").await;

    sql(&client, "alter system set synchronous_standby_names = ''").await;
    sql(&client, "select pg_reload_conf()").await;
    clients.join_all().await;
    migration.wait(LONG).await.expect_code(0);
    Damage::of(&client).await
}

#[tokio::test]
async fn rows_deleted_by_commits_that_wait_for_standby_do_not_come_back() {
    for version in Version::ALL {
        let damage = chunks_read_while_commits_wait_for_standby(version, Horizon::Kept).await;
        assert_eq!(damage, Damage::default(), "on {version}");
    }
}

/// The scenario must bite: without the horizon, rows do come back. Needs the binary with its mutation switches, as `scripts/test`
/// builds it.
#[tokio::test]
async fn without_the_horizon_deleted_rows_come_back() {
    let damage = chunks_read_while_commits_wait_for_standby(Version::Apt, Horizon::TakenOut).await;
    assert!(!damage.resurrected.is_empty(), "the trap does not bite: {damage:?}");
}

/// Changes that are committed and visible, while a chunk with an older snapshot has not written its rows yet.
async fn changes_under_a_chunk_in_flight(version: Version) -> Damage {
    let server = Postgres::start(version).await;
    let (url, client) = (server.url("postgres"), server.connect("postgres").await);
    // The applier is not held: it is what must hold itself.
    let gate = "if id > 2700 and current_setting('application_name') not like '%/apply%' then
        perform pg_advisory_xact_lock_shared(4711); end if";
    set_trap(&client, gate).await;
    sql(&client, "select pg_advisory_lock(4711)").await;
    let mut migration = trapped_run(&url).spawn();
    let at_gate = "exists (select from pg_locks where locktype = 'advisory' and not granted)";
    seen(&client, &mut migration, at_gate).await;
    for text in TRAPS {
        sql(&client, &text.replace("{}", "t")).await;
    }
    let_applier_act(&client).await;
    sql(&client, "select pg_advisory_unlock(4711)").await;
    migration.wait(LONG).await.expect_code(0);
    Damage::of(&client).await
}

#[tokio::test]
async fn rows_deleted_under_a_chunk_in_flight_do_not_come_back() {
    for version in Version::ALL {
        assert_eq!(changes_under_a_chunk_in_flight(version).await, Damage::default(), "on {version}");
    }
}

/// Changes that every chunk sees and that are applied late: while a chunk writes whose rows were not on the shadow when it began.
async fn changes_applied_into_a_chunk_that_found_no_row(version: Version) -> Damage {
    let server = Postgres::start(version).await;
    let (url, client) = (server.url("postgres"), server.connect("postgres").await);
    let gate = "if id in (500, 2500) and current_setting('application_name') not like '%/apply%' then
        perform pg_advisory_xact_lock_shared(id); end if";
    set_trap(&client, gate).await;
    sql(&client, "select pg_advisory_lock(500), pg_advisory_lock(2500)").await;
    let mut migration = trapped_run(&url).spawn();
    let waits_at = |id: u32| {
        format!("exists (select from pg_locks where locktype = 'advisory' and objid = {id} and not granted)")
    };
    seen(&client, &mut migration, &waits_at(500)).await;
    let holder = server.connect("postgres").await;
    sql(&holder, "begin; select from shadowswap.checkpoint for update").await;
    for text in TRAPS {
        sql(&client, &text.replace("{}", "t")).await;
    }
    sql(&client, "select pg_advisory_unlock(500)").await;
    seen(&client, &mut migration, &waits_at(2500)).await;
    sql(&holder, "rollback").await;
    seen(&client, &mut migration, "exists (select from _t_shadow where v = 'changed')").await;
    sql(&client, "select pg_advisory_unlock(2500)").await;
    migration.wait(LONG).await.expect_code(0);
    assert!(server.log().contains("duplicate key value"), "the chunk never met the applier's rows");
    Damage::of(&client).await
}

#[tokio::test]
async fn rows_applied_while_a_chunk_writes_are_kept() {
    for version in Version::ALL {
        let damage = changes_applied_into_a_chunk_that_found_no_row(version).await;
        assert_eq!(damage, Damage::default(), "on {version}");
    }
}

/// A row whose unchanged value is not in the stream is read again, as it is by then: with a unique value that another row of the same
/// batch still had when it was written.
#[tokio::test]
async fn value_that_a_row_got_later_is_not_claimed_twice_in_a_batch() {
    let uniques =
        ["(email)", "(lower(email))", "(email) where n >= 0", "(lower(email), (id > 0)) where id < 9"];
    for (version, unique) in Version::ALL.into_iter().flat_map(|v| uniques.map(|u| (v, u))) {
        let server = Postgres::start(version).await;
        let (url, client) = (server.url("postgres"), server.connect("postgres").await);
        sql(
            &client,
            "create table t (id integer primary key, email text not null, body text, n integer not null, amount integer);
             insert into t values (1, 'one', 'short', 0), (3, 'three', 'short', 0);
             insert into t select 2, 'two', string_agg(md5(i::text), ''), 0 from generate_series(1, 3000) i",
        )
        .await;
        sql(&client, &format!("create unique index on t {unique}")).await;
        let mut migration =
            run(&url, "t", "alter column amount type bigint").args(["--cutover", "manual"]).spawn();
        reached(&client, &mut migration, &["ready"]).await;
        let holder = server.connect("postgres").await;
        sql(&holder, "begin; select from shadowswap.checkpoint for update").await;
        sql(&client, "update t set n = 1").await;
        let is_held = "exists (select from pg_stat_activity
            where application_name like 'shadowswap/apply%' and wait_event_type = 'Lock')";
        seen(&client, &mut migration, is_held).await;
        sql(&client, "update t set email = 'free' where id = 1").await;
        sql(&client, "update t set email = 'one' where id = 2").await;
        sql(&holder, "rollback").await;
        tell(&url, "cutover", "t").await.expect_code(0);
        migration.wait(LONG).await.expect_code(0);
        let found =
            texts(&client, "select concat_ws(' ', id, email, length(body), n) from t order by id").await;
        assert_eq!(found, ["1 free 5 1", "2 one 96000 1", "3 three 5 1"], "on {version}, unique {unique}");
    }
}

/// The same trap at the very beginning: what commits before the slot's starting point, and is invisible to the first chunks, is in neither.
#[tokio::test]
async fn commit_that_waits_for_standby_before_the_run_is_not_missed() {
    for version in Version::ALL {
        let server = Postgres::builder(version)
            .setting("synchronous_standby_names", "absent")
            .setting("synchronous_commit", "local")
            .start()
            .await;
        let (url, client) = (server.url("postgres"), server.connect("postgres").await);
        set_trap(&client, "null").await;
        let mut clients = JoinSet::new();
        for text in TRAPS {
            let client = server.connect("postgres").await;
            clients.spawn(async move {
                sql(&client, "set synchronous_commit = on").await;
                sql(&client, &text.replace("{}", "t")).await;
            });
        }
        let waiting =
            format!("(select count(*) from pg_stat_activity where wait_event = 'SyncRep') = {}", TRAPS.len());
        until_true(&client, &waiting, SOON).await;
        let mut migration = trapped_run(&url).spawn();
        reached(&client, &mut migration, &["prepare", "copy", "index"]).await;
        seen(&client, &mut migration, "exists (select from pg_publication)").await;
        // Whether the run waits here or copies meanwhile is its own affair.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) && phase(&client).await.as_deref() != Some("index") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sql(&client, "alter system set synchronous_standby_names = ''").await;
        sql(&client, "select pg_reload_conf()").await;
        clients.join_all().await;
        migration.wait(LONG).await.expect_code(0);
        assert_eq!(Damage::of(&client).await, Damage::default(), "on {version}");
    }
}

/// Two migrations of one database at once, each under its own load.
#[tokio::test]
async fn two_tables_can_be_migrated_at_once() {
    let database = shared(Version::Apt).await.database().await;
    let client = database.connect().await;
    let mut loads = Vec::new();
    for table in ["public.a", "public.b"] {
        let shape = TableShape::standard(table);
        shape.create(&client).await;
        let ledger = Ledger::fill(&client, shape, 3_000, 1).await;
        loads.push((table, Load::new(&database.url()).writers(2).start(ledger).await.unwrap()));
    }
    let url = database.url();
    let one = |table| run(&url, table, "alter column n type bigint").args(PATIENT).run(LONG);
    let (a, b) = tokio::join!(one("public.a"), one("public.b"));
    a.expect_code(0);
    b.expect_code(0);
    for (table, load) in loads {
        load.reached(AFTERWARDS, SOON).await;
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "{report}");
        let differences = ledger.check(&client, table).await.unwrap();
        assert!(differences.is_empty(), "{differences}");
    }
    let status = shadowswap(&url).args(["status", "--json"]).run(SOON).await.expect_code(0);
    assert_eq!(status.stdout.matches("\"phase\":\"done\"").count(), 2, "{}", status.stdout);
}
