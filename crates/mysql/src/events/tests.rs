use super::*;
use crate::catalog::Column;
use shadowswap_core::Op;

mod mutated;

const SOURCE: [u8; 16] = [7; 16];

fn assembly(version: &str, has_gtids: bool, from: &Position, is_whole: bool) -> Assembly {
    let server = Server::parse(version, has_gtids, 0).expect("a version");
    Assembly::new(wanted(), &server, from, is_whole).expect("an assembly")
}

fn wanted() -> Wanted {
    let column = Column {
        name: "id".into(),
        data_type: "int".into(),
        column_type: "int".into(),
        charset: None,
        collation: None,
        nullable: false,
        default: None,
        extra: String::new(),
        generated: false,
        invisible: false,
    };
    let source = Table {
        schema: "shop".into(),
        name: "t".into(),
        engine: "InnoDB".into(),
        create: String::new(),
        columns: vec![column],
        indexes: Vec::new(),
    };
    let key = vec!["id".to_owned()];
    let control_schema = "shadowswap".into();
    Wanted { source, key, rereads: false, control_schema, migration: 7, turn: 0, behind: None }
}

fn mysql() -> Assembly {
    let from = Position { gtids: String::new(), file: "bin.000002".into(), offset: 4 };
    assembly("9.7.0", true, &from, false)
}

/// Feeds events as they lie in a file, one after the other.
struct Feed {
    assembly: Assembly,
    end: u64,
}

impl Feed {
    fn new(assembly: Assembly, end: u64) -> Feed {
        Feed { assembly, end }
    }

    fn give(&mut self, kind: u8, data: &[u8]) -> Result<()> {
        let size = 19 + data.len() as u32;
        self.end += u64::from(size);
        let end_low = self.end as u32;
        self.assembly.take(&Raw { kind, timestamp: 5, server: 3, size, end_low, flags: 0, data })
    }

    /// What comes out of a compressed transaction is in no file.
    fn give_unpacked(&mut self, kind: u8, data: &[u8]) -> Result<()> {
        let size = 19 + data.len() as u32;
        self.assembly.take(&Raw { kind, timestamp: 5, server: 3, size, end_low: 0, flags: 0, data })
    }

    fn seen(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.assembly.pop()).collect()
    }
}

fn gtid(number: u64) -> Vec<u8> {
    [&[0][..], &SOURCE, &number.to_le_bytes()].concat()
}

fn query(sql: &str) -> Vec<u8> {
    let mut data = vec![0; 8];
    data.extend_from_slice(&[4, 0, 0, 0, 0]);
    data.extend_from_slice(b"shop\0");
    data.extend_from_slice(sql.as_bytes());
    data
}

fn map(table: &str) -> Vec<u8> {
    let mut data = vec![9, 0, 0, 0, 0, 0, 1, 0, 4];
    data.extend_from_slice(b"shop\0");
    data.push(table.len() as u8);
    data.extend_from_slice(table.as_bytes());
    data.extend_from_slice(&[0, 1, 3, 0, 0]);
    data
}

/// A row of table 9 with this number.
fn row(id: u8) -> Vec<u8> {
    vec![9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, id, 0, 0, 0]
}

fn insert(feed: &mut Feed, id: u8) -> Result<()> {
    feed.give(2, &query("BEGIN"))?;
    feed.give(19, &map("t"))?;
    feed.give(23, &row(id))
}

