//! What the tests and benches share: private servers, writers with a ledger of what was acknowledged, and the built binary.
//!
//! This is the only crate that starts servers. It knows nothing of shadowswap's own crates, so that it can judge them.
//!
//! Functions that prepare a test panic with what to do about it; a server that is not installed is never a silent skip.

pub mod postgres;
mod process;
mod target;

pub use nix::sys::signal::Signal;
pub use postgres::{Database, Postgres, PostgresBuilder, Version, shared};
pub use target::target_dir;
