//! The connection to the control tables and the checks, where clients and cancellations do what they like.

use mysql_async::prelude::Queryable;
use shadowswap_core::control::Control;
use shadowswap_core::plan::{Indexes, Request, Strategy};
use shadowswap_core::{Engine, Phase};
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

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn statements_that_nobody_waits_for_leave_no_task_behind() {
    for product in Product::ALL {
        let database = shared(product).await.database().await;
        let name = format!("{}_control", database.name());
        let engine = MySql::open(&database.url(), &name).unwrap();
        let control = engine.control(true).await.unwrap();
        let mut other = database.connect().await;
        other.query_drop(format!("lock tables {name}.event write")).await.unwrap();
        let before = tasks();
        for _ in 0..3 {
            let note = control.note(1, "test", "dropped");
            assert!(tokio::time::timeout(Duration::from_millis(50), note).await.is_err());
        }
        assert_eq!(tasks(), before, "{product:?}");
        other.query_drop("unlock tables").await.unwrap();
        control.note(1, "test", "kept").await.unwrap();
        let noted = format!("select what from {name}.event order by id");
        let noted: Vec<String> = other.query(noted).await.unwrap();
        assert_eq!(
            noted,
            ["dropped", "kept"],
            "{product:?}: what had begun was ended, what had not was left"
        );
        drop(control);
        let start = std::time::Instant::now();
        while tasks() >= before {
            assert!(start.elapsed() < Duration::from_secs(10), "{product:?}: the connection's task lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn server_that_does_not_answer_is_not_waited_for_for_ever() {
    for product in Product::ALL {
        let database = shared(product).await.database().await;
        let name = format!("{}_control", database.name());
        let engine = MySql::open(&database.url(), &name).unwrap();
        let control = engine.control(true).await.unwrap();
        let mut other = database.connect().await;
        other.query_drop(format!("lock tables {name}.event write")).await.unwrap();
        // From here on, time passes as soon as everybody waits.
        tokio::time::pause();
        for _ in 0..2 {
            let e = control.note(1, "test", "waits").await.unwrap_err();
            assert!(e.is_transient() && e.message.contains("did not answer"), "{product:?}: {e}");
        }
        tokio::time::resume();
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
            set_backs: Vec::new(),
            guard_s: None,
            strategy: Strategy::Auto,
            indexes: Indexes::Auto,
            control_schema: control.clone(),
        };
        let planned = MySql::open(&database.url(), &control).unwrap().plan(&request).await;
        assert!(planned.is_ok(), "{product:?}: {planned:?}");
        assert!(!sleeper.is_finished(), "the plan was made while the statement ran");
        sleeper.await.unwrap().unwrap();
    }
}

/// A program of an earlier version made the tables.
#[tokio::test]
async fn tables_of_version_1_are_read_and_upgraded() {
    for product in Product::ALL {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        conn.query_drop("create table t (id int primary key, n int)").await.unwrap();
        let name = format!("{}_control", database.name());
        let engine = MySql::open(&database.url(), &name).unwrap();
        let request = Request {
            table: "t".into(),
            alters: vec!["modify n bigint".into()],
            sets: Vec::new(),
            set_backs: Vec::new(),
            guard_s: None,
            strategy: Strategy::Shadow,
            indexes: Indexes::Auto,
            control_schema: name.clone(),
        };
        let plan = engine.plan(&request).await.unwrap();
        let control = engine.control(true).await.unwrap();
        let (id, epoch) = {
            let taken = control.take(&plan, "test").await.unwrap();
            (taken.id, taken.epoch)
        };
        control.save_phase(id, epoch, Phase::Ready).await.unwrap();
        drop(control);
        for text in [
            format!(
                "alter table {name}.migration drop column turn, drop column swap_position, drop column guard_from, drop column guard_until, modify column unfinished tinyint\n\
                     generated always as (case when phase in ('done', 'aborted') then null else 1 end) stored"
            ),
            format!("alter table {name}.checkpoint drop column turn"),
            format!("drop view {name}.state"),
            format!("drop table {name}.setting, {name}.report, {name}.probe"),
            format!("update {name}.version set version = 1"),
        ] {
            conn.query_drop(text).await.unwrap();
        }
        let read = engine.control(false).await.unwrap().status(None).await.unwrap();
        assert_eq!(
            (read[0].turn, read[0].phase, read[0].guard_left_s),
            (0, Phase::Ready, None),
            "{product:?}"
        );
        let version = format!("select version from {name}.version");
        assert_eq!(
            conn.query_first::<i32, _>(&version).await.unwrap(),
            Some(1),
            "{product:?}: looking changes nothing"
        );

        let control = engine.control(true).await.unwrap();
        assert_eq!(conn.query_first::<i32, _>(&version).await.unwrap(), Some(3), "{product:?}");
        let taken = control.take(&plan, "test").await.unwrap();
        assert_eq!(
            (taken.id, taken.turn, taken.resumed),
            (id, 0, true),
            "{product:?}: it is the same migration"
        );
        control.turn(id, taken.epoch, 1, Phase::Guard, Some(2.5)).await.unwrap();
        let hour = Duration::from_secs(3600);
        let left = control.guard_left(id, taken.epoch, hour, false).await.unwrap();
        assert!(left > hour / 2 && left <= hour, "{product:?}: {left:?}");
        // Of version 2: it is not known when it had begun.
        for text in [
            format!("alter table {name}.migration drop column guard_from"),
            format!("update {name}.migration set plan = json_set(plan, '$.request.guard_s', 3600)"),
            format!("update {name}.version set version = 2"),
        ] {
            conn.query_drop(text).await.unwrap();
        }
        drop(control);
        let control = engine.control(true).await.unwrap();
        let taken = control.take(&plan, "test").await.unwrap();
        let left = control.guard_left(id, taken.epoch, hour, false).await.unwrap();
        assert!(left > hour / 2 && left <= hour, "{product:?}: {left:?}");
        let left = control.guard_left(id, taken.epoch, 3 * hour, true).await.unwrap();
        assert!(left > 5 * hour / 2 && left <= 3 * hour, "{product:?}: {left:?}");
        assert!(control.guard_left(id, taken.epoch, Duration::from_nanos(1), true).await.unwrap().is_zero());
        assert!(
            !control.guard_left(id, taken.epoch, hour, true).await.unwrap().is_zero(),
            "it was not ended"
        );
        control.end_guard(id, taken.epoch).await.unwrap();
        let left = control.guard_left(id, taken.epoch, hour, true).await.unwrap();
        assert_eq!(left, Duration::ZERO, "{product:?}: what was ended has ended");
        control.set(id, "test", "max-lag", "5s").await.unwrap();
        assert_eq!(control.settings(id).await.unwrap().len(), 1, "{product:?}: with all that steering needs");
        control.keep(id, "{}").await.unwrap();
        let seen = format!("select phase from {name}.state");
        assert_eq!(conn.query_first::<String, _>(seen).await.unwrap().as_deref(), Some("guard"));
        control.save_phase(id, taken.epoch, Phase::RolledBack).await.unwrap();
        assert!(control.find(&plan.source).await.unwrap().is_none(), "{product:?}: it is over");
    }
}