#[test]
fn a_transaction_is_given_whole_with_its_name_and_position() {
    let mut feed = Feed::new(mysql(), 4);
    feed.give(33, &gtid(12)).expect("a GTID");
    assert_eq!(feed.assembly.position(), None, "within a transaction");
    insert(&mut feed, 5).expect("a row");
    feed.give(16, &[0; 8]).expect("XID");
    let end = feed.end;
    let events = feed.seen();
    let [Event::Begin { tx, committed }, Event::Change(change), Event::Commit(position)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*tx, Tx::Gtid { source: SOURCE, tag: String::new(), number: 12 });
    assert_eq!((change.key.0.as_slice(), &change.op), (&b"5"[..], &Op::Upsert(b"5".to_vec())));
    assert_eq!(position.gtids, "07070707-0707-0707-0707-070707070707:12");
    assert_eq!((position.offset, *committed), (end, 5_000_000));
    // The same transaction again is behind us, and one of another table is none of ours.
    feed.give(33, &gtid(12)).expect("a GTID");
    insert(&mut feed, 6).expect("a row");
    feed.give(16, &[0; 8]).expect("XID");
    feed.give(33, &gtid(13)).expect("a GTID");
    feed.give(2, &query("BEGIN")).expect("a query");
    feed.give(19, &map("u")).expect("a map");
    feed.give(23, &row(5)).expect("a row");
    feed.give(16, &[0; 8]).expect("XID");
    assert!(feed.seen().is_empty());
    assert!(feed.assembly.position().expect("between").gtids.ends_with(":12-13"));
}

#[test]
fn a_compressed_transaction_that_was_swallowed_is_noticed() {
    for next in [33_u8, 40, 16, 27, 4, 15, 3] {
        let mut feed = Feed::new(mysql(), 4);
        feed.give(33, &gtid(1)).expect("a GTID");
        feed.give(40, &[0; 9]).expect("a payload");
        let e = feed.give(next, &gtid(2)).expect_err("its rows are missing");
        assert!(e.kind == Kind::Corrupt && e.to_string().contains("compressed"), "{next}: {e}");
    }
    let mut feed = Feed::new(mysql(), 4);
    feed.give(33, &gtid(1)).expect("a GTID");
    feed.give(40, &[0; 9]).expect("a payload");
    let end = feed.end;
    feed.give_unpacked(2, &query("BEGIN")).expect("a query");
    feed.give_unpacked(19, &map("t")).expect("a map");
    feed.give_unpacked(23, &row(5)).expect("a row");
    feed.give_unpacked(16, &[0; 8]).expect("XID");
    let events = feed.seen();
    assert!(matches!(&events[2], Event::Commit(position) if position.offset == end), "{events:?}");
    feed.give(33, &gtid(2)).expect("the next");
}

#[test]
fn what_is_rolled_back_after_it_was_given_is_unfit() {
    for sql in ["ROLLBACK", "ROLLBACK TO `s`"] {
        let mut feed = Feed::new(mysql(), 4);
        feed.give(33, &gtid(1)).expect("a GTID");
        insert(&mut feed, 5).expect("a row");
        let e = feed.give(2, &query(sql)).expect_err("rows of ours");
        assert!(e.kind == Kind::Unfit && e.to_string().contains("rolled back"), "{e}");
        let mut feed = Feed::new(mysql(), 4);
        feed.give(33, &gtid(1)).expect("a GTID");
        feed.give(2, &query("BEGIN")).expect("a query");
        feed.give(2, &query(sql)).expect("nothing of ours");
        assert!(feed.seen().is_empty());
    }
}

#[test]
fn what_is_not_known_or_out_of_place_stops() {
    for (kind, data) in [(99_u8, vec![]), (26, vec![1, 0]), (16, vec![0; 8]), (23, row(1)), (19, map("t"))] {
        let mut feed = Feed::new(mysql(), 4);
        assert_eq!(feed.give(kind, &data).expect_err("not here").kind, Kind::Corrupt, "{kind}");
    }
    let mut feed = Feed::new(mysql(), 4);
    feed.give(33, &gtid(1)).expect("a GTID");
    assert_eq!(feed.give(33, &gtid(2)).expect_err("no end").kind, Kind::Corrupt);
    let mut feed = Feed::new(mysql(), 4);
    feed.give(33, &gtid(1)).expect("a GTID");
    feed.give(2, &query("BEGIN")).expect("a query");
    let e = feed.give(23, &row(1)).expect_err("not announced");
    assert!(e.kind == Kind::Corrupt && e.to_string().contains("announce"), "{e}");
    let mut feed = Feed::new(mysql(), 4);
    let e = feed.give(34, &gtid(0)).expect_err("no GTID");
    assert!(e.kind == Kind::Refused && e.to_string().contains("gtid_mode"), "{e}");
    for cut in 0..20 {
        let mut feed = Feed::new(mysql(), 4);
        assert!(feed.give(33, &gtid(1)[..cut]).is_err());
        feed.give(33, &gtid(1)).expect("a GTID");
        assert!(feed.give(2, &query("")[..cut.min(16)]).is_err());
    }
}

