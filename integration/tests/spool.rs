//! The change log on this machine's disk: kept for the server that forgets (`--spool durable`), full, damaged, lost, and in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mysql_async::{Conn, prelude::Queryable};
use shadowswap_testkit::binary::{Output, Run};
use shadowswap_testkit::load::{Ledger, Load, Running, TableShape};
use shadowswap_testkit::mysql::{Mysql, Product};
use shadowswap_testkit::{Binary, Postgres, Signal, Version};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::catalog::traces;
use crate::mysql;
use crate::operator::{
    LONG, POLL, SOON, is_true, printed, reached, run, seen, shadowswap, sql, status, tell, texts, until_true,
};

const TABLES: &str = "create table t (id bigint primary key, n int, body text);
    insert into t select i, i, 'row ' || i from generate_series(1, 500) i;
    create table twin as select * from t";
const ALTER: &str = "alter column n type bigint";
/// The process's memory: what the design promises, and what a debug build needs more.
const MEMORY_MAX: u64 = 96 << 20;
/// The last thing that is written, found as bytes in a file.
const LAST: &str = "the last row of all";

/// What clients do, in some transactions, to a table and its twin: about 5 MB.
fn writes(table: &str, pad: &str) -> Vec<String> {
    let mut all = Vec::new();
    for from in [1_000, 2_000, 3_000, 4_000, 5_000] {
        for id in (from..from + 900).step_by(300) {
            let rows = (id..id + 300).map(|id| format!("({id}, {id}, {pad})")).collect::<Vec<_>>().join(", ");
            all.push(format!("insert into {table} values {rows}"));
        }
        all.push(format!("update {table} set n = n + 1 where id % 7 = 0"));
        all.push(format!("delete from {table} where id % 13 = 0"));
    }
    all
}

const PAD: &str = "repeat('some text ', 110)";

fn journals(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("shadowswap-journal-"));
    found
}

/// The journal's folder.
fn journal(directory: &Path) -> PathBuf {
    let mut found = journals(directory);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn segments(journal: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "journal"));
    found.sort();
    found
}

/// Somebody else has the journal, until this is dropped.
fn hold_journal(journal: &Path) -> fs::File {
    let file = fs::File::options().write(true).open(journal.join("lock")).unwrap();
    file.lock().unwrap();
    file
}

struct Site {
    server: Postgres,
    client: Client,
    url: String,
    directory: TempDir,
}

impl Site {
    async fn new(version: Version) -> Site {
        Site::on(Postgres::start(version).await).await
    }

    async fn on(server: Postgres) -> Site {
        let (client, url) = (server.connect("postgres").await, server.url("postgres"));
        sql(&client, TABLES).await;
        Site { server, client, url, directory: tempfile::tempdir().unwrap() }
    }

    fn run(&self, args: &[&str]) -> Binary {
        let directory = self.directory.path().to_str().unwrap();
        run(&self.url, "t", ALTER)
            .args(["--stall-budget", "2s", "--log-directory", directory])
            .args(args.iter().copied())
    }

    /// A run in `ready`, of which nothing is applied any more.
    async fn held(&self, binary: Binary) -> (Run, Client) {
        let mut migration = binary.args(["--cutover", "manual"]).spawn();
        reached(&self.client, &mut migration, &["ready"]).await;
        let holder = self.server.connect("postgres").await;
        sql(&holder, "begin; lock table _t_shadow in share mode").await;
        (migration, holder)
    }

    async fn write(&self) {
        for table in ["t", "twin"] {
            for text in writes(table, PAD) {
                sql(&self.client, &text).await;
            }
        }
    }

    /// The next run fails, says this, and leaves the table alone.
    async fn fails(&self, args: &[&str], words: &[&str]) -> Output {
        let output = self.run(args).run(LONG).await.expect_code(1);
        let text = printed(&output);
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} is not said:\n{text}");
        output
    }

    async fn is_changed(&self) {
        let differ =
            "select ('only in t: ' || id) from (select * from t except select * from twin) a union all
            select ('only in twin: ' || id) from (select * from twin except select * from t) b";
        assert_eq!(texts(&self.client, differ).await, Vec::<String>::new());
        let kind = "select atttypid::regtype::text from pg_attribute where attrelid = 't'::regclass and attname = 'n'";
        assert_eq!(texts(&self.client, kind).await, ["bigint"]);
        assert_eq!(traces(&self.client).await, Vec::<String>::new());
    }

    /// No journal is left in the log's directory.
    fn is_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.directory.path()).unwrap().map(|e| e.unwrap().path()).collect();
        let ours =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("shadowswap-journal-");
        assert!(!left.iter().any(ours), "{left:?}");
    }
}

