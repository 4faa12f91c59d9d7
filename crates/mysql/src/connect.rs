//! Connecting as MySQL's own programs do: option files, then variables, then the URL.

pub mod options;

use crate::{error::server, wire::Wire};
use futures_util::FutureExt;
use mysql_async::{Conn, DriverError, Error as Driver, Opts, prelude::Queryable};
use shadowswap_core::{Error, Result};
use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{PoisonError, atomic::Ordering},
};

pub use options::ConnectOptions;
pub(crate) use options::SslMode;

/// What every session of ours works with. Zero dates are values like others; a value that does not fit is an error.
pub const SQL_MODE: &str =
    "STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION";

/// How statements and values are spelled in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Text for people and for the control tables.
    Utf8,
    /// Bytes as they are: row images in any character set.
    Binary,
}

/// MySQL's versions are below this, and MariaDB's not.
const MARIADB_FROM: u16 = 10;
/// The server has no variable of that name.
const UNKNOWN_VARIABLE: u16 = 1193;
/// Seconds that a statement waits for a row lock of a client, or of an orphan of our own.
const ROW_LOCK_SECONDS: u32 = 20;
/// A server that takes a connection and says nothing is as good as none. A busy one may take seconds to log somebody in.
pub(crate) const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// The server does not believe that we are who we say.
const DENIED: u16 = 1045;
/// So many proofs of one password are tried where the driver's may be wrong.
const PROOFS_MAX: usize = 4;

impl ConnectOptions {
    /// Opens a session with our settings. `role` names it for people who look at the server.
    ///
    /// # Errors
    /// `Transient` if the server cannot be reached, `Refused` if it refuses us. The password is never part of the text.
    pub async fn connect(&self, role: &str, charset: Charset) -> Result<Conn> {
        let mut conn = self.open(role).await?;
        let names = match charset {
            Charset::Utf8 => "set names utf8mb4",
            // The collation that expressions have in a session of text, for where they are needed.
            Charset::Binary => {
                "set names utf8mb4; set @shadowswap_text = @@collation_connection; set names binary"
            }
        };
        let text = format!(
            "{names}; set session time_zone = '+00:00', sql_mode = '{SQL_MODE}', autocommit = 1, foreign_key_checks = 1, unique_checks = 1,\n\
             innodb_lock_wait_timeout = {ROW_LOCK_SECONDS}, lock_wait_timeout = 50, wait_timeout = 2592000, net_read_timeout = 600,\n\
             net_write_timeout = 600, group_concat_max_len = 1048576; set session transaction isolation level read committed"
        );
        let what = || format!("setting up a session ({role})");
        conn.query_drop(text).await.map_err(|e| server(e, what()))?;
        if conn.server_version().0 >= MARIADB_FROM {
            // From 11.6.2 on, a statement that writes fails where a row has changed since its snapshot (error 1020). Chunks and batches
            // write over each other's rows, knowing which of them is newer.
            match conn.query_drop("set session innodb_snapshot_isolation = 0").await {
                Err(Driver::Server(answer)) if answer.code == UNKNOWN_VARIABLE => {}
                set => set.map_err(|e| server(e, what()))?,
            }
        }
        Ok(conn)
    }

    fn takes_tls(&self) -> bool {
        match self.ssl_mode {
            SslMode::Disabled => false,
            SslMode::Preferred => self.socket.is_none() && !self.lacks_tls.load(Ordering::Relaxed),
            SslMode::Required | SslMode::VerifyCa | SslMode::VerifyIdentity => true,
        }
    }

    async fn open(&self, role: &str) -> Result<Conn> {
        let first = made(self.builder(role, self.takes_tls())).await;
        let opened = match first {
            Err(Driver::Driver(DriverError::NoClientSslFlagFromServer))
                if self.ssl_mode == SslMode::Preferred =>
            {
                self.lacks_tls.store(true, Ordering::Relaxed);
                made(self.builder(role, false)).await
            }
            // It is signed as it must be, or this would be another error, and may be for anybody.
            Err(e) if self.ssl_mode == SslMode::VerifyCa && presented(&e).is_some() => {
                *self.certified.lock().unwrap_or_else(PoisonError::into_inner) = presented(&e);
                made(self.builder(role, true)).await
            }
            other => other,
        };
        let opened = match opened {
            Err(e) if is_denied(&e) => self.prove_again(e, role).await,
            other => other,
        };
        opened.map_err(|e| self.explain(e, role))
    }

