//! The change stream against real servers of both products.

mod stream {
    mod flow;
    pub mod setup;
    mod types;
}
use stream::setup;
