//! The core of shadowswap: phases, the frontier, and the tasks that copy, apply, verify and swap. No SQL, no driver.
//!
//! Read in this order: [`phase`], [`runner`], [`engine`] (the only seam), [`frontier`] (the correctness argument), [`batch`],
//! [`apply`], [`copy`], [`verify`], [`cutover`].

pub mod apply;
pub mod batch;
mod brim;
pub mod change;
pub mod chunk;
pub mod clock;
pub mod config;
pub mod control;
pub mod copy;
pub mod cutover;
mod direct;
pub mod engine;
pub mod error;
pub mod failpoint;
pub mod feed;
mod folder;
pub mod forecast;
pub mod frontier;
pub mod hook;
mod http;
mod journal;
pub mod mutations;
pub mod name;
pub mod net;
pub mod offline;
pub mod patience;
pub mod phase;
pub mod plan;
pub mod progress;
pub mod runner;
pub mod setting;
pub mod steward;
pub mod throttle;
pub mod tls;
pub mod units;
pub mod verify;
pub mod window;

pub use change::{Change, Key, Op};
pub use config::{Config, CutoverWhen, MaxLoad};
pub use engine::{
    Apply, Bound, Caps, Chunk, Compared, Copied, Engine, Event, Fate, Floor, InPlace, Load, Locked, Obstacle,
    Outcome, Position, Session, Spelling, Stream, Suspect, TxId,
};
pub use error::{Error, Kind, Result, Tried};
pub use phase::Phase;
