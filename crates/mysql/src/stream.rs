//! The connection that the binlog comes over: how it is asked for, when it is dead, and what the server's refusals mean.

use crate::{
    catalog::Table,
    connect::{Charset, ConnectOptions},
    error,
    events::{Assembly, Event, Wanted, swap::Behind},
    flavor::Server,
    gtid::GtidSet,
    intake::{Intake, Item, Taken},
    marks::Marks,
    position::Position,
    wire::{Duplex, Wire, refusal},
};
use bytes::Bytes;
use mysql_async::{Conn, Error as Driver, IoError, Row, prelude::Queryable};
use mysql_common::{
    constants::CapabilityFlags,
    packets::{ComRegisterSlave, binlog_request::BinlogRequest},
};
use shadowswap_core::{Error, Result};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::AsyncReadExt;

/// The server says so often that it is there, when it has nothing else to say.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After so long without a word the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Progress is told at most so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// The server may wait so long for us to read, in seconds: reading pauses while the change log is full.
const WRITE_TIMEOUT_S: u32 = 3600;
/// The binlog is not what was asked for; the text says in which way.
const BINLOG_ERROR: u16 = 1236;
/// MariaDB: another replica has the same server id. MySQL says it with [`BINLOG_ERROR`].
const SAME_ID: u16 = 4052;
/// What stands before the first event of a file.
const FILE_HEAD_BYTES: u64 = 4;
const ASKING: &str = "could not ask the server for its binlog's position";

/// An open change stream.
pub struct Changes {
    turn: i64,
    socket: Box<dyn Duplex>,
    intake: Intake,
    assembly: Assembly,
    marks: Arc<Marks>,
    migration: i64,
    /// Since when nothing has come while we listened.
    silent_since: Instant,
    asked_at: Instant,
    told_at: Option<Instant>,
    /// Where the stream begins, if that is to be told.
    beginning: Option<Position>,
    /// Something came since progress was told.
    has_news: bool,
    saw_head: bool,
}

impl Changes {
    /// The present end of the binlog.
    ///
    /// # Errors
    /// `Refused` if the server writes none, or if the user may not ask.
    pub async fn start_position(conn: &mut Conn, server: &Server) -> Result<Position> {
        let (file, offset) = Changes::end(conn, server).await?;
        // Only after the place: everything that these leave out begins behind it.
        let gtids = crate::reading::gtids(conn, server).await?;
        Ok(Position { gtids, file, offset })
    }

    /// The binlog's present file and where it ends.
    async fn end(conn: &mut Conn, server: &Server) -> Result<(String, u64)> {
        let show = if !server.is_mariadb() && server.version >= (8, 2, 0) {
            "SHOW BINARY LOG STATUS"
        } else {
            "SHOW MASTER STATUS"
        };
        let row: Option<Row> = conn.query_first(show).await.map_err(|e| error::server(e, ASKING))?;
        let place = row.and_then(|row| Some((row.get::<String, _>(0)?, row.get::<u64, _>(1)?)));
        place.ok_or_else(|| {
            Error::refused("the server writes no binlog").next("start it with log_bin, and binlog_format=ROW")
        })
    }

