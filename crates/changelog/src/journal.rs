//! A journal: records that outlive the process, so that a server need not keep them.
//!
//! Owns: one folder, its lock, and the segments in it, in the same format as the log's. Does not know: what a record means, when it is
//! worth keeping, what was promised to whom. Its owner says which records end something whole; only these can be an end of the journal.
//!
//! Invariants:
//! 1. What [`Syncing::run`] has returned for is on the disk, in order, from the first record that was not removed.
//! 2. [`Found`] gives a prefix of what was appended: it ends at the first byte that is not what was written, also where a file lost its
//!    end between two records (the next one says how long it was). Whether that is too early, only the owner can tell, who knows
//!    what was promised.
//! 3. Nobody reads a journal while another writes it: both hold its lock.
//!
//! After a failed sync nobody knows which bytes are on the disk, and the next sync would succeed without them. So
//! [`Journal::distrust`] cuts the files back to what was synced before.
//!
//! These calls block: appending is a copy, and now and then a write to the page cache. Syncing is for a blocking thread.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::log::{LOCK_TIMEOUT, lock_within};
use crate::segment::{
    FILE_HEADER_BYTES, RECORD_HEADER_BYTES, SegmentReader, create_file, encoded_bytes, file_header,
    make_private, record_header, remove_file,
};

/// Written at once: large enough for long writes, small enough to be no burden.
const BUFFER_BYTES: usize = 256 << 10;
/// For reading.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    segment: u32,
    offset: u64,
}

struct Segment {
    number: u32,
    bytes: u64,
    /// Ends that were appended before this segment began.
    ends_before: u64,
}

/// What an earlier process left, or nothing. Holds the lock.
pub struct Found {
    folder: PathBuf,
    identity: Vec<u8>,
    lock: File,
    numbers: VecDeque<u32>,
    reader: Option<(u32, SegmentReader)>,
    /// Where the file before ended.
    before: Option<Place>,
    why_it_ends: Option<Error>,
}

impl Found {
    /// Opens a folder, which is made if it is not there. `identity` must be the first record of every file; one that has another is an
    /// end of the journal.
    ///
    /// # Errors
    /// `Busy` if another process holds it; `Io`.
    pub fn open(folder: &Path, identity: &[u8]) -> Result<Found, Error> {
        make_private(folder)?;
        Found::with(lock_within(folder, LOCK_TIMEOUT)?, folder, identity)
    }

    /// The same at once, of a folder that must be there.
    ///
    /// # Errors
    /// `Busy` if another process holds it; `Io`.
    pub fn open_idle(folder: &Path, identity: &[u8]) -> Result<Found, Error> {
        Found::with(lock_within(folder, Duration::ZERO)?, folder, identity)
    }

    fn with(lock: File, folder: &Path, identity: &[u8]) -> Result<Found, Error> {
        Ok(Found {
            folder: folder.to_owned(),
            identity: identity.to_vec(),
            lock,
            numbers: numbers(folder)?.into(),
            reader: None,
            before: None,
            why_it_ends: None,
        })
    }

    /// The identity that the first file has, as far as it can be read.
    pub fn written_by(&self) -> Option<Vec<u8>> {
        let number = *self.numbers.front()?;
        let mut reader =
            SegmentReader::open(&path(&self.folder, number), number, None, READ_BUFFER_BYTES).ok()?;
        reader.next().ok()?
    }

    /// Whether nothing was ever written to it.
    pub fn is_blank(&self) -> bool {
        let is_empty = |n: &u32| fs::metadata(path(&self.folder, *n)).is_ok_and(|m| m.len() == 0);
        self.numbers.iter().all(is_empty)
    }

