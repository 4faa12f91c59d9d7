//! PostgreSQL's protocol for the replication session: start-up, authentication, simple queries; tokio-postgres knows no replication.
//!
//! It owns message framing and the order of an authentication exchange. It knows no replication command. Invariant: nothing the server
//! sends makes it panic or reserve more than the limit of the present state, and with `channel_binding=require` no password or proof
//! leaves except bound to this TLS connection.
//!
//! Nothing here is cancel-safe: a connection dropped in the middle of a call is to be closed, and is, since [`Wire`] is not shared.

use crate::connect::{ChannelBinding, Secret, Socket};
use bytes::{Buf, Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::{
        backend::{ErrorFields, Header, Message},
        frontend,
    },
};
use shadowswap_core::Kind;
use std::{fmt, io};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers to the commands of a replication session are small; a megabyte is already somebody else's protocol.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Rows that one command may give.
const ROWS_MAX: usize = 10_000;
/// Bytes asked for in one read.
const READ_BYTES: usize = 8 << 10;
/// The answer to START_REPLICATION, which the protocol crate does not know.
const COPY_BOTH: u8 = b'W';

/// What to do about a password that is missing.
pub const NO_PASSWORD: &str =
    "set PGPASSWORD, or add a line host:port:database:user:password to ~/.pgpass (mode 0600)";

/// An error of the server, with its SQLSTATE.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`.
    pub severity: String,
    /// The SQLSTATE.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// More of it.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<&tokio_postgres::error::DbError> for ServerError {
    fn from(e: &tokio_postgres::error::DbError) -> ServerError {
        ServerError {
            severity: e.severity().to_owned(),
            code: e.code().code().to_owned(),
            message: e.message().to_owned(),
            detail: e.detail().map(str::to_owned),
            hint: e.hint().map(str::to_owned),
        }
    }
}

impl ServerError {
    /// From the fields of an error message; fields that cannot be read are left out.
    pub fn parse(mut fields: ErrorFields<'_>) -> ServerError {
        let mut error = ServerError::default();
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                // `V` is never translated, and newer than `S`.
                b'V' => error.severity = text,
                b'S' if error.severity.is_empty() => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        error
    }

    /// What to do next.
    pub fn kind(&self) -> Kind {
        let code = self.code.as_str();
        let passes = ["08", "53", "57P"].iter().any(|class| code.starts_with(class));
        match code {
            _ if passes => Kind::Transient,
            // Cancelled, object in use (the slot's former reader), lock timeout.
            "57014" | "55006" | "55P03" => Kind::Transient,
            _ if code.starts_with("XX") => Kind::Corrupt,
            _ => Kind::Refused,
        }
    }
}

/// Why the conversation failed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The server said no.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The server hung up without a word.
    #[error("the server closed the connection")]
    Closed,
    /// The server said what it must not.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// We said no: why, and what can be done.
    #[error("{0}")]
    Refused(String, &'static str),
}

impl WireError {
    /// What to do next.
    pub fn kind(&self) -> Kind {
        match self {
            WireError::Server(e) => e.kind(),
            WireError::Io(_) | WireError::Closed => Kind::Transient,
            WireError::Protocol(_) => Kind::Corrupt,
            WireError::Refused(..) => Kind::Refused,
        }
    }

    /// What the operator can do.
    pub fn next(&self) -> Option<&'static str> {
        match self {
            WireError::Refused(_, next) => Some(next),
            WireError::Server(e) => match e.code.as_str() {
                "28000" => Some("add a line for this user and host to pg_hba.conf, or change sslmode"),
                "28P01" => Some("check the password: in the URL, in PGPASSWORD, or in ~/.pgpass"),
                "42501" => Some(
                    "give the role the REPLICATION attribute (on managed servers: the replication role of the provider)",
                ),
                "53300" => Some("raise max_connections or max_wal_senders, or end idle connections"),
                _ => None,
            },
            WireError::Io(_) | WireError::Closed | WireError::Protocol(_) => None,
        }
    }
}

