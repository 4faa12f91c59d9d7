//! The connection to the control tables and the checks, where clients and cancellations do what they like.

use mysql_async::prelude::Queryable;
use shadowswap_core::Engine;
use shadowswap_core::control::Control;
use shadowswap_core::plan::{Request, Strategy};
use shadowswap_mysql::MySql;
use shadowswap_testkit::mysql::{Product, shared};
use std::time::Duration;

#[tokio::test]
async fn statement_that_nobody_waits_for_leaves_the_connection_usable() {
    for product in Product::ALL {
        let database = shared(product).await.database().await;
        let engine = MySql::open(&database.url(), &format!("{}_control", database.name())).unwrap();
        let control = engine.control(true).await.unwrap();
        for round in 0..40 {
            let note = control.note(1, "test", "dropped");
            // Somewhere between sending and answer.
            drop(tokio::time::timeout(Duration::from_micros(50 * round), note).await);
            let kept = control.note(1, "test", "kept").await;
            assert!(kept.is_ok(), "{product:?} {round}: {kept:?}");
        }
    }
}

#[tokio::test]
async fn statements_of_others_may_have_any_characters() {
    for product in Product::ALL {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        conn.query_drop("create table t (id int primary key, n int)").await.unwrap();
        let mut other = database.connect().await;
        let sleeper = tokio::spawn(async move { other.query_drop("select sleep(3), '😀'").await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let control = format!("{}_control", database.name());
        let request = Request {
            table: "t".into(),
            alters: vec!["modify n bigint".into()],
            sets: Vec::new(),
            strategy: Strategy::Auto,
            control_schema: control.clone(),
        };
        let planned = MySql::open(&database.url(), &control).unwrap().plan(&request).await;
        assert!(planned.is_ok(), "{product:?}: {planned:?}");
        assert!(!sleeper.is_finished(), "the plan was made while the statement ran");
        sleeper.await.unwrap().unwrap();
    }
}
