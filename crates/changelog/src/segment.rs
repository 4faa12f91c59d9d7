//! The file format, shared by the log's segments and by spools.
//!
//! ```text
//! file    = magic [8] version u32 number u32                16 bytes, little endian
//!           record*
//! record  = length u32 crc u32 payload [length]             crc: CRC32C of the length's four bytes and the payload
//! ```
//!
//! Owns: names, modes, headers, checksums. Does not know: limits, order among files, threads.
//!
//! Invariant: a reader gives back records that were written, in order from the first, or `Corrupt`; it allocates no more
//! than the file really holds. The checksum covers the length because CRC32C of nothing is 0: else a run of zeros, which
//! is what a file system may leave after a crash, would read as empty records.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bincode::config::{self, Config};

use crate::error::Error;

/// The folder, below the directory given by the caller, that belongs to this crate alone.
pub const FOLDER: &str = "changelog";

/// The largest record: `PostgreSQL` and `MySQL` both stop at 1 GiB for a value or packet; the rest is for our framing.
pub const RECORD_BYTES_MAX: usize = (1 << 30) + (1 << 20);

const MAGIC: [u8; 8] = *b"SHSWAPLG";
const VERSION: u32 = 1;

pub(crate) const FILE_HEADER_BYTES: usize = 16;
pub(crate) const RECORD_HEADER_BYTES: usize = 8;

#[derive(bincode::Encode, bincode::Decode)]
struct FileHeader {
    magic: [u8; 8],
    version: u32,
    number: u32,
}

#[derive(Clone, Copy, bincode::Encode, bincode::Decode)]
struct RecordHeader {
    length: u32,
    crc: u32,
}

fn encoding<const N: usize>() -> impl Config {
    config::standard().with_fixed_int_encoding().with_limit::<N>()
}

fn encode<const N: usize>(header: impl bincode::Encode) -> [u8; N] {
    let mut bytes = [0; N];
    let used = bincode::encode_into_slice(header, &mut bytes, encoding::<N>())
        .expect("a header of fixed-size integers has a fixed size");
    assert_eq!(used, N);
    bytes
}

fn decode<const N: usize, T: bincode::Decode<()>>(bytes: &[u8; N]) -> Option<T> {
    bincode::decode_from_slice(bytes, encoding::<N>()).ok().map(|(header, _)| header)
}

fn checksum(length: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), payload)
}

pub(crate) fn file_header(number: u32) -> [u8; FILE_HEADER_BYTES] {
    encode(FileHeader { magic: MAGIC, version: VERSION, number })
}

/// # Errors
/// `TooLarge` beyond [`RECORD_BYTES_MAX`].
pub(crate) fn record_header(record: &[u8]) -> Result<[u8; RECORD_HEADER_BYTES], Error> {
    let length = checked_length(record)?;
    Ok(encode(RecordHeader { length, crc: checksum(length, record) }))
}

pub(crate) fn checked_length(record: &[u8]) -> Result<u32, Error> {
    u32::try_from(record.len())
        .ok()
        .filter(|_| record.len() <= RECORD_BYTES_MAX)
        .ok_or(Error::TooLarge { bytes: record.len() as u64, limit: RECORD_BYTES_MAX as u64 })
}

/// The bytes that a record takes in a file.
pub(crate) fn encoded_bytes(record: &[u8]) -> u64 {
    (RECORD_HEADER_BYTES + record.len()) as u64
}

/// Creates the private folder below `directory`, with mode 0700 whatever it was before.
pub(crate) fn create_folder(directory: &Path) -> Result<PathBuf, Error> {
    let folder = directory.join(FOLDER);
    make_private(&folder)?;
    Ok(folder)
}

/// Creates a folder, and what is above it, that only this user can look into.
pub(crate) fn make_private(folder: &Path) -> Result<(), Error> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Error::io("create", folder, e)),
        Ok(()) | Err(_) => {}
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .map_err(|e| Error::io("make private", folder, e))
}

/// Creates a file that only this user can read. It must not exist: ours never do, and another's is not to be followed.
pub(crate) fn create_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::write(path, FILE_HEADER_BYTES as u64, e))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes one segment. What is appended is readable once `flush` has returned.
pub(crate) struct SegmentWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl SegmentWriter {
    pub(crate) fn create(path: &Path, number: u32, buffer_bytes: usize) -> Result<Self, Error> {
        let mut writer =
            Self { file: BufWriter::with_capacity(buffer_bytes, create_file(path)?), path: path.to_owned() };
        writer.put(&file_header(number), FILE_HEADER_BYTES as u64)?;
        Ok(writer)
    }

    pub(crate) fn append(&mut self, record: &[u8]) -> Result<(), Error> {
        self.put(&record_header(record)?, encoded_bytes(record))?;
        self.put(record, encoded_bytes(record))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let bytes = self.file.buffer().len() as u64;
        self.file.flush().map_err(|e| Error::write(&self.path, bytes, e))
    }

