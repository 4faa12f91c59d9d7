//! The replication session: its commands, and the two-way stream of START_REPLICATION.
//!
//! It owns positions ([`Lsn`]), slots' commands and the feedback that keeps a stream alive. It decodes nothing of what the stream carries.
//!
//! Feedback goes through a task of its own that always knows the newest positions: it reports them when they change, when the server
//! asks, and at least every third of the server's `wal_sender_timeout`. So the stream stays open however long its reader is busy with
//! something else, and telling a position is never a half-sent message. A dead peer is found by the kernel, which gives up on our
//! unacknowledged reports after some minutes; silence alone proves nothing, since a server that skips a huge foreign transaction
//! is silent for as long.

use crate::{
    connect::{ConnectError, Socket},
    wire::{ServerError, StreamMessage, Wire, WireError, take_stream_message},
};
use bytes::{BufMut, Bytes, BytesMut};
use shadowswap_core::{Error, Kind, patience};
use std::{
    fmt,
    future::{Ready, ready},
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};

/// A row may have values of 1 GiB together, and the server cannot build a larger message.
const MESSAGE_BYTES_MAX: usize = (1 << 30) + (1 << 16);
/// Bytes asked for in one read: several of the server's own send buffers of 8 KiB, and little memory for a value that keeps it alive.
const READ_BYTES: usize = 64 << 10;
/// A large message is not believed at once: room is made as its bytes arrive.
const GROW_BYTES_MAX: usize = 4 << 20;
/// Positions are reported at least this often, as by the server's own receivers.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// And not more often without need, however short the server's patience.
const REPORT_EVERY_MIN: Duration = Duration::from_millis(100);
/// Each report asks for an answer. The server's own receivers take it for dead after 60 s; a large transaction of others' tables may
/// keep it busy for longer.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Microseconds from 1970 to 2000, where PostgreSQL's clock begins.
const EPOCH_2000: i64 = 946_684_800_000_000;

/// A position in the write-ahead log.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position in the write-ahead log, such as 16/B374D848")]
pub struct LsnError(String);

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Lsn, LsnError> {
        let half = |digits: &str| {
            let legal = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            legal.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        let halves = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        let (high, low) = halves.ok_or_else(|| LsnError(text.chars().take(40).collect()))?;
        Ok(Lsn(u64::from(high) << 32 | u64::from(low)))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> String {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = LsnError;

    fn try_from(text: String) -> Result<Lsn, LsnError> {
        text.parse()
    }
}

/// Who the server is.
#[allow(
    dead_code,
    reason = "slots are made, looked at and dropped in SQL so far, beside what else is prepared"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The cluster's own number; copies of it have the same.
    pub id: String,
    /// Raised by each promotion of a standby.
    pub timeline: u32,
    /// What is flushed.
    pub position: Lsn,
    /// The database of this session.
    pub database: Option<String>,
}

/// A session that takes replication commands. Dropping it closes the connection.
pub struct ReplicationConnection {
    wire: Wire,
    /// The server, for messages.
    place: String,
}

/// The commands on slots.
#[allow(
    dead_code,
    reason = "slots are made, looked at and dropped in SQL so far, beside what else is prepared"
)]
impl ReplicationConnection {
    /// Who the server is.
    ///
    /// # Errors
    /// The server's own, or a lost connection. Not cancel-safe: drop the connection with it.
    pub async fn identify_system(&mut self) -> Result<System, ConnectError> {
        let rows = self.rows("IDENTIFY_SYSTEM", "asking who the server is").await?;
        let field = |at: usize| rows.first().and_then(|row| row.get(at)).and_then(Option::as_deref);
        let read = || {
            let timeline = field(1)?.parse().ok()?;
            let position = field(2)?.parse().ok()?;
            Some(System {
                id: field(0)?.to_owned(),
                timeline,
                position,
                database: field(3).map(str::to_owned),
            })
        };
        read().ok_or_else(|| {
            ConnectError::new(Kind::Corrupt, format!("{} answers IDENTIFY_SYSTEM with {rows:?}", self.place))
        })
    }