    /// Opens the stream behind `from`; none: at the present end. `turn`: the swaps that were made; with `is_behind` everything before the
    /// last of them is left out. `key` are the columns that name rows, in order; with `rereads`, changes
    /// carry no images. Markers are looked for in `control_schema`. `server_id` must be no other replica's. The connection is named after
    /// `migration`.
    ///
    /// That the binlog is still there is only known at the first [`Changes::next`].
    ///
    /// # Errors
    /// `Transient` if the connection fails; `Refused` if the server does.
    #[expect(clippy::too_many_arguments, reason = "each is another thing that only the caller knows")]
    pub async fn open(
        options: &ConnectOptions,
        server: &Server,
        source: &Table,
        key: &[String],
        rereads: bool,
        control_schema: &str,
        migration: i64,
        (turn, is_behind): (i64, bool),
        server_id: u32,
        from: Option<&Position>,
    ) -> Result<Changes> {
        const WHAT: &str = "could not open the change stream";
        let role = format!("stream {migration}");
        let mut conn = options.connect(&role, Charset::Utf8).await?;
        let from = match from {
            Some(from) => from.clone(),
            None => Changes::start_position(&mut conn, server).await?,
        };
        crate::reading::is_same_server(&mut conn, server, &from).await?;
        let behind = if is_behind {
            let upto = Changes::start_position(&mut conn, server).await?;
            Some(Behind::new(control_schema, migration, turn, upto))
        } else {
            None
        };
        let place = begins_in(&mut conn, server, &from).await?;
        let failed = |e| error::server(e, WHAT);
        let mut wire = Wire::open(options, &role).await.map_err(failed)?;
        is_same(&mut conn, &mut wire).await?;
        // What it is left for is over: that it cannot be ended well does not matter.
        let _ended = conn.disconnect().await;
        for statement in settings(server, &from) {
            wire.run(&statement).await.map_err(failed)?;
        }
        wire.command(&ComRegisterSlave::new(server_id)).await.map_err(failed)?;
        let request = BinlogRequest::new(server_id);
        // Without GTIDs a place is asked for in 32 bits; beyond them the file is read from its head, and what is done is left out.
        let is_whole = !server.has_gtids && u32::try_from(from.offset).is_err();
        let request = match (server.is_mariadb(), server.has_gtids) {
            (true, _) => request.with_pos(FILE_HEAD_BYTES),
            (false, true) => request
                .with_pos(FILE_HEAD_BYTES)
                .with_use_gtid(true)
                .with_sids(from.gtids.parse::<GtidSet>()?.sids()?),
            (false, false) => {
                let offset = if is_whole { FILE_HEAD_BYTES } else { from.offset };
                request.with_filename(from.file.as_bytes()).with_pos(offset)
            }
        };
        let (socket, input, sequence) = wire.hand_over(&request.as_cmd()).await.map_err(failed)?;
        let wanted = Wanted {
            source: source.clone(),
            key: key.to_vec(),
            rereads,
            control_schema: control_schema.to_owned(),
            migration,
            turn,
            behind,
        };
        let now = Instant::now();
        Ok(Changes {
            turn,
            socket,
            intake: Intake::new(sequence, input),
            assembly: Assembly::new(wanted, server, &place, is_whole)?,
            marks: Arc::default(),
            migration,
            silent_since: now,
            asked_at: now,
            told_at: None,
            beginning: None,
            has_news: false,
            saw_head: false,
        })
    }

    /// Gives these markers too, when it has come by their places.
    #[must_use]
    pub fn with_marks(mut self, marks: Arc<Marks>) -> Changes {
        self.marks = marks;
        self
    }

    /// Tells first where it begins, for whoever keeps what it gives: until something is applied, that is what the checkpoint says.
    #[must_use]
    pub fn telling(mut self, beginning: Option<Position>) -> Changes {
        self.beginning = beginning;
        self
    }

    /// From now on the commit of an XA transaction whose preparation was not seen stops the run.
    #[must_use]
    pub fn fearing_xa(mut self, fears: bool) -> Changes {
        if fears {
            self.assembly.fear_xa();
        }
        self
    }

    /// The next event. Waits; cancel-safe.
    ///
    /// # Errors
    /// `Transient` if the connection is lost or silent; `Unfit` if the source's definition changed or it was written in a way that the
    /// stream does not carry; `Refused` if rows are not whole; `Corrupt` if the binlog is purged or cannot be read.
    pub async fn next(&mut self) -> Result<Event> {
        let turn = self.turn;
        self.next_inner().await.map_err(|e| crate::turn::told(e, turn))
    }