    /// The next record, and where it ends; `None` at the end of what can be trusted.
    ///
    /// # Errors
    /// `Io` if a file cannot be read; what is in the files is no error, see [`Found::why_it_ends`].
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, Place)>, Error> {
        while self.why_it_ends.is_none() {
            let read = match &mut self.reader {
                Some((number, reader)) => {
                    let segment = *number;
                    let read = reader.next();
                    read.map(|record| record.map(|r| (r, Place { segment, offset: reader.position() })))
                }
                None => match self.open_next() {
                    Ok(true) => continue,
                    Ok(false) => return Ok(None),
                    Err(e) => Err(e),
                },
            };
            match read {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {
                    let ended = self.reader.take();
                    self.before = ended.map(|(segment, reader)| Place { segment, offset: reader.position() });
                }
                Err(e @ Error::Corrupt { .. }) => self.why_it_ends = Some(e),
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(number) = self.numbers.pop_front() else { return Ok(false) };
        let path = path(&self.folder, number);
        let (reader, length_before) = open(&path, number, &self.identity)?;
        if let Some(before) = self.before {
            if before.segment.checked_add(1) != Some(number) {
                return Err(Error::corrupt(&path, 0, "the file before it is missing"));
            }
            if before.offset != length_before {
                let what = format!("the file before it had {length_before} bytes, not {}", before.offset);
                return Err(Error::corrupt(&path, FILE_HEADER_BYTES as u64, what));
            }
        }
        self.reader = Some((number, reader));
        Ok(true)
    }

    /// What is wrong with the place where it ends, if it is not the regular end.
    pub fn why_it_ends(&self) -> Option<&Error> {
        self.why_it_ends.as_ref()
    }

    /// Goes on writing at the end of `kept`: what comes after it is removed, and what comes before it as far as that is whole files;
    /// without it, everything. Between its two places there are `ends` ends. A file is about as large as said.
    ///
    /// # Errors
    /// `Io`, `Full`.
    pub fn go_on(
        self,
        kept: Option<(Place, Place)>,
        ends: u64,
        segment_bytes: u64,
    ) -> Result<Journal, Error> {
        let mut segments = VecDeque::new();
        // Without a hole, which would be an end.
        let next_number = kept.map_or(0, |(_, end)| end.segment.wrapping_add(1));
        for number in numbers(&self.folder)? {
            let path = path(&self.folder, number);
            let is_needed = |(from, end): &(Place, Place)| {
                let first = if ends == 0 { end.segment } else { from.segment };
                (first..=end.segment).contains(&number)
            };
            let Some((_, end)) = kept.filter(is_needed) else {
                remove_file(&path)?;
                continue;
            };
            if number == end.segment {
                cut(&path, end.offset)?;
            }
            let bytes = fs::metadata(&path).map_err(|e| Error::io("look at", &path, e))?.len();
            // Which file has which end was not counted; the last one has the last.
            segments.push_back(Segment { number, bytes, ends_before: ends.saturating_sub(1) });
        }
        sync_folder(&self.folder)?;
        if let Some(parent) = self.folder.parent() {
            sync_folder(parent)?;
        }
        Ok(Journal {
            folder: self.folder,
            identity: self.identity,
            segment_bytes,
            bytes: segments.iter().map(|s: &Segment| s.bytes).sum(),
            segments,
            next_number,
            tail: None,
            buffer: Vec::new(),
            unsynced: Vec::new(),
            ends,
            synced: kept.map(|(_, end)| end),
            failure: None,
            _lock: self.lock,
        })
    }
}

/// The numbers of the files in a folder, in order.
fn numbers(folder: &Path) -> Result<Vec<u32>, Error> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))? {
        let name = entry.map_err(|e| Error::io("list", folder, e))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".journal")?.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a file at its first record. Gives how long the file before it was, too.
fn open(path: &Path, number: u32, identity: &[u8]) -> Result<(SegmentReader, u64), Error> {
    let mut reader = SegmentReader::open(path, number, None, READ_BUFFER_BYTES)?;
    let head = FILE_HEADER_BYTES as u64;
    if reader.next()?.as_deref() != Some(identity) {
        return Err(Error::corrupt(path, head, "it belongs to another journal"));
    }
    let before = reader.next()?.and_then(|record| <[u8; 8]>::try_from(record).ok());
    let before = before.ok_or_else(|| Error::corrupt(path, head, "its head is not whole"))?;
    Ok((reader, u64::from_le_bytes(before)))
}

