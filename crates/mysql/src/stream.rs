//! stub
use crate::*;
use shadowswap_core::Event;
pub struct Stream;
impl Stream {
    pub async fn open(
        _: mysql_async::Opts,
        _: &Detail,
        _: &[String],
        _: &str,
        _: i64,
        _: u32,
        _: &Position,
    ) -> Result<Stream> {
        Ok(Stream)
    }
}
pub async fn start_position(_: &mut Conn, _: &flavor::Server) -> Result<Position> {
    Err(Error::usage("x"))
}
impl shadowswap_core::engine::Stream<MySql> for Stream {
    async fn next(&mut self) -> Result<Event<MySql>> {
        Err(Error::usage("x"))
    }
    async fn confirm(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
}