#[test]
fn beyond_4_gib_a_file_is_read_from_its_head_and_what_is_done_left_out() {
    const FAR: u64 = (1 << 32) - 200;
    let from = Position { gtids: "@uuid".into(), file: "bin.000003".into(), offset: FAR + 300 };
    let mut feed = Feed::new(assembly("5.6.51", false, &from, true), FAR);
    for id in 1..=6 {
        insert(&mut feed, id).expect("a row");
        feed.give(16, &[0; 8]).expect("XID");
    }
    let events = feed.seen();
    let begins: Vec<_> =
        events.iter().filter_map(|e| if let Event::Begin { tx, .. } = e { Some(tx) } else { None }).collect();
    let size = (feed.end - FAR) / 6;
    let due: Vec<Tx> = (0..6)
        .map(|n| FAR + n * size)
        .filter(|o| *o >= from.offset)
        .map(|offset| Tx::Place { file: 3, offset })
        .collect();
    assert!(!due.is_empty() && due.len() < 6);
    assert_eq!(begins, due.iter().collect::<Vec<_>>());
    let position = feed.assembly.position().expect("between");
    assert_eq!((position.gtids.as_str(), position.offset), ("@uuid", feed.end));
}

#[test]
fn mariadbs_transactions_end_as_their_head_says() {
    let from = Position { gtids: "0-3-11,1-1-4".into(), file: "bin.000002".into(), offset: 4 };
    let mut feed = Feed::new(assembly("10.11.6-MariaDB", false, &from, false), 4);
    let head = |sequence: u64, flags: u8| {
        [&sequence.to_le_bytes()[..], &[0, 0, 0, 0, flags, 0, 0, 0, 0, 0, 0]].concat()
    };
    feed.give(162, &head(12, 1)).expect("a GTID");
    feed.give(2, &query("CREATE TABLE x (a int)")).expect("a query");
    assert!(feed.assembly.position().is_some());
    let begin = feed.end;
    feed.give(162, &head(13, 4)).expect("a GTID");
    feed.give(160, b"insert into t values (1)").expect("an annotation");
    feed.give(19, &map("t")).expect("a map");
    feed.give(23, &row(1)).expect("a row");
    feed.give(2, &query("COMMIT")).expect("a query");
    let events = feed.seen();
    assert_eq!(events[0], Event::Begin { tx: Tx::Place { file: 2, offset: begin }, committed: 5_000_000 });
    assert!(matches!(&events[2], Event::Commit(position) if position.gtids == "0-3-13,1-1-4"), "{events:?}");
}

/// An XA transaction of this name: its rows, and its preparation.
fn prepared(feed: &mut Feed, number: u64, table: &str, xid: &str) -> Result<()> {
    feed.give(33, &gtid(number))?;
    feed.give(2, &query(&format!("XA START {xid}")))?;
    feed.give(19, &map(table))?;
    feed.give(23, &row(1))?;
    feed.give(2, &query(&format!("XA END {xid}")))?;
    feed.give(38, &[0, 1, 0, 0, 0])
}

fn decided(feed: &mut Feed, number: u64, statement: &str) -> Result<()> {
    feed.give(33, &gtid(number))?;
    feed.give(2, &query(statement))
}

