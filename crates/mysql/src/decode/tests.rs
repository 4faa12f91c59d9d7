use super::*;
use crate::catalog::Column;
use proptest::prelude::*;

fn column(name: &str, kind: &str) -> Column {
    let data_type = kind.split(['(', ' ']).next().unwrap_or_default().to_owned();
    Column {
        name: name.into(),
        data_type,
        column_type: kind.into(),
        charset: Some("utf8mb4".into()),
        collation: None,
        nullable: true,
        default: None,
        extra: String::new(),
        generated: false,
        invisible: false,
    }
}

fn table(columns: &[(&str, &str)]) -> Table {
    Table {
        schema: "shop".into(),
        name: "t".into(),
        engine: "InnoDB".into(),
        create: String::new(),
        columns: columns.iter().map(|(name, kind)| column(name, kind)).collect(),
        indexes: Vec::new(),
    }
}

/// A TABLE_MAP of `shop.t`, number 9, with these type codes and this metadata.
fn map(codes: &[u8], metadata: &[u8]) -> Vec<u8> {
    let mut data = vec![9, 0, 0, 0, 0, 0, 1, 0, 4];
    data.extend_from_slice(b"shop\0\x01t\0");
    data.push(codes.len() as u8);
    data.extend_from_slice(codes);
    data.push(metadata.len() as u8);
    data.extend_from_slice(metadata);
    data.extend(std::iter::repeat_n(0xff, codes.len().div_ceil(8)));
    data
}

fn plan(columns: &[(&str, &str)], codes: &[u8], metadata: &[u8], rereads: bool) -> Result<Plan> {
    let data = map(codes, metadata);
    let (id, map) = TableMap::read(&data).expect("a map");
    assert_eq!((id, map.schema(), map.name()), (9, &b"shop"[..], &b"t"[..]));
    Plan::new(&map, &table(columns), &["id".into()], rereads)
}

fn walk(plan: &Plan, kind: u8, event: &[u8]) -> Result<Vec<String>> {
    let rows = Rows::read(kind, event).map_err(|e| Error::corrupt(e.to_string()))?;
    let mut seen = Vec::new();
    plan.walk(&rows, |Change { key, op }| {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        seen.push(match op {
            Op::Upsert(row) => format!("{} = {}", text(&key.0), text(&row)),
            Op::Reread => format!("{} ?", text(&key.0)),
            Op::Delete => format!("{} -", text(&key.0)),
        });
    })?;
    Ok(seen)
}

const TWO: &[(&str, &str)] = &[("id", "mediumint"), ("v", "varchar(10)")];

fn two() -> Plan {
    plan(TWO, &[9, 15], &[40, 0], false).expect("a plan")
}

/// Table 9, no flags, version 1.
fn event(columns: u8, present: &[u8], rows: &[&[u8]]) -> Vec<u8> {
    let mut data = vec![9, 0, 0, 0, 0, 0, 0, 0, columns];
    data.extend_from_slice(present);
    data.extend(rows.concat());
    data
}

const MINUS_ONE: &[u8] = &[0, 0xff, 0xff, 0xff, 2, b'h', b'\''];
const FIVE: &[u8] = &[2, 5, 0, 0];

#[test]
fn rows_of_all_verbs_become_changes() {
    let plan = two();
    let inserted = walk(&plan, 23, &event(2, &[3], &[MINUS_ONE, FIVE])).expect("rows");
    assert_eq!(inserted, [r"-1 = -1,'h\''", "5 = 5,NULL"]);
    let updated = walk(&plan, 24, &event(2, &[3, 3], &[MINUS_ONE, FIVE, FIVE, FIVE])).expect("rows");
    assert_eq!(updated, ["-1 -", "5 = 5,NULL", "5 = 5,NULL"]);
    let deleted = walk(&plan, 25, &event(2, &[3], &[MINUS_ONE])).expect("rows");
    assert_eq!(deleted, ["-1 -"]);
}

