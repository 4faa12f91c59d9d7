//! Everything that must stop the run, and what looks like it and must not.

use crate::setup::{Setup, TABLE, both, changes, run, session, setup};
use mysql_async::{Row, prelude::Queryable};
use shadowswap_core::Kind;
use shadowswap_testkit::mysql::Product;
use std::time::Duration;

#[tokio::test]
async fn definitions_that_change_stop_the_run() {
    for product in both() {
        let mut s = setup(product, &[]).await;
        s.run(&["create table p (id int not null primary key)"]).await;
        for sql in [
            "alter table t add column x int",
            "truncate table t",
            "create index i on shop.t (v)",
            "rename table t to t2, p to t",
            "drop table t",
            "use shadowswap; alter table shop.t comment 'x'",
            "create trigger tr before insert on t for each row set @a = 1",
            "drop database shop",
        ] {
            let mut stream = s.stream("t", &["id"]).await;
            let mut conn = session(&s.mysql).await;
            run(&mut conn, &sql.split("; ").collect::<Vec<_>>()).await;
            let (kind, text) = s.error(&mut stream).await;
            assert_eq!(kind, Kind::Unfit, "{product} {sql}: {text}");
            let last = sql.rsplit("; ").next().unwrap();
            let word = last.split(' ').next().unwrap();
            assert!(text.to_lowercase().contains(word), "{product} {sql}: {text}");
            run(
                &mut conn,
                &[
                    "create database if not exists shop",
                    "use shop",
                    "drop table if exists t, t2, p",
                    TABLE,
                    "create table p (id int not null primary key)",
                ],
            )
            .await;
            s.conn = session(&s.mysql).await;
        }
    }
}

#[tokio::test]
async fn our_own_statements_and_those_about_others_do_not() {
    for product in both() {
        let mut s = setup(product, &[]).await;
        let mut stream = s.stream("t", &["id"]).await;
        s.run(&[
            "create table p (id int not null primary key, t int)",
            "alter table p add column t2 int, comment 'rename t'",
            "create table if not exists t (id int)",
            "create temporary table t (id int)",
            "insert into t values (5)",
            "drop temporary table t",
            "analyze table t",
            "optimize table t",
            "flush tables",
            "create view v as select * from t",
            "drop table p",
            "alter /* shadowswap */ table t comment 'ours'",
            "insert into t values (1, 'a')",
        ])
        .await;
        let events = s.drain(&mut stream).await;
        assert_eq!(changes(&events), ["1 = 1,'a'"], "{product}");
    }
}

#[tokio::test]
async fn rows_that_are_not_whole_stop_the_run() {
    for product in both() {
        let mut s = setup(product, &[]).await;
        s.run(&["insert into t values (1, 'a')"]).await;
        let mut stream = s.stream("t", &["id"]).await;
        s.run(&["set session binlog_row_image = 'MINIMAL'", "update t set v = 'b'"]).await;
        let (kind, text) = s.error(&mut stream).await;
        assert_eq!(kind, Kind::Refused);
        assert!(text.contains("binlog_row_image"), "{product}: {text}");
        // With rereads the key is all that is needed.
        let table = s.table("t").await;
        let mut stream = s.open(&table, &["id"], true, None).await;
        s.run(&["update t set v = 'c'", "update t set id = 2", "delete from t"]).await;
        let events = s.drain(&mut stream).await;
        assert_eq!(changes(&events), ["1 ?", "1 -", "2 ?", "2 -"], "{product}");
        s.run(&["set session binlog_row_image = 'FULL'", "set session binlog_format = 'STATEMENT'"]).await;
        s.run(&["insert into t values (7, 'x')"]).await;
        let (kind, text) = s.error(&mut stream).await;
        assert!(kind == Kind::Unfit && text.contains("binlog_format"), "{product}: {text}");
    }
}

#[tokio::test]
async fn xa_on_the_source_stops_the_run() {
    for product in both() {
        let mut s = setup(product, &[]).await;
        let mut stream = s.stream("t", &["id"]).await;
        s.run(&[
            "xa start 'a'",
            "insert into other values (1)",
            "xa end 'a'",
            "xa prepare 'a'",
            "xa commit 'a'",
        ])
        .await;
        s.run(&["xa start 'b'", "insert into t values (1, 'a')", "xa end 'b'", "xa commit 'b' one phase"])
            .await;
        let events = s.drain(&mut stream).await;
        assert_eq!(changes(&events), ["1 = 1,'a'"], "{product}");
        s.run(&["xa start 'c'", "insert into t values (2, 'a')", "xa end 'c'", "xa prepare 'c'"]).await;
        let (kind, text) = s.error(&mut stream).await;
        assert!(kind == Kind::Unfit && text.contains("XA"), "{product}: {kind:?} {text}");
        s.run(&["xa rollback 'c'"]).await;
    }
}

