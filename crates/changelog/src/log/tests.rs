use std::future::{Future, ready};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::*;
use crate::FOLDER;

mod random;

const DEADLINE: Duration = Duration::from_secs(30);

const SMALL: Limits = Limits { memory_bytes: 4000, disk_bytes: 1 << 20, segment_bytes: 1000 };

fn open_in(directory: &TempDir, limits: Limits) -> (Writer, Reader) {
    open(directory.path().to_owned(), limits).unwrap()
}

/// A record that says which one it is, as far as its size allows.
fn record(i: usize, size: usize) -> Vec<u8> {
    let mut record = i.to_le_bytes().to_vec();
    record.resize(size, i as u8);
    record
}

/// Polls once and drops the future if it is not ready.
async fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = ready(()) => None,
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("this does not wait for ever")
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory.path().join(FOLDER))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    found.sort();
    found
}

fn file_bytes(directory: &TempDir) -> u64 {
    // One may go away between the listing and the look.
    segments(directory).iter().filter_map(|path| fs::metadata(path).ok()).map(|m| m.len()).sum()
}

/// Appends until nothing more is taken at once and nothing moves; gives how many were taken.
async fn fill(writer: &mut Writer, size: usize) -> usize {
    let mut count = 0;
    while let Ok(done) = timeout(Duration::from_millis(200), writer.append(record(count, size))).await {
        done.unwrap();
        count += 1;
    }
    count
}

#[tokio::test]
async fn nothing_touches_disk_while_memory_suffices() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, Limits::default());
    for i in 0..10_000 {
        writer.append(record(i, 100)).await.unwrap();
    }
    assert_eq!(writer.stats().records, 10_000);
    for i in 0..10_000 {
        assert_eq!(reader.try_next().unwrap().unwrap(), record(i, 100));
    }
    assert_eq!(reader.stats().disk_written_bytes_total, 0);
    assert!(segments(&directory).is_empty());
}

#[tokio::test]
async fn memory_stays_below_limit_and_rest_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, SMALL);
    for i in 0..2000 {
        in_time(writer.append(record(i, 100))).await.unwrap();
        assert!(writer.stats().memory_bytes <= 4000);
    }
    assert!(writer.stats().disk_bytes > 150_000);
    assert!(segments(&directory).len() > 100);
    for i in 0..2000 {
        assert_eq!(in_time(reader.next()).await.unwrap().unwrap(), record(i, 100));
        assert!(reader.stats().memory_bytes <= 4000);
    }
    until("all segments go once read", || segments(&directory).is_empty()).await;
}

#[tokio::test]
async fn full_disk_limit_blocks_writer_until_reader_frees_space() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { disk_bytes: 20_000, ..SMALL };
    let (mut writer, mut reader) = open_in(&directory, limits);
    assert!(writer.has_room());
    let count = fill(&mut writer, 100).await;
    assert!(!writer.has_room());
    assert!(file_bytes(&directory) <= 20_000);
    assert!(writer.stats().disk_bytes > 15_000, "{:?}", writer.stats());
    // The append that was dropped while it waited has left nothing.
    assert_eq!(writer.stats().records, count as u64);

    let mut waiting = Box::pin(writer.append(record(count, 100)));
    assert!(once(&mut waiting).await.is_none());
    let mut taken = 0;
    while once(&mut waiting).await.is_none() {
        assert_eq!(in_time(reader.next()).await.unwrap().unwrap(), record(taken, 100));
        taken += 1;
        assert!(taken <= count, "an empty log has room");
    }
    drop(waiting);
    assert!(taken < count, "space comes back before all is read");
    for i in taken..=count {
        assert_eq!(in_time(reader.next()).await.unwrap().unwrap(), record(i, 100));
    }
    until("an empty log has room", || writer.has_room()).await;
    drop(writer);
    assert!(in_time(reader.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn without_disk_the_log_is_a_queue_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, Limits { disk_bytes: 0, ..SMALL });
    let count = fill(&mut writer, 100).await;
    assert!(count > 10);
    for i in count..1000 {
        assert_eq!(reader.try_next().unwrap().unwrap(), record(i - count, 100));
        in_time(writer.append(record(i, 100))).await.unwrap();
    }
    assert!(matches!(writer.append(vec![0; 4000]).await, Err(Error::TooLarge { bytes: 4000, .. })));
    assert_eq!(writer.stats().records, count as u64, "a refused record leaves nothing");
    assert_eq!(writer.stats().disk_written_bytes_total, 0);
}