/// The server is told to forget what is not applied. After a kill it comes from the disk; and where it does not, nothing is swapped.
#[tokio::test]
async fn durable_log_replaces_what_the_server_forgot_or_the_run_ends() {
    let site = Site::new(Version::Apt).await;
    let durable = ["--spool", "durable"];
    let (mut migration, holder) = site.held(site.run(&durable)).await;
    site.write().await;
    let end = texts(&site.client, "select pg_current_wal_lsn()::text").await.remove(0);
    let forgot = format!("exists (select from pg_replication_slots where confirmed_flush_lsn >= '{end}')");
    seen(&site.client, &mut migration, &forgot).await;
    migration.signal(Signal::SIGKILL);
    migration.wait(SOON).await;
    sql(&holder, "rollback").await;

    let journal = journal(site.directory.path());
    let elsewhere = site.directory.path().join("elsewhere");
    fs::rename(&journal, &elsewhere).unwrap();
    site.fails(&durable, &["cannot be trusted", "not on this machine", "shadowswap abort --table"]).await;
    assert_eq!(fs::read_dir(site.directory.path()).unwrap().count(), 1, "nothing is begun in its place");
    fs::rename(&elsewhere, &journal).unwrap();

    // A byte in the middle, and what ends too early: neither is passed over, and neither is made worse.
    let segment = segments(&journal).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x20;
    for bytes in [&damaged[..], &whole[..whole.len() / 2], b""] {
        fs::write(&segment, bytes).unwrap();
        site.fails(&[], &["cannot be trusted", "nothing was swapped"]).await;
        assert_eq!(fs::read(&segment).unwrap(), bytes, "what is there is left as it is");
    }
    fs::write(&segment, &whole).unwrap();
    let other = hold_journal(&journal);
    site.fails(&[], &["another change log uses"]).await;
    drop(other);

    // It goes on being durable, whatever is said now.
    site.run(&[]).run(LONG).await.expect_code(0);
    let said =
        "exists (select from shadowswap.event where what like 'going on from the durable change log%')";
    until_true(&site.client, said, SOON).await;
    site.is_changed().await;
    site.is_clean();
}

/// Who gives up takes the log along.
#[tokio::test]
async fn abort_removes_the_durable_log() {
    let site = Site::new(Version::Apt).await;
    let (mut migration, holder) = site.held(site.run(&["--spool", "durable"])).await;
    site.write().await;
    seen(&site.client, &mut migration, "exists (select from shadowswap.setting where name = 'spool')").await;
    migration.signal(Signal::SIGKILL);
    migration.wait(SOON).await;
    sql(&holder, "rollback").await;
    journal(site.directory.path());
    shadowswap(&site.url).args(["abort", "--yes", "--table", "t"]).run(SOON).await.expect_code(0);
    site.is_clean();
    let refused = run(&site.url, "t", ALTER).args(["--spool", "durable"]).run(SOON).await.expect_code(2);
    assert!(printed(&refused).contains("--log-directory"), "{}", printed(&refused));
}

/// The program in a world of its own, in which the log's directory is a file system of this size.
fn on_small_disk(site: &Site, size: &str, args: &[&str]) -> Binary {
    let mount = format!("mount -t tmpfs -o size={size} none \"$0\" && exec \"$@\"");
    let directory = site.directory.path().to_str().unwrap();
    let binary = Binary::shadowswap();
    let program = binary.path().to_str().unwrap();
    let run =
        ["run", "--yes", "--progress", "none", "--strategy", "shadow", "--table", "t", "--alter", ALTER];
    Binary::at("/usr/bin/unshare")
        .args(["-rm", "sh", "-c", &mount, directory, program])
        .args(run)
        .args(["--stall-budget", "2s", "--log-directory", directory])
        .args(args.iter().copied())
        .env("SHADOWSWAP_URL", &site.url)
}

