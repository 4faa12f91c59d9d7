//! The table that writers keep busy.

use crate::server::Server;
use shadowswap_testkit::load::{Column, KeyColumn, TableShape};

/// Its shape: a key and a unique index; the index on `n` is made with it.
pub fn busy(server: &Server, table: &str) -> TableShape {
    let key = match server {
        Server::Postgres(_) => KeyColumn::bigint("id"),
        // As most tables there have it. The server locks the counter of whatever table `INSERT ... SELECT` goes to.
        Server::Mysql(_) => KeyColumn::new("id", "bigint auto_increment", |number| number.to_string()),
    };
    let columns = vec![
        Column::unique_text("email"),
        Column::text("body"),
        Column::int("n"),
        // As long as the type: the ledger compares text, and a cast to text takes char's padding away.
        Column::new("c", "char(120)", |_, stamp| Some(format!("{stamp:0>120}"))),
    ];
    TableShape::new(table, vec![key], columns)
}
