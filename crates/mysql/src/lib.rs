//! The MySQL and MariaDB engine: driver, binlog, SQL texts and catalogs.
//!
//! It returns facts and does one verb at a time; phases, retries and the frontier are the core's.

pub mod catalog;
pub mod decode;
pub mod error;
pub mod events;
pub mod flavor;
pub mod floor;
pub mod gtid;
pub mod literal;
pub mod plan;
pub mod position;
pub mod sql;
pub mod stream;
