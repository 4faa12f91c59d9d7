//! The change stream in the core's terms.

use crate::{MySql, Position, events, stream::Changes};
use shadowswap_core::{Event, Result, engine};

/// An open change stream.
pub struct Stream(Changes);

impl Stream {
    /// The core's view of a stream.
    pub fn new(changes: Changes) -> Stream {
        Stream(changes)
    }
}

impl engine::Stream<MySql> for Stream {
    async fn next(&mut self) -> Result<Event<MySql>> {
        Ok(match self.0.next().await? {
            events::Event::Begin { tx, committed } => Event::Begin { tx, committed },
            events::Event::Change(change) => Event::Change(change),
            events::Event::Marker(token) => Event::Marker(token),
            events::Event::Commit(position) => Event::Commit(position),
            events::Event::Progress(position) => Event::Progress(position),
        })
    }

    /// The server keeps its binlog for as long as its own settings say, whoever reads it.
    async fn confirm(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
}