#[tokio::test]
async fn mariadbs_former_times_are_read_and_their_fractions_refused() {
    let mut s = Setup::new(Product::MariaDb, &[("mysql56_temporal_format", "OFF")]).await;
    s.run(&[
        "create table o (id int primary key, a time, b datetime, c timestamp not null default '2020-01-01 00:00:00', d date)",
        "create table p (id int primary key, a time(3))",
    ])
    .await;
    let mut stream = s.stream("o", &["id"]).await;
    s.run(&[
        "insert into o values (1, '-838:59:59', '9999-12-31 23:59:59', '2038-01-19 03:14:07', '9999-12-31')",
        "insert into o values (2, '00:00:01', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00')",
        "insert into o values (3, '-00:00:01', '1000-01-01 00:00:00', '1970-01-01 00:00:01', null)",
    ])
    .await;
    let events = s.drain(&mut stream).await;
    assert_eq!(
        changes(&events),
        [
            "1 = 1,'-838:59:59','9999-12-31 23:59:59','2038-01-19 03:14:07','9999-12-31'",
            "2 = 2,'00:00:01','0000-00-00 00:00:00','0000-00-00 00:00:00','0000-00-00'",
            "3 = 3,'-00:00:01','1000-01-01 00:00:00','1970-01-01 00:00:01',NULL",
        ]
    );
    let mut stream = s.stream("p", &["id"]).await;
    s.run(&["insert into p values (1, '01:02:03.456')"]).await;
    let (kind, text) = s.error(&mut stream).await;
    assert!(kind == Kind::Refused && text.contains("mysql56_temporal_format"), "{text}");
}

#[tokio::test]
async fn compressed_columns_are_refused() {
    let mut s = Setup::new(Product::MariaDb, &[]).await;
    s.run(&["create table c (id int primary key, v text compressed)"]).await;
    let mut stream = s.stream("c", &["id"]).await;
    s.run(&["insert into c values (1, repeat('a', 1000))"]).await;
    let (kind, text) = s.error(&mut stream).await;
    assert!(kind == Kind::Refused && text.contains("COMPRESSED"), "{text}");
}

#[tokio::test]
async fn a_purged_binlog_is_said_to_be_purged() {
    for product in both() {
        let mut s = setup(product, &[]).await;
        let table = s.table("t").await;
        let start = s.position().await;
        s.run(&[
            "insert into t values (1, 'a')",
            "flush binary logs",
            "insert into t values (2, 'a')",
            "flush binary logs",
        ])
        .await;
        let end = s.position().await;
        // MariaDB keeps a file for as long as a recovery could need it.
        for attempt in 0.. {
            s.run(&[&format!("purge binary logs to '{}'", end.file)]).await;
            let left: Vec<Row> = s.conn.query("show binary logs").await.unwrap();
            if left.len() == 1 {
                break;
            }
            assert!(attempt < 100, "{product} purges nothing: {left:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut stream = s.open(&table, &["id"], false, Some(&start)).await;
        let (kind, text) = s.error(&mut stream).await;
        assert!(kind == Kind::Corrupt && text.contains("1236"), "{product}: {kind:?} {text}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_transient() {
    for product in both() {
        let mut s = setup(product, &[]).await;
        let mut stream = s.stream("t", &["id"]).await;
        s.drain(&mut stream).await;
        s.mysql.kill9().await;
        let (kind, text) = s.error(&mut stream).await;
        assert_eq!(kind, Kind::Transient, "{product}: {text}");
    }
}

#[tokio::test]
async fn another_replica_with_our_number_is_told_from_a_lost_connection() {
    for product in both() {
        let mut s = setup(product, &[]).await;
        let mut first = s.stream("t", &["id"]).await;
        s.drain(&mut first).await;
        s.reuse_server_id();
        let mut second = s.stream("t", &["id"]).await;
        s.drain(&mut second).await;
        let (kind, text) = s.error(&mut first).await;
        assert!(kind == Kind::Refused && text.contains("server id"), "{product}: {kind:?} {text}");
        let dumps = "select id from information_schema.processlist where command like 'Binlog Dump%' order by id desc limit 1";
        let dump: u64 = s.conn.query_first(dumps).await.unwrap().expect("a dump thread");
        s.run(&[&format!("kill {dump}")]).await;
        let (kind, text) = s.error(&mut second).await;
        assert_eq!(kind, Kind::Transient, "{product}: {text}");
    }
}
