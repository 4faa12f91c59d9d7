//! Logging in: the greeting, TLS, and the proof that we know the password.

use super::{Duplex, Wire, io_error, unexpected};
use crate::connect::{ConnectOptions, SslMode};
use bytes::BytesMut;
use mysql_async::{DriverError, Error as Driver};
use mysql_common::{
    collations::CollationId,
    constants::CapabilityFlags,
    crypto,
    io::ParseBuf,
    packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest},
};
use shadowswap_core::net::dial;
use std::{collections::HashMap, io};
use tokio::net::{UnixStream, lookup_host};

/// What is asked of the server, as far as it can.
const WANTED: CapabilityFlags = CapabilityFlags::CLIENT_LONG_PASSWORD
    .union(CapabilityFlags::CLIENT_PROTOCOL_41)
    .union(CapabilityFlags::CLIENT_TRANSACTIONS)
    .union(CapabilityFlags::CLIENT_SECURE_CONNECTION)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH)
    .union(CapabilityFlags::CLIENT_CONNECT_ATTRS);

/// What MariaDB's version has in it.
const MARIADB: &[u8] = b"MariaDB";
/// From this version on sessions begin with utf8mb4. None that we work with is older.
const UTF8MB4_SINCE: (u16, u16, u16) = (5, 5, 3);
/// The largest packet that we take.
const PACKET_BYTES_MAX: u32 = 1 << 30;
/// The random bytes that a proof is made of.
const NONCE_BYTES: usize = 20;
const ED25519_NONCE_BYTES: usize = 32;

/// With `is_picky` nobody but MariaDB is shown a proof.
pub(super) async fn log_in(options: &ConnectOptions, role: &str, is_picky: bool) -> Result<Wire, Driver> {
    let mut wire = Wire {
        socket: reach(options).await.map_err(io_error)?,
        input: BytesMut::new(),
        sequence: 0,
        capabilities: CapabilityFlags::empty(),
    };
    let greeting = wire.answer().await?;
    let greeting: HandshakePacket<'_> = ParseBuf(&greeting).parse(()).map_err(io_error)?;
    let is_mariadb = greeting.server_version_ref().windows(MARIADB.len()).any(|w| w == MARIADB);
    if is_picky && !is_mariadb {
        return Err(Driver::Driver(DriverError::ConnectionClosed));
    }
    let mut capabilities = greeting.capabilities() & WANTED;
    let is_tcp = options.socket.is_none();
    let has_tls = greeting.capabilities().contains(CapabilityFlags::CLIENT_SSL);
    let is_secured = match options.ssl_mode {
        SslMode::Disabled => false,
        SslMode::Preferred => is_tcp && has_tls,
        SslMode::Required | SslMode::VerifyCa | SslMode::VerifyIdentity if has_tls => is_tcp,
        _ => return Err(Driver::Driver(DriverError::NoClientSslFlagFromServer)),
    };
    if is_secured {
        // What somebody put behind the greeting would pass for what was said in private.
        if !wire.input.is_empty() {
            return Err(unexpected(&wire.input));
        }
        capabilities |= CapabilityFlags::CLIENT_SSL;
        let collation = CollationId::UTF8MB4_GENERAL_CI as u8;
        wire.send_struct(&SslRequest::new(capabilities, PACKET_BYTES_MAX, collation)).await?;
        wire.socket = super::tls::secure(options, wire.socket).await?;
    }
    let is_private = is_secured || !is_tcp;
    let nonce = greeting.nonce();
    let plugin = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    let password = options.password.as_deref();
    let proof = plugin.gen_data(password, &nonce);
    let attributes = HashMap::from([("program_name".to_owned(), format!("shadowswap/{role}"))]);
    let has_attributes = capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS);
    let response = HandshakeResponse::new(
        proof.as_deref(),
        UTF8MB4_SINCE,
        Some(options.user.as_bytes()),
        None::<&[u8]>,
        Some(plugin.borrow()),
        capabilities,
        has_attributes.then_some(attributes),
        PACKET_BYTES_MAX,
    );
    wire.capabilities = response.capabilities();
    wire.send_struct(&response).await?;
    prove(&mut wire, plugin.into_owned(), nonce, password, is_private).await?;
    Ok(wire)
}