    /// Makes a logical slot for pgoutput and gives its first consistent position. Waits for every transaction of the *cluster* that is
    /// open and has written; dropping this and the connection gives up, and the server then drops the slot.
    ///
    /// # Errors
    /// `Usage` for a name that no slot can have; the server's own; a lost connection.
    pub async fn create_slot(&mut self, name: &str) -> Result<Lsn, ConnectError> {
        let slot = slot(name)?;
        let command = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput NOEXPORT_SNAPSHOT");
        let rows = self.rows(&command, &format!("making the replication slot {name}")).await?;
        let position = rows.first().and_then(|row| row.get(1)?.as_deref()?.parse().ok());
        position.ok_or_else(|| {
            ConnectError::new(
                Kind::Corrupt,
                format!("{} made the slot {name} without a position", self.place),
            )
        })
    }

    /// Drops a slot; with `wait`, waits until its reader has gone.
    ///
    /// # Errors
    /// `Usage` for a name that no slot can have; the server's own; a lost connection.
    pub async fn drop_slot(&mut self, name: &str, wait: bool) -> Result<(), ConnectError> {
        let command = format!("DROP_REPLICATION_SLOT {}{}", slot(name)?, if wait { " WAIT" } else { "" });
        self.rows(&command, &format!("dropping the replication slot {name}")).await.map(drop)
    }
}

impl ReplicationConnection {
    pub(crate) fn new(wire: Wire, place: String) -> ReplicationConnection {
        ReplicationConnection { wire, place }
    }

    /// Runs a command and gives its rows as text. Not cancel-safe: drop the connection with it.
    async fn rows(&mut self, command: &str, what: &str) -> Result<Vec<Vec<Option<String>>>, ConnectError> {
        self.wire
            .query(command)
            .await
            .map_err(|e| ConnectError::wire(e, format_args!("{what} on {}", self.place)))
    }

    /// Starts the stream: at `from`, or where the slot was last confirmed if that is later.
    ///
    /// # Errors
    /// `Transient` if another session still reads the slot; `Refused` if the slot is not there or lost its log.
    pub async fn start(
        mut self,
        name: &str,
        from: Lsn,
        options: &[(String, String)],
    ) -> Result<ReplicationStream, ConnectError> {
        let patience = self
            .rows(
                "select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout'",
                "reading wal_sender_timeout",
            )
            .await?;
        let patience = patience.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        let options: Vec<String> =
            options.iter().map(|(n, v)| format!("{} {}", identifier(n), literal(v))).collect();
        let mut command = format!("START_REPLICATION SLOT {} LOGICAL {from}", slot(name)?);
        if !options.is_empty() {
            command.push_str(&format!(" ({})", options.join(", ")));
        }
        let started = self.wire.copy_both(&command).await;
        started.map_err(|e| {
            ConnectError::wire(e, format_args!("starting the change stream of slot {name} on {}", self.place))
        })?;
        let (socket, buffer) = self.wire.into_parts();
        Ok(ReplicationStream::new(
            socket,
            buffer,
            report_every(patience),
            format!("slot {name} on {}", self.place),
        ))
    }
}

/// A third of what the server waits for us, within bounds. Zero: it waits for ever.
fn report_every(patience_ms: Option<u64>) -> Duration {
    match patience_ms {
        None | Some(0) => REPORT_EVERY,
        Some(ms) => Duration::from_millis(ms / 3).clamp(REPORT_EVERY_MIN, REPORT_EVERY),
    }
}

/// A slot's name as an identifier. Slots have fewer characters than other things, so that a wrong one is found here.
fn slot(name: &str) -> Result<String, ConnectError> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if (1..=63).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(identifier(name));
    }
    Err(ConnectError::new(
        Kind::Usage,
        format!("{name:?} cannot be a replication slot's name: a-z, 0-9 and _ only, 63 at most"),
    ))
}

fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message of the output plugin.
    Wal {
        /// Where the record that it is about begins; zero for some kinds.
        start: Lsn,
        /// The end of the log as the server knew it.
        end: Lsn,
        /// The plugin's bytes.
        data: Bytes,
    },
    /// Everything up to `end` has been sent.
    Keepalive {
        /// The end of what is sent.
        end: Lsn,
        /// The server wanted to hear from us; it has already been answered.
        reply_requested: bool,
    },
}

/// What the server is told.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Report {
    received: Lsn,
    flushed: Lsn,
    applied: Lsn,
}

