use super::*;
use crate::decode::Outline;
use proptest::prelude::*;
use shadowswap_core::Kind;
use std::io::Write;

/// What a server sends.
struct Sender {
    out: Vec<u8>,
    sequence: u8,
    has_checksums: bool,
}

impl Sender {
    /// The head of a file has come.
    fn new(has_checksums: bool) -> Sender {
        let mut sender = Sender { out: Vec::new(), sequence: 1, has_checksums };
        let mut data = vec![7; 60];
        data.push(u8::from(has_checksums));
        let mut event = event(FILE_HEAD, &data, true);
        if !has_checksums {
            // The room for one is there all the same.
            let end = event.len();
            event[end - 4..].fill(9);
        }
        sender.message(&[&[0], &event[..]].concat());
        sender
    }

    fn event(&mut self, kind: u8, data: &[u8]) {
        let event = event(kind, data, self.has_checksums);
        self.message(&[&[0], &event[..]].concat());
    }

    fn message(&mut self, mut message: &[u8]) {
        loop {
            let (packet, rest) = message.split_at(message.len().min(PACKET_BYTES_MAX));
            self.out.extend_from_slice(&packet.len().to_le_bytes()[..3]);
            self.out.push(self.sequence);
            self.out.extend_from_slice(packet);
            self.sequence = self.sequence.wrapping_add(1);
            message = rest;
            if packet.len() < PACKET_BYTES_MAX {
                return;
            }
        }
    }
}

fn event(kind: u8, data: &[u8], has_checksum: bool) -> Vec<u8> {
    let size = Header::BYTES + data.len() + if has_checksum { CHECKSUM_BYTES } else { 0 };
    let mut event = 5_u32.to_le_bytes().to_vec();
    event.push(kind);
    event.extend_from_slice(&3_u32.to_le_bytes());
    event.extend_from_slice(&(size as u32).to_le_bytes());
    event.extend_from_slice(&1234_u32.to_le_bytes());
    event.extend_from_slice(&[0, 0]);
    event.extend_from_slice(data);
    if has_checksum {
        let mut crc = flate2::Crc::new();
        crc.update(&event);
        event.extend_from_slice(&crc.sum().to_le_bytes());
    }
    event
}

/// An event's kind and its data.
type Given = (u8, Vec<u8>);

/// Everything that comes out of bytes that come in pieces of these sizes, how it ended, and how many bytes were held
/// at most.
fn taken(bytes: &[u8], pieces: &[usize], long: impl Fn(u64) -> Long) -> (Vec<Given>, Result<Taken>, usize) {
    let mut intake = Intake::new(1, BytesMut::new());
    let (mut out, mut rest, mut pieces, mut held) = (Vec::new(), bytes, pieces.iter().cycle(), 0);
    loop {
        match intake.take(&long) {
            Ok(Taken::Event(item)) => out.push((item.header.kind, item.data.to_vec())),
            Ok(Taken::Hungry) if !rest.is_empty() => {
                let (piece, behind) = rest.split_at((*pieces.next().expect("a piece")).min(rest.len()));
                intake.input().extend_from_slice(piece);
                held = held.max(intake.input.len());
                rest = behind;
            }
            other => return (out, other, held),
        }
    }
}

fn whole(_: u64) -> Long {
    Long::Whole
}

/// Rows of table 9: a long value, and a number that is the key.
fn rows(long: usize, id: u8) -> Vec<u8> {
    let mut data = vec![9, 0, 0, 0, 0, 0, 0, 0, 2, 3, 0];
    data.extend_from_slice(&(long as u32).to_le_bytes());
    data.resize(data.len() + long, b'x');
    data.push(id);
    data
}

fn outline() -> Outline {
    use crate::decode::Layout::{Fixed, Sized};
    Outline { columns: vec![(Sized(4), false), (Fixed(1), true)], json_columns: 0 }
}

const MIB: usize = 1 << 20;
const FILE: usize = 60;

#[test]
fn events_of_any_length_come_through_packets_of_any_number() {
    // A message whose last packet is full ends with an empty one.
    let lengths = [0, 10, MIB, PACKET_BYTES_MAX - 24, PACKET_BYTES_MAX, 2 * PACKET_BYTES_MAX - 24, 36 * MIB];
    for has_checksums in [true, false] {
        let mut sender = Sender::new(has_checksums);
        let datas = lengths.map(|length| vec![length as u8; length]);
        for data in &datas {
            sender.event(2, data);
        }
        let (events, end, held) = taken(&sender.out, &[1_000_000], whole);
        assert_eq!(end.expect("no error"), Taken::Hungry);
        assert!(held < 3 * MIB, "{held} bytes are held of what came");
        assert_eq!(events[0], (FILE_HEAD, vec![7; FILE]));
        for (event, data) in events[1..].iter().zip(&datas) {
            assert!(event.0 == 2 && event.1 == *data, "{} of {} bytes", event.1.len(), data.len());
        }
        assert_eq!(events.len(), 1 + datas.len());
    }
}