    /// The driver takes the last of the random bytes that a server asks with (MariaDB's ed25519) for an end if it is 0: one proof in 256
    /// is wrong. Whether the server denies us is told by a session that makes no such mistake.
    async fn prove_again(&self, denied: Driver, role: &str) -> mysql_async::Result<Conn> {
        if !Wire::is_let_in_by_mariadb(self, role).await {
            return Err(denied);
        }
        for _ in 1..PROOFS_MAX {
            match made(self.builder(role, self.takes_tls())).await {
                Err(e) if is_denied(&e) => {}
                other => return other,
            }
        }
        Err(denied)
    }

    fn explain(&self, e: Driver, role: &str) -> Error {
        let what = format!("connecting to {self} ({role})");
        let no_tls = matches!(&e, Driver::Driver(DriverError::NoClientSslFlagFromServer));
        let is_tls = match &e {
            Driver::Io(mysql_async::IoError::Tls(_)) => true,
            _ => handshake(&e).is_some(),
        };
        let is_unknown = matches!(
            &e,
            Driver::Driver(
                DriverError::UnknownAuthPlugin { .. }
                    | DriverError::CleartextPluginDisabled
                    | DriverError::MysqlOldPasswordDisabled
            )
        );
        let error = server(e, what);
        if no_tls {
            return Error { kind: shadowswap_core::Kind::Refused, ..error }
                .next("the server has no TLS: give it a certificate, or say ssl-mode=DISABLED in the URL");
        }
        if is_tls {
            return Error { kind: shadowswap_core::Kind::Refused, ..error }.next(
                "check ssl-ca and the server's certificate, which must name a host (subjectAltName), or choose another ssl-mode",
            );
        }
        if is_unknown {
            return Error { kind: shadowswap_core::Kind::Refused, ..error }.next(
                "check the user's name, or give it caching_sha2_password (MySQL), ed25519 or mysql_native_password (MariaDB)",
            );
        }
        match error.kind {
            shadowswap_core::Kind::Refused => {
                error.next("check user, password and what the server allows this host (`SHOW GRANTS`)")
            }
            _ => error.next("check the address and that the server runs; the same command can be run again"),
        }
    }
}

/// The driver panics where a server asks for a kind of proof that it was built without (MariaDB's parsec).
async fn made(opts: Opts) -> mysql_async::Result<Conn> {
    let made = AssertUnwindSafe(Conn::new(opts)).catch_unwind();
    let Ok(made) = tokio::time::timeout(CONNECT_WITHIN, made).await else {
        let late = format!("no answer within {CONNECT_WITHIN:?}");
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, late);
        return Err(Driver::Io(mysql_async::IoError::Io(late)));
    };
    made.unwrap_or_else(|_panic| {
        let name = "one that the driver cannot answer".to_string();
        Err(Driver::Driver(DriverError::UnknownAuthPlugin { name }))
    })
}

fn is_denied(e: &Driver) -> bool {
    matches!(e, Driver::Server(answer) if answer.code == DENIED)
}

/// What TLS itself did not like: the driver has it as an error of the stream.
fn handshake(e: &Driver) -> Option<&rustls::Error> {
    match e {
        Driver::Io(mysql_async::IoError::Io(e)) => e.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// A name that the server's certificate is for, if all that is wrong with it is that this is not the one we asked for.
fn presented(e: &Driver) -> Option<String> {
    use rustls::{CertificateError::NotValidForNameContext, Error::InvalidCertificate};
    let Some(InvalidCertificate(NotValidForNameContext { presented, .. })) = handshake(e) else {
        return None;
    };
    // `DnsName("*.example.org")`, `IpAddress(127.0.0.1)`.
    let name = presented.first()?.split_once('(')?.1.trim_end_matches(')').trim_matches('"');
    Some(name.replace('*', "any"))
}

impl fmt::Display for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "{}@{socket}", self.user),
            None => write!(f, "{}@{}:{}", self.user, self.host, self.port),
        }
    }
}