#[test]
fn commit_of_an_xa_transaction_that_was_prepared_before_the_stream_began_stops() {
    let (mine, other) = ("X'01',X'',1", "X'02',X'',1");
    let mut feed = Feed::new(mysql(), 4);
    feed.assembly.fear_xa();
    prepared(&mut feed, 1, "u", mine).expect("another table");
    decided(&mut feed, 2, &format!("XA ROLLBACK {other}")).expect("nothing came of it");
    decided(&mut feed, 3, &format!("XA COMMIT {mine}")).expect("its preparation was seen");
    assert!(feed.assembly.position().expect("between").gtids.ends_with(":1-3"));
    // Done before: whoever did it has judged it.
    decided(&mut feed, 3, &format!("XA COMMIT {other}")).expect("behind us");
    for xid in [mine, other] {
        let mut feed = Feed::new(mysql(), 4);
        feed.assembly.fear_xa();
        prepared(&mut feed, 1, "u", "X'03',X'',1").expect("another table");
        let e = decided(&mut feed, 2, &format!("XA COMMIT {xid}")).expect_err("its rows are nowhere");
        assert!(e.kind == Kind::Unfit && e.to_string().contains("XA"), "{e}");
    }
    // None was prepared when the stream began: whatever is committed was seen, or is in the copy.
    let mut feed = Feed::new(mysql(), 4);
    decided(&mut feed, 1, &format!("XA COMMIT {mine}")).expect("in the copy");
    let e = prepared(&mut feed, 2, "t", other).expect_err("rows of ours");
    assert!(e.kind == Kind::Unfit, "{e}");
}

/// A checkpoint of a server that is gone names the same file further on.
#[test]
fn marker_waits_for_its_transactions_whatever_the_place_says() {
    let upto = |gtids: &str, offset| Position { gtids: gtids.into(), file: "bin.000010".into(), offset };
    let uuid = "07070707-0707-0707-0707-070707070707";
    let mut feed = Feed::new(assembly("9.7.0", true, &upto(&format!("{uuid}:1-11"), 5000), false), 4);
    let due = upto(&format!("{uuid}:1-12"), 400);
    assert!(!feed.assembly.mark(&due, 1));
    feed.give(33, &gtid(12)).expect("a GTID");
    insert(&mut feed, 5).expect("a row");
    assert!(!feed.assembly.mark(&due, 1), "within the transaction");
    feed.give(16, &[0; 8]).expect("XID");
    assert!(feed.assembly.mark(&due, 1));
    let events = feed.seen();
    assert!(
        matches!(&events[3..], [Event::Begin { tx: Tx::Mark, .. }, Event::Marker(1), Event::Commit(_)]),
        "{events:?}"
    );
    // MariaDB: what another server wrote says nothing of this one.
    let maria = assembly("10.11.6-MariaDB-log", false, &upto("0-1-1000", 5000), false);
    let mut feed = Feed::new(maria, 4);
    assert!(!feed.assembly.mark(&upto("0-2-50", 400), 1) && feed.assembly.mark(&upto("0-1-1000", 9000), 1));
}

#[test]
fn without_gtids_a_marker_is_a_place_of_the_same_server() {
    let at = |server: &str, offset| Position { gtids: server.into(), file: "bin.000002".into(), offset };
    let mut feed = Feed::new(assembly("9.7.0", false, &at("@a", 500), false), 500);
    assert!(!feed.assembly.mark(&at("@b", 500), 1) && !feed.assembly.mark(&at("@a", 501), 1));
    assert!(feed.assembly.mark(&at("@a", 500), 1));
}

/// After the swap this many of a migration, with an older checkpoint. The binlog ended behind transaction 20.
fn turned(turn: i64) -> Feed {
    let from = Position { gtids: String::new(), file: "bin.000002".into(), offset: 4 };
    let upto = Position { gtids: "07070707-0707-0707-0707-070707070707:1-20".into(), ..from.clone() };
    let behind = Some(Behind::new("shadowswap", 7, turn, upto));
    let server = Server::parse("9.7.0", true, 0).expect("a version");
    let wanted = Wanted { turn, behind, ..wanted() };
    Feed::new(Assembly::new(wanted, &server, &from, false).expect("an assembly"), 4)
}

