//! Measures the decoder on one core: `cargo run --release -p shadowswap-mysql --example decode_rows`.

use shadowswap_core::Op;
use shadowswap_mysql::{
    catalog::{Column, Table},
    decode::{Plan, Rows, TableMap},
};
use std::{hint::black_box, time::Instant};

/// Rows in one event: about the 8 KiB at which servers cut.
const ROWS: u64 = 80;
const EVENTS: u64 = 25_000;

fn column(name: &str, kind: &str) -> Column {
    Column {
        name: name.into(),
        data_type: kind.split(['(', ' ']).next().unwrap_or_default().into(),
        column_type: kind.into(),
        charset: Some("utf8mb4".into()),
        collation: None,
        nullable: true,
        default: None,
        extra: String::new(),
        generated: false,
        invisible: false,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let columns = [
        ("id", "bigint"),
        ("customer", "int"),
        ("email", "varchar(255)"),
        ("amount", "decimal(10,2)"),
        ("state", "tinyint"),
        ("note", "char(40)"),
        ("created", "datetime(6)"),
    ];
    let table = Table {
        schema: "s".into(),
        name: "t".into(),
        engine: "InnoDB".into(),
        create: String::new(),
        columns: columns.iter().map(|(name, kind)| column(name, kind)).collect(),
        indexes: Vec::new(),
    };
    let mut map = vec![9, 0, 0, 0, 0, 0, 1, 0, 1, b's', 0, 1, b't', 0, 7, 8, 3, 15, 246, 1, 254, 18];
    map.extend_from_slice(&[7, 0xfc, 3, 10, 2, 254, 160, 6, 0x7f]);
    let (_, map) = TableMap::read(&map)?;
    let plan = Plan::new(&map, &table, &["id".into()], false)?;
    let mut event = vec![9, 0, 0, 0, 0, 0, 0, 0, 7, 0x7f];
    for id in 0..ROWS {
        event.push(0);
        event.extend_from_slice(&id.to_le_bytes());
        event.extend_from_slice(&[1, 2, 3, 0]);
        event.extend_from_slice(&[23, 0]);
        event.extend_from_slice(b"someone@example.invalid");
        event.extend_from_slice(&[0x80, 0, 0, 99, 50]);
        event.push(3);
        event.push(40);
        event.extend_from_slice(&[b'x'; 40]);
        event.extend_from_slice(&[0x99, 0xb2, 0xc8, 0x10, 0x51, 0x01, 0xe2, 0x40]);
    }
    let (mut bytes, mut rows) = (0, 0_u64);
    let began = Instant::now();
    for _ in 0..EVENTS {
        let read = Rows::read(23, black_box(&event))?;
        plan.walk(&read, |change| {
            rows += 1;
            if let Op::Upsert(row) = &change.op {
                bytes += row.len() + change.key.0.len();
            }
            black_box(change);
        })?;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{rows} rows, {bytes} bytes of literals, {seconds:.2} s, {:.0} rows/s", rows as f64 / seconds);
    Ok(())
}
