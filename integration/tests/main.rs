//! Conformance tests: the built binary against real servers, judged from outside.
//!
//! `cases` and `mysql::cases` compare a table after a migration with an identical one that the server altered in place. `race` judges by a ledger of
//! acknowledged writes, or by a table that had the same statements. `lifecycle` kills, stops, aborts and obstructs runs in each phase.
//! `plans` counts scans. `cli` holds what scripts rely on. Nothing here waits for a time: everything waits for a condition, with a deadline.
//!
//! The binary is not built by `cargo test -p shadowswap-integration`: run `cargo build -p shadowswap` before.

#![allow(clippy::unwrap_used)]

mod case;
mod cases;
mod catalog;
mod cli;
mod examples;
mod faults;
mod lifecycle;
mod mysql;
mod operator;
mod plans;
mod race;
mod spool;
mod steering;
