//! Connections over TCP that notice when the other side is gone.

use socket2::{SockRef, TcpKeepalive};
use std::{io, net::SocketAddr, time::Duration};
use tokio::net::{TcpSocket, TcpStream};

/// A peer that is not there any more is found out within a minute.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Opens a connection. May be dropped while it waits; the kernel alone ends its waiting.
///
/// # Errors
/// The kernel's.
pub async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let stream = socket.connect(address).await?;
    // The kernel's own times are two hours until the first probe, and a quarter of an hour for what is sent and not acknowledged.
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    let kernel = SockRef::from(&stream);
    kernel.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    kernel.set_tcp_user_timeout(Some(PROBE_AFTER + PROBE_EVERY * PROBES))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