#[test]
fn of_what_nobody_looks_at_nothing_is_kept() {
    let mut sender = Sender::new(true);
    sender.event(29, &vec![b'i'; 20 * MIB]);
    sender.event(23, &rows(20 * MIB, 5));
    sender.event(16, &[1; 8]);
    let (events, end, _) = taken(&sender.out, &[65_536], |_| Long::PassedOver);
    assert_eq!(end.expect("no error"), Taken::Hungry);
    let sizes: Vec<_> = events.iter().map(|(kind, data)| (*kind, data.len())).collect();
    assert_eq!(sizes, [(FILE_HEAD, FILE), (29, 0), (23, 10), (16, 8)]);
}

#[test]
fn long_rows_are_cut_compressed_or_not() {
    let data = rows(40 * MIB, 77);
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&data[10..]).expect("compressed");
    let packed = encoder.finish().expect("compressed");
    let length = ((data.len() - 10) as u32).to_be_bytes();
    let compressed = [&data[..10], &[0x84], &length, &packed].concat();
    for (kind, given, data) in [(23, 23, &data), (166, 23, &compressed)] {
        let mut sender = Sender::new(true);
        sender.event(kind, data);
        let long = |table| {
            assert_eq!(table, 9);
            Long::Cut(outline())
        };
        let (events, end, _) = taken(&sender.out, &[70_000, 3], long);
        assert_eq!(end.expect("no error"), Taken::Hungry);
        let (kind, data) = &events[1];
        assert!(*kind == given && data.len() < MIB + 100, "{kind}: {} bytes", data.len());
        assert_eq!(data.last(), Some(&77), "the key");
        for damage in [30, MIB, sender.out.len() - 3] {
            let mut damaged = sender.out.clone();
            let place = 100 + damage.min(damaged.len() - 101);
            damaged[place] ^= 1;
            let (events, end, _) = taken(&damaged, &[70_000], |_| Long::Cut(outline()));
            assert_eq!((events.len(), end.expect_err("damaged").kind), (1, Kind::Corrupt), "{damage}");
        }
    }
    // Compressed, they may be short.
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&data[10..]).expect("compressed");
    let short = [&data[..10], &[0x84], &length, &encoder.finish().expect("compressed")].concat();
    assert!(short.len() < MIB);
    for has_checksums in [true, false] {
        let mut sender = Sender::new(has_checksums);
        sender.event(166, &short);
        let (events, end, _) = taken(&sender.out, &[70_000], |_| Long::Cut(outline()));
        assert_eq!(end.expect("no error"), Taken::Hungry);
        let (kind, cut) = &events[1];
        assert!(*kind == 23 && cut.len() < MIB + 100 && cut.last() == Some(&77), "{} bytes", cut.len());
        let (events, _, _) = taken(&sender.out, &[70_000], |_| Long::PassedOver);
        assert_eq!((events[1].0, events[1].1.len()), (166, 10));
        // Whoever wants them whole inflates them.
        let (events, _, _) = taken(&sender.out, &[70_000], whole);
        assert!(events[1] == (166, short.clone()));
    }
    // More comes out than was announced, or less.
    for off in [-1_i64, 1] {
        let length = ((data.len() as i64 - 10 + off) as u32).to_be_bytes();
        let mut sender = Sender::new(false);
        sender.event(166, &[&data[..10], &[0x84], &length, &packed].concat());
        let (_, end, _) = taken(&sender.out, &[70_000], |_| Long::Cut(outline()));
        assert!(end.expect_err("another length").message.contains("came out"));
    }
}

/// A compressed transaction of these events.
fn payload(events: &[Given], said: impl Fn(u64) -> u64) -> Vec<u8> {
    let plain: Vec<u8> = events.iter().flat_map(|(kind, data)| event(*kind, data, false)).collect();
    let packed = zstd::encode_all(&plain[..], 3).expect("compressed");
    let field = |number: u8, value: u64| [&[number, 9, 254][..], &value.to_le_bytes()].concat();
    [field(1, packed.len() as u64), vec![2, 1, 0], field(3, said(plain.len() as u64)), vec![0], packed]
        .concat()
}

