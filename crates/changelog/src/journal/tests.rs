use super::*;

const SEGMENT: u64 = 200;

fn record(i: u32) -> Vec<u8> {
    let mut record = i.to_le_bytes().to_vec();
    record.resize(10 + (i as usize * 7) % 60, i as u8);
    record
}

fn number_of(record: &[u8]) -> u32 {
    u32::from_le_bytes(record[..4].try_into().unwrap())
}

fn open_new(folder: &Path) -> Journal {
    Found::open(folder, b"me").unwrap().go_on(None, 0, SEGMENT).unwrap()
}

/// Every record that can be trusted, and what is wrong behind them.
fn read(folder: &Path, identity: &[u8]) -> (Vec<(u32, Place)>, Option<Error>) {
    let mut found = Found::open(folder, identity).unwrap();
    let mut records = Vec::new();
    while let Some((bytes, place)) = found.next().unwrap() {
        assert_eq!(bytes, record(number_of(&bytes)));
        records.push((number_of(&bytes), place));
    }
    assert!(found.next().unwrap().is_none(), "an end is an end");
    (records, found.why_it_ends().cloned())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    numbers(folder).unwrap().into_iter().map(|n| path(folder, n)).collect()
}

fn write(folder: &Path, many: u32) {
    let mut journal = open_new(folder);
    for i in 0..many {
        journal.append(&record(i), true).unwrap();
    }
    let synced = journal.sync().unwrap().unwrap().run().unwrap();
    journal.synced(&synced);
    assert_eq!(synced.ends, u64::from(many));
    assert!(journal.sync().unwrap().is_none(), "nothing new");
}

#[test]
fn what_was_appended_is_found_and_goes_on_there() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("a/journal");
    write(folder, 30);
    assert!(files(folder).len() > 5);
    let (records, why) = read(folder, b"me");
    assert_eq!(records.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
    assert!(why.is_none());

    // From the tenth to the twentieth: the rest is removed, and the files before the tenth are too.
    let (from, end) = (records[9].1, records[19].1);
    let mut journal = Found::open(folder, b"me").unwrap().go_on(Some((from, end)), 10, SEGMENT).unwrap();
    assert_eq!(journal.ends(), 10);
    for i in 20..40 {
        journal.append(&record(i), true).unwrap();
    }
    let mut replay = Replay::new(folder, b"me", from, end);
    let mut again = Vec::new();
    while let Some(record) = replay.next().unwrap() {
        again.push(number_of(&record));
    }
    assert_eq!(again, (10..20).collect::<Vec<_>>());
    drop(journal);
    let (records, why) = read(folder, b"me");
    let numbers: Vec<u32> = records.iter().map(|(n, _)| *n).collect();
    let first = numbers[0];
    assert!(first > 0 && first <= 10, "{first}");
    assert_eq!(numbers, (first..40).collect::<Vec<_>>());
    assert!(why.is_none(), "{why:?}");
}

/// Each byte of every file is flipped, and each file is cut at each length, the others left whole: a prefix is found, never a gap.
#[test]
fn damage_anywhere_gives_a_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("journal");
    write(folder, 12);
    let files = files(folder);
    assert!(files.len() >= 3);
    let check = |case: &str, is_damaged: bool| {
        let (records, why) = read(folder, b"me");
        let numbers: Vec<u32> = records.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>(), "{case}");
        assert!(numbers.len() < 12 || !is_damaged, "{case}: the damage went unseen");
        // Only where the very end is missing between two records is there nothing to be seen.
        (numbers.len(), why)
    };
    check("whole", false);
    for file in &files {
        let whole = fs::read(file).unwrap();
        for at in 0..whole.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= mask;
                fs::write(file, &damaged).unwrap();
                let (_, why) = check(&format!("{} byte {at} xor {mask:#x}", file.display()), true);
                assert!(matches!(why, Some(Error::Corrupt { .. })), "{why:?}");
            }
        }
        for length in 0..whole.len() {
            fs::write(file, &whole[..length]).unwrap();
            let (_, why) = check(&format!("{} cut to {length}", file.display()), true);
            assert!(why.is_some() || Some(file) == files.last(), "a hole is seen");
        }
        fs::remove_file(file).unwrap();
        if Some(file) != files.first() {
            check(&format!("without {}", file.display()), true);
        }
        fs::write(file, &whole).unwrap();
    }
    check("whole again", false);
}