/// What a session begins with.
#[derive(Clone, Copy)]
pub struct Startup<'a> {
    /// `user`, `database`, and settings.
    pub parameters: &'a [(&'a str, &'a str)],
    /// The user, for the password's hash.
    pub user: &'a str,
    /// The password, if there is one.
    pub password: Option<&'a Secret>,
    /// Whether the exchange must be bound to the connection.
    pub binding: ChannelBinding,
}

/// A session of our own.
pub struct Wire {
    socket: Socket,
    read: BytesMut,
}

/// A row of a simple query, as text.
pub type TextRow = Vec<Option<String>>;

impl Wire {
    /// Starts a session and proves who we are.
    pub async fn start(socket: Socket, startup: Startup<'_>) -> Result<Wire, WireError> {
        let mut wire = Wire { socket, read: BytesMut::with_capacity(READ_BYTES) };
        wire.send(|buf| frontend::startup_message(startup.parameters.iter().copied(), buf)).await?;
        wire.authenticate(startup).await?;
        loop {
            match wire.message().await? {
                Message::ReadyForQuery(_) => return Ok(wire),
                Message::BackendKeyData(_) | Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
                _ => return Err(unexpected("while the session began")),
            }
        }
    }

    /// The socket, and what was read from it and not yet used.
    pub fn into_parts(self) -> (Socket, BytesMut) {
        (self.socket, self.read)
    }