/// A journal that is being written.
pub struct Journal {
    folder: PathBuf,
    identity: Vec<u8>,
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    next_number: u32,
    tail: Option<File>,
    /// Of the tail, not written yet.
    buffer: Vec<u8>,
    /// Files that were written since the last sync was begun.
    unsynced: Vec<(u32, File)>,
    bytes: u64,
    ends: u64,
    synced: Option<Place>,
    failure: Option<Error>,
    _lock: File,
}

impl Journal {
    /// Appends a record. `is_end`: it ends something whole.
    ///
    /// # Errors
    /// `TooLarge` for this record alone; `Full`, `Io` for good.
    pub fn append(&mut self, record: &[u8], is_end: bool) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let header = record_header(record)?;
        self.append_inner(&header, record).inspect_err(|e| self.failure = Some(e.clone()))?;
        self.ends += u64::from(is_end);
        Ok(())
    }

    fn append_inner(&mut self, header: &[u8; RECORD_HEADER_BYTES], record: &[u8]) -> Result<(), Error> {
        let bytes = encoded_bytes(record);
        let has_room = |tail: &Segment| tail.bytes + bytes <= self.segment_bytes;
        if self.tail.is_none() || !self.segments.back().is_some_and(has_room) {
            self.start_segment()?;
        }
        if self.buffer.len() + header.len() + record.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(header);
        if record.len() > BUFFER_BYTES {
            self.flush()?;
            self.write(record)?;
        } else {
            self.buffer.extend_from_slice(record);
        }
        self.count(bytes);
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(tail) = self.segments.back_mut() {
            tail.bytes += bytes;
        }
    }

    fn start_segment(&mut self) -> Result<(), Error> {
        self.flush()?;
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        let file = create_file(&path(&self.folder, number))?;
        self.tail = Some(file);
        let before = self.segments.back().map_or(0, |s| s.bytes).to_le_bytes();
        self.segments.push_back(Segment { number, bytes: 0, ends_before: self.ends });
        self.buffer.extend_from_slice(&file_header(number));
        for record in [self.identity.as_slice(), &before] {
            self.buffer.extend_from_slice(&record_header(record)?);
            self.buffer.extend_from_slice(record);
        }
        self.count(FILE_HEADER_BYTES as u64 + encoded_bytes(&self.identity) + encoded_bytes(&before));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            self.write(&buffer)?;
        }
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (Some(file), Some(segment)) = (&mut self.tail, self.segments.back()) else { return Ok(()) };
        let path = path(&self.folder, segment.number);
        file.write_all(bytes).map_err(|e| Error::write(&path, bytes.len() as u64, e))?;
        if self.unsynced.last().is_none_or(|(number, _)| *number != segment.number) {
            let copy = file.try_clone().map_err(|e| Error::io("open", &path, e))?;
            self.unsynced.push((segment.number, copy));
        }
        Ok(())
    }

    /// What it takes on disk. Space comes back with [`Journal::forget`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends appended so far.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Removes files of which nothing is needed any more, where the first `ends` ends are passed. The last of these stays, with all that
    /// follows it.
    ///
    /// # Errors
    /// `Io`.
    pub fn forget(&mut self, ends: u64) -> Result<(), Error> {
        while self.segments.get(1).is_some_and(|second| second.ends_before < ends) {
            let Some(first) = self.segments.pop_front() else { break };
            remove_file(&path(&self.folder, first.number))?;
            self.bytes = self.bytes.saturating_sub(first.bytes);
        }
        Ok(())
    }

    /// Begins a sync of all that was appended; `None`: there is nothing new.
    ///
    /// # Errors
    /// `Full`, `Io` for good.
    pub fn sync(&mut self) -> Result<Option<Syncing>, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.flush().inspect_err(|e| self.failure = Some(e.clone()))?;
        let files = std::mem::take(&mut self.unsynced);
        let Some(tail) = self.segments.back().filter(|_| !files.is_empty()) else { return Ok(None) };
        let upto = Place { segment: tail.number, offset: tail.bytes };
        Ok(Some(Syncing { folder: self.folder.clone(), files, upto, ends: self.ends }))
    }

    /// A sync that was begun has returned.
    pub fn synced(&mut self, synced: &Synced) {
        self.synced = self.synced.max(Some(synced.upto));
    }

    /// After a failed sync: cuts the files back to what was synced before, and takes nothing more.
    pub fn distrust(mut self) {
        self.buffer.clear();
        for segment in &self.segments {
            let path = path(&self.folder, segment.number);
            let done = match self.synced {
                Some(synced) if segment.number < synced.segment => Ok(()),
                Some(synced) if segment.number == synced.segment => cut(&path, synced.offset),
                Some(_) | None => remove_file(&path),
            };
            if let Err(e) = done {
                tracing::error!(
                    error = &e as &dyn std::error::Error,
                    "a journal that could not be synced is left behind"
                );
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The next process goes on from there; without it, it asks the server for a little more.
        if self.failure.is_none() {
            drop(self.flush());
        }
    }
}

/// A sync under way.
pub struct Syncing {
    folder: PathBuf,
    files: Vec<(u32, File)>,
    upto: Place,
    ends: u64,
}

/// What is on the disk now.
#[derive(Clone, Copy, Debug)]
pub struct Synced {
    upto: Place,
    /// So many ends.
    pub ends: u64,
}

impl Syncing {
    /// Waits for the disk.
    ///
    /// # Errors
    /// `Full`, `Io`: then [`Journal::distrust`].
    pub fn run(self) -> Result<Synced, Error> {
        for (number, file) in &self.files {
            let path = path(&self.folder, *number);
            file.sync_data().map_err(|e| match Error::write(&path, 0, e) {
                Error::Io { path, source, .. } => Error::Io { action: "sync", path, source },
                e => e,
            })?;
        }
        // New files are found again only once their names are on the disk.
        sync_folder(&self.folder)?;
        Ok(Synced { upto: self.upto, ends: self.ends })
    }
}

/// Reads records again, between two places.
pub struct Replay {
    folder: PathBuf,
    identity: Vec<u8>,
    at: Place,
    end: Place,
    reader: Option<SegmentReader>,
}

impl Replay {
    /// From one place to another, both of [`Found::next`].
    pub fn new(folder: &Path, identity: &[u8], from: Place, end: Place) -> Replay {
        Replay { folder: folder.to_owned(), identity: identity.to_vec(), at: from, end, reader: None }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` if the files changed since they were read first; `Io`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while self.at < self.end {
            if self.reader.is_none() {
                self.reader = Some(self.open()?);
            }
            let Some(reader) = &mut self.reader else { break };
            if let Some(record) = reader.next()? {
                self.at.offset = reader.position();
                return Ok(Some(record));
            }
            self.reader = None;
            self.at = Place { segment: self.at.segment.wrapping_add(1), offset: 0 };
        }
        Ok(None)
    }

    fn open(&self) -> Result<SegmentReader, Error> {
        let path = path(&self.folder, self.at.segment);
        let (mut reader, _) = open(&path, self.at.segment, &self.identity)?;
        // Read through, not jumped over: so every checksum is looked at again.
        while reader.position() < self.at.offset {
            if reader.next()?.is_none() {
                return Err(Error::corrupt(&path, self.at.offset, "it has become shorter"));
            }
        }
        Ok(reader)
    }
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:010}.journal"))
}

fn cut(path: &Path, bytes: u64) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(path).map_err(|e| Error::io("open", path, e))?;
    file.set_len(bytes).map_err(|e| Error::io("cut", path, e))?;
    file.sync_all().map_err(|e| Error::io("sync", path, e))
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    let opened = File::open(folder).map_err(|e| Error::io("open", folder, e))?;
    opened.sync_all().map_err(|e| Error::io("sync", folder, e))
}

#[cfg(test)]
mod tests;