/// Reading stops while the log is full, and says so; a disk that is full ends the run. Nothing is lost by either.
#[tokio::test]
async fn full_log_waits_and_full_disk_ends_the_run_resumably() {
    let site = Site::new(Version::Pip).await;
    let small = ["--log-memory", "1MiB"];
    for spool in ["temporary", "durable"] {
        let args = [&small[..], &["--spool", spool]].concat();
        let (mut migration, holder) = site.held(on_small_disk(&site, "2m", &args)).await;
        for text in writes("t", PAD) {
            sql(&site.client, &text).await;
        }
        // Only the server's own log has it all: this process's is gone with its disk.
        let is_over = Instant::now();
        while !migration.is_over() {
            assert!(is_over.elapsed() < SOON, "a full disk is noticed");
            tokio::time::sleep(POLL).await;
        }
        let output = migration.wait(SOON).await.expect_code(1);
        let text = printed(&output);
        assert!(
            text.contains("no space left for the change log") && text.contains("run the same command again"),
            "{text}"
        );
        sql(&holder, "rollback").await;
        sql(&site.client, "delete from t where id > 500; update t set n = id, body = 'row ' || id").await;
        sql(&site.client, "insert into t select * from twin on conflict do nothing").await;
        if spool == "durable" {
            // What it had was never promised: the server has all of it.
            shadowswap(&site.url).args(["abort", "--yes", "--table", "t"]).run(SOON).await.expect_code(0);
        }
    }
    let args = [&small[..], &["--log-disk", "2MiB"]].concat();
    let (mut migration, holder) = site.held(site.run(&args)).await;
    site.write().await;
    let full = "exists (select from shadowswap.event where what like 'the change log is full%')";
    seen(&site.client, &mut migration, full).await;
    let warnings = status(&site.url).await["progress"]["warnings"].to_string();
    assert!(warnings.contains("--log-disk 2.0 MiB"), "{warnings}");
    // Damage to what is only a buffer: all of it is read again from the server.
    let ours = format!("shadowswap-{}-", migration.pid());
    let is_ours = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&ours);
    let mut log =
        fs::read_dir(site.directory.path()).unwrap().map(|entry| entry.unwrap().path()).filter(is_ours);
    let log = log.next().unwrap().join("changelog");
    let mut damaged = 0;
    for path in fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|e| e == "segment") && !bytes.is_empty() {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x20;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 2, "{damaged} files");
    sql(&holder, "rollback").await;
    migration.saw("is corrupt at byte", SOON).await;
    tell(&site.url, "cutover", "t").await.expect_code(0);
    let output = migration.wait(LONG).await.expect_code(0);
    assert!(output.peak_rss_bytes < MEMORY_MAX, "{} bytes", output.peak_rss_bytes);
    site.is_changed().await;
}

