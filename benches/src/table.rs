//! The tables that are changed.

use shadowswap_testkit::load::{Column, KeyColumn, Ledger, TableShape};
use tokio_postgres::Client;

/// Runs a statement that must not fail.
pub async fn execute(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// About 330 bytes a row, with a key, an index and a unique index: the table that all figures of idle servers are about.
pub async fn create_wide(client: &Client, table: &str, rows: u64) {
    let sql = format!(
        "create table {table} (id bigint not null, n integer, account integer not null, code text not null, c char(160), pad char(60));
         insert into {table}
         select i, i % 1000, (i * 7919 % 100000)::integer, 'code-' || i, md5(i::text) || md5((i + 1)::text), md5((i + 2)::text)
         from generate_series(1::bigint, {rows}) i;
         alter table {table} add primary key (id);
         create index on {table} (account);
         create unique index on {table} (code);"
    );
    execute(client, &sql).await;
    settle(client, table).await;
}

/// A table that writers keep busy: a key, a unique index, an index.
pub async fn create_busy(client: &Client, table: &str, rows: u64) -> Ledger {
    let shape = busy(table);
    shape.create(client).await;
    let ledger = Ledger::fill(client, shape, rows, 1).await;
    execute(client, &format!("create index on {table} (n)")).await;
    settle(client, table).await;
    ledger
}

/// The shape of the busy table.
pub fn busy(table: &str) -> TableShape {
    let columns = vec![
        Column::unique_text("email"),
        Column::text("body"),
        Column::int("n"),
        // As long as the type: the ledger compares text, and a cast to text takes char's padding away.
        Column::new("c", "char(120)", |_, stamp| Some(format!("{stamp:0>120}"))),
    ];
    TableShape::new(table, vec![KeyColumn::bigint("id")], columns)
}

/// Nothing that happened before shall cost what is measured next.
pub async fn settle(client: &Client, table: &str) {
    execute(client, &format!("vacuum analyze {table}")).await;
    execute(client, "checkpoint").await;
}

/// The change: the server rewrites the table for it. Every other time it goes back, so that a table can be changed again and again.
pub fn change(round: usize) -> String {
    if round.is_multiple_of(2) {
        "alter column n type bigint, add column note text".into()
    } else {
        "alter column n type integer, drop column note".into()
    }
}