#[test]
fn what_an_image_leaves_out_is_refused() {
    let plan = two();
    let e = walk(&plan, 23, &event(2, &[1], &[&[0, 5, 0, 0]])).expect_err("half an image");
    assert!(e.kind == Kind::Refused && e.to_string().contains("binlog_row_image"), "{e}");
    let e = walk(&plan, 25, &event(2, &[2], &[&[0, 1, b'x']])).expect_err("no key");
    assert_eq!(e.kind, Kind::Refused);
    // The key alone is enough for a delete.
    assert_eq!(walk(&plan, 25, &event(2, &[1], &[&[0, 5, 0, 0]])).expect("a delete"), ["5 -"]);
}

#[test]
fn partial_json_is_refused_unless_rows_are_read_again() {
    let columns = [("id", "mediumint"), ("v", "json")];
    // Version 2: two bytes more in the head. Behind the old row the options, one bit for the JSON column, and the new row.
    let json = [0, 5, 0, 0, 1, 0, 0, 0, b'j'];
    let mut data = event(2, &[3, 3], &[&json, &[1, 1], &json]);
    data.splice(8..8, [2, 0]);
    let rereads = plan(&columns, &[9, 245], &[4], true).expect("a plan");
    assert_eq!(walk(&rereads, 39, &data).expect("keys"), ["5 ?"]);
    assert!(plan(&columns, &[9, 245], &[4], false).is_err_and(|e| e.kind == Kind::Refused));
    let mut data = event(2, &[3, 3], &[MINUS_ONE, &[0], MINUS_ONE]);
    data.splice(8..8, [2, 0]);
    let e = walk(&two(), 39, &data).expect_err("partial");
    assert!(e.kind == Kind::Refused && e.next.is_some_and(|n| n.contains("binlog_row_value_options")));
}

#[test]
fn another_definition_than_planned_is_unfit() {
    for (columns, codes, metadata) in [
        (&TWO[..1], &[9_u8, 15][..], &[40_u8, 0][..]),
        (TWO, &[3, 15], &[40, 0]),
        (TWO, &[9, 252], &[2]),
        (TWO, &[9, 15], &[9, 0]),
        (TWO, &[9, 15], &[41, 0]),
        (&[("id", "mediumint"), ("v", "decimal(10,2)")], &[9, 246], &[10, 3]),
        (&[("id", "mediumint"), ("v", "datetime(3)")], &[9, 18], &[2]),
        (&[("id", "mediumint"), ("v", "binary(5)")], &[9, 254], &[254, 6]),
    ] {
        let e = plan(columns, codes, metadata, false).expect_err("another definition");
        assert_eq!(e.kind, Kind::Unfit, "{e}");
    }
    let mut data = map(&[9, 15], &[40, 0]);
    data.extend_from_slice(&[4, 5, 2, b'i', b'd', 1, b'w']);
    let (_, renamed) = TableMap::read(&data).expect("a map");
    let e = Plan::new(&renamed, &table(TWO), &["id".into()], false).expect_err("another name");
    assert!(e.kind == Kind::Unfit && e.to_string().contains("`w` instead of `v`"), "{e}");
    let e = plan(TWO, &[9, 141], &[], false).expect_err("a compressed column");
    assert!(e.kind == Kind::Refused && e.to_string().contains("COMPRESSED"), "{e}");
}

#[test]
fn floating_point_keys_are_refused() {
    assert!(plan(&[("id", "double")], &[5], &[8], false).is_err_and(|e| e.kind == Kind::Refused));
}

