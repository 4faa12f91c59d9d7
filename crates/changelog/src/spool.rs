//! Records set aside: those of one transaction that is streamed before it is known whether it commits.
//!
//! Owns: one buffer and, beyond that, one file. Does not know: transactions, threads, the log.
//!
//! Invariant: the file holds the oldest records, the buffer the rest, and the file is removed when its owner is dropped.
//!
//! These calls block. Appending is a copy into the buffer, and a write to the page cache when that is full; where this
//! is too long for an async thread (a slow disk, a large `memory_bytes`), call from a blocking one.

use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::segment::{
    FILE_HEADER_BYTES, RecordReader, SegmentReader, create_file, create_folder, file_header, record_header,
    remove_file,
};

/// Makes file names unique, so that two spools of one name never touch each other's file.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// More than this in the buffer for reading gains nothing measurable.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;

/// Records in order, first in memory, then in a file as well.
pub struct Spool {
    directory: PathBuf,
    name: String,
    memory_bytes: usize,
    buffer: Vec<u8>,
    spilled: Option<Spilled>,
    records: u64,
    buffer_records: u64,
    failure: Option<Error>,
}

struct Spilled {
    file: File,
    path: OwnedPath,
    bytes: u64,
}

struct OwnedPath(PathBuf);

impl Drop for OwnedPath {
    fn drop(&mut self) {
        if let Err(e) = remove_file(&self.0) {
            tracing::warn!(error = &e as &dyn std::error::Error, "spool file is left behind");
        }
    }
}

impl Spool {
    /// An empty spool that keeps up to `memory_bytes` in memory. The file comes with the first byte beyond that, in the
    /// same folder below `directory` as the log's, where [`open`](crate::open) removes what an earlier process left.
    ///
    /// `name` only helps a person who looks at the folder; it need not be unique.
    ///
    /// # Errors
    /// `Io` if the folder cannot be made.
    pub fn create(directory: &Path, name: &str, memory_bytes: usize) -> Result<Self, Error> {
        create_folder(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            // Only what cannot lead out of the folder, and no more than a file name may have.
            name: name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect(),
            memory_bytes,
            buffer: Vec::new(),
            spilled: None,
            records: 0,
            buffer_records: 0,
            failure: None,
        })
    }

    /// Adds a record at the end.
    ///
    /// # Errors
    /// `TooLarge` for this record alone; `Full` or `Io` for good.
    pub fn append(&mut self, record: &[u8]) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let header = record_header(record)?;
        // A failed write may have left half a record, so nothing may follow it.
        self.put(&header, record).inspect_err(|e| self.failure = Some(e.clone()))?;
        self.records += 1;
        Ok(())
    }

    fn put(&mut self, header: &[u8], record: &[u8]) -> Result<(), Error> {
        let length = header.len() + record.len();
        if self.buffer.len() + length > self.memory_bytes {
            self.spill()?;
        }
        if length > self.memory_bytes {
            let spilled = self.spilled.as_mut().expect("spill has made the file");
            spilled.write(header)?;
            return spilled.write(record);
        }
        let needed = self.buffer.len() + length;
        if needed > self.buffer.capacity() {
            // Doubling, but never beyond the limit, as `Vec` alone would.
            let capacity = (2 * self.buffer.capacity()).min(self.memory_bytes).max(needed);
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        self.buffer.extend_from_slice(header);
        self.buffer.extend_from_slice(record);
        self.buffer_records += 1;
        Ok(())
    }

    /// Writes the buffer to the file, which is made if there is none.
    fn spill(&mut self) -> Result<(), Error> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            None => {
                let folder = create_folder(&self.directory)?;
                let number = CREATED.fetch_add(1, Ordering::Relaxed);
                let path = folder.join(format!("{}.{}.{number}.spool", self.name, std::process::id()));
                let file = create_file(&path)?;
                let spilled = self.spilled.insert(Spilled { file, path: OwnedPath(path), bytes: 0 });
                spilled.write(&file_header(0))?;
                spilled
            }
        };
        spilled.write(&self.buffer)?;
        self.buffer.clear();
        self.buffer_records = 0;
        Ok(())
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// What the records take in memory and on disk together.
    pub fn bytes(&self) -> u64 {
        let file = self.spilled.as_ref().map_or(0, |spilled| spilled.bytes);
        file.saturating_sub(FILE_HEADER_BYTES as u64) + self.buffer.len() as u64
    }

    /// Ends writing and reads from the first record.
    ///
    /// # Errors
    /// The failure of an earlier `append`; `Corrupt` if the file is not what was written.
    pub fn into_reader(self) -> Result<SpoolReader, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let bytes = self.buffer.len() as u64;
        let memory = RecordReader::bare(Cursor::new(self.buffer), bytes, &self.directory.join(&self.name));
        let buffer_bytes = self.memory_bytes.min(READ_BUFFER_BYTES_MAX);
        let file_left = self.records - self.buffer_records;
        let file = self.spilled.map(|spilled| spilled.into_reader(buffer_bytes)).transpose()?;
        Ok(SpoolReader { file, memory, file_left })
    }
}