async fn reach(options: &ConnectOptions) -> io::Result<Box<dyn Duplex>> {
    if let Some(path) = &options.socket {
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((options.host.as_str(), options.port)).await? {
        match dial(address).await {
            Ok(socket) => return Ok(Box::new(socket)),
            Err(e) => failed = io::Error::new(e.kind(), format!("{address}: {e}")),
        }
    }
    Err(failed)
}

/// Shows that we know the password, in the way that the server asks for.
async fn prove(
    wire: &mut Wire,
    mut plugin: AuthPlugin<'static>,
    mut nonce: Vec<u8>,
    password: Option<&str>,
    is_private: bool,
) -> Result<(), Driver> {
    const OK: u8 = 0;
    const MORE: u8 = 1;
    const SWITCH: u8 = 0xfe;
    const IS_KNOWN: u8 = 3;
    const IN_FULL: u8 = 4;
    let mut may_switch = true;
    loop {
        let answer = wire.answer().await?;
        match &answer[..] {
            [OK, ..] => return Ok(()),
            [SWITCH, ..] if may_switch => {
                may_switch = false;
                let asked: AuthSwitchRequest<'_> = ParseBuf(&answer).parse(()).map_err(io_error)?;
                plugin = asked.auth_plugin().into_owned();
                is_answered(&plugin)?;
                // The driver's library takes a last byte for an end if it is 0, which it may be by chance.
                let size = if plugin == AuthPlugin::Ed25519 { ED25519_NONCE_BYTES } else { NONCE_BYTES };
                nonce = asked.plugin_data().to_vec();
                nonce.resize(size, 0);
                match plugin.gen_data(password, &nonce) {
                    Some(proof) => wire.send_struct(&proof).await?,
                    None => wire.send(&[]).await?,
                }
            }
            [MORE, IS_KNOWN, ..] if plugin == AuthPlugin::CachingSha2Password => {}
            [MORE, IN_FULL, ..] if plugin == AuthPlugin::CachingSha2Password => {
                let mut secret = [password.unwrap_or_default().as_bytes(), &[0]].concat();
                if !is_private {
                    secret = encrypted(wire, secret, &nonce).await?;
                }
                wire.send(&secret).await?;
            }
            _ => return Err(unexpected(&answer)),
        }
    }
}

/// The ways that the driver has, and lets without being told to.
fn is_answered(plugin: &AuthPlugin<'_>) -> Result<(), Driver> {
    let error = match plugin {
        AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword | AuthPlugin::Ed25519 => {
            return Ok(());
        }
        AuthPlugin::MysqlOldPassword => DriverError::MysqlOldPasswordDisabled,
        AuthPlugin::MysqlClearPassword => DriverError::CleartextPluginDisabled,
        AuthPlugin::MariadbParsec { .. } | AuthPlugin::Other(_) => {
            DriverError::UnknownAuthPlugin { name: String::from_utf8_lossy(plugin.as_bytes()).into_owned() }
        }
    };
    Err(Driver::Driver(error))
}

/// The password for the server's eyes only.
async fn encrypted(wire: &mut Wire, mut secret: Vec<u8>, nonce: &[u8]) -> Result<Vec<u8>, Driver> {
    const ASK_FOR_KEY: u8 = 2;
    /// Of 16,384 bits it is a fifth as long.
    const KEY_BYTES_MAX: usize = 16 << 10;
    wire.send(&[ASK_FOR_KEY]).await?;
    let answer = wire.answer().await?;
    let Some((_, key)) = answer.split_first().filter(|(_, key)| key.len() <= KEY_BYTES_MAX) else {
        return Err(unexpected(&answer));
    };
    for (byte, mask) in secret.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
    // The driver's library panics where this is no key.
    std::panic::catch_unwind(|| crypto::encrypt(&secret, key)).map_err(|_panic| unexpected(&answer))
}

#[cfg(test)]
mod tests;
