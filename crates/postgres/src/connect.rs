//! Connecting: options to a session, ordinary or for replication, over one layer of sockets and TLS.
//!
//! It owns the order in which servers and kinds of security are tried, what every session has set from its first statement on, and the
//! errors of connecting. It never retries what failed everywhere: that is the runner's.

mod options;
mod socket;
mod text;

pub use options::{ChannelBinding, ConnectOptions, Host, Place, SslMode, Target};
pub use socket::Socket;

use crate::{
    replication::ReplicationConnection,
    tls,
    wire::{ServerError, Startup, Wire, WireError},
};
use shadowswap_core::Kind;
use socket::{Secure, Secured};
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, config};

/// What every session relies on. No default of the server, the database or the role is trusted.
///
/// `row_security = off` makes a policy an error where it would silently hide rows. The probes of idle connections are the server's, so
/// that it notices within a minute if we are gone with a lock. A setting that not every version has is set only where it is there.
const SETTINGS: &str = "\
set datestyle = 'ISO';
set intervalstyle = 'postgres';
set timezone = 'UTC';
set extra_float_digits = 3;
set bytea_output = 'hex';
set standard_conforming_strings = on;
set statement_timeout = 0;
set lock_timeout = 0;
set idle_in_transaction_session_timeout = 0;
set default_transaction_isolation = 'read committed';
set default_transaction_read_only = off;
set row_security = off;
set synchronous_commit = local;
set tcp_keepalives_idle = 30;
set tcp_keepalives_interval = 10;
set tcp_keepalives_count = 3;
select set_config(s.name, s.value, false)
from (values ('jit', 'off'), ('idle_session_timeout', '0'), ('transaction_timeout', '0')) s (name, value)
where current_setting(s.name, true) is not null;";

/// The same for a replication session, as start-up parameters: what decides how values are written.
const REPLICATION_SETTINGS: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// The server keeps this many bytes of an application's name.
const NAME_BYTES_MAX: usize = 63;

/// A password. Shows as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a password.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The password itself, to be sent and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// What to do next.
    pub kind: Kind,
    message: String,
    next: Option<String>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    flags: Flags,
}

/// What may help instead.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// Another server.
    elsewhere: bool,
    /// Another choice about TLS.
    otherwise: bool,
    /// It was TLS itself that failed, before the server could say anything.
    without_tls: bool,
}

impl ConnectError {
    /// An error of this kind with this message.
    pub fn new(kind: Kind, message: impl Into<String>) -> ConnectError {
        ConnectError { kind, message: message.into(), next: None, source: None, flags: Flags::default() }
    }

    /// Adds what the operator can do now.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> ConnectError {
        self.next = Some(next.into());
        self
    }

    /// The server's own error, with its SQLSTATE.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// From the wire, with what was being tried.
    pub fn wire(e: WireError, what: impl fmt::Display) -> ConnectError {
        let mut error = ConnectError::new(e.kind(), format!("{what}: {e}"));
        if let WireError::Server(server) = &e {
            error.flags.otherwise = server.code == "28000";
            error.flags.elsewhere = server.code == "57P03";
        }
        error.next = e.next().map(str::to_owned);
        error.flags.elsewhere |= matches!(e, WireError::Io(_) | WireError::Closed);
        error.source = match e {
            WireError::Server(server) => Some(server),
            WireError::Io(e) => Some(Box::new(e)),
            WireError::Closed | WireError::Protocol(_) | WireError::Refused(..) => None,
        };
        error
    }

    fn driver(e: tokio_postgres::Error, what: impl fmt::Display) -> ConnectError {
        use std::error::Error as _;
        if let Some(db) = e.as_db_error() {
            return ConnectError::wire(WireError::Server(Box::new(ServerError::from(db))), what);
        }
        let lost = e.is_closed() || e.source().is_some_and(|s| s.is::<std::io::Error>());
        let why = e.source().map_or_else(String::new, |s| format!(": {s}"));
        let kind = if lost { Kind::Transient } else { Kind::Refused };
        let text = e.to_string();
        // The driver's text repeats its source in some versions.
        let why = if why.is_empty() || text.ends_with(why.as_str()) { text } else { format!("{text}{why}") };
        let mut error = ConnectError::new(kind, format!("{what}: {why}"));
        error.flags.elsewhere = lost;
        if why.contains("password missing") {
            error.next = Some(crate::wire::NO_PASSWORD.into());
        }
        error.source = Some(Box::new(e));
        error
    }

    fn elsewhere(mut self) -> ConnectError {
        self.flags.elsewhere = true;
        self
    }

    fn without_tls(mut self) -> ConnectError {
        (self.flags.without_tls, self.flags.otherwise) = (true, true);
        self
    }

    fn at(mut self, host: &Host) -> ConnectError {
        self.message = format!("{}: {}", host.shown(), self.message);
        self
    }
}

