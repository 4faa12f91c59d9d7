//! What is watched during the guard: a limit that is broken long enough swaps back.

use super::{EACH, Site};
use crate::operator::{LONG, shadowswap};

#[tokio::test]
async fn limit_that_is_broken_during_the_guard_swaps_back_with_every_write_since() {
    for product in EACH {
        let site = Site::new(product, 500).await;
        site.turn("errors", 0).await;
        let mut run = site
            .run()
            .args(["--guard", "1h", "--watch", "errors=select value from knob where name = 'errors'"])
            .args(["--limit", "errors=10..2", "--watch-for", "1s", "--rollback", "auto"])
            .spawn();
        site.shows(&mut run, "guard", |s| s["phase"] == "guard").await;
        site.sql("insert into t (id, n) values (1000, 7)").await;
        site.sql("update t set n = 77 where id = 1").await;
        site.turn("errors", 50).await;
        site.shows(&mut run, "swapped back", |s| s["phase"] == "ready" && s["turn"] == 2).await;
        let column = "select data_type from information_schema.columns where table_name = 't' and column_name = 'n'\n\
                      and table_schema in ('public', 'shop')";
        assert_ne!(site.texts(column).await, ["bigint"], "{product:?}");
        let number = if product.is_none() { "n::text" } else { "cast(n as char)" };
        let rows = format!("select {number} from t where id in (1, 1000) order by id");
        assert_eq!(site.texts(&rows).await, ["77", "7"], "{product:?}");
        let why =
            site.texts("select what from shadowswap.event where what like 'rolling back by itself%'").await;
        assert!(
            why.len() == 1 && why[0].contains("errors is 50 and has been over its limit of 10"),
            "{why:?}"
        );
        shadowswap(&site.url).args(["finish", "--table", "t"]).run(LONG).await;
        run.wait(LONG).await.expect_code(6);
    }
}
