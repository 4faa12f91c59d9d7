//! The connection that the binlog comes over: logging in, a few statements, and then bytes as they come.
//!
//! The driver hands an event out in one piece, which it has twice for a moment; an event has a row as it was and as it is, so that a row
//! of 50 MiB takes four times that. Logging in and asking is done here as the driver does it, with its own types and its own errors.
//! Whatever the change stream is not needed for goes over the driver's sessions.

mod login;
mod tls;

use crate::{
    connect::{CONNECT_WITHIN, ConnectOptions},
    decode::Bytes as Fields,
};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use mysql_async::{DriverError, Error as Driver, IoError};
use mysql_common::{
    constants::{CapabilityFlags, Command},
    io::ParseBuf,
    packets::ErrPacket,
    proto::MySerialize,
};
use std::{io, panic::AssertUnwindSafe};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No answer to what is asked here is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES: usize = 4;

/// A connection of any kind.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A session that asks for the binlog.
pub(crate) struct Wire {
    socket: Box<dyn Duplex>,
    input: BytesMut,
    /// The number of the next packet, whoever sends it.
    sequence: u8,
    /// What both sides agreed on; nothing before the server knows us.
    capabilities: CapabilityFlags,
}

impl Wire {
    /// Logs in. `role` names the session for people who look at the server. May be dropped while it waits: nothing is left open.
    ///
    /// # Errors
    /// The driver's own.
    pub(crate) async fn open(options: &ConnectOptions, role: &str) -> Result<Wire, Driver> {
        Wire::log_in(options, role, false).await
    }

    /// Whether MariaDB lets us in. Another server is shown no proof: wrong ones count.
    pub(crate) async fn is_let_in_by_mariadb(options: &ConnectOptions, role: &str) -> bool {
        Wire::log_in(options, role, true).await.is_ok()
    }

