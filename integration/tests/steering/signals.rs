//! Each signal against a real server: it holds the copy under its own name, and lets it go.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shadowswap_testkit::mysql::Product;
use shadowswap_testkit::{Postgres, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{EACH, Server, Site};
use crate::operator::{LONG, SOON, shadowswap, until_true};

const ROWS: u64 = 2_000;

/// A page that says a number; below zero: that something is broken.
async fn page(value: Arc<AtomicI64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/gate", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = client.read(&mut request).await;
            let (code, body) = match value.load(Ordering::Relaxed) {
                n @ 0.. => ("200 OK", n.to_string()),
                _ => ("503 Service Unavailable", String::new()),
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {code}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn query_page_command_and_flag_file_hold_the_copy_until_all_let_go() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        let folder = tempfile::tempdir().unwrap();
        let (flag, file) = (folder.path().join("stop"), folder.path().join("value"));
        let value = Arc::new(AtomicI64::new(-1));
        let url = page(Arc::clone(&value)).await;
        fs::write(&file, "7\n").unwrap();
        fs::write(&flag, "").unwrap();
        site.turn("queue", 12).await;
        let mut run = site
            .run()
            .args([
                "--signal",
                "queue=select value from knob where name = 'queue'",
                "--throttle",
                "queue=10..5",
            ])
            .args(["--signal".to_string(), format!("pager={url}")])
            .args([
                "--signal".to_string(),
                format!("disk=cat {}", file.display()),
                "--throttle".into(),
                "disk=5".into(),
            ])
            .args(["--flag-file".to_string(), flag.display().to_string()])
            .spawn();
        let why = site
            .held(
                &mut run,
                &["queue is 12 (limit 10, goes on at 5)", "disk is 7", "flag-file", "pager", "503"],
            )
            .await;
        assert!(why.contains("pager cannot be read and counts as over"), "{why}");
        fs::remove_file(&flag).unwrap();
        value.store(1, Ordering::Relaxed);
        site.shows(&mut run, "the file is gone", |s| {
            super::has(s, &["pager is 1"]) && !super::has(s, &["flag-file"])
        })
        .await;
        value.store(0, Ordering::Relaxed);
        fs::remove_file(&file).unwrap();
        site.held(&mut run, &["disk cannot be read and counts as over", "No such file"]).await;
        fs::write(&file, "0").unwrap();
        // In its band: over the limit before, not yet at its recovery level.
        site.turn("queue", 7).await;
        site.shows(&mut run, "held by queue alone", |s| {
            s["progress"]["throttled"] == "queue is 7 (limit 10, goes on at 5)"
        })
        .await;
        assert_eq!(site.status().await["progress"]["rows_copied"], 0, "{product:?}");
        site.turn("queue", 5).await;
        site.is_changed(run, ROWS).await;
    }
}

#[tokio::test]
async fn sessions_at_work_hold_the_copy() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        let nap = if product.is_none() { "select pg_sleep(100)" } else { "do sleep(100)" };
        let nap = || async {
            match &site.server {
                Server::Postgres(server) => drop(server.connect("shop").await.batch_execute(nap).await),
                Server::Mysql(server) => {
                    use mysql_async::prelude::Queryable;
                    drop(server.connect("shop").await.query_drop(nap).await);
                }
            }
        };
        // MySQL counts a thread or two of its own.
        let limit = if product.is_none() { "sessions=2" } else { "sessions=6" };
        let naps = futures_util::future::join_all((0..9).map(|_| nap()));
        let awake = async {
            let mut run = site.run().args(["--throttle", limit]).spawn();
            site.held(&mut run, &["sessions is"]).await;
            let end = match product {
                None => {
                    "select pg_terminate_backend(pid)::text from pg_stat_activity where query like '%pg_sleep(100)' and pid <> pg_backend_pid()"
                }
                Some(_) => {
                    "select concat('kill ', id) from information_schema.processlist where info like 'do sleep%'"
                }
            };
            for kill in site.texts(end).await {
                if product.is_some() {
                    site.sql(&kill).await;
                }
            }
            site.is_changed(run, ROWS).await;
        };
        tokio::join!(naps, awake);
    }
}

