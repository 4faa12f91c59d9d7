use super::*;
use proptest::prelude::*;

/// Builds a message by hand.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn of(kind: u8) -> Raw {
        Raw(vec![kind])
    }
    fn u8(mut self, v: u8) -> Raw {
        self.0.push(v);
        self
    }
    fn u16(mut self, v: u16) -> Raw {
        self.0.extend(v.to_be_bytes());
        self
    }
    fn u32(mut self, v: u32) -> Raw {
        self.0.extend(v.to_be_bytes());
        self
    }
    fn u64(mut self, v: u64) -> Raw {
        self.0.extend(v.to_be_bytes());
        self
    }
    fn text(mut self, v: &str) -> Raw {
        self.0.extend(v.as_bytes());
        self.u8(0)
    }
    fn value(mut self, kind: u8, v: &[u8]) -> Raw {
        self = self.u8(kind).u32(v.len() as u32);
        self.0.extend(v);
        self
    }
    fn decode(self, in_stream: bool) -> Result<Message, DecodeError> {
        decode(&Bytes::from(self.0), in_stream)
    }
}

fn samples() -> Vec<(Raw, bool)> {
    let relation = |raw: Raw| {
        raw.u32(16385)
            .text("public")
            .text("orders")
            .u8(b'd')
            .u16(2)
            .u8(1)
            .text("id")
            .u32(20)
            .u32(u32::MAX)
            .u8(0)
            .text("note")
            .u32(25)
            .u32(u32::MAX)
    };
    vec![
        (Raw::of(b'B').u64(0x16_B374_D848).u64(700_000_000).u32(731), false),
        (Raw::of(b'C').u8(0).u64(1).u64(2).u64(3), false),
        (Raw::of(b'O').u64(9).text("elsewhere"), false),
        (relation(Raw::of(b'R')), false),
        (relation(Raw::of(b'R').u32(99)), true),
        (Raw::of(b'Y').u32(5).u32(16400).text("").text("mood"), true),
        (Raw::of(b'I').u32(16385).u8(b'N').u16(2).value(b'b', &[0; 8]).u8(b'n'), false),
        (
            Raw::of(b'U')
                .u32(7)
                .u32(16385)
                .u8(b'K')
                .u16(2)
                .value(b't', b"1")
                .u8(b'n')
                .u8(b'N')
                .u16(2)
                .value(b't', b"2")
                .u8(b'u'),
            true,
        ),
        (Raw::of(b'U').u32(16385).u8(b'N').u16(1).u8(b'u'), false),
        (Raw::of(b'D').u32(16385).u8(b'O').u16(1).value(b't', b""), false),
        (Raw::of(b'T').u32(2).u8(3).u32(16385).u32(16386), false),
        (Raw::of(b'M').u8(1).u64(77).text("shadowswap").u32(3).u8(b'a').u8(0).u8(b'c'), false),
        (Raw::of(b'S').u32(731).u8(1), false),
        (Raw::of(b'E'), false),
        (Raw::of(b'c').u32(731).u8(0).u64(1).u64(2).u64(3), false),
        (Raw::of(b'A').u32(731).u32(732), false),
        (Raw::of(b'A').u32(731).u32(731).u64(5).u64(6), false),
    ]
}

#[test]
fn every_kind_of_message_is_read() {
    for (raw, in_stream) in samples() {
        let kind = char::from(raw.0[0]);
        let message = raw.decode(in_stream);
        assert!(message.is_ok(), "{kind}: {message:?}");
    }
}

#[test]
fn transaction_bounds_keep_their_numbers() {
    let begin = Raw::of(b'B').u64(0x16_B374_D848).u64(5).u32(731).decode(false).unwrap();
    assert_eq!(begin, Message::Begin(Begin { final_lsn: Lsn(0x16_B374_D848), timestamp: 5, xid: 731 }));
    let commit = Raw::of(b'C').u8(0).u64(1).u64(2).u64(3).decode(true).unwrap();
    assert_eq!(commit, Message::Commit(Commit { commit_lsn: Lsn(1), end_lsn: Lsn(2), timestamp: 3 }));
    let abort = Raw::of(b'A').u32(1).u32(2).decode(false).unwrap();
    assert_eq!(abort, Message::StreamAbort(StreamAbort { xid: 1, subxid: 2, at: None }));
}

