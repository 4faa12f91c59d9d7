//! Measures what dropping a large table costs clients.
use super::{sql, texts};
use shadowswap_testkit::load::{Ledger, Load, TableShape};
use shadowswap_testkit::mysql::{Mysql, Product};
use std::time::{Duration, Instant};

async fn measure(product: Product) {
    let rows: u64 = std::env::var("DROP_ROWS").ok().and_then(|r| r.parse().ok()).unwrap_or(600_000);
    let ahi = std::env::var("DROP_AHI").unwrap_or("OFF".into());
    let server = Mysql::builder(product)
        .fsync(true)
        .setting("innodb_adaptive_hash_index", &ahi)
        .setting("innodb_buffer_pool_size", "2G")
        .start()
        .await;
    server.create_database("shop").await;
    let mut conn = server.connect("shop").await;
    let shape = TableShape::standard("t");
    shape.create(&mut conn).await;
    let ledger = Ledger::fill(&mut conn, shape, 5_000, 1).await;
    sql(&mut conn, "set sql_log_bin = 0").await;
    let seqs = "create table seq (n int primary key); insert into seq values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)";
    sql(&mut conn, seqs).await;
    for name in ["big1", "big2"] {
        sql(&mut conn, &format!("create table {name} (id bigint auto_increment primary key, a int, pad varchar(1000), key (a))")).await;
        let mut there = 1_000;
        sql(&mut conn, &format!("insert into {name} (a, pad) select a.n * b.n, repeat(sha2(a.n * 100 + b.n * 10 + c.n, 256), 15) from seq a, seq b, seq c")).await;
        while there < rows {
            let more = there.min(rows - there).min(50_000);
            sql(
                &mut conn,
                &format!("insert into {name} (a, pad) select a + {there}, pad from {name} limit {more}"),
            )
            .await;
            there += more;
        }
    }
    sql(&mut conn, "create procedure warm() begin declare i int default 0; while i < 150000 do set @k = 1 + floor(rand() * 200000); select pad into @x from big1 where id = @k; select pad into @x from big2 where id = @k; set i = i + 1; end while; end").await;
    if ahi == "ON" {
        sql(&mut conn, "call warm()").await;
    }
    sql(&mut conn, "set sql_log_bin = 1").await;
    let size = |name: &str| {
        std::fs::metadata(server.data_dir().join("shop").join(format!("{name}.ibd")))
            .map_or(0, |m| m.len() >> 20)
    };
    println!("{product:?}: {} MiB each", size("big1"));
    let load = Load::new(&server.url("shop")).writers(8).rate(500.0).start(ledger).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.window();
    tokio::time::sleep(Duration::from_secs(6)).await;
    println!("{product:?} nothing: {}", load.window());
    let start = Instant::now();
    sql(&mut conn, "drop table big1").await;
    let took = start.elapsed();
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("{product:?} drop at once: took {took:?}; {}", load.window());
    let before = texts(&mut conn, "show binary logs").await;
    let start = Instant::now();
    let mut gone = 0;
    while gone < rows {
        let began = Instant::now();
        sql(&mut conn, "delete from big2 order by id limit 1000").await;
        gone += 1000;
        tokio::time::sleep(began.elapsed()).await;
    }
    println!(
        "{product:?} deletes in batches of 1000, half of the time: took {:?}; {}",
        start.elapsed(),
        load.window()
    );
    println!(
        "  binlog {:?} to {:?}; file {} MiB",
        before.last(),
        texts(&mut conn, "show binary logs").await.last(),
        size("big2")
    );
    let start = Instant::now();
    sql(&mut conn, "drop table big2").await;
    let took = start.elapsed();
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("{product:?} drop after deletes: took {took:?}; {}", load.window());
    drop(load.stop().await);
}

#[tokio::test]
async fn measure_dropping_mysql() {
    measure(Product::MySql).await;
}
#[tokio::test]
async fn measure_dropping_mariadb() {
    measure(Product::MariaDb).await;
}
