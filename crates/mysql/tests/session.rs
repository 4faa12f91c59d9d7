//! Sessions step by step: rows of two times that want one unique value (a chunk is copied later than the position that is applied), and
//! what a runner leaves behind.

#![allow(clippy::unwrap_used)]

use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    Apply, Bound, Change, Chunk, Engine, Key, Kind, Op, Result,
    batch::Batch,
    control::Control,
    engine::Session,
    plan::{Indexes, Plan, Request, Strategy},
};
use shadowswap_mysql::MySql;
use shadowswap_testkit::mysql::{Database, Product, shared};

/// A migration that goes on step by step.
struct Steps {
    database: Database,
    conn: Conn,
    engine: MySql,
    control: shadowswap_mysql::Control,
    plan: Plan,
    migration: i64,
    epoch: i64,
    session: shadowswap_mysql::Session,
    chunks: i64,
}

impl Steps {
    async fn new(product: Product, setup: &str, alter: &str, sets: &[(&str, &str)]) -> Steps {
        let database = shared(product).await.database().await;
        let mut conn = database.connect().await;
        conn.query_drop(setup).await.unwrap();
        let name = format!("{}_control", database.name());
        let engine = MySql::open(&database.url(), &name).unwrap();
        let request = Request {
            table: "t".into(),
            alters: vec![alter.into()],
            sets: sets.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            set_backs: Vec::new(),
            guard_s: None,
            strategy: Strategy::Shadow,
            control_schema: name,
            indexes: Indexes::Auto,
        };
        let control = engine.control(true).await.unwrap();
        let plan = engine.plan(&request).await.unwrap();
        assert_eq!(plan.refusals().count(), 0, "{:?}", plan.refusals().collect::<Vec<_>>());
        let taken = control.take(&plan, "test").await.unwrap();
        let (migration, epoch) = (taken.id, taken.epoch);
        engine.prepare(&plan, migration, std::future::ready(Ok(()))).await.unwrap();
        let session = engine.session(&plan, migration, epoch, "test").await.unwrap();
        Steps { database, conn, engine, control, plan, migration, epoch, session, chunks: 0 }
    }

