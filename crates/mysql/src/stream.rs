//! The connection that the binlog comes over: how it is asked for, when it is dead, and what the server's refusals mean.

use crate::{
    catalog::Table,
    error,
    events::{Assembly, Event, Raw, Wanted, swap::Behind},
    flavor::Server,
    gtid::GtidSet,
    marks::Marks,
    position::Position,
};
use futures_util::{FutureExt, StreamExt};
use mysql_async::{
    BinlogStream, BinlogStreamRequest, Conn, Error as Driver, Opts, OptsBuilder, Row, prelude::Queryable,
};
use mysql_common::{
    binlog::{consts::BinlogChecksumAlg, events::Event as Binlog},
    proto::MySerialize,
};
use shadowswap_core::{Error, Result};
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

/// The server says so often that it is there, when it has nothing else to say.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After so long without a word the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Progress is told at most so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// The server may wait so long for us to read, in seconds: reading pauses while the change log is full.
const WRITE_TIMEOUT_S: u32 = 3600;
/// The largest packet of the protocol. An event may be larger than the server's `max_allowed_packet`: it holds two images of a row.
const PACKET_BYTES_MAX: usize = 1 << 30;
/// The binlog is not what was asked for; the text says in which way.
const BINLOG_ERROR: u16 = 1236;
/// MariaDB: another replica has the same server id. MySQL says it with [`BINLOG_ERROR`].
const SAME_ID: u16 = 4052;
const CHECKSUM_BYTES: usize = 4;
const ASKING: &str = "could not ask the server for its binlog's position";

