use super::*;
use tokio::net::UnixStream;

#[test]
fn positions_are_written_as_the_server_writes_them() {
    let lsn = Lsn(0x16_B374_D848);
    assert_eq!(lsn.to_string(), "16/B374D848");
    assert_eq!("16/B374D848".parse(), Ok(lsn));
    assert_eq!("0/0".parse(), Ok(Lsn(0)));
    assert_eq!("ffffffff/FFFFFFFF".parse(), Ok(Lsn(u64::MAX)));
    assert_eq!(serde_json::to_string(&lsn).unwrap(), "\"16/B374D848\"");
    assert_eq!(serde_json::from_str::<Lsn>("\"16/B374D848\"").unwrap(), lsn);
    for text in ["", "16", "/", "1/", "/1", "1/2/3", "+1/2", "123456789/0", "g/1", " 1/2"] {
        assert!(text.parse::<Lsn>().is_err(), "{text:?}");
    }
}

#[test]
fn reports_come_well_within_the_servers_patience() {
    assert_eq!(report_every(None), REPORT_EVERY);
    assert_eq!(report_every(Some(0)), REPORT_EVERY);
    assert_eq!(report_every(Some(60_000)), REPORT_EVERY);
    assert_eq!(report_every(Some(3_000)), Duration::from_secs(1));
    assert_eq!(report_every(Some(1)), REPORT_EVERY_MIN);
}

#[test]
fn slots_names_are_checked_and_values_quoted() {
    assert_eq!(slot("shadowswap_1").unwrap(), "\"shadowswap_1\"");
    for name in ["", "Upper", "a b", "a\"b", &"x".repeat(64)] {
        assert!(slot(name).is_err(), "{name:?}");
    }
    assert_eq!(literal("\"it's\""), "'\"it''s\"'");
}

#[test]
fn report_has_the_layout_of_a_status_update() {
    let bytes = encode(Report { received: Lsn(3), flushed: Lsn(2), applied: Lsn(1) }, 7, false);
    assert_eq!((bytes.len(), bytes[0], bytes[4], bytes[5]), (39, b'd', 38, b'r'));
    assert_eq!((bytes[13], bytes[21], bytes[29], bytes[37], bytes[38]), (3, 2, 1, 7, 0));
}

/// A stream with the server's end in our hands.
fn stream() -> (ReplicationStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let every = Duration::from_secs(600);
    (ReplicationStream::new(Socket::Unix(ours), BytesMut::new(), every, "test".into()), theirs)
}

fn copy_data(body: &[u8]) -> Vec<u8> {
    let mut out = vec![b'd'];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out
}

fn wal(start: u64, data: &[u8]) -> Vec<u8> {
    let mut body = vec![b'w'];
    body.extend(start.to_be_bytes());
    body.extend(900_u64.to_be_bytes());
    body.extend(0_u64.to_be_bytes());
    body.extend(data);
    copy_data(&body)
}

fn keepalive(end: u64, reply: u8) -> Vec<u8> {
    let mut body = vec![b'k'];
    body.extend(end.to_be_bytes());
    body.extend(0_u64.to_be_bytes());
    body.push(reply);
    copy_data(&body)
}

async fn report(server: &mut UnixStream) -> (u64, u64, u64) {
    let mut bytes = [0; 39];
    server.read_exact(&mut bytes).await.unwrap();
    let number = |at: usize| u64::from_be_bytes(*bytes[at..].first_chunk().unwrap());
    (number(6), number(14), number(22))
}

#[tokio::test]
async fn dropped_reads_lose_nothing() {
    let (mut stream, mut server) = stream();
    let bytes = [wal(5, b"hello"), keepalive(9, 0)].concat();
    for byte in bytes {
        tokio::select! {
            biased;
            frame = stream.next() => panic!("early: {frame:?}"),
            () = tokio::task::yield_now() => {}
        }
        server.write_all(&[byte]).await.unwrap();
        if stream.buffer.len() > 20 && byte == b'o' {
            let frame = stream.next().await.unwrap();
            assert_eq!(
                frame,
                Frame::Wal { start: Lsn(5), end: Lsn(900), data: Bytes::from_static(b"hello") }
            );
        }
    }
    assert_eq!(stream.next().await.unwrap(), Frame::Keepalive { end: Lsn(9), reply_requested: false });
}

#[tokio::test]
async fn server_that_asks_is_answered_with_the_newest_positions() {
    let (mut stream, mut server) = stream();
    assert_eq!(report(&mut server).await, (0, 0, 0));
    server.write_all(&keepalive(50, 1)).await.unwrap();
    stream.next().await.unwrap();
    assert_eq!(report(&mut server).await, (50, 0, 0));
    stream.send_status(Lsn(40), Lsn(30)).await.unwrap();
    assert_eq!(report(&mut server).await, (50, 40, 30));
    // An older position is no news.
    stream.send_status(Lsn(10), Lsn(10)).await.unwrap();
    stream.status().send_status(Lsn(60), Lsn(60)).await.unwrap();
    assert_eq!(report(&mut server).await, (60, 60, 60));
}

#[tokio::test]
async fn reports_go_out_while_nobody_reads() {
    let (ours, mut server) = UnixStream::pair().unwrap();
    let every = Duration::from_millis(5);
    let _stream = ReplicationStream::new(Socket::Unix(ours), BytesMut::new(), every, "test".into());
    for _ in 0..3 {
        assert_eq!(report(&mut server).await, (0, 0, 0));
    }
}

#[tokio::test]
async fn broken_frames_are_errors() {
    for body in [&b"w\0\0"[..], b"k\0", b"?"] {
        let (mut stream, mut server) = stream();
        server.write_all(&copy_data(body)).await.unwrap();
        assert_eq!(stream.next().await.unwrap_err().kind, Kind::Corrupt, "{body:?}");
    }
    let (mut stream, server) = stream();
    drop(server);
    assert_eq!(stream.next().await.unwrap_err().kind, Kind::Transient);
}

#[tokio::test]
async fn lost_connection_shows_in_the_status_too() {
    let (stream, server) = stream();
    drop(server);
    let lost = async {
        let mut position = 0;
        loop {
            position += 1;
            if let Err(e) = stream.send_status(Lsn(position), Lsn(0)).await {
                return e;
            }
            tokio::task::yield_now().await;
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(5), lost).await.unwrap();
    assert_eq!(error.kind, Kind::Transient);
}
