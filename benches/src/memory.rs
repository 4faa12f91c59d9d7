//! Memory of the process while one transaction changes every row of the table during the copy.

use crate::figure::Record;
use crate::{Setting, migration, table};

const TABLE: &str = "public.memory";

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("memory", server);
    let client = server.connect("postgres").await;
    let rows = setting.pick(1_000_000, 20_000);
    table::create_wide(&client, TABLE, rows).await;
    let mut run = migration::run(server, TABLE, &table::change(0), &["--copy-workers", "1"]).spawn();
    migration::in_phase(&mut run, "copy").await;
    let changed = client.execute(&format!("update {TABLE} set account = account + 1"), &[]).await;
    let output = run.wait(migration::LONG).await.expect_code(0);
    let report = migration::report(&output);
    record.note("rows changed by one transaction", changed.expect("the update succeeds") as f64, "");
    record.note("changes applied", migration::number(&report, "changes_applied"), "");
    record.note("run took", migration::number(&report, "elapsed_s"), "s");
    record.memory("peak memory of the process", output.peak_rss_bytes);
    record
}