impl From<ConnectError> for shadowswap_core::Error {
    fn from(e: ConnectError) -> Self {
        let ConnectError { kind, message, next, source, .. } = e;
        Self { kind, message, next, source }
    }
}

/// An open session. Dropping it closes the connection.
pub struct Connection {
    client: Client,
    cancel: Cancel,
    nudges: Arc<Notify>,
    _driver: Driver,
}

impl Connection {
    /// Waits for a notification on a channel that the session listens on; one that came before counts. Cancel-safe.
    pub async fn nudged(&self) {
        self.nudges.notified().await;
    }

    /// The session.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The session, for transactions.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// What can end a running statement, from another task.
    #[must_use]
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }
}

/// The task that moves bytes between client and socket. It ends with its handle.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends the running statement of a session. Cheap to clone.
#[derive(Clone)]
pub struct Cancel {
    token: CancelToken,
    host: Host,
    secure: Secure,
    mode: SslMode,
    files: tls::Files,
    wait: Duration,
}

impl Cancel {
    /// Asks the server to end what the session is running now. Whether it did shows in the answer to that statement.
    ///
    /// # Errors
    /// The request could not be sent. Dropping this may leave it sent or not.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let socket = Socket::open(&self.host, self.secure, self.mode, &self.files, self.wait).await?;
        let sent = timeout(self.wait, self.token.cancel_query_raw(socket, Secured)).await;
        let late =
            || ConnectError::new(Kind::Transient, "asking the server to cancel a statement took too long");
        sent.map_err(|_| late())?
            .map_err(|e| ConnectError::driver(e, "asking the server to cancel a statement"))
    }
}

impl ConnectOptions {
    /// Opens a session that has everything set which we rely on. `role` says in `pg_stat_activity` what it is for.
    ///
    /// # Errors
    /// `Transient` if no server could be reached; `Refused` if one did not let us in, or not securely enough.
    /// Dropping this closes what was opened.
    pub async fn connect(&self, role: &str) -> Result<Connection, ConnectError> {
        let mut tries = Tries::new(self);
        loop {
            let (host, secure) = tries.current();
            let opened = Box::pin(self.session(host, secure, role)).await;
            match opened {
                Ok(connection) => return Ok(connection),
                Err(e) => tries.go_on(e)?,
            }
        }
    }