/// What the server keeps for a run is watched without anybody's asking for it, and copying waits before the slot is lost.
#[tokio::test]
async fn server_that_keeps_too_much_holds_the_copy_and_says_so() {
    // Ten files.
    let server = Postgres::builder(Version::Apt).setting("max_slot_wal_keep_size", "160MB").start().await;
    let site = Site::on(server).await;
    let (mut migration, holder) = site.held(site.run(&[])).await;
    sql(&site.client, "update t set n = n + 1 where id < 10; update twin set n = n + 1 where id < 10").await;
    let said = |what: &str| {
        format!("exists (select from shadowswap.event where what like 'the server keeps%{what}')")
    };
    for (files, what) in [(6, "% of what it is willing to keep"), (3, "copying waits until it is less")] {
        for _ in 0..files {
            sql(&site.client, "select pg_logical_emit_message(true, 'test', 'x'); select pg_switch_wal()")
                .await;
        }
        seen(&site.client, &mut migration, &said(what)).await;
    }
    let progress = status(&site.url).await["progress"].clone();
    assert!(progress["warnings"].to_string().contains("--spool durable"), "{progress}");
    let held = "(select progress::json ->> 'throttled' like 'the server keeps%' from shadowswap.migration)";
    seen(&site.client, &mut migration, held).await;
    sql(&holder, "rollback").await;
    // What the server may let go is noticed when it writes where it is, each 15 s or so.
    let below = said("well below what matters again");
    let start = Instant::now();
    while !is_true(&site.client, &below).await {
        sql(&site.client, "checkpoint").await;
        assert!(start.elapsed() < LONG && !migration.is_over(), "{}", migration.stderr());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tell(&site.url, "cutover", "t").await.expect_code(0);
    migration.wait(LONG).await.expect_code(0);
    site.is_changed().await;
}

/// Rows far larger than the log's memory: each comes off the wire once, and is not carried further.
#[tokio::test]
async fn rows_of_many_megabytes_take_little_more_memory_than_one() {
    const ROW: u64 = 16 << 20;
    let site = Site::new(Version::Apt).await;
    let args = ["--log-memory", "1MiB", "--copy-workers", "8", "--cutover", "manual"];
    let mut migration = site.run(&args).spawn();
    reached(&site.client, &mut migration, &["ready"]).await;
    for id in 1..=8 {
        let text = format!("set n = n + 1, body = repeat('{id}', {ROW}) where id = {id}");
        sql(&site.client, &format!("update t {text}; update twin {text}")).await;
    }
    let moved = "delete from T where id = 1; update T set id = 7000 where id = 2; insert into T select 7001, n, body || 'x' from T where id = 3";
    sql(&site.client, &(moved.replace('T', "t") + ";" + &moved.replace('T', "twin"))).await;
    tell(&site.url, "cutover", "t").await.expect_code(0);
    let output = migration.wait(LONG).await.expect_code(0);
    // In a debug build more than in a release.
    assert!(output.peak_rss_bytes < MEMORY_MAX + ROW, "{} bytes", output.peak_rss_bytes);
    site.is_changed().await;
}

/// The binlogs that have what is not applied yet are purged; after a kill it comes from the disk.
#[tokio::test]
async fn binlog_may_be_purged_beneath_a_durable_log() {
    for product in mysql::PRODUCTS {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        mysql::sql(&mut conn, "create table t (id bigint primary key, n int, body text); insert into t values (1, 1, 'a'), (2, 2, 'b'); create table twin like t; insert into twin select * from t").await;
        let directory = tempfile::tempdir().unwrap();
        let shown = directory.path().to_str().unwrap();
        let start = |cutover: &'static str| {
            let args = [
                "--stall-budget",
                "2s",
                "-v",
                "--spool",
                "durable",
                "--log-directory",
                shown,
                "--cutover",
                cutover,
            ];
            run(&server.url("shop"), "t", "modify n bigint").args(args).spawn()
        };
        let mut first = start("manual");
        mysql::reached(&mut conn, &mut first, &["ready"]).await;
        let mut holder = server.connect("shop").await;
        mysql::sql(&mut holder, "begin").await;
        mysql::texts(&mut holder, &format!("select id from {} for update", shadow(product))).await;
        for table in ["t", "twin"] {
            for text in writes(table, PAD) {
                mysql::sql(&mut conn, &text).await;
            }
        }
        // From here on the server keeps it.
        mysql::sql(&mut conn, "flush binary logs").await;
        // Two: of the last one the journal may have half when the runner dies, and what comes before it must still be in this binlog.
        for (id, body) in [(9998, "the last but one"), (9999, LAST)] {
            for table in ["twin", "t"] {
                mysql::sql(&mut conn, &format!("insert into {table} values ({id}, 1, '{body}')")).await;
            }
        }
        let written = Instant::now();
        while !has_last(&journal(directory.path())) {
            assert!(written.elapsed() < SOON && !first.is_over(), "not in the journal\n{}", first.stderr());
            tokio::time::sleep(POLL).await;
        }
        purge(&mut conn).await;
        first.signal(Signal::SIGKILL);
        first.wait(SOON).await;
        mysql::sql(&mut holder, "rollback").await;

        let folder = journal(directory.path());
        let elsewhere = directory.path().join("elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        let output = start("auto").wait(LONG).await.expect_code(1);
        assert!(output.stderr.contains("purged") && output.stderr.contains("abort"), "{}", output.stderr);
        fs::rename(&elsewhere, &folder).unwrap();

        let output = start("auto").wait(LONG).await.expect_code(0);
        let said = "select 1 from shadowswap.event where what like 'going on from the durable change log%'";
        assert!(!mysql::texts(&mut conn, said).await.is_empty(), "{product}: {}", printed(&output));
        let rows = "select id, n, sha2(body, 256) from {} order by id";
        let twin = mysql::texts(&mut conn, &rows.replace("{}", "twin")).await;
        assert_eq!(mysql::texts(&mut conn, &rows.replace("{}", "t")).await, twin, "{product}");
    }
}

/// Kills at whatever moment it happens to be, beneath writers: between a sync and what the server is told, for one. For every other one
/// `hold` first keeps anything from being applied, and the file ends with half a record.
async fn killed_again_and_again(url: &str, alter: &str, load: &Running, mut hold: impl AsyncFnMut(bool)) {
    let directory = tempfile::tempdir().unwrap();
    let shown = directory.path().to_str().unwrap();
    let start = |cutover: &'static str| {
        let args = ["--spool", "durable", "--log-directory", shown, "--cutover", cutover];
        let slow = ["--chunk-time", "10ms", "--log-memory", "1MiB", "--stall-budget", "2s"];
        run(url, "t", alter).args(args).args(slow).spawn()
    };
    for kill in 0..6_u64 {
        let mut migration = start("manual");
        let mut wait = async |ms| {
            let until = Instant::now() + Duration::from_millis(ms);
            while Instant::now() < until && !migration.is_over() {
                tokio::time::sleep(POLL).await;
            }
            assert!(!migration.is_over(), "it ended by itself: {}", migration.stderr());
        };
        wait(500 + 170 * kill).await;
        let is_held = kill % 2 == 1;
        if is_held {
            // Before it, the shadow may still be made anew, which the lock would hold up.
            let begun = Instant::now();
            while journals(directory.path()).is_empty() {
                assert!(begun.elapsed() < SOON, "no journal was made");
                wait(10).await;
            }
            hold(true).await;
            // The first two syncs come after a second or so.
            wait(2_200).await;
        }
        migration.signal(Signal::SIGKILL);
        migration.wait(SOON).await;
        if is_held {
            hold(false).await;
            let last = segments(&journal(directory.path())).pop().unwrap();
            let mut bytes = fs::read(&last).unwrap();
            bytes.extend_from_slice(&[0, 1, 0, 0, 7, 7, 7, 7, 1, 2, 3]);
            fs::write(&last, bytes).unwrap();
        }
    }
    load.reached(50, SOON).await;
    start("auto").wait(LONG).await.expect_code(0);
    load.reached(50, SOON).await;
}

