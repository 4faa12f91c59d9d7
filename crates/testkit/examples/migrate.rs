//! A table is migrated under load, and compared with what the writers know.

use shadowswap_testkit::load::{Ledger, Load, TableShape};
use shadowswap_testkit::{Binary, Version, shared};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), String> {
    let database = shared(Version::Apt).await.database().await;
    let client = database.connect().await;
    let shape = TableShape::standard("public.users");
    shape.create(&client).await;
    let ledger = Ledger::fill(&client, shape, 10_000, 1).await;
    let running = Load::new(&database.url()).writers(8).start(ledger).await?;
    let run = ["run", "--yes", "--table", "public.users", "--alter", "alter n type bigint"];
    let call = Binary::shadowswap().args(run).args(["--url", &database.url()]);
    call.run(Duration::from_secs(60)).await.expect_code(0);
    let (report, ledger) = running.stop().await;
    assert!(report.is_clean(), "{report}");
    let differences = ledger.check(&client, "public.users").await.map_err(|e| e.to_string())?;
    assert!(differences.is_empty(), "{differences}");
    Ok(())
}