/// Our own copiers are nobody else: with as many of them as one likes, and nobody else at work, nothing holds the copy. (PostgreSQL knows
/// them by their names.)
#[tokio::test]
async fn own_sessions_do_not_hold_the_copy() {
    const FEW: u64 = 8_000;
    for product in [Product::MariaDb, Product::MySql] {
        let site = Site::new(Some(product), FEW).await;
        // Rows that keep the server at work for seconds.
        let slow = "body=if(sha2(repeat(id, 60000), 512) = '', 'never', body)";
        let mut run = crate::operator::run(&site.url, "t", site.alter())
            .args(["--throttle", "sessions=5", "--copy-workers", "6", "--chunk-time", "300ms", "--set", slow])
            .args(["--no-verify"])
            .spawn();
        site.shows(&mut run, "copied", |status| {
            assert!(!super::has(status, &["sessions is"]), "{product:?}: held by ourselves: {status:#}");
            !["prepare", "copy"].contains(&status["phase"].as_str().unwrap_or("prepare"))
        })
        .await;
        let text = run.stderr();
        assert!(!text.contains("sessions is"), "{product:?}: {text}");
        site.is_changed(run, FEW).await;
    }
}

#[tokio::test]
async fn others_at_work_are_spared_and_an_idle_server_is_not() {
    let courtesy = |status: &serde_json::Value| {
        let signals = status["progress"]["signals"].as_array().cloned().unwrap_or_default();
        signals.into_iter().find(|signal| signal["name"] == "courtesy")
    };
    for product in EACH {
        let site = Site::new(product, 30_000).await;
        let back = if product.is_none() {
            "alter table t alter column n type integer"
        } else {
            "alter table t modify n int"
        };
        // Nobody looks at it meanwhile: that would be somebody.
        let idle = [
            "run",
            "--yes",
            "--strategy",
            "shadow",
            "--progress",
            "json",
            "--chunk-time",
            "5ms",
            "--no-verify",
        ];
        let idle =
            shadowswap(&site.url).args(idle).args(["--drop-old", "--table", "t", "--alter", site.alter()]);
        let output = idle.run(LONG).await.expect_code(0);
        let copying = output.stdout.lines().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let progress = line.get("progress")?;
            (progress["phase"] == "index").then(|| progress["ease"].as_f64()).flatten()
        });
        let copying: Vec<f64> = copying.collect();
        assert!(
            !copying.is_empty() && copying.iter().all(|ease| *ease == 1.0),
            "{product:?}: {}",
            output.stdout
        );
        site.sql(back).await;
        // Somebody who is always at work, and never for long: an old snapshot would keep the tables from being swapped.
        let naps = async {
            match &site.server {
                Server::Postgres(server) => {
                    let client = server.connect("shop").await;
                    loop {
                        client.batch_execute("select pg_sleep(0.3)").await.unwrap();
                    }
                }
                Server::Mysql(server) => {
                    use mysql_async::prelude::Queryable;
                    let mut conn = server.connect("shop").await;
                    loop {
                        conn.query_drop("do sleep(0.3)").await.unwrap();
                    }
                }
            }
        };
        let awake = async {
            let mut run = site.run().args(["--max-load", "auto"]).spawn();
            let what = "slower than it could be, with what was measured";
            let now = site
                .shows(&mut run, what, |s| {
                    courtesy(s).is_some_and(|signal| signal["value"].to_string().contains("while copying"))
                })
                .await;
            let ease = now["progress"]["ease"].as_f64().unwrap();
            assert!(ease < 0.5, "{product:?}: {now:#}");
            site.throttle("max-load=off").await;
            site.shows(&mut run, "at full speed, as it was told", |s| courtesy(s).is_none()).await;
            site.is_changed(run, 30_000).await;
        };
        tokio::select! {
            () = naps => {}
            () = awake => {}
        }
    }
}

#[tokio::test]
async fn commits_and_what_is_retained_are_measured_and_limits_can_be_lifted_while_it_runs() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        let mut run = site.run().args(["--throttle", "commit=1us", "--critical", "commit=60s"]).spawn();
        let why = site.held(&mut run, &["commit is", "limit 0.0 ms"]).await;
        assert!(!why.contains("cannot be read"), "{why}");
        site.throttle("retained=1B").await;
        site.throttle("slot-budget=0%").await;
        // Something that was applied, so that there is a position to keep the log from.
        site.sql("update t set n = n + 1 where id <= 10").await;
        if product.is_none() {
            site.sql("alter system set max_slot_wal_keep_size = '1GB'").await;
            site.sql("select pg_reload_conf()").await;
        } else {
            site.sql("set global binlog_expire_logs_seconds = 86400").await;
        }
        site.held(&mut run, &["retained is", "slot-budget is", "commit is"]).await;
        site.throttle("commit=none").await;
        site.shows(&mut run, "no longer held by commits", |s| {
            super::has(s, &["retained is", "slot-budget is"]) && !super::has(s, &["commit"])
        })
        .await;
        site.throttle("retained=none").await;
        site.throttle("slot-budget=none").await;
        site.is_changed(run, ROWS).await;
    }
}