    /// Runs a command and gives its rows.
    pub async fn query(&mut self, text: &str) -> Result<Vec<TextRow>, WireError> {
        self.send(|buf| frontend::query(text, buf)).await?;
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            let message = match self.raw_message().await {
                // After a fatal error there is nothing but the end of the connection.
                Err(WireError::Io(_) | WireError::Closed) if failed.is_some() => break,
                message => message?,
            };
            match message {
                Message::DataRow(row) => {
                    if rows.len() == ROWS_MAX {
                        return Err(WireError::Protocol(format!("a command gave more than {ROWS_MAX} rows")));
                    }
                    let mut ranges = row.ranges();
                    let mut values = Vec::new();
                    while let Some(range) = ranges.next()? {
                        let value = range.and_then(|range| row.buffer().get(range));
                        values.push(value.map(|v| String::from_utf8_lossy(v).into_owned()));
                    }
                    rows.push(values);
                }
                Message::ErrorResponse(body) => failed = Some(ServerError::parse(body.fields())),
                Message::ReadyForQuery(_) => break,
                Message::RowDescription(_)
                | Message::CommandComplete(_)
                | Message::EmptyQueryResponse
                | Message::NoticeResponse(_)
                | Message::ParameterStatus(_) => {}
                _ => return Err(unexpected("in answer to a command")),
            }
        }
        failed.map_or(Ok(rows), |e| Err(WireError::Server(Box::new(e))))
    }

    /// Sends a command that turns the connection into a two-way stream.
    pub async fn copy_both(&mut self, text: &str) -> Result<(), WireError> {
        self.send(|buf| frontend::query(text, buf)).await?;
        loop {
            let header = self.fill().await?;
            if header.tag() == COPY_BOTH {
                // Formats of columns that do not exist follow.
                self.read.advance(1 + size(header));
                return Ok(());
            }
            match self.message().await? {
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                _ => return Err(unexpected("where a stream should begin")),
            }
        }
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), WireError> {
        let mut buf = BytesMut::new();
        write(&mut buf)?;
        self.socket.write_all(&buf).await?;
        self.socket.flush().await?;
        Ok(())
    }

    /// Reads until one whole message is there.
    async fn fill(&mut self) -> Result<Header, WireError> {
        loop {
            if let Some(header) = Header::parse(&self.read)? {
                if size(header) > MESSAGE_BYTES_MAX {
                    let tag = char::from(header.tag()).escape_default();
                    return Err(WireError::Protocol(format!("a message '{tag}' of {} bytes", header.len())));
                }
                if self.read.len() > size(header) {
                    return Ok(header);
                }
            }
            self.read.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.read).await? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    async fn raw_message(&mut self) -> Result<Message, WireError> {
        self.fill().await?;
        let message = Message::parse(&mut self.read).map_err(|e| WireError::Protocol(e.to_string()))?;
        message.ok_or_else(|| WireError::Protocol("a message that ends early".into()))
    }

    /// The next message; an error of the server as an error.
    async fn message(&mut self) -> Result<Message, WireError> {
        match self.raw_message().await? {
            Message::ErrorResponse(body) => {
                Err(WireError::Server(Box::new(ServerError::parse(body.fields()))))
            }
            message => Ok(message),
        }
    }

    async fn authenticate(&mut self, startup: Startup<'_>) -> Result<(), WireError> {
        let password = || {
            let missing = "the server asks for a password, and none is given";
            startup.password.ok_or_else(|| WireError::Refused(missing.into(), NO_PASSWORD))
        };
        let unbound = || {
            match startup.binding {
            ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
            ChannelBinding::Require => Err(WireError::Refused(
                "the server offers no authentication that is bound to the TLS connection, and channel_binding=require".into(),
                "use scram-sha-256 in pg_hba.conf and a connection with TLS, or channel_binding=prefer",
            )),
        }
        };
        match self.message().await? {
            Message::AuthenticationOk => return unbound(),
            Message::AuthenticationCleartextPassword => {
                unbound()?;
                let password = password()?;
                self.send(|buf| frontend::password_message(password.reveal().as_bytes(), buf)).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                unbound()?;
                let hash = md5_hash(startup.user.as_bytes(), password()?.reveal().as_bytes(), body.salt());
                self.send(|buf| frontend::password_message(hash.as_bytes(), buf)).await?;
            }
            Message::AuthenticationSasl(body) => {
                let offered: Vec<String> = body.mechanisms().map(|m| Ok(m.to_owned())).collect()?;
                let offers = |mechanism: &str| offered.iter().any(|o| o == mechanism);
                if !offers(SCRAM_SHA_256) && !offers(SCRAM_SHA_256_PLUS) {
                    return Err(method("SASL without SCRAM-SHA-256"));
                }
                let end_point =
                    self.socket.end_point().filter(|_| startup.binding != ChannelBinding::Disable);
                let (mechanism, binding) = match end_point {
                    Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
                        (SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
                    }
                    // Signed by us: "I could have, you did not offer it"; who took the offer away is found out.
                    Some(_) => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
                    None => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
                };
                if mechanism != SCRAM_SHA_256_PLUS {
                    unbound()?;
                }
                self.scram(mechanism, ScramSha256::new(password()?.reveal().as_bytes(), binding)).await?;
            }
            Message::AuthenticationGss | Message::AuthenticationSspi => return Err(method("GSSAPI or SSPI")),
            Message::AuthenticationKerberosV5 => return Err(method("Kerberos 5")),
            Message::AuthenticationScmCredential => return Err(method("SCM credentials")),
            _ => return Err(unexpected("before we were authenticated")),
        }
        match self.message().await? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(unexpected("where the login should be confirmed")),
        }
    }

    async fn scram(&mut self, mechanism: &str, mut scram: ScramSha256) -> Result<(), WireError> {
        let failed = |e: io::Error| {
            WireError::Refused(format!("SCRAM: {e}"), "check that this is the right server and password")
        };
        self.send(|buf| frontend::sasl_initial_response(mechanism, scram.message(), buf)).await?;
        let Message::AuthenticationSaslContinue(body) = self.message().await? else {
            return Err(unexpected("within SCRAM"));
        };
        scram.update(body.data()).map_err(failed)?;
        self.send(|buf| frontend::sasl_response(scram.message(), buf)).await?;
        let Message::AuthenticationSaslFinal(body) = self.message().await? else {
            return Err(unexpected("at the end of SCRAM"));
        };
        // The server's own proof that it knows the password.
        scram.finish(body.data()).map_err(failed)
    }
}

/// The size after the tag.
fn size(header: Header) -> usize {
    usize::try_from(header.len()).unwrap_or(usize::MAX - 1)
}

