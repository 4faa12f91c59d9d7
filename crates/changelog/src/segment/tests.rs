use super::*;

const BUFFER: usize = 16;

fn records() -> Vec<Vec<u8>> {
    vec![b"one".to_vec(), Vec::new(), vec![7; 40], Vec::new(), b"the last one".to_vec()]
}

fn small_segment(path: &Path) -> Vec<u8> {
    let mut writer = SegmentWriter::create(path, 3, BUFFER).unwrap();
    for record in records() {
        writer.append(&record).unwrap();
    }
    writer.flush().unwrap();
    fs::read(path).unwrap()
}

/// What can be read, and the error that ended it. Asserts that an error is `Corrupt` and stays.
fn read_all(path: &Path) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut found = Vec::new();
    let mut reader = match SegmentReader::open(path, 3, None, BUFFER) {
        Ok(reader) => reader,
        Err(e) => return (found, Some(e)),
    };
    loop {
        match reader.next() {
            Ok(Some(record)) => found.push(record),
            Ok(None) => return (found, None),
            Err(e) => {
                assert_eq!(reader.next().unwrap_err().to_string(), e.to_string());
                return (found, Some(e));
            }
        }
    }
}

fn assert_prefix(found: &[Vec<u8>], case: &str) {
    assert!(records().starts_with(found), "{case}: {found:?}");
}

#[test]
fn layout_is_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let bytes = small_segment(&path);
    assert_eq!(&bytes[..16], b"SHSWAPLG\x01\0\0\0\x03\0\0\0");
    assert_eq!(&bytes[16..20], &3_u32.to_le_bytes());
    assert_eq!(&bytes[20..24], &crc32c::crc32c(b"\x03\0\0\0one").to_le_bytes());
    assert_eq!(&bytes[24..27], b"one");
    assert_eq!(bytes.len() as u64, 16 + records().iter().map(|r| encoded_bytes(r)).sum::<u64>());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (found, failure) = read_all(&path);
    assert_eq!(found, records());
    assert!(failure.is_none());
}

#[test]
fn every_flipped_byte_and_bit_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let bytes = small_segment(&path);
    for at in 0..bytes.len() {
        for mask in (0..8).map(|bit| 1 << bit).chain([0xff]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= mask;
            fs::write(&path, &damaged).unwrap();
            let (found, failure) = read_all(&path);
            let case = format!("byte {at} xor {mask:#x}");
            assert_prefix(&found, &case);
            assert!(matches!(failure, Some(Error::Corrupt { .. })), "{case}: {failure:?}");
        }
    }
}

#[test]
fn every_truncation_gives_exact_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let bytes = small_segment(&path);
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let (found, failure) = read_all(&path);
        let case = format!("{length} bytes");
        assert_prefix(&found, &case);
        let whole = 16 + found.iter().map(|r| encoded_bytes(r)).sum::<u64>();
        match failure {
            None => assert_eq!(whole, length as u64, "{case}"),
            Some(Error::Corrupt { .. }) => assert_ne!(whole, length as u64, "{case}"),
            Some(e) => panic!("{case}: {e}"),
        }
        let known = SegmentReader::open(&path, 3, Some(bytes.len() as u64), BUFFER);
        assert!(matches!(known, Err(Error::Corrupt { .. })), "{case}: the log knows how long it is");
    }
}

#[test]
fn zeros_at_the_end_are_no_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut bytes = small_segment(&path);
    bytes.extend([0; 64]);
    fs::write(&path, &bytes).unwrap();
    let (found, failure) = read_all(&path);
    assert_eq!(found, records());
    assert!(matches!(failure, Some(Error::Corrupt { offset, .. }) if offset == bytes.len() as u64 - 64));
}

#[test]
fn length_beyond_file_or_maximum_is_not_allocated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    for length in [1, RECORD_BYTES_MAX as u32, RECORD_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut bytes = file_header(3).to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend([0; 4]);
        fs::write(&path, &bytes).unwrap();
        let (found, failure) = read_all(&path);
        assert!(found.is_empty());
        assert!(matches!(failure, Some(Error::Corrupt { offset: 16, .. })), "{length}: {failure:?}");
    }
    // Sparse, so that even the file says that the bytes are there.
    let length = RECORD_BYTES_MAX as u32 + 1;
    let mut bytes = file_header(3).to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend([0; 4]);
    fs::write(&path, &bytes).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(4 << 30).unwrap();
    assert!(matches!(read_all(&path), (found, Some(Error::Corrupt { offset: 16, .. })) if found.is_empty()));
}

#[test]
fn foreign_version_number_and_magic_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let bytes = small_segment(&path);
    for (at, word) in [(0, "not a change log file"), (8, "version 0, not 1"), (12, "file number 2, not 3")] {
        let mut foreign = bytes.clone();
        foreign[at] ^= 1;
        fs::write(&path, &foreign).unwrap();
        let message = read_all(&path).1.unwrap().to_string();
        assert!(message.contains(word) && message.contains("byte"), "{message}");
    }
}

#[test]
fn full_disk_says_where_and_how_much() {
    let path = Path::new("/dev/full");
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let mut writer = SegmentWriter { file: BufWriter::with_capacity(0, file), path: path.to_owned() };
    let failure = writer.append(&[0; 1000]).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "no space left for the change log: could not write 1008 bytes to /dev/full"
    );
    assert!(matches!(failure, Error::Full { bytes: 1008, .. }));
}

#[test]
fn record_beyond_maximum_is_refused() {
    // Zeroed and never touched, so this takes no memory.
    let record = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(checked_length(&record), Err(Error::TooLarge { .. })));
    assert!(checked_length(&record[1..]).is_ok());
}
