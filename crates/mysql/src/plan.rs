//! Works out what will be done, and changes nothing of the source: everything is tried on an empty copy.

pub mod detail;

pub use detail::{Detail, LateIndex};