const GONE_ON: &str =
    "select what from shadowswap.event where what like 'going on from the durable change log%'";

#[tokio::test]
async fn kills_at_any_moment_lose_nothing_of_a_durable_log() {
    let server = Postgres::start(Version::Pip).await;
    let (client, url) = (server.connect("postgres").await, server.url("postgres"));
    let shape = TableShape::standard("public.t");
    shape.create(&client).await;
    let ledger = Ledger::fill(&client, shape, 20_000, 1).await;
    let load = Load::new(&url).writers(2).start(ledger).await.unwrap();
    let holder = server.connect("postgres").await;
    let hold = async |is_held| {
        until_true(&holder, "to_regclass('_t_shadow') is not null", SOON).await;
        sql(&holder, if is_held { "begin; lock table _t_shadow in share mode" } else { "rollback" }).await;
    };
    killed_again_and_again(&url, ALTER, &load, hold).await;
    assert!(
        texts(&client, GONE_ON).await.len() > 1,
        "{:?}",
        texts(&client, "select what from shadowswap.event").await
    );
    let (report, ledger) = load.stop().await;
    assert!(report.is_clean(), "{report}");
    let differences = ledger.check(&client, "public.t").await.unwrap();
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(traces(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn kills_at_any_moment_lose_nothing_of_a_durable_log_of_a_binlog() {
    for product in mysql::PRODUCTS {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let mut conn = server.connect("shop").await;
        let shape = TableShape::standard("t");
        shape.create(&mut conn).await;
        let ledger = Ledger::fill(&mut conn, shape, 5_000, 1).await;
        let load = Load::new(&server.url("shop")).writers(2).rate(400.0).start(ledger).await.unwrap();
        let mut holder = server.connect("shop").await;
        let lock = format!("select count(*) from {} for update", shadow(product));
        let is_made =
            format!("select 1 from information_schema.tables where table_name = '{}'", shadow(product));
        let hold = async |is_held| {
            mysql::until_found(&mut holder, &is_made, SOON).await;
            mysql::sql(&mut holder, if is_held { "begin" } else { "rollback" }).await;
            if is_held {
                mysql::texts(&mut holder, &lock).await;
            }
        };
        killed_again_and_again(&server.url("shop"), "modify n bigint", &load, hold).await;
        assert!(
            mysql::texts(&mut conn, GONE_ON).await.len() > 1,
            "{:?}",
            mysql::texts(&mut conn, "select what from shadowswap.event").await
        );
        let (report, ledger) = load.stop().await;
        assert!(report.is_clean(), "{product}: {report}");
        let differences = ledger.check(&mut conn, "t").await.unwrap();
        assert!(differences.is_empty(), "{product}: {differences}");
    }
}

fn shadow(product: Product) -> &'static str {
    if product == Product::MySql { "_t_shadow" } else { "t_shadow" }
}

fn has_last(journal: &Path) -> bool {
    let has = |file: &PathBuf| {
        fs::read(file).is_ok_and(|bytes| bytes.windows(LAST.len()).any(|w| w == LAST.as_bytes()))
    };
    segments(journal).iter().any(has)
}

/// Purges all binlogs but the last.
async fn purge(conn: &mut Conn) {
    let files = mysql::texts(conn, "show binary logs").await;
    let last = files.last().and_then(|f| f.split('|').next()).unwrap_or_default().to_string();
    let start = Instant::now();
    while mysql::texts(conn, "show binary logs").await.len() > 1 {
        drop(conn.query_drop(format!("purge binary logs to '{last}'")).await);
        assert!(start.elapsed() < SOON, "not purged");
        tokio::time::sleep(POLL).await;
    }
}