/// An open change stream.
pub struct Changes {
    turn: i64,
    binlog: BinlogStream,
    assembly: Assembly,
    marks: Arc<Marks>,
    migration: i64,
    /// Since when the server has been silent while we listened.
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
    /// carry no images. Markers are looked for in `control_schema`. `server_id` must be no other replica's.
    ///
    /// That the binlog is still there is only known at the first [`Changes::next`].
    ///
    /// # Errors
    /// `Transient` if the connection fails; `Refused` if the server does.
    #[expect(clippy::too_many_arguments, reason = "each is another thing that only the caller knows")]
    pub async fn open(
        opts: Opts,
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
        let opts = OptsBuilder::from_opts(opts).max_allowed_packet(Some(PACKET_BYTES_MAX));
        let mut conn = Conn::new(opts).await.map_err(|e| error::server(e, WHAT))?;
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
        for statement in settings(server, &from) {
            conn.query_drop(statement).await.map_err(|e| error::server(e, WHAT))?;
        }
        let request = BinlogStreamRequest::new(server_id);
        // Without GTIDs a place is asked for in 32 bits; beyond them the file is read from its head, and what is done is left out.
        let is_whole = !server.has_gtids && u32::try_from(from.offset).is_err();
        let request = match (server.is_mariadb(), server.has_gtids) {
            (true, _) => request,
            (false, true) => request.with_gtid().with_gtid_set(from.gtids.parse::<GtidSet>()?.sids()?),
            (false, false) => {
                let offset = if is_whole { 4 } else { from.offset };
                request.with_filename(from.file.as_bytes()).with_pos(offset)
            }
        };
        let place = begins_in(&mut conn, server, &from).await?;
        let binlog = conn.get_binlog_stream(request).await.map_err(failed)?;
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
            binlog,
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

    /// The driver's next event; none: a marker was asked for. The driver panics on a packet that is shorter than it says, which must not
    /// end the program.
    async fn receive(&mut self) -> Result<Option<Binlog>> {
        let deadline = tokio::time::Instant::from_std(self.silent_since + SILENCE_MAX);
        let event = AssertUnwindSafe(self.binlog.next()).catch_unwind();
        let event = tokio::select! {
            event = tokio::time::timeout_at(deadline, event) => event,
            () = self.marks.news() => return Ok(None),
        };
        match event {
            Ok(Ok(Some(Ok(event)))) => Ok(Some(event)),
            Ok(Ok(Some(Err(e)))) => Err(failed(e)),
            Ok(Ok(None)) => Err(Error::transient("the server ended the change stream")),
            Ok(Err(_panic)) => Err(Error::corrupt("the driver could not read an event of the binlog")),
            Err(_elapsed) => Err(Error::transient(format!(
                "the server said nothing on the change stream for {} s, not even that it is there",
                SILENCE_MAX.as_secs()
            ))),
        }
    }

    fn take(&mut self, event: &Binlog) -> Result<()> {
        const ROTATE: u8 = 4;
        const HEAD: u8 = 15;
        let header = event.header();
        let kind = header.event_type_raw();
        let mut data = event.data();
        if kind == HEAD {
            self.saw_head = true;
        } else if kind == ROTATE && !self.saw_head {
            // The very first event comes before it is known whether events have a checksum.
            data = without_checksum(event);
        }
        verify(event)?;
        self.assembly.take(&Raw {
            kind,
            timestamp: header.timestamp(),
            server: header.server_id(),
            size: header.event_size(),
            end_low: header.log_pos(),
            flags: header.flags_raw(),
            data,
        })
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

/// Compares an event with its checksum, where it has one; the driver does not.
fn verify(event: &Binlog) -> Result<()> {
    let footer = event.footer();
    let has_checksum = footer.get_checksum_enabled()
        && matches!(footer.get_checksum_alg(), Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)));
    let Some(checksum) = event.checksum().filter(|_| has_checksum) else { return Ok(()) };
    let due = event.calc_checksum(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
    if u32::from_le_bytes(checksum) == due {
        return Ok(());
    }
    let header = event.header();
    Err(Error::corrupt(format!(
        "an event of the binlog (type {}, ending at {}) does not have its checksum",
        header.event_type_raw(),
        header.log_pos()
    ))
    .next("nothing was swapped; look for what damages data on the way, then run again"))
}

/// The data of the first event, without the checksum that may be at its end.
fn without_checksum(event: &Binlog) -> &[u8] {
    let data = event.data();
    let Some((body, checksum)) = data.split_last_chunk::<CHECKSUM_BYTES>() else { return data };
    let mut head = Vec::new();
    event.header().serialize(&mut head);
    let mut crc = flate2::Crc::new();
    crc.update(&head);
    crc.update(body);
    if crc.sum() == u32::from_le_bytes(*checksum) { body } else { data }
}

/// The driver's error on an open stream.
fn failed(e: Driver) -> Error {
    const WHAT: &str = "the change stream failed";
    match &e {
        Driver::Server(answer) if is_refusal(answer.code) => refusal(answer.code, &answer.message).because(e),
        // The driver cannot read every error packet, and then hides it in one of its own.
        Driver::Driver(mysql_async::DriverError::UnexpectedPacket { payload }) => match payload.as_slice() {
            [0xff, low, high, text @ ..] => {
                let (code, text) = (u16::from_le_bytes([*low, *high]), String::from_utf8_lossy(text));
                match code {
                    code if is_refusal(code) => refusal(code, &text).because(e),
                    _ => Error::transient(format!("{WHAT}: error {code} {text}")).because(e),
                }
            }
            _ => error::server(e, WHAT),
        },
        Driver::Server(_) | Driver::Io(_) | Driver::Driver(_) | Driver::Other(_) | Driver::Url(_) => {
            error::server(e, WHAT)
        }
    }
}

fn is_refusal(code: u16) -> bool {
    matches!(code, BINLOG_ERROR | SAME_ID)
}

/// Error 1236 is many things.
fn refusal(code: u16, text: &str) -> Error {
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
        failed(Driver::Server(mysql_async::ServerError {
            code,
            message: message.into(),
            state: "HY000".into(),
        }))
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
        let payload = [&[0xff, 0xd4, 0x04][..], b"#HY000purged"].concat();
        let hidden = failed(Driver::Driver(mysql_async::DriverError::UnexpectedPacket { payload }));
        assert_eq!(hidden.kind, Kind::Corrupt);
        let io = std::io::Error::other("bytes remaining on stream");
        assert_eq!(failed(Driver::Io(mysql_async::IoError::Io(io))).kind, Kind::Transient);
    }
}