#[test]
fn update_tells_null_unchanged_text_and_binary_apart() {
    let raw = Raw::of(b'U').u32(3).u32(9).u8(b'K').u16(1).value(b't', b"old").u8(b'N').u16(4);
    let message = raw.u8(b'n').u8(b'u').value(b't', b"").value(b'b', &[1, 2]).decode(true).unwrap();
    let new = vec![
        Column::Null,
        Column::Unchanged,
        Column::Text(Bytes::new()),
        Column::Binary(Bytes::from_static(&[1, 2])),
    ];
    let old = Old::Key(Tuple { columns: vec![Column::Text(Bytes::from_static(b"old"))] });
    assert_eq!(
        message,
        Message::Update(Update { xid: Some(3), relation: 9, old, new: Tuple { columns: new } })
    );
}

#[test]
fn values_are_slices_of_the_message() {
    let data = Bytes::from(Raw::of(b'I').u32(1).u8(b'N').u16(1).value(b't', b"payload").0);
    let Message::Insert(insert) = decode(&data, false).unwrap() else { panic!("not an insert") };
    let Column::Text(value) = &insert.new.columns[0] else { panic!("not text") };
    assert_eq!(value.as_ptr(), data[data.len() - 7..].as_ptr());
}

#[test]
fn relation_carries_its_columns_and_identity() {
    let (raw, _) = samples().remove(3);
    let Message::Relation(relation) = raw.decode(false).unwrap() else { panic!("not a relation") };
    assert_eq!(
        (relation.namespace.as_str(), relation.name.as_str(), relation.oid),
        ("public", "orders", 16385)
    );
    assert_eq!(relation.identity, Identity::Default);
    let columns: Vec<_> =
        relation.columns.iter().map(|c| (c.is_key, c.name.as_str(), c.type_oid, c.type_modifier)).collect();
    assert_eq!(columns, [(true, "id", 20, -1), (false, "note", 25, -1)]);
}

#[test]
fn logical_message_keeps_prefix_content_and_flag() {
    let message = Raw::of(b'M').u8(0).u64(77).text("p").u32(2).u8(b'h').u8(b'i').decode(false).unwrap();
    let content = Bytes::from_static(b"hi");
    let expected = Logical { xid: None, transactional: false, lsn: Lsn(77), prefix: "p".into(), content };
    assert_eq!(message, Message::Logical(expected));
}

#[test]
fn unknown_kinds_and_bytes_are_errors() {
    assert_eq!(Raw::of(b'?').decode(false), Err(DecodeError::Kind('?')));
    assert_eq!(Raw::of(b'b').u64(1).decode(false), Err(DecodeError::Kind('b')));
    let column = Raw::of(b'I').u32(1).u8(b'N').u16(1).u8(b'x').decode(false);
    assert_eq!(column, Err(DecodeError::Byte { kind: 'I', what: "column kind", byte: b'x' }));
    assert_eq!(Raw::default().decode(false), Err(DecodeError::Short { kind: ' ', wanted: 1, at: 0 }));
}

#[test]
fn bytes_after_the_end_are_an_error() {
    assert_eq!(Raw::of(b'E').u8(0).decode(false), Err(DecodeError::Long { kind: 'E', left: 1 }));
}

#[test]
fn counts_that_the_message_cannot_hold_reserve_nothing() {
    let tuple = Raw::of(b'I').u32(1).u8(b'N').u16(u16::MAX).u8(b'n').decode(false);
    assert!(matches!(tuple, Err(DecodeError::Short { .. })), "{tuple:?}");
    let truncate = Raw::of(b'T').u32(u32::MAX).u8(0).u32(1).decode(false);
    assert!(matches!(truncate, Err(DecodeError::Short { .. })), "{truncate:?}");
    let value = Raw::of(b'I').u32(1).u8(b'N').u16(1).u8(b't').u32(u32::MAX).decode(false);
    assert!(matches!(value, Err(DecodeError::Short { .. })), "{value:?}");
}

#[test]
fn every_message_cut_short_is_an_error() {
    for (raw, in_stream) in samples() {
        for end in 0..raw.0.len() {
            // The short form of a stream abort is a whole message of its own.
            if raw.0[0] == b'A' && end == 9 {
                continue;
            }
            let cut = decode(&Bytes::copy_from_slice(&raw.0[..end]), in_stream);
            assert!(cut.is_err(), "{:?} cut at {end}: {cut:?}", char::from(raw.0[0]));
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), in_stream: bool) {
        drop(decode(&Bytes::from(bytes), in_stream));
    }

    #[test]
    fn mutated_messages_never_panic(
        sample in 0_usize..17,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_stream: bool,
    ) {
        let (raw, _) = samples().remove(sample);
        let mut bytes = raw.0;
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        drop(decode(&Bytes::from(bytes), in_stream));
    }
}