#[test]
fn bits_sets_and_padding() {
    let columns =
        [("id", "binary(4)"), ("b", "bit(12)"), ("s", "set('a','b')"), ("y", "year"), ("c", "char(255)")];
    // char(255) of four bytes each: 1020 does not fit a byte, its two high bits are turned over into the type.
    let long = 0xfe ^ ((1020_u16 & 0x300) >> 4) as u8;
    let metadata = [254, 4, 4, 1, 248, 1, long, (1020 & 0xff) as u8];
    let plan = plan(&columns, &[254, 16, 254, 13, 254], &metadata, false).expect("a plan");
    let row = [0, 1, 0xff, 0x0f, 0xa0, 3, 0, 1, 0, b'x'];
    let seen = walk(&plan, 23, &event(5, &[31], &[&row])).expect("a row");
    assert_eq!(seen, [r"x'FF000000' = '".to_owned() + "\u{fffd}" + r"\0\0\0',4000,3,0,'x'"]);
}

#[test]
fn compressed_rows_are_inflated() {
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;
    let rows = [MINUS_ONE, FIVE].concat();
    let mut encoder = ZlibEncoder::new(vec![0x81, rows.len() as u8], Compression::default());
    encoder.write_all(&rows).expect("memory");
    let packed = encoder.finish().expect("memory");
    let seen = walk(&two(), 166, &event(2, &[3], &[&packed])).expect("rows");
    assert_eq!(seen, [r"-1 = -1,'h\''", "5 = 5,NULL"]);
    let mut short = packed.clone();
    short[1] -= 1;
    assert!(walk(&two(), 166, &event(2, &[3], &[&short])).is_err(), "more than announced");
    assert!(walk(&two(), 166, &event(2, &[3], &[&packed[..packed.len() - 3]])).is_err(), "cut off");
    assert!(walk(&two(), 166, &event(2, &[3], &[&[0x91, 1, 2]])).is_err(), "another algorithm");
}

#[test]
fn markers_are_those_of_the_migration() {
    let data = map(&[8, 8], &[]);
    let (_, map) = TableMap::read(&data).expect("a map");
    let layouts = marker_map(&map).expect("bigints");
    let row =
        |migration: i64, token: u64| [&[0][..], &migration.to_le_bytes(), &token.to_le_bytes()].concat();
    let data = event(2, &[3], &[&row(7, 1), &row(8, 2), &row(7, u64::MAX)]);
    let rows = Rows::read(23, &data).expect("rows");
    assert_eq!(markers(&layouts, &rows, 7).expect("markers"), [1, u64::MAX]);
    let rows = Rows::read(25, &data).expect("rows");
    assert!(markers(&layouts, &rows, 7).expect("no inserts").is_empty());
}

/// Types of every layout.
const ALL: &[(&str, &str)] = &[
    ("id", "bigint"),
    ("a", "decimal(20,5)"),
    ("b", "time(6)"),
    ("c", "datetime(3)"),
    ("d", "timestamp(2)"),
    ("e", "text"),
    ("f", "varchar(300)"),
    ("g", "float"),
    ("h", "enum('a','b')"),
    ("i", "date"),
    ("j", "bit(9)"),
];
const ALL_CODES: &[u8] = &[8, 246, 19, 18, 17, 252, 15, 4, 254, 10, 16];
const ALL_METADATA: &[u8] = &[20, 5, 6, 3, 2, 2, 0xb0, 4, 4, 247, 1, 1, 1];

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kind in prop::sample::select(vec![23_u8, 24, 25, 30, 31, 32, 39, 166, 167, 168]),
        head in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..200), rereads in any::<bool>()) {
        let plan = plan(ALL, ALL_CODES, ALL_METADATA, rereads).expect("a plan");
        let data = if head { event(11, &[0xff, 0x07, 0xff, 0x07], &[&bytes]) } else { bytes };
        if let Ok(rows) = Rows::read(kind, &data) {
            let _ = plan.walk(&rows, drop);
        }
        if let Ok((_, map)) = TableMap::read(&data) {
            let _ = map.columns();
        }
    }

    #[test]
    fn no_damaged_rows_make_it_panic(
        kind in prop::sample::select(vec![23_u8, 24, 25, 30, 39]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        in_map in any::<bool>(),
    ) {
        let damage = |mut data: Vec<u8>| {
            for (place, byte) in &changes {
                let place = place.index(data.len());
                data[place] = *byte;
            }
            data.truncate(cut.map_or(data.len(), |cut| cut.index(data.len())));
            data
        };
        if in_map {
            if let Ok((_, map)) = TableMap::read(&damage(map(ALL_CODES, ALL_METADATA))) {
                let _ = (Plan::new(&map, &table(ALL), &["id".into()], false), marker_map(&map));
            }
        } else {
            // A bit for each column that is NULL, and the columns.
            let mut row = vec![0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 1, 2, 0, 0];
            row.extend_from_slice(&[0x80, 0, 1, 0, 0, 0, 0x99, 0xb4, 0xd9, 0, 0, 0, 0, 0x65, 0, 0, 0, 9]);
            row.extend_from_slice(&[2, 0, b'h', b'i', 3, 0, b'a', b'b', b'c', 0, 0, 0x80, 0x3f, 1, 0x51, 0xd0, 0x0f, 1, 2]);
            let data = damage(event(11, &[0xff, 0x07, 0xff, 0x07], &[&row, &row, &row]));
            if let Ok(rows) = Rows::read(kind, &data) {
                let _ = plan(ALL, ALL_CODES, ALL_METADATA, false).expect("a plan").walk(&rows, drop);
            }
        }
    }

    #[test]
    fn a_row_that_is_cut_off_is_an_error(cut in 0_usize..100) {
        let plan = two();
        let data = event(2, &[3], &[MINUS_ONE]);
        let cut = cut % data.len();
        if cut > 10 {
            prop_assert!(walk(&plan, 23, &data[..cut]).is_err());
        }
    }
}