    fn put(&mut self, bytes: &[u8], intended: u64) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|e| Error::write(&self.path, intended, e))
    }
}

/// A file of records, read from the first.
pub(crate) type SegmentReader = RecordReader<BufReader<File>>;

impl SegmentReader {
    /// Reads the `bytes` that are known to be in the file, or as many as the system says there are.
    pub(crate) fn open(
        path: &Path,
        number: u32,
        bytes: Option<u64>,
        buffer_bytes: usize,
    ) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        Self::over(file, path, number, bytes, buffer_bytes)
    }

    /// Like `open`, from where `file` stands, which must be its beginning.
    pub(crate) fn over(
        file: File,
        path: &Path,
        number: u32,
        bytes: Option<u64>,
        buffer_bytes: usize,
    ) -> Result<Self, Error> {
        let mut reader = RecordReader {
            input: BufReader::with_capacity(buffer_bytes, file),
            file: path.to_owned(),
            position: 0,
            end: 0,
            pending: None,
            failure: None,
        };
        let actual = reader.actual_bytes()?;
        reader.grow(bytes.unwrap_or(actual))?;
        let mut header = [0; FILE_HEADER_BYTES];
        reader.fill(&mut header)?;
        let header: FileHeader =
            decode(&header).ok_or_else(|| Error::corrupt(path, 0, "the file header cannot be decoded"))?;
        if header.magic != MAGIC {
            return Err(Error::corrupt(path, 0, "this is not a change log file"));
        }
        if header.version != VERSION {
            return Err(Error::corrupt(path, 8, format!("version {}, not {VERSION}", header.version)));
        }
        if header.number != number {
            return Err(Error::corrupt(path, 12, format!("file number {}, not {number}", header.number)));
        }
        reader.position = FILE_HEADER_BYTES as u64;
        Ok(reader)
    }

    /// Says that the file now holds `bytes`, and looks whether it does: every later length is checked against it.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes == self.end {
            return Ok(());
        }
        let actual = self.actual_bytes()?;
        if actual < bytes {
            return Err(Error::corrupt(&self.file, actual, format!("cut off, {bytes} bytes were written")));
        }
        self.end = bytes;
        Ok(())
    }

    fn actual_bytes(&self) -> Result<u64, Error> {
        let metadata = self.input.get_ref().metadata().map_err(|e| Error::io("look at", &self.file, e))?;
        Ok(metadata.len())
    }
}

/// Reads records from bytes that nobody vouches for.
pub(crate) struct RecordReader<R> {
    input: R,
    file: PathBuf,
    /// Where the next record starts, or the one whose header is `pending`.
    position: u64,
    end: u64,
    pending: Option<RecordHeader>,
    /// Nothing is read past a failure: what follows could be taken for a record.
    failure: Option<Error>,
}

impl<R: Read> RecordReader<R> {
    /// Records without a file header, in memory; `file` is for messages.
    pub(crate) fn bare(input: R, bytes: u64, file: &Path) -> Self {
        Self { input, file: file.to_owned(), position: 0, end: bytes, pending: None, failure: None }
    }

    /// Where the next record starts.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The length of the next record, or `None` at the end.
    pub(crate) fn peek(&mut self) -> Result<Option<usize>, Error> {
        self.unless_failed(Self::read_header)
    }

    /// The next record, or `None` at the end. After an error, that error again.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.unless_failed(Self::read_record)
    }

    fn unless_failed<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => read(self).inspect_err(|e| self.failure = Some(e.clone())),
        }
    }

    fn read_header(&mut self) -> Result<Option<usize>, Error> {
        if let Some(header) = self.pending {
            return Ok(Some(header.length as usize));
        }
        let rest = self.end - self.position;
        if rest == 0 {
            return Ok(None);
        }
        let Some(rest) = rest.checked_sub(RECORD_HEADER_BYTES as u64) else {
            return Err(self.corrupt("a record's header is cut off"));
        };
        let mut header = [0; RECORD_HEADER_BYTES];
        self.fill(&mut header)?;
        let header: RecordHeader =
            decode(&header).ok_or_else(|| self.corrupt("a record's header cannot be decoded"))?;
        let length = header.length as usize;
        if length > RECORD_BYTES_MAX || u64::from(header.length) > rest {
            return Err(self.corrupt(format!("a record of {length} bytes, but {rest} are left")));
        }
        self.pending = Some(header);
        Ok(Some(length))
    }

    fn read_record(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(length) = self.read_header()? else { return Ok(None) };
        let header = self.pending.expect("a length comes from a header");
        // Safe to allocate: the length has been checked against what the file holds.
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        if checksum(header.length, &payload) != header.crc {
            return Err(self.corrupt("a record's checksum differs"));
        }
        self.pending = None;
        self.position += encoded_bytes(&payload);
        Ok(Some(payload))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt("the file ends too early"),
            _ => Error::io("read", &self.file, e),
        })
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::corrupt(&self.file, self.position, what)
    }
}

#[cfg(test)]
mod tests;