impl Spilled {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|e| Error::write(&self.path.0, bytes.len() as u64, e))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn into_reader(mut self, buffer_bytes: usize) -> Result<(SegmentReader, OwnedPath), Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| Error::io("rewind", &self.path.0, e))?;
        let reader = SegmentReader::over(self.file, &self.path.0, 0, Some(self.bytes), buffer_bytes)?;
        Ok((reader, self.path))
    }
}

/// Reads a spool, once.
pub struct SpoolReader {
    file: Option<(SegmentReader, OwnedPath)>,
    memory: RecordReader<Cursor<Vec<u8>>>,
    file_left: u64,
}

impl SpoolReader {
    /// The next record in the order of `append`, or `None` after the last.
    ///
    /// # Errors
    /// `Corrupt` or `Io`; from then on the same again.
    // Not an `Iterator`: those may be called again after an error and then go on.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if let Some((file, _)) = &mut self.file {
            if let Some(record) = file.next()? {
                self.file_left =
                    self.file_left.checked_sub(1).ok_or_else(|| file.corrupt("too many records"))?;
                return Ok(Some(record));
            }
            if self.file_left > 0 {
                return Err(file.corrupt("records are missing"));
            }
            // Its space is free from here on, although the buffer is still to be read.
            self.file = None;
        }
        self.memory.next()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::FOLDER;
    use crate::segment::encoded_bytes;

    fn record(i: usize) -> Vec<u8> {
        vec![i as u8; i % 300]
    }

    #[test]
    fn records_come_back_in_order_whatever_the_memory() {
        for memory_bytes in [0, 1, 7, 8, 100, 1000, 1 << 20] {
            let directory = tempfile::tempdir().unwrap();
            let mut spool = Spool::create(directory.path(), "../0/42", memory_bytes).unwrap();
            assert!(spool.is_empty());
            for i in 0..1000 {
                spool.append(&record(i)).unwrap();
                assert!(spool.buffer.capacity() <= memory_bytes);
            }
            assert_eq!(spool.len(), 1000);
            assert_eq!(spool.bytes(), (0..1000).map(|i| encoded_bytes(&record(i))).sum::<u64>());
            let mut reader = spool.into_reader().unwrap();
            for i in 0..1000 {
                assert_eq!(reader.next().unwrap().unwrap(), record(i));
            }
            assert!(reader.next().unwrap().is_none());
            assert!(reader.next().unwrap().is_none());
            assert_eq!(fs::read_dir(directory.path().join(FOLDER)).unwrap().count(), 0);
        }
    }

    #[test]
    fn dropping_spool_or_reader_removes_only_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let files = || fs::read_dir(directory.path().join(FOLDER)).unwrap().count();
        let spools = [(); 3].map(|()| {
            let mut spool = Spool::create(directory.path(), "7", 10).unwrap();
            spool.append(b"a record that spills").unwrap();
            spool
        });
        assert_eq!(files(), 3);
        let [first, second, third] = spools;
        drop(first);
        assert_eq!(files(), 2);
        let reader = second.into_reader().unwrap();
        assert_eq!(files(), 2);
        drop(reader);
        assert_eq!(files(), 1);
        let mut reader = third.into_reader().unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), b"a record that spills");
    }

    #[test]
    fn changed_file_is_corrupt_and_stays_so() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(directory.path(), "7", 0).unwrap();
        spool.append(b"first").unwrap();
        spool.append(b"second").unwrap();
        let path = spool.spilled.as_ref().unwrap().path.0.clone();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut reader = spool.into_reader().unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), b"first");
        for _ in 0..3 {
            assert!(matches!(reader.next(), Err(Error::Corrupt { .. })));
        }
    }
}
