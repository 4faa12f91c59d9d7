//! One kind of socket for everything that talks to the server: Unix, TCP, or TLS over TCP.
//!
//! It owns opening and securing. What is said over it is the business of tokio-postgres or of `wire.rs`.

use super::{
    ConnectError, SslMode,
    options::{Host, Place},
};
use crate::tls::{self, Files};
use shadowswap_core::{Kind, net::dial};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// The request for TLS: its length and its code.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// An open connection to a server.
pub enum Socket {
    /// A Unix socket.
    Unix(UnixStream),
    /// TCP in the clear.
    Tcp(TcpStream),
    /// TCP with TLS.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Whether this try asks for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// In the clear.
    Never,
    /// TLS if the server can, else in the clear.
    IfOffered,
    /// TLS or nothing.
    Must,
}

impl Socket {
    /// Opens and secures a connection. May be dropped at any await: nothing is left open.
    pub async fn open(
        host: &Host,
        secure: Secure,
        mode: SslMode,
        files: &Files,
        wait: Duration,
    ) -> Result<Socket, ConnectError> {
        let (name, address) = match &host.place {
            Place::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", host.port));
                let opened = within(wait, UnixStream::connect(&path)).await;
                return opened.map(Socket::Unix).map_err(|e| {
                    unreachable(host, &e)
                        .next(format!("is a server running there, with the socket {}?", path.display()))
                });
            }
            Place::Tcp { host, address } => (host, address),
        };
        let stream = tcp(host, name, *address, wait).await?;
        if secure == Secure::Never {
            return Ok(Socket::Tcp(stream));
        }
        let secured = timeout(wait, upgrade(stream, name, secure, mode, files)).await;
        let secured = secured.unwrap_or_else(|_| {
            Err(ConnectError::new(
                Kind::Transient,
                format!("the server did not agree on TLS within {wait:?}"),
            )
            .elsewhere())
        });
        secured.map_err(|e| e.at(host))
    }

    /// The address of the server, where it has one.
    pub fn peer(&self) -> Option<IpAddr> {
        let stream = match self {
            Socket::Unix(_) => return None,
            Socket::Tcp(stream) => stream,
            Socket::Tls(stream) => stream.get_ref().0,
        };
        stream.peer_addr().ok().map(|a| a.ip())
    }

    /// True if secured by TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// What the password exchange is bound to.
    pub fn end_point(&self) -> Option<Vec<u8>> {
        let Socket::Tls(stream) = self else { return None };
        stream.get_ref().1.peer_certificates()?.first().and_then(|c| tls::end_point(c.as_ref()))
    }
}

async fn within<T>(wait: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {wait:?}"));
    timeout(wait, work).await.unwrap_or_else(|_| Err(late()))
}

fn unreachable(host: &Host, e: &io::Error) -> ConnectError {
    ConnectError::new(Kind::Transient, format!("{} cannot be reached: {e}", host.shown())).elsewhere()
}

async fn tcp(
    host: &Host,
    name: &str,
    address: Option<IpAddr>,
    wait: Duration,
) -> Result<TcpStream, ConnectError> {
    let addresses: Vec<SocketAddr> = match address {
        Some(address) => vec![SocketAddr::new(address, host.port)],
        None => {
            within(wait, lookup_host((name, host.port))).await.map_err(|e| unreachable(host, &e))?.collect()
        }
    };
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match within(wait, dial(address)).await {
            Ok(stream) => return Ok(stream),
            Err(e) => failed = io::Error::new(e.kind(), format!("{address}: {e}")),
        }
    }
    Err(unreachable(host, &failed))
}

async fn upgrade(
    mut stream: TcpStream,
    name: &str,
    secure: Secure,
    mode: SslMode,
    files: &Files,
) -> Result<Socket, ConnectError> {
    let refused = |message: String| ConnectError::new(Kind::Refused, message);
    let config = tls::config(files, mode).map_err(|e| refused(format!("TLS: {e}")))?;
    let peer = stream.peer_addr().ok().map(|a| a.ip());
    let server_name = tls::server_name(name, peer, mode).map_err(|e| refused(format!("TLS: {e}")))?;
    let broken =
        |e: io::Error| ConnectError::new(Kind::Transient, format!("asking for TLS failed: {e}")).elsewhere();
    stream.write_all(&TLS_REQUEST).await.map_err(broken)?;
    // Exactly one byte: what a stranger put behind it must go into the handshake and fail there.
    match stream.read_u8().await.map_err(broken)? {
        b'S' => {}
        b'N' if secure == Secure::IfOffered => return Ok(Socket::Tcp(stream)),
        b'N' => {
            let error =
                refused("the server does not offer TLS, and sslmode asks for it".into()).without_tls();
            return Err(error.next("switch `ssl` on in the server, or choose sslmode=prefer"));
        }
        other => {
            let other = char::from(other).escape_default();
            return Err(ConnectError::new(
                Kind::Transient,
                format!("the server answered '{other}' to the request for TLS"),
            )
            .elsewhere());
        }
    }
    let handshake = TlsConnector::from(Arc::new(config)).connect(server_name, stream).await;
    match handshake {
        Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
        // rustls reports what it did not like as an error of this kind; the rest is the network's.
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            let shown = if let SslMode::VerifyFull = mode { format!(" of {name:?}") } else { String::new() };
            Err(refused(format!("TLS: the server's certificate{shown} or its offer was not accepted: {e}"))
                .without_tls()
                .next("compare the server's certificate with sslrootcert, sslmode and the host's name"))
        }
        Err(e) => Err(ConnectError::new(Kind::Transient, format!("the TLS handshake failed: {e}"))
            .elsewhere()
            .without_tls()),
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(s) => Pin::new(s).poll_flush(cx),
            Socket::Tcp(s) => Pin::new(s).poll_flush(cx),
            Socket::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Socket {
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// Hands tokio-postgres a socket that is secured already, so that it finds the channel binding.
pub struct Secured;

impl TlsConnect<Socket> for Secured {
    type Stream = Socket;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Socket>>;

    fn connect(self, socket: Socket) -> Self::Future {
        std::future::ready(Ok(socket))
    }
}
