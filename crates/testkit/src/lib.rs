//! What the tests and benches share: private servers, writers with a ledger of what was acknowledged, and the built binary.
//!
//! This is the only crate that starts servers. It knows nothing of shadowswap's own crates, so that it can judge them: the
//! [`load::Ledger`] is filled by what the server acknowledged to a plain client and by nothing else.
//!
//! Functions that prepare a test panic with what to do about it; a server that is not installed is never a silent skip.
//!
//! ```no_run
//! # async fn example() -> Result<(), String> {
//! use shadowswap_testkit::load::{Ledger, Load, TableShape};
//! use shadowswap_testkit::{Binary, Version, shared};
//! use std::time::Duration;
//!
//! let database = shared(Version::Apt).await.database().await;
//! let client = database.connect().await;
//! let shape = TableShape::standard("public.users");
//! shape.create(&client).await;
//! let ledger = Ledger::fill(&client, shape, 10_000, 1).await;
//! let running = Load::new(&database.url()).writers(8).start(ledger).await?;
//! let run = ["run", "--yes", "--table", "public.users", "--alter", "alter n type bigint"];
//! Binary::shadowswap().args(run).args(["--url", &database.url()]).run(Duration::from_secs(60)).await.expect_code(0);
//! let (report, ledger) = running.stop().await;
//! assert!(report.is_clean(), "{report}");
//! let differences = ledger.check(&client, "public.users").await.map_err(|e| e.to_string())?;
//! assert!(differences.is_empty(), "{differences}");
//! # Ok(())
//! # }
//! ```

pub mod binary;
mod files;
pub mod load;
pub mod mysql;
pub mod postgres;
mod process;
mod proxy;
mod target;

pub use binary::Binary;
pub use mysql::{Mysql, MysqlBuilder, Product};
pub use nix::sys::signal::Signal;
pub use postgres::{Database, Postgres, PostgresBuilder, Version, shared};
pub use proxy::{Flow, Link, Loss, Proxy};
pub use target::target_dir;