/// A key, a short text, and values that may be long; with `rereads` one of them is JSON.
fn long(rereads: bool) -> Plan {
    let (last, code) = if rereads { ("json", 245) } else { ("longblob", 252) };
    let columns = [("a", "mediumblob"), ("id", "int"), ("t", "text"), ("b", "longblob"), ("j", last)];
    plan(&columns, &[252, 3, 252, 252, code], &[3, 2, 4, 4], rereads).expect("a plan")
}

/// A row of that table; none: NULL.
fn long_row(id: u32, a: Option<usize>, t: Option<usize>, b: Option<usize>, j: Option<usize>) -> Vec<u8> {
    let nulls = [a.is_none(), false, t.is_none(), b.is_none(), j.is_none()];
    let mut row = vec![nulls.iter().enumerate().map(|(at, null)| u8::from(*null) << at).sum()];
    let value = |row: &mut Vec<u8>, size: Option<usize>, digits: usize, fill: u8| {
        let Some(size) = size else { return };
        row.extend_from_slice(&size.to_le_bytes()[..digits]);
        row.resize(row.len() + size, fill);
    };
    value(&mut row, a, 3, b'a');
    row.extend_from_slice(&id.to_le_bytes());
    value(&mut row, t, 2, b't');
    value(&mut row, b, 4, b'b');
    value(&mut row, j, 4, 0);
    row
}

/// The event cut, its rows having come in pieces of these sizes.
fn cut(plan: &Plan, kind: u8, event: &[u8], pieces: &[usize]) -> std::result::Result<Vec<u8>, DecodeError> {
    let (head, size) = Rows::head(kind, event)?;
    let mut cutter = Cutter::new(plan.outline(), &head, event[..size].to_vec())?;
    let (mut rest, mut pieces) = (&event[size..], pieces.iter().cycle());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((*pieces.next().expect("a piece")).min(rest.len()));
        cutter.push(piece)?;
        rest = behind;
    }
    cutter.finish()
}

#[test]
fn a_long_row_keeps_its_key_and_that_it_is_long() {
    let (plan, mib) = (long(false), 1 << 20);
    let before = long_row(7, Some(3 * mib), Some(5), Some(20 * mib), Some(9));
    let after = long_row(8, Some(2 * mib), None, Some(30 * mib), Some(9));
    let event = event(5, &[31, 31], &[&before, &after]);
    let short = cut(&plan, 24, &event, &[100_000]).expect("it is cut");
    assert!(short.len() < 2 * mib + 200, "{} bytes are left", short.len());
    assert_eq!(walk(&plan, 24, &short).expect("rows"), ["7 -", "8 ?"]);
}

