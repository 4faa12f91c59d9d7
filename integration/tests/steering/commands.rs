//! Commands against a running migration, from another process.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use shadowswap_testkit::Signal;

use super::{EACH, Site};
use crate::operator::{LONG, SOON, line, shadowswap};

const ROWS: u64 = 2_000;
const GATE: [&str; 2] = ["--signal", "gate=select value from knob where name = 'gate'"];

#[tokio::test]
async fn settings_change_at_once_and_hold_for_later_runs_with_who_and_when() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        site.turn("gate", 1).await;
        let mut run = site.run().args(GATE).args(["--cutover", "manual"]).spawn();
        site.held(&mut run, &["gate is 1"]).await;
        let said = site.command(&["throttle", "--table", "t", "gate=5", "copy-workers=1"]).await;
        assert!(said.contains("gate=5, copy-workers=1, within a second"), "{said}");
        let answered = Instant::now();
        site.shows(&mut run, "goes on", |s| s["progress"]["throttled"].is_null()).await;
        // What the looking itself takes is in it.
        assert!(answered.elapsed() < Duration::from_secs(2), "{product:?}: {:?}", answered.elapsed());
        let wrong =
            shadowswap(&site.url).args(["throttle", "--table", "t", "copy-workers=0"]).run(SOON).await;
        assert!(wrong.expect_code(2).stderr.contains("too little"));
        site.throttle("no-such-signal=5").await;
        site.shows(&mut run, "a setting that cannot be applied is noted", |s| {
            s["events"].to_string().contains("no-such-signal=5 cannot be applied")
        })
        .await;
        site.shows(&mut run, "ready", |s| s["phase"] == "ready").await;
        run.signal(Signal::SIGTERM);
        run.wait(LONG).await.expect_code(1);
        let said = site.command(&["throttle", "--table", "t", "cutover=auto"]).await;
        assert!(said.contains("nobody runs this migration now"), "{said}");
        let events = site.status().await["events"].clone();
        let set = events
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["what"] == "throttle cutover=auto")
            .cloned()
            .unwrap();
        assert!(
            set["who"].as_str().unwrap().contains('@') && set["at"].as_str().unwrap().ends_with('Z'),
            "{set}"
        );
        // The flags still say manual; what was set goes before them.
        site.is_changed(site.run().args(GATE).args(["--cutover", "manual"]).spawn(), ROWS).await;
    }
}

#[tokio::test]
async fn wait_history_and_the_view_tell_the_application() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        let waiting = |phase: &str, time: &str| {
            shadowswap(&site.url).args(["wait", "--table", "t", "--phase", phase, "--timeout", time])
        };
        waiting("done", "1s").run(SOON).await.expect_code(3);
        let mut run = site.run().args(["--cutover", "manual"]).spawn();
        site.shows(&mut run, "begun", |s| s["phase"] != Value::Null && s["phase"] != "prepare").await;
        waiting("ready", "60s").run(LONG).await.expect_code(0);
        let late = waiting("done", "300ms").run(SOON).await.expect_code(1);
        assert!(late.stderr.contains("is not done after"), "{}", late.stderr);
        assert_eq!(site.texts("select phase from shadowswap.state").await, ["ready"]);
        let done = waiting("done", "60s").spawn();
        site.command(&["cutover", "--table", "t"]).await;
        done.wait(LONG).await.expect_code(0);
        site.is_changed(run, ROWS).await;
        let seen = "select phase from shadowswap.state where is_swapped and is_over and table_name = 't'";
        assert_eq!(site.texts(seen).await, ["done"], "{product:?}");
        let past = shadowswap(&site.url).args(["history", "--json"]).run(SOON).await.expect_code(0);
        let past = line(&past, "history");
        assert_eq!(
            (&past[0]["phase"], &past[0]["report"]["rows_copied"]),
            (&"done".into(), &ROWS.into()),
            "{past:#}"
        );
        let text = site.command(&["history"]).await;
        assert!(text.contains("2,000") && text.contains(site.alter()), "{text}");
    }
}