/// An open stream. Dropping it closes the connection and so frees the slot.
pub struct ReplicationStream {
    socket: ReadHalf<Socket>,
    buffer: BytesMut,
    received: Lsn,
    status: StatusSender,
    reporter: JoinHandle<()>,
    place: String,
    /// Since when the server has been silent while we listened.
    silent_since: Instant,
    asked_at: Instant,
}

/// Tells the server how far its changes are durable. Cheap to clone, for any task.
#[derive(Clone)]
pub struct StatusSender {
    report: Arc<watch::Sender<Report>>,
    place: Arc<str>,
}

impl StatusSender {
    /// Tells that everything up to `flushed` is durable, and up to `applied` applied. The server may forget what lies before `flushed`.
    ///
    /// It is on its way when this returns: a task of the stream sends it, the newest alone where several are waiting. Positions
    /// never go back. May be dropped and repeated at will.
    ///
    /// # Errors
    /// `Transient`: the connection is lost.
    pub fn send_status(&self, flushed: Lsn, applied: Lsn) -> Ready<shadowswap_core::Result<()>> {
        if self.report.is_closed() {
            return ready(Err(Error::transient(format!("the connection of {} is lost", self.place))));
        }
        self.report.send_if_modified(|report| {
            let newer = Report {
                received: report.received.max(flushed),
                flushed: report.flushed.max(flushed),
                applied: report.applied.max(applied),
            };
            let is_newer = newer != *report;
            *report = newer;
            is_newer
        });
        ready(Ok(()))
    }
}

impl ReplicationStream {
    fn new(socket: Socket, buffer: BytesMut, every: Duration, place: String) -> ReplicationStream {
        let (read, write) = tokio::io::split(socket);
        let (report, reports) = watch::channel(Report::default());
        let reporter = tokio::spawn(report_for_ever(write, reports, every, place.clone()));
        let status = StatusSender { report: Arc::new(report), place: place.as_str().into() };
        let (silent_since, asked_at) = (Instant::now(), Instant::now());
        ReplicationStream {
            socket: read,
            buffer,
            received: Lsn(0),
            status,
            reporter,
            place,
            silent_since,
            asked_at,
        }
    }

    /// The half that tells positions, for another task.
    #[must_use]
    pub fn status(&self) -> StatusSender {
        self.status.clone()
    }

    /// See [`StatusSender::send_status`].
    ///
    /// # Errors
    /// `Transient`: the connection is lost.
    pub fn send_status(&self, flushed: Lsn, applied: Lsn) -> Ready<shadowswap_core::Result<()>> {
        self.status.send_status(flushed, applied)
    }

    /// The next message. Waits without end; cancel-safe: nothing is lost by dropping it.
    ///
    /// # Errors
    /// `Transient`: the connection is lost, or the server shuts down. `Refused`: the server's own error. `Corrupt`: not this protocol.
    /// After any of them the stream is of no more use.
    pub async fn next(&mut self) -> shadowswap_core::Result<Frame> {
        // Whoever did not listen for so long cannot say that the server was silent.
        if self.asked_at.elapsed() > SILENCE_MAX {
            self.silent_since = Instant::now();
        }
        self.asked_at = Instant::now();
        loop {
            let missing =
                match take_stream_message(&mut self.buffer, MESSAGE_BYTES_MAX).map_err(|e| self.lost(e))? {
                    Ok(StreamMessage::Data(data)) => match self.frame(&data)? {
                        Some(frame) => return Ok(frame),
                        None => continue,
                    },
                    Ok(StreamMessage::Error(e)) => return Err(self.refused(e)),
                    Ok(StreamMessage::End) => {
                        return Err(Error::transient(format!(
                            "the server ended the change stream of {}",
                            self.place
                        )));
                    }
                    Ok(StreamMessage::Other) => continue,
                    Err(missing) => missing,
                };
            if self.buffer.capacity() > GROW_BYTES_MAX
                && self.buffer.len() < READ_BYTES
                && missing < READ_BYTES
            {
                // What a large message had is given back; else it would stay as large for ever.
                self.buffer = BytesMut::from(self.buffer.as_ref());
            }
            if self.buffer.capacity() - self.buffer.len() < missing.min(READ_BYTES / 4)
                || self.buffer.is_empty()
            {
                self.buffer.reserve(missing.clamp(READ_BYTES, GROW_BYTES_MAX));
            }
            let deadline = self.silent_since + patience::scaled(SILENCE_MAX);
            match timeout_at(deadline, self.socket.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(self.lost(WireError::Closed)),
                Ok(Ok(_)) => (self.silent_since, self.asked_at) = (Instant::now(), Instant::now()),
                Ok(Err(e)) => return Err(self.lost(WireError::Io(e))),
                Err(_elapsed) => {
                    return Err(Error::transient(format!(
                        "the server said nothing on the change stream of {} for {} s, though it was asked",
                        self.place,
                        self.silent_since.elapsed().as_secs()
                    )));
                }
            }
        }
    }