#[test]
fn values_that_are_only_long_together_are_cut_as_well() {
    let columns: Vec<(String, String)> =
        (0..60).map(|n| (if n == 0 { "id".into() } else { format!("c{n}") }, "mediumblob".into())).collect();
    let columns: Vec<(&str, &str)> = columns.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let plan = plan(&columns, &[252; 60], &[3; 60], false).expect("a plan");
    let mut row = vec![0; 8];
    for n in 0..60_usize {
        let size: usize = if n == 0 { 4 } else { 900_000 };
        row.extend_from_slice(&size.to_le_bytes()[..3]);
        row.resize(row.len() + size, b'x');
    }
    let event = event(60, &[0xff; 8], &[&row]);
    let short = cut(&plan, 23, &event, &[65_536]).expect("it is cut");
    assert!(short.len() < (1 << 20) + 500, "{} bytes are left", short.len());
    assert_eq!(walk(&plan, 23, &short).expect("rows"), walk(&plan, 23, &event).expect("rows"));
}

fn size_of_value() -> impl Strategy<Value = Option<usize>> {
    let mib = 1_usize << 20;
    prop::option::weighted(0.8, prop_oneof![3 => 0..40_usize, 1 => mib - 60..mib + 3, 1 => 2 * mib..3 * mib])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), ..ProptestConfig::default() })]

    #[test]
    fn rows_that_are_cut_mean_the_same(
        kind in prop::sample::select(vec![23_u8, 24, 25, 30, 31, 32, 39]),
        rows in prop::collection::vec((0..4_u32, size_of_value(), prop::option::of(0..300_usize), size_of_value(), size_of_value()), 1..4),
        present in any::<[u8; 2]>(),
        pieces in prop::collection::vec(1..200_000_usize, 1..4),
        in_single_bytes in prop::bool::weighted(0.1),
    ) {
        let plan = long(kind == 39);
        let is_pair = matches!(kind, 24 | 31 | 39);
        let mut data = vec![9, 0, 0, 0, 0, 0, 0, 0];
        if kind >= 30 {
            data.extend_from_slice(&[5, 0, 1, 2, 3]);
        }
        data.push(5);
        data.extend(std::iter::repeat_n(31, if is_pair { 2 } else { 1 }));
        for (nth, (id, a, t, b, j)) in rows.iter().enumerate() {
            let row = long_row(*id, *a, *t, *b, *j);
            data.extend_from_slice(&row);
            if is_pair {
                if kind == 39 {
                    data.extend_from_slice(if nth % 2 == 0 { &[1, 1] } else { &[0] });
                }
                data.extend_from_slice(&long_row(id + present[0] as u32 % 2, *b, *t, *a, *j));
            }
        }
        let pieces = if in_single_bytes && data.len() < 10_000 { vec![1] } else { pieces };
        let short = cut(&plan, kind, &data, &pieces).expect("it is cut");
        prop_assert!(short.len() <= data.len());
        prop_assert_eq!(walk(&plan, kind, &short).expect("rows"), walk(&plan, kind, &data).expect("rows"));
        // What does not end with a row is no event.
        prop_assert!(cut(&plan, kind, &data[..data.len() - 1], &pieces).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_cutter_panic(
        kind in prop::sample::select(vec![23_u8, 24, 25, 30, 39]),
        head in prop::collection::vec(any::<u8>(), 0..20),
        is_head in any::<bool>(),
        present in any::<[u8; 2]>(),
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8], 0..300),
        pieces in prop::collection::vec(1..50_usize, 1..4),
    ) {
        let data = if is_head { event(5, &present, &[&bytes]) } else { [head, bytes].concat() };
        let _ = cut(&long(kind == 39), kind, &data, &pieces);
    }
}