#[tokio::test]
async fn records_larger_than_all_memory_pass_through_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, SMALL);
    for i in 0..20 {
        in_time(writer.append(record(i, if i % 3 == 0 { 30_000 } else { 10 }))).await.unwrap();
        assert!(writer.stats().memory_bytes <= 4000 + 30_000 + 64);
    }
    for i in 0..20 {
        let found = in_time(reader.next()).await.unwrap().unwrap();
        assert_eq!(found, record(i, if i % 3 == 0 { 30_000 } else { 10 }));
    }
}

#[tokio::test]
async fn try_next_alone_gets_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, SMALL);
    for i in 0..500 {
        in_time(writer.append(record(i, i + 8))).await.unwrap();
    }
    let mut taken = 0;
    until("all records come", || {
        while let Some(found) = reader.try_next().unwrap() {
            assert_eq!(found, record(taken, taken + 8));
            taken += 1;
        }
        taken == 500
    })
    .await;
}

#[tokio::test]
async fn changed_segment_ends_both_ends_after_exact_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, SMALL);
    for i in 0..1000 {
        in_time(writer.append(record(i, 100))).await.unwrap();
    }
    // Far behind what is read ahead, and not the one being written.
    let victim = segments(&directory)[50].clone();
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&victim, bytes).unwrap();
    let mut taken = 0;
    let failure = loop {
        match in_time(reader.next()).await {
            Ok(found) => assert_eq!(found.unwrap(), record(taken, 100)),
            Err(e) => break e,
        }
        taken += 1;
    };
    assert!(taken > 400 && taken < 900, "{taken}");
    assert!(matches!(&failure, Error::Corrupt { file, .. } if *file == victim), "{failure}");
    assert!(matches!(in_time(reader.next()).await, Err(Error::Corrupt { .. })));
    assert!(matches!(reader.try_next(), Err(Error::Corrupt { .. })));
    assert!(matches!(in_time(writer.append(vec![])).await, Err(Error::Corrupt { .. })));
    drop(writer);
    assert!(matches!(in_time(reader.next()).await, Err(Error::Corrupt { .. })), "never a regular end");
}

#[tokio::test]
async fn failed_write_gives_exact_prefix_then_error() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, SMALL);
    let mut given = 0;
    for _ in 0..200 {
        in_time(writer.append(record(given, 100))).await.unwrap();
        given += 1;
    }
    // The next segment cannot be made; those that are there can still be read.
    let number: u32 =
        segments(&directory).last().unwrap().file_stem().unwrap().to_str().unwrap().parse().unwrap();
    for ahead in 1..20 {
        let path = directory.path().join(FOLDER).join(format!("{:010}.segment", number + ahead));
        let _ = fs::create_dir(path);
    }
    let failure = loop {
        match in_time(writer.append(record(given, 100))).await {
            Ok(()) => given += 1,
            Err(e) => break e,
        }
    };
    assert!(failure.to_string().contains(".segment"), "{failure}");
    let mut taken = 0;
    while let Ok(found) = in_time(reader.next()).await {
        assert_eq!(found.unwrap(), record(taken, 100));
        taken += 1;
    }
    assert!((150..=given).contains(&taken), "{taken} of {given}");
    assert!(reader.try_next().is_err());
}

