//! Memory of the process while one transaction changes every row of the table during the copy.

use crate::figure::Record;
use crate::{Setting, migration};

pub async fn measure(setting: &Setting) -> Record {
    let server = &setting.server;
    let mut record = Record::new("memory", server);
    let table = &server.table("memory");
    let mut client = server.connect().await;
    // Enough in a smoke run too for the copy to be met.
    let rows = setting.pick(1_000_000, 200_000);
    client.create_wide(table, rows).await;
    let mut run = migration::run(server, table, &server.change(0), &["--copy-workers", "1"]).spawn();
    migration::in_phase(&mut run, "copy").await;
    let changed = client.execute(&format!("update {table} set account = account + 1")).await;
    let output = run.wait(migration::LONG).await.expect_code(0);
    let report = migration::report(&output);
    record.note("rows changed by one transaction", changed as f64, "");
    record.note("changes applied", migration::number(&report, "changes_applied"), "");
    record.note("run took", migration::number(&report, "elapsed_s"), "s");
    record.memory("peak memory of the process", output.peak_rss_bytes);
    record
}
