//! The MySQL and MariaDB engine: driver, binlog, SQL texts and catalogs.
//!
//! It returns facts and does one verb at a time; phases, retries and the frontier are the core's.

pub mod alter;
pub mod catalog;
pub mod check;
pub mod error;
pub mod flavor;
pub mod lacks;
pub mod plan;
pub mod sql;