    async fn log_in(options: &ConnectOptions, role: &str, is_picky: bool) -> Result<Wire, Driver> {
        // The driver's types panic on some greetings that no server sends.
        let opened = AssertUnwindSafe(login::log_in(options, role, is_picky)).catch_unwind();
        match tokio::time::timeout(CONNECT_WITHIN, opened).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_panic)) => {
                let told = "the server's greeting cannot be read";
                Err(io_error(io::Error::new(io::ErrorKind::InvalidData, told)))
            }
            Err(_elapsed) => {
                let late = format!("no answer within {CONNECT_WITHIN:?}");
                Err(io_error(io::Error::new(io::ErrorKind::TimedOut, late)))
            }
        }
    }

    /// Runs a statement that has no result.
    ///
    /// # Errors
    /// The server's, or the connection's.
    pub(crate) async fn run(&mut self, statement: &str) -> Result<(), Driver> {
        self.query(statement).await?;
        self.ok().await
    }

    /// The first value of a statement's one row.
    ///
    /// # Errors
    /// The server's, or the connection's.
    pub(crate) async fn value(&mut self, statement: &str) -> Result<String, Driver> {
        self.query(statement).await?;
        let columns = self.answer().await?;
        let &[columns @ 1..=250] = &columns[..] else { return Err(unexpected(&columns)) };
        // What the columns are, and the end of that.
        for _ in 0..=columns {
            self.answer().await?;
        }
        let row = self.answer().await?;
        let mut rest = Fields(&row);
        let value = rest.size().and_then(|size| rest.take(size)).map_err(|_| unexpected(&row))?;
        let value = String::from_utf8_lossy(value).into_owned();
        const END: u8 = 0xfe;
        while self.answer().await?.first() != Some(&END) {}
        Ok(value)
    }

    /// Sends a command that is answered by a word.
    ///
    /// # Errors
    /// The server's, or the connection's.
    pub(crate) async fn command(&mut self, command: &impl MySerialize) -> Result<(), Driver> {
        self.begin(command).await?;
        self.ok().await
    }

    /// Sends the last command: what comes from now on is for others to read. Gives the connection, what came already, and the number of
    /// the first packet.
    ///
    /// # Errors
    /// The connection's.
    pub(crate) async fn hand_over(
        mut self,
        command: &impl MySerialize,
    ) -> Result<(Box<dyn Duplex>, BytesMut, u8), Driver> {
        self.begin(command).await?;
        Ok((self.socket, self.input, self.sequence))
    }

    async fn query(&mut self, statement: &str) -> Result<(), Driver> {
        self.sequence = 0;
        self.send(&[&[Command::COM_QUERY as u8], statement.as_bytes()].concat()).await
    }

    async fn begin(&mut self, command: &impl MySerialize) -> Result<(), Driver> {
        self.sequence = 0;
        self.send_struct(command).await
    }

    async fn ok(&mut self) -> Result<(), Driver> {
        let answer = self.answer().await?;
        if answer.first() == Some(&0) { Ok(()) } else { Err(unexpected(&answer)) }
    }

    async fn send_struct(&mut self, message: &impl MySerialize) -> Result<(), Driver> {
        let mut bytes = Vec::new();
        message.serialize(&mut bytes);
        self.send(&bytes).await
    }

    /// Sends a message as packets.
    async fn send(&mut self, message: &[u8]) -> Result<(), Driver> {
        const PACKET_BYTES_MAX: usize = 0xff_ffff;
        let mut out = BytesMut::with_capacity(message.len() + HEAD_BYTES);
        let mut rest = message;
        loop {
            let (packet, behind) = rest.split_at(rest.len().min(PACKET_BYTES_MAX));
            let [low, middle, high, ..] = packet.len().to_le_bytes();
            out.extend_from_slice(&[low, middle, high, self.sequence]);
            out.extend_from_slice(packet);
            self.sequence = self.sequence.wrapping_add(1);
            rest = behind;
            // A message whose last packet is full ends with an empty one.
            if packet.len() < PACKET_BYTES_MAX {
                break;
            }
        }
        self.socket.write_all(&out).await.map_err(io_error)?;
        self.socket.flush().await.map_err(io_error)
    }

    /// The next message, if it is no error.
    async fn answer(&mut self) -> Result<Bytes, Driver> {
        let message = self.message().await?;
        if message.first() == Some(&0xff) { Err(refusal(&message, self.capabilities)) } else { Ok(message) }
    }

    async fn message(&mut self) -> Result<Bytes, Driver> {
        loop {
            if let [low, middle, high, number, ..] = self.input[..] {
                let size = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
                if number != self.sequence {
                    return Err(Driver::Driver(DriverError::PacketOutOfOrder));
                }
                if size > ANSWER_BYTES_MAX {
                    let told = format!("an answer of {size} bytes");
                    return Err(io_error(io::Error::new(io::ErrorKind::InvalidData, told)));
                }
                if self.input.len() >= HEAD_BYTES + size {
                    self.input.advance(HEAD_BYTES);
                    self.sequence = self.sequence.wrapping_add(1);
                    return Ok(self.input.split_to(size).freeze());
                }
            }
            self.input.reserve(HEAD_BYTES);
            if self.socket.read_buf(&mut self.input).await.map_err(io_error)? == 0 {
                return Err(Driver::Driver(DriverError::ConnectionClosed));
            }
        }
    }
}

/// The server's error, as the driver has it.
pub(crate) fn refusal(message: &[u8], capabilities: CapabilityFlags) -> Driver {
    match ParseBuf(message).parse::<ErrPacket<'_>>(capabilities) {
        Ok(ErrPacket::Error(e)) => Driver::Server(e.into()),
        Ok(ErrPacket::Progress(_)) | Err(_) => unexpected(message),
    }
}

fn unexpected(message: &[u8]) -> Driver {
    Driver::Driver(DriverError::UnexpectedPacket { payload: message.to_vec() })
}

fn io_error(e: io::Error) -> Driver {
    Driver::Io(IoError::Io(e))
}