    /// Opens a session for replication commands. `role` as in [`ConnectOptions::connect`].
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`]. Dropping this closes what was opened.
    pub async fn connect_replication(&self, role: &str) -> Result<ReplicationConnection, ConnectError> {
        let mut tries = Tries::new(self);
        loop {
            let (host, secure) = tries.current();
            let opened = Box::pin(self.replication_session(host, secure, role)).await;
            match opened {
                Ok(connection) => return Ok(connection),
                Err(e) => tries.go_on(e)?,
            }
        }
    }

    async fn session(&self, host: &Host, secure: Secure, role: &str) -> Result<Connection, ConnectError> {
        let socket = Socket::open(host, secure, self.ssl_mode, &self.tls, self.connect_timeout).await?;
        let (is_tls, peer) = (socket.is_tls(), socket.peer());
        let what = format!("logging in to {} on {}", self.database, host.shown());
        let begun = timeout(self.connect_timeout, Box::pin(self.log_in(socket, host, role))).await;
        let (client, driver, nudges) =
            begun.map_err(|_| late(&what, self.connect_timeout))?.map_err(|mut e| {
                // A refusal in the clear and one within TLS are different answers.
                e.flags.otherwise &= is_tls || secure == Secure::Never;
                e
            })?;
        let cancel = Cancel {
            token: client.cancel_token(),
            host: Host { place: pinned(&host.place, peer), port: host.port, password: None },
            secure: if is_tls { Secure::Must } else { Secure::Never },
            mode: self.ssl_mode,
            files: self.tls.clone(),
            wait: self.connect_timeout,
        };
        Ok(Connection { client, cancel, nudges, _driver: driver })
    }

    async fn log_in(
        &self,
        socket: Socket,
        host: &Host,
        role: &str,
    ) -> Result<(Client, Driver, Arc<Notify>), ConnectError> {
        let what = format!("logging in to {} on {}", self.database, host.shown());
        let config = self.driver_config(&socket, host, role);
        let (client, mut connection) =
            config.connect_raw(socket, Secured).await.map_err(|e| ConnectError::driver(e, &what))?;
        let name = self.name(role);
        let nudges = Arc::new(Notify::new());
        let nudge = Arc::clone(&nudges);
        let driver = Driver(tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(_)) => nudge.notify_one(),
                    Ok(_) => {}
                    Err(e) => {
                        tracing::debug!(session = %name, error = %e, "connection lost");
                        break;
                    }
                }
            }
        }));
        let set = client.batch_execute(SETTINGS).await;
        set.map_err(|e| ConnectError::driver(e, format_args!("setting up a session on {}", host.shown())))?;
        if self.target == Target::ReadWrite {
            let row = client.query_one("select pg_catalog.pg_is_in_recovery()", &[]).await;
            let row = row.map_err(|e| ConnectError::driver(e, &what))?;
            writable(row.get(0), host)?;
        }
        Ok((client, driver, nudges))
    }

    fn driver_config(&self, socket: &Socket, host: &Host, role: &str) -> Config {
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).application_name(self.name(role));
        if let Some(options) = &self.options {
            config.options(options);
        }
        if let Some(password) = &host.password {
            config.password(password.reveal());
        }
        config.channel_binding(match self.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
        // The socket is secured already: "direct" keeps the driver from asking the server again.
        if socket.is_tls() {
            config.ssl_mode(config::SslMode::Require).ssl_negotiation(config::SslNegotiation::Direct);
        } else {
            config.ssl_mode(config::SslMode::Disable);
        }
        config
    }

    async fn replication_session(
        &self,
        host: &Host,
        secure: Secure,
        role: &str,
    ) -> Result<ReplicationConnection, ConnectError> {
        let socket = Socket::open(host, secure, self.ssl_mode, &self.tls, self.connect_timeout).await?;
        let is_tls = socket.is_tls();
        let what = format!("logging in to {} on {} for replication", self.database, host.shown());
        let name = self.name(role);
        let mut parameters = vec![
            ("user", self.user.as_str()),
            ("database", self.database.as_str()),
            ("replication", "database"),
            ("application_name", name.as_str()),
        ];
        parameters.extend(self.options.as_deref().map(|options| ("options", options)));
        parameters.extend(REPLICATION_SETTINGS);
        let startup = Startup {
            parameters: &parameters,
            user: &self.user,
            password: host.password.as_ref(),
            binding: self.channel_binding,
        };
        let begun = timeout(self.connect_timeout, Wire::start(socket, startup)).await;
        let mut wire = begun.map_err(|_| late(&what, self.connect_timeout))?.map_err(|e| {
            let mut e = ConnectError::wire(e, &what);
            e.flags.otherwise &= is_tls || secure == Secure::Never;
            e
        })?;
        if self.target == Target::ReadWrite {
            let rows =
                timeout(self.connect_timeout, wire.query("select pg_catalog.pg_is_in_recovery()")).await;
            let rows = rows
                .map_err(|_| late(&what, self.connect_timeout))?
                .map_err(|e| ConnectError::wire(e, &what))?;
            let answer = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
            writable(answer != Some("f"), host)?;
        }
        Ok(ReplicationConnection::new(wire, host.shown()))
    }

    /// `shadowswap/<role>`. What the user set stands between, as far as there is room: the end says whose the session is, and is
    /// looked for when a dead runner's sessions are ended. In ASCII: servers show anything else in ways of their own.
    pub fn name(&self, role: &str) -> String {
        let room = NAME_BYTES_MAX.saturating_sub("shadowswap//".len() + role.len());
        match self.application_name.as_deref().filter(|own| *own != "shadowswap") {
            Some(own) if room > 0 => {
                let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
                let own: String = own.chars().take(room).map(|c| if is_plain(c) { c } else { '?' }).collect();
                format!("shadowswap/{own}/{role}")
            }
            _ => format!("shadowswap/{role}"),
        }
    }
}

fn late(what: &str, wait: Duration) -> ConnectError {
    ConnectError::new(Kind::Transient, format!("{what}: no answer within {wait:?}")).elsewhere()
}

fn writable(is_standby: bool, host: &Host) -> Result<(), ConnectError> {
    if !is_standby {
        return Ok(());
    }
    let error = ConnectError::new(
        Kind::Transient,
        format!("{} is a standby, and target_session_attrs asks for one that takes writes", host.shown()),
    );
    Err(error.elsewhere().next("name the primary in the URL, alone or beside this one"))
}

/// The same place with the address that was found, so that a name with many addresses is not looked up again.
fn pinned(place: &Place, peer: Option<IpAddr>) -> Place {
    match place {
        Place::Tcp { host, address } => Place::Tcp { host: host.clone(), address: peer.or(*address) },
        Place::Unix(folder) => Place::Unix(folder.clone()),
    }
}

/// What to try, and in which order: each server, and for each the kinds of security that `sslmode` allows.
struct Tries<'a> {
    options: &'a ConnectOptions,
    host: usize,
    step: usize,
    /// Of this server's earlier step.
    earlier: Option<ConnectError>,
    failed: Vec<ConnectError>,
}

impl<'a> Tries<'a> {
    fn new(options: &'a ConnectOptions) -> Tries<'a> {
        Tries { options, host: 0, step: 0, earlier: None, failed: Vec::new() }
    }

    fn steps(&self) -> &'static [Secure] {
        // A Unix socket has no TLS, whatever sslmode says.
        if let Place::Unix(_) = self.options.hosts[self.host].place {
            return &[Secure::Never];
        }
        match self.options.ssl_mode {
            SslMode::Disable => &[Secure::Never],
            SslMode::Allow => &[Secure::Never, Secure::Must],
            SslMode::Prefer => &[Secure::IfOffered, Secure::Never],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Secure::Must],
        }
    }

    fn current(&self) -> (&'a Host, Secure) {
        (&self.options.hosts[self.host], self.steps()[self.step])
    }

    /// Goes to the next try, or gives up with everything that was tried.
    fn go_on(&mut self, e: ConnectError) -> Result<(), ConnectError> {
        if e.flags.otherwise && self.step + 1 < self.steps().len() {
            self.step += 1;
            self.earlier = Some(e);
            return Ok(());
        }
        // That TLS is not to be had either says less than why it was wanted.
        let e = match self.earlier.take() {
            Some(earlier) if e.flags.without_tls => earlier,
            _ => e,
        };
        if e.flags.elsewhere && self.host + 1 < self.options.hosts.len() {
            (self.host, self.step) = (self.host + 1, 0);
            self.failed.push(e);
            return Ok(());
        }
        if self.failed.is_empty() {
            return Err(e);
        }
        let mut all: Vec<String> = self.failed.drain(..).map(|e| e.message).collect();
        all.push(e.message.clone());
        Err(ConnectError {
            message: format!("no server of {} let us in: {}", all.len(), all.join("; ")),
            ..e
        })
    }
}

#[cfg(test)]
mod tests;