fn unexpected(place: &str) -> WireError {
    WireError::Protocol(format!("a message that has no place {place}"))
}

fn method(name: &str) -> WireError {
    let text = format!("the server asks for {name}, which is not supported");
    WireError::Refused(text, "use scram-sha-256, a client certificate or peer for this user in pg_hba.conf")
}

/// A message of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum StreamMessage {
    /// The bytes of a CopyData message.
    Data(Bytes),
    /// The server's error.
    Error(ServerError),
    /// The server has ended the stream.
    End,
    /// Something that needs nothing.
    Other,
}

/// Takes one whole message off the stream's bytes; `Err` has how many more are needed at least.
///
/// # Errors
/// The outer error: not this protocol.
pub fn take_stream_message(
    buf: &mut BytesMut,
    bytes_max: usize,
) -> Result<Result<StreamMessage, usize>, WireError> {
    let Some(header) = Header::parse(buf).map_err(|e| WireError::Protocol(e.to_string()))? else {
        return Ok(Err(1));
    };
    let (tag, size) = (header.tag(), size(header));
    if size > bytes_max {
        return Err(WireError::Protocol(format!(
            "a message of {size} bytes, where {bytes_max} are the most"
        )));
    }
    let whole = size + 1;
    if buf.len() < whole {
        return Ok(Err(whole - buf.len()));
    }
    if tag == b'd' {
        buf.advance(5);
        return Ok(Ok(StreamMessage::Data(buf.split_to(size - 4).freeze())));
    }
    let mut message = buf.split_to(whole);
    Ok(Ok(match tag {
        b'E' => match Message::parse(&mut message) {
            Ok(Some(Message::ErrorResponse(body))) => StreamMessage::Error(ServerError::parse(body.fields())),
            _ => return Err(WireError::Protocol("an error that cannot be read".into())),
        },
        b'c' | b'C' => StreamMessage::End,
        b'N' | b'S' | b'A' => StreamMessage::Other,
        other => {
            let other = char::from(other).escape_default();
            return Err(WireError::Protocol(format!("a message '{other}' that has no place in the stream")));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stream_messages_are_cut_at_their_ends() {
        let mut buf = BytesMut::from(&b"d\0\0\0\x06hiN\0\0\0\x04c\0\0\0\x04d\0\0\0\x09x"[..]);
        let mut take = || take_stream_message(&mut buf, 100).unwrap();
        assert_eq!(take(), Ok(StreamMessage::Data(Bytes::from_static(b"hi"))));
        assert_eq!(take(), Ok(StreamMessage::Other));
        assert_eq!(take(), Ok(StreamMessage::End));
        assert_eq!(take(), Err(4));
        assert_eq!(take(), Err(4));
    }

    #[test]
    fn errors_keep_code_and_texts() {
        let fields = b"SERROR\0VFATAL\0C57P01\0Mterminating\0Dwhy\0Hwhat\0\0";
        let mut bytes = vec![b'E', 0, 0, 0, fields.len() as u8 + 4];
        bytes.extend(fields);
        let mut buf = BytesMut::from(&bytes[..]);
        let Ok(StreamMessage::Error(error)) = take_stream_message(&mut buf, 1000).unwrap() else {
            panic!("no error")
        };
        assert_eq!(error.to_string(), "57P01 terminating (why); hint: what");
        assert_eq!((error.severity.as_str(), error.kind()), ("FATAL", Kind::Transient));
    }

    #[test]
    fn sizes_that_cannot_be_are_errors() {
        for bytes in
            [&b"d\xff\xff\xff\xff"[..], b"d\0\0\0\0", b"d\0\0\0\x03", b"d\x7f\xff\xff\xff", b"?\0\0\0\x04"]
        {
            let mut buf = BytesMut::from(bytes);
            assert!(take_stream_message(&mut buf, 1 << 20).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut buf = BytesMut::from(&bytes[..]);
            while let Ok(Ok(_)) = take_stream_message(&mut buf, 1 << 20) {}
        }
    }
}
