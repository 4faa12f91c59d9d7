//! Windows and blackouts, with a clock that the test sets.

use std::time::Duration;

use shadowswap_testkit::Signal;

use super::{EACH, Site};
use crate::operator::{LONG, SOON, run, shadowswap};

const ROWS: u64 = 20_000;
/// A dozen seconds and more for these rows, so that a window can end meanwhile.
const SLOW: [&str; 4] = ["--copy-workers", "1", "--max-load", "1%"];

#[tokio::test]
async fn windows_end_stops_the_copy_at_a_chunks_edge_while_changes_are_applied() {
    for product in EACH {
        let site = Site::new(product, ROWS).await;
        let call = |clock: &str| {
            site.run()
                .args(SLOW)
                .args([
                    "--copy-window",
                    "daily 01:00-05:00 Europe/Berlin",
                    "--blackout",
                    "2026-03-30 Europe/Berlin",
                ])
                .env("SHADOWSWAP_CLOCK", clock)
        };
        // The night in which the clocks are put forward: 04:59:55 in Berlin.
        let mut run = call("2026-03-29T02:59:55Z").spawn();
        site.shows(&mut run, "copying", |s| s["progress"]["rows_copied"].as_u64() > Some(0)).await;
        let why = site.held(&mut run, &["outside the copy window until"]).await;
        // The night after that is blacked out as far as it belongs to the 30th.
        assert!(why.contains("2026-03-30T23:00:00Z"), "{why}");
        let undone = "select cast(count(*) as char(9)) from shadowswap.chunk where not done";
        site.shows(&mut run, "at rest", |s| s["progress"]["rows_per_second"].as_f64() < Some(1.0)).await;
        assert_eq!(
            site.texts(undone).await.iter().map(|n| n.trim()).collect::<Vec<_>>(),
            ["0"],
            "at a chunk's edge"
        );
        let status = site.status().await;
        let copied = status["progress"]["rows_copied"].as_u64().unwrap();
        assert!(copied < ROWS, "{copied}");
        let forecast = status["progress"]["forecast"].as_str().unwrap_or_default();
        assert!(forecast.contains("windows, done about"), "{forecast}");
        // Changes go on being applied.
        site.sql("update t set body = 'by night' where id = 1").await;
        let shadow = "select table_name from information_schema.tables where table_name like '%t\\_shadow'";
        let applied = format!("select body from {} where id = 1", site.texts(shadow).await[0]);
        let start = std::time::Instant::now();
        while site.texts(&applied).await != ["by night"] {
            assert!(start.elapsed() < SOON, "the change was not applied");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run.signal(Signal::SIGTERM);
        run.wait(LONG).await.expect_code(1);
        // The next open night, at full speed.
        shadowswap(&site.url).args(["throttle", "max-load=none"]).run(SOON).await.expect_code(0);
        site.is_changed(call("2026-03-31T00:00:00Z").spawn(), ROWS).await;
    }
}

#[tokio::test]
async fn cutover_that_does_not_fit_before_its_windows_end_is_not_begun() {
    for product in EACH {
        let site = Site::new(product, 200).await;
        // A Saturday, 30 s before the window ends; an attempt may take a minute.
        let mut run = run(&site.url, "t", site.alter())
            .args(["--cutover", "Sat 02:00-04:00 UTC", "--stall-budget", "60s"])
            .env("SHADOWSWAP_CLOCK", "2026-01-10T03:59:30Z")
            .spawn();
        let ready = site
            .shows(&mut run, "ready", |s| {
                s["progress"]["phase"] == "ready" && !s["progress"]["detail"].is_null()
            })
            .await;
        let detail = ready["progress"]["detail"].as_str().unwrap();
        assert!(detail.contains("waiting for the cutover window at 2026-01-17T02:00:00Z"), "{detail}");
        assert_eq!(ready["progress"]["attempts"], 0);
        // With less, it fits.
        site.throttle("stall-budget=2s").await;
        site.is_changed(run, 200).await;
    }
}

#[tokio::test]
async fn blackout_keeps_everything_from_happening_until_it_is_lifted() {
    let site = Site::new(None, 200).await;
    let mut run = site
        .run()
        .args(["--blackout", "2026-12-20..2027-01-02 UTC"])
        .env("SHADOWSWAP_CLOCK", "2026-12-24T18:00:00Z")
        .spawn();
    site.held(&mut run, &["in a blackout until 2027-01-03T00:00:00Z"]).await;
    site.throttle("blackout=none").await;
    site.is_changed(run, 200).await;
}
