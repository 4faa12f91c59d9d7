//! A connection to the server that is measured: makes tables, fills them, changes them and reads them.

use crate::migration::LONG;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use shadowswap_testkit::Product;
use shadowswap_testkit::load::{Differences, Ledger, TableShape};
use std::time::{Duration, Instant};

/// Rows that are filled in by one statement. A transaction of a million would be written twice: to the binary log's cache first.
const FILLED: u64 = 10_000;

/// Rows that one statement names. From 1,000 values on MariaDB makes a subquery of a list, and a scan of the table of that.
const NAMED: u64 = 500;

/// Pages that may still be dirty when a server counts as settled: its own tables' never end.
const DIRTY: u64 = 200;

/// A connection to the database with our tables.
pub enum Client {
    Postgres(tokio_postgres::Client),
    Mysql(Conn, Product),
}

impl Client {
    /// Runs a statement that must not fail, and returns the rows that it changed.
    pub async fn execute(&mut self, sql: &str) -> u64 {
        match self {
            Client::Postgres(client) => {
                client.execute(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
            }
            Client::Mysql(conn, _) => {
                conn.query_drop(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
                conn.affected_rows()
            }
        }
    }

    /// Runs statements that must not fail.
    pub async fn batch(&mut self, sql: &str) {
        match self {
            Client::Postgres(client) => {
                client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            }
            Client::Mysql(conn, _) => {
                conn.query_drop(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            }
        }
    }

    /// Makes the table of a shape, with an index beside its own, and fills it.
    pub async fn fill(&mut self, shape: TableShape, rows: u64) -> Ledger {
        let table = shape.table().to_owned();
        let ledger = match self {
            Client::Postgres(client) => {
                shape.create(&*client).await;
                Ledger::fill(&*client, shape, rows, 1).await
            }
            Client::Mysql(conn, _) => {
                shape.create(&mut *conn).await;
                Ledger::fill(conn, shape, rows, 1).await
            }
        };
        let index = match self {
            Client::Postgres(_) => format!("create index on {table} (n)"),
            Client::Mysql(..) => format!("alter table {table} add index (n)"),
        };
        self.batch(&index).await;
        self.settle(&table).await;
        ledger
    }

    /// Makes a table with the rows and indexes of another.
    pub async fn twin(&mut self, table: &str, twin: &str) {
        match self {
            Client::Postgres(_) => {
                let like = format!(
                    "create table {twin} (like {table} including all); insert into {twin} select * from {table}"
                );
                self.batch(&like).await;
            }
            Client::Mysql(..) => {
                self.batch(&format!("create table {twin} like {table}")).await;
                self.batch(&format!("insert into {twin} select * from {table}")).await;
            }
        }
        self.settle(twin).await;
    }

    /// Takes what is in a table for acknowledged.
    pub async fn adopt(&mut self, shape: TableShape) -> Ledger {
        match self {
            Client::Postgres(client) => Ledger::adopt(&*client, shape).await,
            Client::Mysql(conn, _) => Ledger::adopt(conn, shape).await,
        }
    }

    /// Compares a table with what was acknowledged.
    pub async fn check(&mut self, ledger: &Ledger, table: &str) -> Differences {
        match self {
            Client::Postgres(client) => ledger.check(&*client, table).await.expect("the table can be read"),
            Client::Mysql(conn, _) => ledger.check(conn, table).await.expect("the table can be read"),
        }
    }

    /// Makes the table that all figures of idle servers are about: 270 to 330 bytes a row, with a key, an index and a unique index.
    pub async fn create_wide(&mut self, table: &str, rows: u64) {
        match self {
            Client::Postgres(_) => {
                let sql = format!(
                    "create table {table} (id bigint not null, n integer, account integer not null, code text not null, c char(160), pad char(60));
                     insert into {table}
                     select i, i % 1000, (i * 7919 % 100000)::integer, 'code-' || i, md5(i::text) || md5((i + 1)::text), md5((i + 2)::text)
                     from generate_series(1::bigint, {rows}) i;
                     alter table {table} add primary key (id);
                     create index on {table} (account);
                     create unique index on {table} (code);"
                );
                self.batch(&sql).await;
            }
            Client::Mysql(_, product) => {
                let depth = match product {
                    Product::MySql => "cte_max_recursion_depth",
                    Product::MariaDb => "max_recursive_iterations",
                };
                self.batch(&format!("set {depth} = {FILLED}")).await;
                let create = format!(
                    "create table {table} (id bigint not null auto_increment primary key, n int, account int not null, code varchar(60) not null, c char(160), pad char(60))"
                );
                self.batch(&create).await;
                for first in (1..=rows).step_by(FILLED as usize) {
                    let last = rows.min(first + FILLED - 1);
                    let insert = format!(
                        "insert into {table} (id, n, account, code, c, pad)
                         with recursive s as (select {first} as i union all select i + 1 from s where i < {last})
                         select i, i % 1000, i * 7919 % 100000, concat('code-', i), left(concat(sha2(i, 256), sha2(i + 1, 256)), 64), left(sha2(i + 2, 256), 32)
                         from s"
                    );
                    self.batch(&insert).await;
                }
                self.batch(&format!("alter table {table} add index (account), add unique index (code)"))
                    .await;
            }
        }
        self.settle(table).await;
    }

    /// Changes rows all over a table of the wide kind, in transactions of a size. A prime step visits each row once before any comes
    /// again. These transactions are not synced, for it is not they who are measured.
    pub async fn change_rows(&mut self, table: &str, rows: u64, set: &str, many: u64, size: u64) {
        match self {
            Client::Postgres(_) => {
                let sql = format!(
                    "do $$ begin
                         for base in 0..{last} by {size} loop
                             update {table} set {set}
                             where id in (select 1 + i * 7919 % {rows} from generate_series(base::bigint, base + {size} - 1) i);
                             commit;
                         end loop;
                     end $$",
                    last = many - 1,
                );
                self.batch("set synchronous_commit = off").await;
                // Alone: a block that commits may not be part of a larger transaction.
                self.batch(&sql).await;
            }
            Client::Mysql(..) => {
                self.batch("set global sync_binlog = 0, global innodb_flush_log_at_trx_commit = 2").await;
                for base in (0..many).step_by(size as usize) {
                    self.batch("begin").await;
                    let end = base + size;
                    for first in (base..end).step_by(NAMED as usize) {
                        let keys: Vec<String> = (first..end.min(first + NAMED))
                            .map(|i| (1 + i * 7919 % rows).to_string())
                            .collect();
                        let keys = keys.join(", ");
                        self.batch(&format!("update {table} set {set} where id in ({keys})")).await;
                    }
                    self.batch("commit").await;
                }
                self.batch("set global sync_binlog = 1, global innodb_flush_log_at_trx_commit = 1").await;
            }
        }
    }

    /// Nothing that happened before shall cost what is measured next.
    pub async fn settle(&mut self, table: &str) {
        match self {
            Client::Postgres(_) => {
                self.batch(&format!("vacuum analyze {table}")).await;
                self.batch("checkpoint").await;
            }
            Client::Mysql(conn, _) => {
                conn.query_drop(format!("analyze table {table}")).await.expect("the table is analyzed");
                flush(conn).await.expect("pages are written");
            }
        }
    }

    /// How large a table's rows and indexes are, in MB.
    pub async fn sizes(&mut self, table: &str) -> (u64, u64) {
        let sizes = match self {
            Client::Postgres(client) => {
                let sql = "select pg_table_size($1::text::regclass), pg_indexes_size($1::text::regclass)";
                let row = client.query_one(sql, &[&table]).await.expect("the table has a size");
                (row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64)
            }
            Client::Mysql(conn, _) => {
                let sql = format!(
                    "select cast(data_length as unsigned), cast(index_length as unsigned)
                     from information_schema.tables where table_schema = database() and table_name = '{table}'"
                );
                let row: Option<(u64, u64)> = conn.query_first(sql).await.expect("the table has a size");
                row.expect("the table is there")
            }
        };
        (sizes.0 >> 20, sizes.1 >> 20)
    }
}

/// Has InnoDB write its dirty pages, as a checkpoint would.
async fn flush(conn: &mut Conn) -> mysql_async::Result<()> {
    // MariaDB writes at this speed and no faster, and the usual one takes minutes for what fills a pool.
    const FAST: &str = "set global innodb_io_capacity_max = 100000, global innodb_io_capacity = 100000,
        global innodb_max_dirty_pages_pct_lwm = 0, global innodb_max_dirty_pages_pct = 0";
    let now = "select @@global.innodb_io_capacity, @@global.innodb_io_capacity_max,
        @@global.innodb_max_dirty_pages_pct, @@global.innodb_max_dirty_pages_pct_lwm";
    let (speed, most, usual, low): (u64, u64, f64, f64) =
        conn.query_first(now).await?.expect("a row of four settings");
    conn.query_drop(FAST).await?;
    let start = Instant::now();
    loop {
        let status = "show global status like 'Innodb_buffer_pool_pages_dirty'";
        let (_, dirty): (String, u64) = conn.query_first(status).await?.expect("the server counts its pages");
        if dirty <= DIRTY {
            break;
        }
        assert!(start.elapsed() < LONG, "{dirty} pages are still dirty");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let as_before = format!(
        "set global innodb_max_dirty_pages_pct = {usual}, global innodb_max_dirty_pages_pct_lwm = {low},
        global innodb_io_capacity = {speed}, global innodb_io_capacity_max = {most}"
    );
    conn.query_drop(as_before).await
}
