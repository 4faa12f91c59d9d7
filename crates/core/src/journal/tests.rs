use super::*;
use crate::feed::Part;
use shadowswap_changelog::Journal;
use std::fs;

const SEGMENT: u64 = 150;

fn part(n: u64, end: bool) -> Record<u32> {
    let end = end.then(|| format!("p{n}"));
    Record::Part(Part { tx: n as u32, committed: 0, changes: Vec::new(), markers: vec![n], end })
}

fn journal(folder: &Path, base: &str, records: &[Record<u32>]) -> Journal {
    let mut journal = Found::open(folder, b"me").unwrap().go_on(None, 0, SEGMENT).unwrap();
    let base = Record::<u32>::Progress { position: base.to_string() };
    journal.append(&base.encode().unwrap(), false).unwrap();
    for record in records {
        journal.append(&record.encode().unwrap(), record.end().is_some()).unwrap();
    }
    journal
}

/// Transactions of two parts: 1 ends at p1, and so on. The last one is not over.
fn records(many: u64) -> Vec<Record<u32>> {
    let whole = (1..=many).flat_map(|n| [part(n, false), part(n, true)]);
    whole.chain([part(many + 1, false)]).collect()
}

/// The transactions that would be given to the applier, and where the stream would go on.
fn kept(folder: &Path, applied: &str) -> Option<(Vec<u64>, String)> {
    let (_, scan) = scan::<u32>(folder, b"me", applied).unwrap();
    let kept = scan.kept?;
    let mut replay = Replay::new(folder, b"me", kept.from, kept.end);
    let (mut seen, mut ends) = (Vec::new(), 0);
    while let Some(record) = replay.next().unwrap() {
        let record = Record::<u32>::decode(&record).unwrap();
        ends += u64::from(record.end().is_some());
        if let Record::Part(Part { markers, .. }) = record {
            seen.extend(markers);
        }
    }
    assert_eq!(ends, kept.ends);
    Some((seen, kept.position))
}

#[test]
fn note_survives_its_text() {
    let noted =
        Noted { token: "ab01".into(), host: "db 1".into(), folder: "/var/lib/a in b/shadowswap".into() };
    assert_eq!(noted.to_string().parse(), Ok(noted));
    for text in ["", "durable", "durable x", "durable x on y", "temporary x on y in z"] {
        assert!(text.parse::<Noted>().is_err(), "{text}");
    }
}

#[test]
fn what_counts_begins_behind_what_is_applied_and_ends_with_a_whole_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("j");
    drop(journal(&folder, "p0", &records(20)));
    for applied in 0..=20_u64 {
        let (seen, position) = kept(&folder, &format!("p{applied}")).unwrap();
        let due: Vec<u64> = (applied + 1..=20).flat_map(|n| [n, n]).collect();
        assert_eq!((seen, position.as_str()), (due, "p20"), "the half of the last is not given");
    }
    assert_eq!(kept(&folder, "p21"), None, "applied before it was on disk: the stream has it");
    assert_eq!(kept(&folder, ""), None);
    drop(journal(&folder, "", &records(2)));
    assert_eq!(kept(&folder, ""), Some((vec![1, 1, 2, 2], "p2".to_string())), "nothing was applied yet");
}

/// Whatever becomes of the files: what is given is exactly what follows the position applied, up to where the stream would go on.
#[test]
fn damage_never_makes_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("j");
    drop(journal(&folder, "p0", &records(12)));
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "journal"));
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    let check = |case: &str| {
        for applied in [0, 5, 12_u64] {
            let Some((seen, position)) = kept(&folder, &format!("p{applied}")) else { continue };
            let last: u64 = position.strip_prefix('p').unwrap().parse().unwrap();
            let due: Vec<u64> = (applied + 1..=last).flat_map(|n| [n, n]).collect();
            assert_eq!(seen, due, "{case}, applied {applied}");
        }
    };
    for file in &files {
        let whole = fs::read(file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(file, damaged).unwrap();
            check(&format!("{} byte {at}", file.display()));
            fs::write(file, &whole[..at]).unwrap();
            check(&format!("{} cut to {at}", file.display()));
        }
        fs::remove_file(file).unwrap();
        check(&format!("without {}", file.display()));
        fs::write(file, &whole).unwrap();
    }
}

/// Files that are whole, with records that another version wrote.
#[test]
fn records_of_another_version_are_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("j");
    let mut journal = journal(&folder, "p0", &records(3)[..6]);
    journal.append(b"\xffof another version", false).unwrap();
    journal.append(&part(4, true).encode().unwrap(), true).unwrap();
    drop(journal);
    let (_, scan) = scan::<u32>(&folder, b"me", "p1").unwrap();
    assert_eq!(scan.kept.unwrap().position, "p3");
    assert!(scan.why.unwrap().contains("cannot be decoded"));
}

#[test]
fn only_journals_that_nobody_knows_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let identity = |server: &str| Identity {
        format: FORMAT,
        token: "ab".into(),
        migration: 7,
        table: "s.t".into(),
        server: server.into(),
    };
    let at = |name: &str| directory.path().join(name);
    let make = |name: &str, server: &str| {
        let of = serde_json::to_vec(&identity(server)).unwrap();
        let mut journal = Found::open(&at(name), &of).unwrap().go_on(None, 0, SEGMENT).unwrap();
        journal.append(b"x", true).unwrap();
        drop(journal.sync().unwrap());
        journal
    };
    let names = ["7-noted", "7-orphan", "7-elsewhere", "71-other"].map(|n| format!("shadowswap-journal-{n}"));
    for (name, server) in names.iter().zip(["here", "here", "there", "here"]) {
        drop(make(name, server));
    }
    let held = make("shadowswap-journal-7-held", "here");
    drop(Found::open(&at("shadowswap-journal-7-blank"), b"").unwrap());
    let noted = Noted { token: "noted".into(), host: "h".into(), folder: at(&names[0]) };
    forget_orphans(&noted, &identity("here"));
    let left = ["7-noted", "7-orphan", "7-elsewhere", "71-other", "7-held", "7-blank"]
        .map(|n| at(&format!("shadowswap-journal-{n}")).is_dir());
    assert_eq!(left, [true, false, true, true, true, false]);
    drop(held);
}

#[test]
fn log_of_another_server_or_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("j");
    let identity = |format, server: &str| {
        let (token, table, server) = ("ab".to_string(), "s.t".to_string(), server.to_string());
        serde_json::to_vec(&Identity { format, token, migration: 7, table, server }).unwrap()
    };
    let ours = identity(FORMAT, "here");
    let mut journal = Found::open(&folder, &ours).unwrap().go_on(None, 0, SEGMENT).unwrap();
    journal.append(&part(1, true).encode().unwrap(), true).unwrap();
    drop(journal);
    let file = folder.join("0000000000.journal");
    let before = fs::read(&file).unwrap();
    for (other, word) in
        [(identity(FORMAT, "there"), "another server"), (identity(0, "here"), "another version")]
    {
        let e = scan::<u32>(&folder, &other, "p1").err().unwrap();
        assert!(e.kind == Kind::Refused && e.message.contains(word), "{e}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(scan::<u32>(&folder, &ours, "p1").unwrap().1.kept.is_some());
}

proptest::proptest! {
    /// Bytes that nobody vouches for: no panic, and nothing that was not written comes back.
    #[test]
    fn records_of_arbitrary_bytes_are_refused_or_read(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        if let Ok(record) = Record::<u32>::decode(&bytes) {
            proptest::prop_assert_eq!(Record::<u32>::decode(&record.encode().unwrap()).unwrap(), record);
        }
    }
}
