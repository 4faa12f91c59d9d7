//! The guard is changed while it runs.

use super::{EACH, Site};
use crate::operator::{LONG, SOON, run, shadowswap};
use shadowswap_testkit::Signal;

fn is_left(status: &serde_json::Value, from: f64, to: f64) -> bool {
    status["phase"] == "guard"
        && status["guard_left_s"].as_f64().is_some_and(|left| left > from && left <= to)
}

#[tokio::test]
async fn guard_gets_another_length_and_other_limits_while_it_runs() {
    for product in EACH {
        let site = Site::new(product, 200).await;
        site.turn("errors", 50).await;
        let start = || {
            let watch = ["--watch", "errors=select value from knob where name = 'errors'"];
            site.run().args(["--guard", "1h", "--limit", "errors=100", "--drop-old"]).args(watch).spawn()
        };
        let mut first = start();
        site.shows(&mut first, "guard", |s| is_left(s, 3_500.0, 3_600.0)).await;
        site.throttle("guard=3h").await;
        site.shows(&mut first, "longer", |s| is_left(s, 10_700.0, 10_800.0)).await;
        first.signal(Signal::SIGKILL);
        drop(first.wait(SOON).await);
        // While nobody runs it, too; and it goes before the flags of whoever runs it next.
        site.throttle("guard=2h").await;
        let mut second = start();
        site.shows(&mut second, "shorter", |s| is_left(s, 7_000.0, 7_200.0)).await;
        site.command(&[
            "throttle",
            "--table",
            "t",
            "watch-for=1s",
            "watch.errors=10",
            "guard-retention=4GiB",
        ])
        .await;
        site.shows(&mut second, "the new limit is broken", |s| {
            s["events"].to_string().contains("errors is 50 and has been over its limit of 10 for 1 s")
        })
        .await;
        // Less than what has passed since the swap ends it like any guard.
        site.throttle("drop-old=no").await;
        site.throttle("guard=1s").await;
        let output = second.wait(LONG).await.expect_code(0);
        let status = site.status().await;
        assert_eq!(status["phase"], "done", "{product:?} {}", output.stderr);
        assert!(status["events"].to_string().contains("the time is up"), "{status}");
        assert_eq!(site.texts("select count(*) || '' from _t_old").await.len(), 1, "{product:?}");
    }
    let site = Site::new(None, 10).await;
    let mut run = site.run().args(["--cutover", "manual"]).spawn();
    site.shows(&mut run, "ready", |s| s["phase"] == "ready").await;
    let call =
        shadowswap(&site.url).args(["throttle", "--table", "t", "guard=1h", "max-lag=7s"]).run(SOON).await;
    assert!(call.expect_code(3).stderr.contains("began without --guard"));
    assert!(site.texts("select name from shadowswap.setting").await.is_empty());
}

/// What the new table no longer has, the old one keeps for its rows, and for its rows alone.
#[tokio::test]
async fn row_that_is_deleted_and_inserted_again_has_nothing_of_the_former_one() {
    for product in EACH {
        let site = Site::new(product, 3).await;
        site.sql("update t set body = 'mine'").await;
        let mut run =
            run(&site.url, "t", "drop column body").args(["--guard", "1h", "--stall-budget", "1s"]).spawn();
        site.shows(&mut run, "guard", |s| s["phase"] == "guard").await;
        site.sql("begin; delete from t where id = 1; insert into t (id, n) values (1, 7); update t set n = 7 where id = 2; commit").await;
        let old = "select table_name from information_schema.tables where table_schema in ('public', 'shop') and (table_name like '%\\_old' or table_name like '%\\_guarded')";
        let old = site.texts(old).await.remove(0);
        let applied = format!("select body from {old} where n = 7 order by id");
        crate::operator::until("it is applied", SOON, || async {
            (site.texts(&applied).await.len() == 2).then_some(())
        })
        .await;
        let bodies = site.texts(&applied).await;
        assert_eq!(bodies, ["some text that takes a little room", "mine"], "{product:?}");
        shadowswap(&site.url).args(["finish", "--table", "t"]).run(LONG).await.expect_code(0);
        run.wait(LONG).await.expect_code(0);
    }
}