    fn frame(&mut self, data: &Bytes) -> shadowswap_core::Result<Option<Frame>> {
        let number = |at: usize| {
            let bytes = data.get(at..).and_then(|rest| rest.first_chunk::<8>());
            bytes.map(|b| Lsn(u64::from_be_bytes(*b)))
        };
        let broken = || Error::corrupt(format!("{}: a message of the stream ends early", self.place));
        match data.first() {
            Some(b'w') => {
                let (start, end) = (number(1).ok_or_else(broken)?, number(9).ok_or_else(broken)?);
                let payload = data.get(25..).map(|_| data.slice(25..)).ok_or_else(broken)?;
                self.received = self.received.max(start);
                Ok(Some(Frame::Wal { start, end, data: payload }))
            }
            Some(b'k') => {
                let end = number(1).ok_or_else(broken)?;
                let reply_requested = *data.get(17).ok_or_else(broken)? != 0;
                self.received = self.received.max(end);
                if reply_requested {
                    let received = self.received;
                    self.status.report.send_modify(|report| report.received = report.received.max(received));
                }
                Ok(Some(Frame::Keepalive { end, reply_requested }))
            }
            // Newer servers may send more kinds to a standby; a logical stream has none.
            Some(other) => Err(Error::corrupt(format!(
                "{}: unknown message '{}'",
                self.place,
                char::from(*other).escape_default()
            ))),
            None => Ok(None),
        }
    }

    fn lost(&self, e: WireError) -> Error {
        ConnectError::wire(e, format_args!("reading the change stream of {}", self.place)).into()
    }

    fn refused(&self, e: ServerError) -> Error {
        self.lost(WireError::Server(Box::new(e)))
    }
}

impl Drop for ReplicationStream {
    fn drop(&mut self) {
        self.reporter.abort();
    }
}

/// Sends the newest report whenever it changes, and at least once in a while.
async fn report_for_ever(
    mut socket: WriteHalf<Socket>,
    mut reports: watch::Receiver<Report>,
    every: Duration,
    place: String,
) {
    let mut asked_at = Instant::now();
    loop {
        let report = *reports.borrow_and_update();
        // An answer to each would only wake us for nothing.
        let asks = asked_at.elapsed() >= every;
        if asks {
            asked_at = Instant::now();
        }
        if let Err(e) = send_report(&mut socket, report, asks).await {
            tracing::debug!(stream = %place, error = %e, "position could not be reported");
            return;
        }
        let due = sleep_until(Instant::now() + every);
        tokio::select! {
            changed = reports.changed() => if changed.is_err() { return },
            () = due => {}
        }
    }
}

async fn send_report(socket: &mut WriteHalf<Socket>, report: Report, asks: bool) -> std::io::Result<()> {
    socket.write_all(&encode(report, now(), asks)).await?;
    socket.flush().await
}

/// A standby status update within CopyData.
fn encode(report: Report, now: i64, asks: bool) -> BytesMut {
    let mut out = BytesMut::with_capacity(39);
    out.put_u8(b'd');
    out.put_u32(38);
    out.put_u8(b'r');
    out.put_u64(report.received.0);
    out.put_u64(report.flushed.0);
    out.put_u64(report.applied.0);
    out.put_i64(now);
    out.put_u8(u8::from(asks));
    out
}

/// Microseconds since 2000. A clock that is far off only makes the server's statistics wrong.
fn now() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX) - EPOCH_2000
}

#[cfg(test)]
mod tests;