    async fn next_inner(&mut self) -> Result<Event> {
        // Whoever did not listen for so long cannot say that the server was silent.
        if self.asked_at.elapsed() > SILENCE_MAX {
            self.silent_since = Instant::now();
        }
        self.asked_at = Instant::now();
        if let Some(position) = self.beginning.take() {
            return Ok(Event::Progress(position));
        }
        loop {
            if let Some(event) = self.assembly.pop() {
                return Ok(event);
            }
            // Before the first file is named, the place is only what the checkpoint says.
            if self.saw_head {
                let assembly = &mut self.assembly;
                self.marks.give(self.migration, |m| assembly.mark(&m.upto, m.token));
            }
            if let Some(event) = self.assembly.pop() {
                return Ok(event);
            }
            if self.has_news
                && self.saw_head
                && self.told_at.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY)
                && let Some(position) = self.assembly.position()
            {
                (self.told_at, self.has_news) = (Some(Instant::now()), false);
                return Ok(Event::Progress(position));
            }
            let Some(event) = self.receive().await? else { continue };
            (self.silent_since, self.asked_at) = (Instant::now(), Instant::now());
            self.take(&event)?;
            self.assembly.has_its_swap()?;
            self.has_news = true;
        }
    }

    /// The next event as it came; none: a marker was asked for.
    async fn receive(&mut self) -> Result<Option<Item>> {
        loop {
            let assembly = &self.assembly;
            match self.intake.take(&|table| assembly.long(table))? {
                Taken::Event(item) => return Ok(Some(item)),
                Taken::Refusal(answer) => return Err(refused(&answer)),
                Taken::End => return Err(Error::transient("the server ended the change stream")),
                Taken::Hungry => {}
            }
            let deadline = tokio::time::Instant::from_std(self.silent_since + SILENCE_MAX);
            let input = self.intake.input();
            let read = tokio::select! {
                read = tokio::time::timeout_at(deadline, self.socket.read_buf(input)) => read,
                () = self.marks.news() => return Ok(None),
            };
            match read {
                Ok(Ok(0)) => return Err(Error::transient("the connection of the change stream was closed")),
                Ok(Ok(_bytes)) => self.silent_since = Instant::now(),
                Ok(Err(e)) => return Err(error::server(Driver::Io(IoError::Io(e)), FAILED)),
                Err(_elapsed) => {
                    return Err(Error::transient(format!(
                        "the server said nothing on the change stream for {} s, not even that it is there",
                        SILENCE_MAX.as_secs()
                    )));
                }
            }
        }
    }

    fn take(&mut self, item: &Item) -> Result<()> {
        const HEAD: u8 = 15;
        let raw = item.raw();
        self.saw_head |= raw.kind == HEAD;
        self.assembly.take(&raw)
    }
}

/// What was found out over one session must hold for the other: something between us and the servers may send them to two of these.
async fn is_same(conn: &mut Conn, wire: &mut Wire) -> Result<()> {
    const WHO: &str = "select concat_ws(' ', @@hostname, @@port, @@server_id, @@datadir)";
    const WHAT: &str = "asking which server the change stream comes from";
    let one: Option<String> = conn.query_first(WHO).await.map_err(|e| error::server(e, WHAT))?;
    let other = wire.value(WHO).await.map_err(|e| error::server(e, WHAT))?;
    match one {
        Some(one) if one == other => Ok(()),
        one => Err(Error::transient(format!(
            "two sessions came to two servers: {} and {other}",
            one.as_deref().unwrap_or("one that does not say")
        ))
        .next("name the server itself, not what shares sessions out among several")),
    }
}

/// What is known of the place where the server will begin to send. With GTIDs the server decides, and it may be another one than the
/// position is of: then the first event tells. It tells 32 bits; the position's other bits are only needed where a file is that long.
async fn begins_in(conn: &mut Conn, server: &Server, from: &Position) -> Result<Position> {
    if !server.has_gtids {
        return Ok(from.clone());
    }
    let files: Vec<Row> = conn
        .query("SHOW BINARY LOGS")
        .await
        .map_err(|e| error::server(e, "could not ask for the binlog's files"))?;
    let is_long = |row: &Row| row.get::<u64, _>(1).is_some_and(|bytes| bytes > u64::from(u32::MAX));
    Ok(if files.iter().any(is_long) {
        from.clone()
    } else {
        Position { gtids: from.gtids.clone(), ..Position::default() }
    })
}