#[tokio::test]
async fn cleanup_finds_what_a_dead_run_left_and_removes_it_only_when_told() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        let nothing = shadowswap(&site.url).args(["cleanup", "--yes"]).run(SOON).await.expect_code(0);
        assert!(nothing.stderr.contains("nothing is left behind"), "{}", nothing.stderr);
        site.turn("gate", 1).await;
        let mut run = site.run().args(GATE).spawn();
        site.held(&mut run, &["gate is 1"]).await;
        // Somebody runs it: it is nobody's to clean up.
        let busy = shadowswap(&site.url).args(["cleanup", "--yes", "--unfinished", "--json"]).run(SOON).await;
        assert_eq!(line(&busy.expect_code(0), "cleanup")["found"].as_array().map(Vec::len), Some(0));
        run.signal(Signal::SIGKILL);
        run.wait(SOON).await;
        let asked = shadowswap(&site.url).args(["cleanup"]).run(SOON).await.expect_code(2);
        assert!(
            asked.stderr.contains("migration 1 of") && asked.stderr.contains("nothing was removed"),
            "{}",
            asked.stderr
        );
        let kept = shadowswap(&site.url).args(["cleanup", "--yes", "--json"]).run(SOON).await.expect_code(0);
        assert_eq!(line(&kept, "cleanup")["removed"].as_array().map(Vec::len), Some(0));
        let all =
            shadowswap(&site.url).args(["cleanup", "--yes", "--unfinished"]).run(LONG).await.expect_code(0);
        assert!(all.stderr.contains("removed: migration 1 of"), "{}", all.stderr);
        assert_eq!(site.status().await["phase"], "aborted");
        let shadow = "select table_name from information_schema.tables where table_name like '%t\\_shadow'";
        assert!(site.texts(shadow).await.is_empty(), "{product:?}");
        // The control tables say that it is over, and yet there is a slot.
        if product.is_none() {
            let slot = "select pg_create_logical_replication_slot('shadowswap_' || oid || '_1', 'pgoutput') from pg_database where datname = 'shop'";
            site.sql(slot).await;
            site.sql("create publication shadowswap_1 for table t").await;
            let removed =
                shadowswap(&site.url).args(["cleanup", "--yes"]).run(SOON).await.expect_code(0).stderr;
            let (slot, publication) =
                (removed.find("removed: replication slot"), removed.find("removed: publication"));
            assert!(slot.is_some() && slot < publication, "slots come first\n{removed}");
            assert!(site.texts("select slot_name::text from pg_replication_slots").await.is_empty());
        }
    }
}

#[tokio::test]
async fn hooks_are_told_of_everything_and_one_that_fails_breaks_nothing() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        site.turn("gate", 1).await;
        let mut run = site
            .run()
            .args(GATE)
            .args(["--hook".to_string(), format!("cat >> {}", file.display())])
            .args(["--hook", "echo no such pager >&2; exit 9"])
            .spawn();
        site.held(&mut run, &["gate is 1"]).await;
        site.turn("gate", 0).await;
        site.is_changed(run, ROWS).await;
        let told = fs::read_to_string(&file).unwrap();
        let events: Vec<Value> = told.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
        for name in ["phase", "throttle", "cutover", "success"] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        assert_eq!(names.last(), Some(&"success"));
        let last = events.last().unwrap();
        assert_eq!(
            (&last["detail"]["rows_copied"], &last["phase"]),
            (&ROWS.into(), &"done".into()),
            "{last:#}"
        );
        let swap = events.iter().find(|e| e["event"] == "cutover" && e["detail"]["swapped"] == true);
        assert!(swap.is_some_and(|e| e["detail"]["stall_ms"].as_f64() > Some(0.0)), "{told}");
        let noted = site.texts("select what from shadowswap.event where what like 'hook %'").await;
        assert!(
            noted.iter().any(|n| n.contains("exit status: 9") && n.contains("no such pager")),
            "{noted:?}"
        );
    }
}

#[tokio::test]
async fn more_writes_than_can_be_applied_are_said_and_end_the_run() {
    let site = Site::new(None, 300).await;
    site.turn("gate", 1).await;
    // Each change that is applied takes a while; writing takes none.
    site.sql(
        "create function slow(n integer) returns bigint language plpgsql immutable as\n\
         $$ begin if current_setting('application_name') like '%/apply%' then perform pg_sleep(0.05); end if; return n; end $$",
    )
    .await;
    let call =
        || site.run().args(["--set", "n=slow(n)", "--max-lag", "500ms", "--overload-after", "8s"]).args(GATE);
    let mut run = call().spawn();
    site.held(&mut run, &["gate is 1"]).await;
    let writer = site.postgres().connect("shop").await;
    let writing = async {
        loop {
            for id in 1..=300 {
                crate::operator::sql(&writer, &format!("update t set n = n + 1 where id = {id}")).await;
            }
        }
    };
    let output = tokio::select! {
        () = writing => unreachable!(),
        output = run.wait(LONG) => output.expect_code(1),
    };
    let says = |part| assert!(output.stderr.contains(part), "{part}:\n{}", output.stderr);
    says("writes come in faster than they can be applied");
    says("changes/s are applied");
    says("run the same command again");
    let events = site.status().await["events"].to_string();
    assert!(events.contains("writes come in faster"), "{events}");
    // In a quieter hour it goes on to its end.
    site.turn("gate", 0).await;
    site.is_changed(call().spawn(), 300).await;
}