#[test]
fn other_identity_or_version_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("journal");
    write(folder, 3);
    let (records, why) = read(folder, b"you");
    assert!(records.is_empty() && why.unwrap().to_string().contains("another journal"));
    let first = &files(folder)[0];
    let mut bytes = fs::read(first).unwrap();
    bytes[8] += 1;
    fs::write(first, bytes).unwrap();
    let (records, why) = read(folder, b"me");
    assert!(records.is_empty() && why.unwrap().to_string().contains("version 2, not 1"));
}

#[test]
fn only_one_may_hold_it() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("journal");
    let journal = open_new(folder);
    assert!(matches!(Found::open(folder, b"me"), Err(Error::Busy { .. })));
    drop(journal);
    Found::open(folder, b"me").unwrap();
}

#[test]
fn space_comes_back_behind_the_last_end_that_is_passed() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("journal");
    let mut journal = open_new(folder);
    let mut next = 0;
    while journal.bytes() < 1000 {
        journal.append(&record(next), true).unwrap();
        next += 1;
    }
    for passed in 0..u64::from(next) {
        journal.forget(passed).unwrap();
        drop(journal.sync().unwrap());
        let (records, why) = {
            // The lock is held: read around it.
            let copy = tempfile::tempdir().unwrap();
            for file in files(folder) {
                fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
            }
            read(copy.path(), b"me")
        };
        assert!(why.is_none());
        let first = u64::from(records[0].0);
        assert!(passed == 0 || first < passed, "the end that was passed last stays: {first} of {passed}");
    }
    assert!(journal.bytes() < 500);
    let bytes: u64 = files(folder).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    assert_eq!(bytes, journal.bytes());
}

/// Replayed records must be forgotten once they are passed, although nothing new fits in before.
#[test]
fn full_journal_that_is_gone_on_with_gets_room() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("journal");
    write(folder, 30);
    let (records, _) = read(folder, b"me");
    let (from, end) = (records[3].1, records[29].1);
    let mut journal = Found::open(folder, b"me").unwrap().go_on(Some((from, end)), 26, SEGMENT).unwrap();
    let all = journal.bytes();
    journal.forget(25).unwrap();
    assert_eq!(journal.bytes(), all);
    journal.forget(26).unwrap();
    assert!(journal.bytes() <= SEGMENT && files(folder).len() == 1);
    drop(journal);
    write(&directory.path().join("other"), 30);
    let folder = &directory.path().join("other");
    let end = read(folder, b"me").0[29].1;
    let journal = Found::open(folder, b"me").unwrap().go_on(Some((end, end)), 0, SEGMENT).unwrap();
    assert!(journal.bytes() <= SEGMENT, "nothing before the end is needed");
}

#[test]
fn failed_sync_leaves_only_what_was_synced() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("journal");
    let mut journal = open_new(folder);
    for i in 0..5 {
        journal.append(&record(i), true).unwrap();
    }
    let synced = journal.sync().unwrap().unwrap().run().unwrap();
    journal.synced(&synced);
    for i in 5..20 {
        journal.append(&record(i), true).unwrap();
    }
    drop(journal.sync().unwrap());
    journal.distrust();
    let (records, _) = read(folder, b"me");
    assert_eq!(records.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..5).collect::<Vec<_>>());
}

#[test]
fn large_records_pass_the_buffer() {
    let directory = tempfile::tempdir().unwrap();
    let folder = &directory.path().join("journal");
    let mut journal = open_new(folder);
    let sizes = [10, 3 * BUFFER_BYTES, BUFFER_BYTES - 8, BUFFER_BYTES, 1];
    for (i, size) in sizes.into_iter().enumerate() {
        journal.append(&vec![i as u8; size], true).unwrap();
        assert!(journal.buffer.capacity() <= 2 * BUFFER_BYTES);
    }
    drop(journal);
    let mut found = Found::open(folder, b"me").unwrap();
    for (i, size) in sizes.into_iter().enumerate() {
        assert_eq!(found.next().unwrap().unwrap().0, vec![i as u8; size]);
    }
    assert!(found.next().unwrap().is_none() && found.why_it_ends().is_none());
}
