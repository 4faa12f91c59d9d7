//! What the tests and benches share: private servers, writers with a ledger of what was acknowledged, and the built binary.
//!
//! This is the only crate that starts servers. It knows nothing of shadowswap's own crates, so that it can judge them: the
//! [`load::Ledger`] is filled by what the server acknowledged to a plain client and by nothing else.
//!
//! Functions that prepare a test panic with what to do about it; a server that is not installed is never a silent skip.
//!
//! How it is used: `examples/migrate.rs`.

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
