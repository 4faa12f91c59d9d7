//! The change stream against real servers of both products.

#![allow(clippy::unwrap_used, reason = "in a test, unwrap is an assertion; the helpers are tests too")]

mod stream {
    mod flow;
    pub mod setup;
    mod stops;
    mod types;
}
use stream::setup;