/// What a session is told before it asks for the binlog.
fn settings(server: &Server, from: &Position) -> Vec<String> {
    let heartbeat = HEARTBEAT.as_nanos();
    let mut settings = vec![
        format!("SET SESSION net_write_timeout = {WRITE_TIMEOUT_S}"),
        "SET @master_binlog_checksum = @@global.binlog_checksum".to_owned(),
        format!("SET @master_heartbeat_period = {heartbeat}"),
    ];
    if server.is_mariadb() {
        settings.extend([
            "SET @mariadb_slave_capability = 4".to_owned(),
            format!("SET @slave_connect_state = {}", crate::sql::literal(&from.gtids)),
            "SET @slave_gtid_strict_mode = 0".to_owned(),
            "SET @slave_gtid_ignore_duplicates = 0".to_owned(),
        ]);
    } else {
        settings.extend([
            "SET @source_binlog_checksum = @@global.binlog_checksum".to_owned(),
            format!("SET @source_heartbeat_period = {heartbeat}"),
        ]);
    }
    settings
}

const FAILED: &str = "the change stream failed";

/// The server's error on an open stream.
fn refused(answer: &Bytes) -> Error {
    let e = refusal(answer, CapabilityFlags::CLIENT_PROTOCOL_41);
    match &e {
        Driver::Server(told) if is_refusal(told.code) => {
            let (code, text) = (told.code, told.message.clone());
            explained(code, &text).because(e)
        }
        _ => error::server(e, FAILED),
    }
}

fn is_refusal(code: u16) -> bool {
    matches!(code, BINLOG_ERROR | SAME_ID)
}

/// Error 1236 is many things.
fn explained(code: u16, text: &str) -> Error {
    if code == SAME_ID || text.contains("same server_uuid/server_id") {
        return Error::refused(format!(
            "another replica reads the binlog under the same server id as this migration: error {code} {text}"
        ))
        .next("end the other one, or see whether another runner has this migration; then run the same command again");
    }
    if text.contains("max_allowed_packet") {
        return Error::refused(format!("the server cannot send an event of its binlog: error {code} {text}"))
            .next("SET GLOBAL max_allowed_packet to more, then run the same command again");
    }
    Error::corrupt(format!(
        "the server cannot send its binlog from where this migration stopped; most likely it was purged meanwhile: error {code} {text}"
    ))
    .next("nothing was swapped; `shadowswap abort`, keep the binlog longer (binlog_expire_logs_seconds), and run again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowswap_core::Kind;

    fn server_error(code: u16, message: &str) -> Error {
        let [low, high] = code.to_le_bytes();
        refused(&[&[0xff, low, high], &b"#HY000"[..], message.as_bytes()].concat().into())
    }

    #[test]
    fn refusals_are_told_apart() {
        let purged = server_error(1236, "Could not find first log file name in binary log index file");
        assert_eq!(purged.kind, Kind::Corrupt);
        assert!(purged.next.is_some_and(|n| n.contains("abort")));
        let twin =
            server_error(1236, "A replica with the same server_uuid/server_id as this replica has connected");
        assert_eq!(twin.kind, Kind::Refused);
        assert_eq!(server_error(1236, "log event entry exceeded max_allowed_packet").kind, Kind::Refused);
        assert_eq!(server_error(1053, "Server shutdown in progress").kind, Kind::Transient);
        let nameless = [&[0xff, 0xd4, 0x04][..], b"purged"].concat();
        assert_eq!(refused(&nameless.into()).kind, Kind::Corrupt);
        assert_eq!(refused(&Bytes::from_static(&[0xff])).kind, Kind::Corrupt);
    }
}