#[tokio::test]
async fn undo_that_grows_holds_the_copy() {
    for product in [Product::MariaDb, Product::MySql] {
        let site = Site::new(Some(product), ROWS).await;
        let Server::Mysql(server) = &site.server else { unreachable!() };
        let mut reader = server.connect("shop").await;
        crate::mysql::sql(&mut reader, "set transaction isolation level repeatable read").await;
        crate::mysql::sql(&mut reader, "start transaction with consistent snapshot").await;
        let mut writer = server.connect("shop").await;
        for _ in 0..400 {
            crate::mysql::sql(&mut writer, "update t set n = n + 1 where id = 1").await;
        }
        let mut run = site.run().args(["--throttle", "undo=300..200"]).spawn();
        let why = site.held(&mut run, &["undo is", "limit 300"]).await;
        assert!(!why.contains("cannot be read"), "{product:?}: {why}");
        crate::mysql::sql(&mut reader, "rollback").await;
        site.is_changed(run, ROWS).await;
    }
}

#[tokio::test]
async fn vacuum_of_the_table_and_its_age_hold_the_copy() {
    let site = Site::new(None, ROWS).await;
    site.turn("gate", 1).await;
    let gate = "gate=select value from knob where name = 'gate'";
    let mut run =
        site.run().args(["--signal", gate, "--throttle", "vacuum=0", "--throttle", "wraparound=90%"]).spawn();
    site.held(&mut run, &["gate is 1"]).await;
    let vacuumer = site.postgres().connect("shop").await;
    let pid: i32 = vacuumer.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    crate::operator::sql(&vacuumer, "set vacuum_cost_delay = 100; set vacuum_cost_limit = 1").await;
    let vacuum = vacuumer.batch_execute("vacuum (freeze, disable_page_skipping) t");
    let rest = async {
        site.held(&mut run, &["vacuum is 1"]).await;
        site.turn("gate", 0).await;
        site.shows(&mut run, "held by the vacuum alone", |s| {
            s["progress"]["throttled"] == "vacuum is 1 (limit 0, goes on at 0)"
        })
        .await;
        site.sql(&format!("select pg_cancel_backend({pid})")).await;
    };
    let (ended, ()) = tokio::join!(vacuum, rest);
    assert!(ended.is_err(), "it was cancelled");
    // The age of the table is a few transactions, which is some millionths of a percent.
    site.turn("gate", 1).await;
    site.throttle("wraparound=0%").await;
    site.held(&mut run, &["wraparound is 0% (limit 0%"]).await;
    site.throttle("wraparound=none").await;
    site.turn("gate", 0).await;
    site.is_changed(run, ROWS).await;
}

#[tokio::test]
async fn archive_that_does_not_keep_up_holds_the_copy() {
    let server = Postgres::builder(Version::Apt)
        .setting("archive_mode", "on")
        .setting("archive_command", "false")
        .start()
        .await;
    let site = Site::on(Server::Postgres(server), ROWS).await;
    let mut run = site.run().args(["--throttle", "archive=2..0", "--throttle", "commit=1us"]).spawn();
    site.held(&mut run, &["commit is"]).await;
    for _ in 0..5 {
        site.sql("insert into knob values ('x', 1) on conflict (name) do update set value = knob.value + 1")
            .await;
        site.sql("select pg_switch_wal()").await;
    }
    site.held(&mut run, &["archive is", "limit 2", "commit is"]).await;
    site.throttle("commit=none").await;
    site.sql("alter system set archive_command = 'true'").await;
    site.sql("select pg_reload_conf()").await;
    site.is_changed(run, ROWS).await;
}