    async fn sql(&mut self, text: &str) {
        self.conn.query_drop(text).await.unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// Copies the rows between two keys.
    async fn copy(&mut self, lower: Option<&str>, upper: Option<&str>) -> Result<u64> {
        self.chunks += 1;
        let bound = |b: Option<&str>| b.map(|b| Bound(b.to_string()));
        let chunk = Chunk { id: self.chunks, lower: bound(lower), upper: bound(upper), attempt: 1 };
        self.control.claim(self.migration, self.epoch, &chunk).await?;
        let mut raised = 0;
        let copied = self.session.copy_chunk(&chunk, |_| raised += 1).await;
        assert_eq!(raised, 1);
        Ok(copied?.rows)
    }

    async fn index(&self) -> Result<()> {
        self.engine.finish_shadow(&self.plan, self.migration, false, std::future::ready(Ok(())), |_| {}).await
    }

    async fn apply(&mut self, images: &[(&str, &str)]) -> Result<u64> {
        let mut batch = Batch::new();
        for (key, row) in images {
            let op = Op::Upsert(row.as_bytes().to_vec());
            batch.push(Change { key: Key(key.as_bytes().to_vec()), op });
        }
        self.session.apply(&batch, None).await
    }

    /// The first columns of the shadow's rows.
    async fn shadow(&mut self) -> Vec<(i32, i32, i32)> {
        let columns = if self.plan.link.key.len() == 1 { "id, u, n" } else { "a, b, id" };
        let text = format!("select {columns} from `{}` order by 1", self.plan.shadow.name);
        self.conn.query(text).await.unwrap()
    }
}

const ONE_KEY: &str = "create table t (id int primary key, u int, n int, unique key u (u)); insert into t values (1, 10, 1), (2, 20, 2)";

#[tokio::test]
async fn row_from_the_future_gives_way_to_an_image_that_brings_its_unique_value() {
    for product in Product::ALL {
        // Images that go in as they are, and images that go by a projection.
        for sets in [&[][..], &[("z", "n * 2")]] {
            let mut steps = Steps::new(product, ONE_KEY, "add column z int", sets).await;
            steps.copy(None, Some("[\"1\"]")).await.unwrap();
            steps.sql("update t set u = 99 where id = 1; update t set u = 50 where id = 1; update t set u = 99 where id = 2").await;
            steps.copy(Some("[\"1\"]"), None).await.unwrap();
            steps.index().await.unwrap();
            assert_eq!(steps.shadow().await, [(1, 10, 1), (2, 99, 2)]);
            // The first of the three changes, when the second row did not have the value yet.
            steps.apply(&[("1", "1,99,1")]).await.unwrap_or_else(|e| panic!("{product} {sets:?}: {e}"));
            assert_eq!(steps.shadow().await, [(1, 99, 1)]);
            steps.apply(&[("1", "1,50,1")]).await.unwrap();
            steps.apply(&[("2", "2,99,2")]).await.unwrap();
            assert_eq!(steps.shadow().await, [(1, 50, 1), (2, 99, 2)]);
        }
    }
}

/// By such an index no row gives way: it would be lost.
#[tokio::test]
async fn no_row_gives_way_by_an_index_that_the_change_adds() {
    for product in Product::ALL {
        let mut steps = Steps::new(product, ONE_KEY, "add unique key added (n)", &[]).await;
        steps.copy(None, None).await.unwrap();
        steps.index().await.unwrap();
        let e = steps.apply(&[("1", "1,10,2")]).await.unwrap_err();
        assert!(e.kind == Kind::Unfit && e.message.contains("added"), "{product} {:?} {e}", e.kind);
        assert_eq!(steps.shadow().await, [(1, 10, 1), (2, 20, 2)]);
        // By the index that was there, the holder gives way.
        steps.apply(&[("1", "1,20,1")]).await.unwrap();
        assert_eq!(steps.shadow().await, [(1, 20, 1)]);
    }
}

/// The index that AUTO_INCREMENT needs is on the shadow while rows are copied.
#[tokio::test]
async fn rows_of_an_older_chunk_give_way_to_a_chunk_that_brings_their_unique_values() {
    let setup = "create table t (a int, b int, id int not null auto_increment, primary key (a, b), unique key (id));\n\
        insert into t values (1, 1, 10), (2, 1, 20), (3, 1, 30)";
    for product in Product::ALL {
        let mut steps = Steps::new(product, setup, "add column z int", &[]).await;
        steps.copy(None, Some("[\"1\",\"1\"]")).await.unwrap();
        steps.sql("update t set id = 99 where a = 1; update t set id = 10 where a = 2").await;
        let copied = steps.copy(Some("[\"1\",\"1\"]"), None).await;
        assert_eq!(copied.unwrap_or_else(|e| panic!("{product}: {e}")), 2);
        assert_eq!(steps.shadow().await, [(2, 1, 10), (3, 1, 30)]);
        steps.apply(&[("1,1", "1,1,99"), ("2,1", "2,1,10")]).await.unwrap();
        steps.index().await.unwrap();
        assert_eq!(steps.shadow().await, [(1, 1, 99), (2, 1, 10), (3, 1, 30)]);
    }
}

/// MariaDB never forgets the deleted rows of a temporary table, and passes over them each time: the more was applied, the slower it became.
#[tokio::test]
async fn staging_tables_are_made_new_after_some_rows() {
    const AT_ONCE: usize = 5_000;
    for product in Product::ALL {
        let mut steps = Steps::new(product, ONE_KEY, "modify n bigint", &[]).await;
        let all: Vec<(String, String)> =
            (1..=8 * AT_ONCE).map(|n| (n.to_string(), format!("{n},{},{n}", n * 10))).collect();
        let (mut highest, mut renewed) = (0, 0);
        for (n, some) in all.chunks(AT_ONCE).chain(all.chunks(AT_ONCE)).enumerate() {
            let images: Vec<_> = some.iter().map(|(key, row)| (key.as_str(), row.as_str())).collect();
            assert_eq!(steps.apply(&images).await.unwrap(), AT_ONCE as u64, "{product:?}");
            let text = format!("select count(*), min(_no) from `{}_control`._row", steps.database.name());
            let staged: Option<(usize, usize)> = steps.session.conn().query_first(text).await.unwrap();
            let (rows, first) = staged.unwrap();
            assert_eq!(rows, AT_ONCE, "{product:?}: what is written was staged");
            if n > 0 && first == 1 {
                renewed += 1;
            }
            highest = highest.max(first);
        }
        assert!(renewed > 0 && highest < 15 * AT_ONCE, "{product:?}: {renewed} times, {highest}");
        assert_eq!(steps.shadow().await.len(), 8 * AT_ONCE, "{product:?}");
    }
}

/// Above all the session whose RENAME may still wait.
#[tokio::test]
async fn every_session_of_a_cutover_is_ended_by_who_takes_over() {
    for product in Product::ALL {
        let mut steps = Steps::new(product, ONE_KEY, "add column z int", &[]).await;
        let (plan, migration, epoch) = (steps.plan.clone(), steps.migration, steps.epoch);
        let budget = std::time::Duration::from_secs(20);
        let ready = std::future::ready(Ok(()));
        let locked = steps.engine.lock(&plan, migration, epoch, budget, ready).await.unwrap();
        let control = format!("{}_control", steps.database.name());
        let ours = format!("select connection from {control}.session where migration = {migration}");
        let noted: Vec<u64> = steps.conn.query(&ours).await.unwrap();
        // The test's own, the one with the lock, the marker's, the watchdog's, and where another renames that one's.
        assert_eq!(noted.len(), if product == Product::MariaDb { 5 } else { 4 });
        // The runner is gone, and its sessions hang.
        drop(steps.control);
        let taken = steps.engine.control(false).await.unwrap().take(&plan, "another").await.unwrap();
        assert_eq!((taken.id, taken.epoch), (migration, epoch + 1));
        let list = noted.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let left = format!("select id from information_schema.processlist where id in ({list})");
        assert_eq!(steps.conn.query::<u64, _>(left).await.unwrap(), Vec::<u64>::new(), "{product}");
        assert_eq!(steps.conn.query::<u64, _>(&ours).await.unwrap(), Vec::<u64>::new());
        steps.conn.query_drop("set lock_wait_timeout = 1; insert into t values (3, 30, 3)").await.unwrap();
        drop(locked);
    }
}