#[test]
fn compressed_transactions_come_event_by_event() {
    let inner = vec![(2, b"BEGIN".to_vec()), (19, vec![1; 50]), (23, rows(20 * MIB, 5)), (16, vec![2; 8])];
    let mut sender = Sender::new(true);
    let packed = payload(&inner, |size| size);
    sender.event(PAYLOAD, &packed);
    sender.event(4, &[3; 20]);
    let (events, end, _) = taken(&sender.out, &[999], whole);
    assert_eq!(end.expect("no error"), Taken::Hungry);
    assert_eq!(events[1], (PAYLOAD, packed));
    assert!(events[2..6] == inner[..], "its events");
    assert_eq!(events[6], (4, vec![3; 20]));
    assert_eq!(events.len(), 7);
    let (events, end, _) = taken(&sender.out, &[999], |_| Long::Cut(outline()));
    assert_eq!(end.expect("no error"), Taken::Hungry);
    assert!(events[4].1.len() < MIB + 100 && events[4].1.last() == Some(&5), "the row is cut");
    for said in [|size| size - 1, |size| size + 1] {
        let mut sender = Sender::new(true);
        sender.event(PAYLOAD, &payload(&inner, said));
        let (_, end, _) = taken(&sender.out, &[999], whole);
        assert_eq!(end.expect_err("another length").kind, Kind::Corrupt);
    }
    let mut sender = Sender::new(true);
    sender.event(PAYLOAD, &payload(&[(PAYLOAD, vec![0])], |size| size));
    assert!(taken(&sender.out, &[999], whole).1.expect_err("one in another").message.contains("in another"));
}

#[test]
fn servers_errors_and_the_end_are_told() {
    let mut sender = Sender::new(true);
    sender.message(b"\xff\xd4\x04#HY000purged");
    let (events, end, _) = taken(&sender.out, &[5], whole);
    assert_eq!(events.len(), 1);
    assert_eq!(end.expect("no error"), Taken::Refusal(Bytes::from_static(b"\xff\xd4\x04#HY000purged")));
    let mut sender = Sender::new(true);
    sender.message(&[0xfe, 0, 0, 2, 0]);
    assert_eq!(taken(&sender.out, &[5], whole).1.expect("no error"), Taken::End);
    let mut sender = Sender::new(true);
    sender.sequence = 9;
    sender.event(16, &[1; 8]);
    let e = taken(&sender.out, &[5], whole).1.expect_err("a packet is missing");
    assert_eq!((e.kind, e.message.contains("packet 9 instead of 2")), (Kind::Transient, true));
}

#[test]
fn events_that_say_another_length_than_they_have_are_refused() {
    for (length, said) in
        [(100, 101_i64), (100, 99), (3 * MIB, 3 * MIB as i64 + 1), (3 * MIB, 3 * MIB as i64 - 1)]
    {
        let mut sender = Sender::new(false);
        let mut event = event(2, &vec![1; length], false);
        let said = (said + Header::BYTES as i64) as u32;
        event[9..13].copy_from_slice(&said.to_le_bytes());
        sender.message(&[&[0], &event[..]].concat());
        let e = taken(&sender.out, &[5000], whole).1.expect_err("another length");
        assert!(e.kind == Kind::Corrupt && e.message.contains("says"), "{e}");
    }
}

proptest! {
    #[test]
    fn events_are_the_same_however_their_bytes_come(
        has_checksums in any::<bool>(),
        sent in prop::collection::vec((prop::sample::select(vec![2_u8, 16, 19, 23, 27, 33]), prop::collection::vec(any::<u8>(), 0..200)), 0..20),
        pieces in prop::collection::vec(1..300_usize, 1..5),
        damage in prop::option::of((any::<prop::sample::Index>(), 1..=255_u8)),
    ) {
        let mut sender = Sender::new(has_checksums);
        for (kind, data) in &sent {
            sender.event(*kind, data);
        }
        let (events, end, _) = taken(&sender.out, &pieces, whole);
        prop_assert_eq!(end.expect("no error"), Taken::Hungry);
        prop_assert_eq!(&events[1..], &sent[..]);
        if let (Some((place, mask)), true) = (damage, has_checksums) {
            let place = place.index(sender.out.len());
            sender.out[place] ^= mask;
            // Whatever comes before the damage is right; nothing that is damaged comes.
            let (damaged, _, _) = taken(&sender.out, &pieces, whole);
            prop_assert!(damaged.len() <= events.len());
            prop_assert_eq!(&damaged[..], &events[..damaged.len()]);
        }
    }

    #[test]
    fn no_bytes_make_the_intake_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        begins in any::<bool>(),
        kind in prop::sample::select(vec![2_u8, 15, 23, 24, 39, 40, 166]),
        pieces in prop::collection::vec(1..100_usize, 1..4),
    ) {
        let mut sender = Sender::new(true);
        if begins {
            sender.event(kind, &bytes);
        } else {
            sender.out.extend_from_slice(&bytes);
        }
        let _ = taken(&sender.out, &pieces, |_| Long::Cut(outline()));
    }
}
