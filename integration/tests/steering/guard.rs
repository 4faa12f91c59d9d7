//! The guard is changed while it runs.

use super::{EACH, Site};
use crate::operator::{LONG, POLL, SOON, run, shadowswap};
use shadowswap_testkit::Signal;
use shadowswap_testkit::mysql::Product;
use std::time::Instant;

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
        // MariaDB gives it its name a moment after the swap.
        let named = || async { site.texts(old).await.pop() };
        let old = crate::operator::until("it has its name", SOON, named).await;
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

#[tokio::test]
async fn cleanup_goes_on_past_what_is_swapped_and_roll_back_says_what_is_in_the_way() {
    for product in EACH {
        let site = Site::new(product, 20).await;
        site.sql("create table u (id int primary key, n int)").await;
        let mut other = run(&site.url, "u", site.alter()).args(["--cutover", "manual"]).spawn();
        site.shows(&mut other, "ready", |s| s["phase"] == "ready").await;
        let mut swapped = site.run().args(["--guard", "1h"]).spawn();
        site.shows(&mut swapped, "guard", |s| s["phase"] == "guard").await;
        for run in [&swapped, &other] {
            run.signal(Signal::SIGKILL);
        }
        drop((swapped.wait(SOON).await, other.wait(SOON).await));
        let output = shadowswap(&site.url).args(["cleanup", "--yes", "--unfinished"]).run(LONG).await;
        let said = output.expect_code(3).stderr;
        assert!(said.contains("not removed: migration 2 of") && said.contains("already swapped"), "{said}");
        assert!(
            said.contains("\nremoved: migration 1 of") || said.starts_with("removed: migration 1 of"),
            "{product:?} {said}"
        );

        let mut again = site.run().args(["--guard", "1h"]).spawn();
        site.shows(&mut again, "guard", |s| s["phase"] == "guard" && !s["runner"].is_null()).await;
        site.sql("update t set n = 5 where id = 3").await;
        // What is carried over is carried by who has worked out the way back.
        let old = if product == Some(Product::MariaDb) { "t_guarded" } else { "_t_old" };
        let carried = format!("select concat(n, '') from {old} where id = 3");
        let begun = Instant::now();
        while site.texts(&carried).await != ["5"] {
            assert!(begun.elapsed() < SOON && !again.is_over(), "{product:?} {}", again.stderr());
            tokio::time::sleep(POLL).await;
        }
        match product {
            None => {
                let make = "create function f() returns trigger language plpgsql as $$ begin return new; end $$; create trigger theirs before insert on t for each row execute function f()";
                site.sql(make).await;
            }
            Some(_) => {
                site.sql("create trigger theirs before insert on t for each row set new.n = new.n").await;
            }
        }
        let refused =
            shadowswap(&site.url).args(["rollback", "--yes", "--table", "t"]).run(LONG).await.expect_code(3);
        // PostgreSQL's runner knows the table from before the trigger.
        let word = if product.is_none() { "give it that definition again" } else { "theirs" };
        assert!(
            refused.stderr.contains(word) && !refused.stderr.contains("what was made"),
            "{}",
            refused.stderr
        );
        site.sql(if product.is_none() { "drop trigger theirs on t" } else { "drop trigger theirs" }).await;
        shadowswap(&site.url).args(["rollback", "--yes", "--table", "t"]).run(LONG).await.expect_code(0);
        shadowswap(&site.url).args(["finish", "--table", "t"]).run(LONG).await.expect_code(0);
        again.wait(LONG).await.expect_code(6);
        if product.is_some() {
            // Notes of an earlier one that was aborted are no reason to drop what this one has kept.
            site.sql("insert into shadowswap.migration (id, table_schema, table_name, phase, epoch, plan_id, plan, started_at, updated_at)
                select -1, table_schema, table_name, 'aborted', epoch, plan_id, plan, started_at, updated_at from shadowswap.migration where id = 2;
                insert into shadowswap.session values (4000000000, -1)").await;
            let cleaned =
                shadowswap(&site.url).args(["cleanup", "--yes"]).run(SOON).await.expect_code(0).stderr;
            assert!(cleaned.contains("removed: notes of migration -1"), "{cleaned}");
            let kept = "select table_name from information_schema.tables where table_schema = 'shop' and table_name like '%t\\_shadow'";
            assert_eq!(site.texts(kept).await.len(), 1, "{product:?} {cleaned}");
        }
        // A timer that comes by does not begin it anew.
        let once = site.run().args(["--guard", "1h", "--once"]).run(LONG).await.expect_code(6);
        assert!(once.stderr.contains("was rolled back"), "{}", once.stderr);
    }
}