#[tokio::test]
async fn append_after_reader_is_dropped_is_refused_also_while_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open_in(&directory, Limits { disk_bytes: 0, ..SMALL });
    fill(&mut writer, 100).await;
    let waiting = writer.append(record(0, 100));
    let (done, ()) = tokio::join!(in_time(waiting), async { drop(reader) });
    assert!(matches!(done, Err(Error::Closed)));
    assert!(matches!(writer.append(vec![]).await, Err(Error::Closed)));
    assert!(writer.has_room(), "it would not wait");
}

#[tokio::test]
async fn waiting_writer_is_told_of_room_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, Limits { disk_bytes: 0, ..SMALL });
    let count = fill(&mut writer, 100).await;
    let take = async {
        yield_now().await;
        reader.next().await.unwrap().unwrap()
    };
    let (done, first) = tokio::join!(in_time(writer.append(record(count, 100))), take);
    done.unwrap();
    assert_eq!(first, record(0, 100));
}

#[tokio::test]
async fn waiting_reader_is_told_of_record_and_of_end() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, mut reader) = open_in(&directory, SMALL);
    let mut next = Box::pin(reader.next());
    assert!(once(&mut next).await.is_none());
    writer.append(b"record".to_vec()).await.unwrap();
    assert_eq!(in_time(next).await.unwrap().unwrap(), b"record");
    let mut next = Box::pin(reader.next());
    assert!(once(&mut next).await.is_none());
    drop(writer);
    assert!(in_time(next).await.unwrap().is_none());
}

#[tokio::test]
async fn folder_is_private_cleared_and_locked() {
    let directory = tempfile::tempdir().unwrap();
    let nested = directory.path().join("a/b");
    let folder = nested.join(FOLDER);
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    for stale in ["0000000000.segment", "7.1.0.spool", "notes"] {
        fs::write(folder.join(stale), "x").unwrap();
    }
    let (mut writer, reader) = open(nested.clone(), SMALL).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert!(!folder.join("0000000000.segment").exists());
    assert!(!folder.join("7.1.0.spool").exists());
    assert!(folder.join("notes").exists(), "what is not ours stays");
    for i in 0..200 {
        in_time(writer.append(record(i, 100))).await.unwrap();
    }
    assert_eq!(mode(&folder.join("0000000000.segment")), 0o600);

    assert!(matches!(open(nested.clone(), SMALL), Err(Error::Busy { .. })));
    drop((writer, reader));
    // The first log is still removing its files, and must not remove those of the second.
    let (mut writer, mut reader) = open(nested, SMALL).unwrap();
    for i in 0..200 {
        in_time(writer.append(record(i, 100))).await.unwrap();
    }
    for i in 0..200 {
        assert_eq!(in_time(reader.next()).await.unwrap().unwrap(), record(i, 100));
    }
    drop((writer, reader));
    until("the files go", || fs::read_dir(&folder).unwrap().count() == 2).await;
}

/// Not a benchmark: a hundredth of what the log does, so that only a lost wake-up or a wait for each record fails it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gigabytes_would_not_take_minutes() {
    const RECORDS: usize = 200_000;
    for memory_bytes in [1 << 20, 64 << 20] {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { memory_bytes, disk_bytes: 32 << 20, segment_bytes: 4 << 20 };
        let (mut writer, mut reader) = open_in(&directory, limits);
        let start = Instant::now();
        let producer = tokio::spawn(async move {
            for i in 0..RECORDS {
                writer.append(record(i, 250)).await.unwrap();
            }
            writer.stats().disk_written_bytes_total
        });
        for i in 0..RECORDS {
            if i == 0 {
                // Let it spill first.
                sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(reader.next().await.unwrap().unwrap(), record(i, 250));
        }
        let written = producer.await.unwrap();
        let elapsed = start.elapsed();
        println!("{RECORDS} records of 250 bytes, memory {memory_bytes}, on disk {written}: {elapsed:?}");
        assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    }
}
