//! Logging in to a server that asks as MariaDB does for an account with ed25519.

use super::*;
use crate::connect::Charset;
use mysql_common::{
    constants::{MariadbCapabilities, StatusFlags},
    proto::MySerialize,
};
use shadowswap_core::Kind;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PASSWORD: &str = "geheim";
/// The server has no variable of that name: what this one answers to every statement.
const UNKNOWN_VARIABLE: u16 = 1193;

async fn say(socket: &mut TcpStream, number: u8, message: &[u8]) {
    let mut packet = message.len().to_le_bytes()[..3].to_vec();
    packet.push(number);
    packet.extend_from_slice(message);
    // Whoever was told enough may be gone.
    let _ = socket.write_all(&packet).await;
}

async fn hear(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    socket.read_exact(&mut head).await.ok()?;
    let mut message = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    socket.read_exact(&mut message).await.ok()?;
    Some((head[3], message))
}

fn error(code: u16) -> Vec<u8> {
    [&[0xff], &code.to_le_bytes()[..], b"#HY000no"].concat()
}

/// One session of a server of this version: the last random byte is `last`.
async fn serve(mut socket: TcpStream, version: &'static str, last: u8, proofs: &AtomicUsize) -> Option<()> {
    let capabilities = WANTED - CapabilityFlags::CLIENT_CONNECT_ATTRS;
    let greeting = HandshakePacket::new(
        10,
        version.as_bytes(),
        7,
        *b"12345678",
        Some(&b"901234567890\0"[..]),
        capabilities,
        45,
        StatusFlags::empty(),
        Some(&b"mysql_native_password"[..]),
    )
    .with_mariadb_ext_capabilities(MariadbCapabilities::empty());
    let mut message = Vec::new();
    greeting.serialize(&mut message);
    say(&mut socket, 0, &message).await;
    let (number, _response) = hear(&mut socket).await?;
    let mut nonce = vec![9; ED25519_NONCE_BYTES];
    nonce[ED25519_NONCE_BYTES - 1] = last;
    let mut message = Vec::new();
    AuthSwitchRequest::new(&b"client_ed25519"[..], &nonce[..]).serialize(&mut message);
    say(&mut socket, number + 1, &message).await;
    let (number, proof) = hear(&mut socket).await?;
    proofs.fetch_add(1, Ordering::SeqCst);
    let mut due = Vec::new();
    AuthPlugin::Ed25519.gen_data(Some(PASSWORD), &nonce)?.serialize(&mut due);
    if proof != due {
        say(&mut socket, number + 1, &error(1045)).await;
        return None;
    }
    say(&mut socket, number + 1, &[0, 0, 0, 2, 0, 0, 0]).await;
    while let Some((number, _statement)) = hear(&mut socket).await {
        say(&mut socket, number + 1, &error(UNKNOWN_VARIABLE)).await;
    }
    Some(())
}

const MARIADB: &str = "11.4.2-MariaDB";

/// A server whose sessions have these last random bytes, and how many there were that showed a proof.
async fn server(version: &'static str, lasts: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let mut lasts = lasts.iter().copied();
        while let Ok((socket, _)) = listener.accept().await {
            let (last, counted) = (lasts.next().unwrap_or(1), Arc::clone(&counted));
            tokio::spawn(async move { serve(socket, version, last, &counted).await });
        }
    });
    (port, count)
}

fn options(port: u16, password: &str) -> ConnectOptions {
    let url = format!("mysql://curved:{password}@127.0.0.1:{port}/shop?ssl-mode=DISABLED");
    ConnectOptions::gather(&url, None, &|_| None).expect("a URL")
}

#[tokio::test]
async fn a_last_random_byte_of_zero_is_part_of_the_question() {
    for lasts in [&[0], &[1]] {
        let (port, _) = server(MARIADB, lasts).await;
        let mut wire = Wire::open(&options(port, PASSWORD), "test").await.expect("a session");
        let e = wire.run("set @x = 1").await.expect_err("this server knows no statement");
        assert!(matches!(&e, Driver::Server(told) if told.code == UNKNOWN_VARIABLE), "{e}");
    }
    let (port, _) = server(MARIADB, &[0]).await;
    let e = Wire::open(&options(port, "wrong"), "test").await.err().expect("another password");
    assert!(matches!(&e, Driver::Server(told) if told.code == 1045), "{e}");
}

#[tokio::test]
async fn a_proof_that_the_driver_gets_wrong_is_made_again() {
    // The driver, the session that tells, the driver twice more.
    let (port, count) = server(MARIADB, &[0, 0, 0, 1]).await;
    let e = options(port, PASSWORD).connect("test", Charset::Utf8).await.expect_err("no real server");
    assert!(e.message.contains(&UNKNOWN_VARIABLE.to_string()), "it was let in: {e}");
    assert_eq!(count.load(Ordering::SeqCst), 4);
    let (port, count) = server(MARIADB, &[1, 1]).await;
    let e = options(port, "wrong").connect("test", Charset::Utf8).await.expect_err("another password");
    assert_eq!((e.kind, e.message.contains("1045")), (Kind::Refused, true), "{e}");
    assert_eq!(count.load(Ordering::SeqCst), 2, "no more is tried than must be");
    // Wrong proofs count, so that no other server is shown one more.
    let (port, count) = server("8.4.2", &[1, 1]).await;
    let e = options(port, "wrong").connect("test", Charset::Utf8).await.expect_err("another password");
    assert_eq!((e.kind, count.load(Ordering::SeqCst)), (Kind::Refused, 1), "{e}");
}

/// The driver's types panic on it.
#[tokio::test]
async fn a_greeting_that_no_server_sends_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // A version, a number, the first random bytes, and then what its last part is said to have: 128 bytes.
            let mut greeting = b"\x0a\xd9\xa8.0.1-MariaDB\0\x07\0\0\x0012345678\0".to_vec();
            greeting.extend_from_slice(&[0xff, 0xff, 45, 2, 0, 0xff, 0xff, 0x80]);
            greeting.extend_from_slice(&[0; 200]);
            say(&mut socket, 0, &greeting).await;
            let _ = hear(&mut socket).await;
        }
    });
    assert!(Wire::open(&options(port, PASSWORD), "test").await.is_err());
    assert!(!Wire::is_let_in_by_mariadb(&options(port, PASSWORD), "test").await);
}