#[tokio::test]
async fn replica_that_is_paused_holds_the_copy_found_or_named() {
    let site = Site::new(None, ROWS).await;
    let replica = site.postgres().replica("standby").await;
    let standby = replica.connect("shop").await;
    let named = format!("127.0.0.1:{}", replica.port());
    let refused = site.run().args([
        "--throttle",
        "replica-lag=1s",
        "--replica",
        &format!("127.0.0.1:{}", site.postgres().port()),
    ]);
    let refused = refused.run(SOON).await.expect_code(3);
    assert!(refused.stderr.contains("it is no replica"), "{}", refused.stderr);
    for more in [&[][..], &["--replica", &named]] {
        crate::operator::sql(&standby, "select pg_wal_replay_pause()").await;
        site.turn("gate", 1).await;
        let gate = ["--signal", "gate=select value from knob where name = 'gate'"];
        let mut run =
            site.run().args(["--max-replica-lag", "2s"]).args(gate).args(more.iter().copied()).spawn();
        // `replay_lag` of the server stands still all the while.
        let why = site.held(&mut run, &["replica-lag is", "limit 2.0 s"]).await;
        assert!(!why.contains("cannot be read"), "{why}");
        crate::operator::sql(&standby, "select pg_wal_replay_resume()").await;
        site.shows(&mut run, "no longer held by the replica", |s| !super::has(s, &["replica-lag"])).await;
        site.turn("gate", 0).await;
        run.wait(LONG).await.expect_code(0);
        let caught_up = "pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()";
        until_true(&standby, caught_up, SOON).await;
        site.sql("drop table _t_old").await;
        site.sql("alter table t alter column n type int").await;
    }
}

#[tokio::test]
async fn named_replica_that_goes_away_counts_as_over() {
    let site = Site::new(None, ROWS).await;
    let replica = site.postgres().replica("standby").await;
    site.turn("gate", 1).await;
    let mut run = site
        .run()
        .args(["--signal", "gate=select value from knob where name = 'gate'", "--throttle", "replica-lag=5s"])
        .args(["--replica".to_string(), format!("127.0.0.1:{}", replica.port())])
        .spawn();
    site.held(&mut run, &["gate is 1"]).await;
    replica.kill9().await;
    site.held(&mut run, &["replica-lag cannot be read and counts as over"]).await;
    replica.restart().await;
    site.turn("gate", 0).await;
    site.is_changed(run, ROWS).await;
}

#[tokio::test]
async fn critical_signal_stops_the_run_where_it_can_be_resumed() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        site.turn("queue", 3).await;
        let run = || {
            site.run()
                .args([
                    "--signal",
                    "queue=select value from knob where name = 'queue'",
                    "--throttle",
                    "queue=2",
                ])
                .args(["--critical", "queue=10"])
        };
        let mut stopped = run().spawn();
        site.held(&mut stopped, &["queue is 3"]).await;
        site.turn("queue", 11).await;
        let output = stopped.wait(LONG).await.expect_code(1);
        assert!(output.stderr.contains("queue is 11 (critical above 10)"), "{}", output.stderr);
        let status = site.status().await;
        assert_eq!((&status["phase"], &status["runner"]), (&"copy".into(), &serde_json::Value::Null));
        site.turn("queue", 0).await;
        site.is_changed(run().spawn(), ROWS).await;
    }
}

/// A batch has at most 10,000 keys: each but the last that is held here is applied, and its transaction is not over then.
#[tokio::test]
async fn huge_transaction_that_is_half_applied_tells_how_far_that_is_behind() {
    const MANY: u64 = 30_000;
    const BEHIND: Duration = Duration::from_secs(3);
    for product in EACH {
        let site = Site::new(product, MANY).await;
        let mut run = site.run().args(["--cutover", "manual"]).spawn();
        site.shows(&mut run, "ready", |s| s["phase"] == "ready").await;
        let shadow = if product == Some(Product::MariaDb) { "t_shadow" } else { "_t_shadow" };
        let (first, last) = (site.session().await, site.session().await);
        for (session, id) in [(&first, 1), (&last, MANY)] {
            session.sql("begin").await;
            session.sql(&format!("select id from {shadow} where id = {id} for update")).await;
        }
        site.sql("update t set n = n + 1").await;
        sleep(BEHIND).await;
        first.sql("rollback").await;
        let status =
            site.shows(&mut run, "a part of it", |s| s["progress"]["changes"].as_u64() > Some(0)).await;
        let (changes, lag) = (&status["progress"]["changes"], &status["progress"]["lag_ms"]);
        assert!(changes.as_u64() < Some(MANY), "{product:?}: {status:#}");
        assert!(lag.as_f64() >= Some(BEHIND.as_secs_f64() * 1e3), "{product:?}: {status:#}");
        last.sql("rollback").await;
        site.command(&["cutover", "--table", "t"]).await;
        site.is_changed(run, MANY).await;
    }
}