fn one_row(feed: &mut Feed, number: u64, id: u8) -> Result<()> {
    feed.give(33, &gtid(number))?;
    insert(feed, id)?;
    feed.give(16, &[0; 8])
}

fn swapped(feed: &mut Feed, number: u64, turn: i64) -> Result<()> {
    feed.give(33, &gtid(number))?;
    let comment = swap::comment("shadowswap", 7, turn);
    feed.give(2, &query(&format!("rename table t to _t_old, _t_shadow to t /* shadowswap */ {comment}")))
}

fn keys(events: Vec<Event>) -> Vec<String> {
    let key = |e: Event| match e {
        Event::Change(c) => Some(String::from_utf8(c.key.0).expect("digits")),
        _ => None,
    };
    events.into_iter().filter_map(key).collect()
}

#[test]
fn everything_before_the_swap_is_left_out_and_nothing_after_it() {
    let mut feed = turned(1);
    one_row(&mut feed, 1, 1).expect("of the old table");
    feed.give(33, &gtid(2)).expect("a GTID");
    feed.give(2, &query("alter table t add column x int")).expect("of the old table");
    let before = Position { gtids: "07070707-0707-0707-0707-070707070707:1-2".into(), ..Position::default() };
    assert!(
        feed.assembly.position().is_none() && !feed.assembly.mark(&before, 1),
        "nothing is told before it"
    );
    swapped(&mut feed, 3, 1).expect("the swap");
    assert!(feed.assembly.position().expect("it begins").gtids.ends_with(":1-3"));
    one_row(&mut feed, 4, 2).expect("of the new table");
    assert!(feed.assembly.mark(&before, 2));
    assert_eq!(keys(feed.seen()), ["2"]);
    feed.assembly.has_its_swap().expect("it has come by");
    feed.give(33, &gtid(5)).expect("a GTID");
    let e = feed.give(2, &query("truncate t")).expect_err("the old table keeps its rows");
    assert!(e.kind == Kind::Unfit && e.message.contains("guarded"), "{}", e.message);
}

#[test]
fn a_later_turn_begins_behind_its_own_swap() {
    let mut feed = turned(3);
    for (number, turn) in [(1, 1), (3, 2), (5, 3)] {
        swapped(&mut feed, number, turn).expect("a swap");
        one_row(&mut feed, number + 1, number as u8).expect("a row");
    }
    assert_eq!(keys(feed.seen()), ["5"]);
}

#[test]
fn a_swap_that_is_not_in_the_binlog_is_an_error() {
    let mut feed = turned(2);
    swapped(&mut feed, 1, 1).expect("another swap");
    one_row(&mut feed, 2, 1).expect("a row");
    feed.assembly.has_its_swap().expect("it may still come");
    feed.give(33, &gtid(3)).expect("a GTID");
    feed.assembly.has_its_swap().expect("a transaction is open");
    feed.give(2, &query("rename table a to t")).expect("not ours");
    for number in 4..=20 {
        feed.give(33, &gtid(number)).expect("a GTID");
        feed.give(2, &query("drop table if exists x")).expect("not ours");
    }
    let e = feed.assembly.has_its_swap().expect_err("the binlog had ended here");
    assert!(e.kind == Kind::Corrupt && feed.seen().is_empty(), "{e}");
}

#[test]
fn triggers_on_the_guarded_table_do_not_end_the_guard() {
    let create = "create trigger tr before insert on t for each row set @a = 1";
    let mut feed = turned(1);
    swapped(&mut feed, 1, 1).expect("the swap");
    feed.give(33, &gtid(2)).expect("a GTID");
    feed.give(2, &query(create)).expect("in the way of going back alone");
    let mut feed = Feed::new(mysql(), 4);
    feed.give(33, &gtid(1)).expect("a GTID");
    assert_eq!(feed.give(2, &query(create)).expect_err("the swap would lose it").kind, Kind::Unfit);
}
