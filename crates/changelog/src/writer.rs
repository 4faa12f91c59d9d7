//! The one OS thread that touches the log's files: writes `back` to the newest segment, reads ahead from the oldest.
//!
//! Owns: the folder while the log lives, its lock, the segments. Does not know: who waits for what, nor why.
//!
//! Invariant: a record is counted as on disk only once it has been flushed, so that the reader never meets half a record;
//! a segment is removed only once every record of it has been read.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::{mem, thread};

use crossbeam_channel::{Receiver, TryRecvError};

use crate::error::Error;
use crate::log::{Limits, Shared};
use crate::queue::{Budget, RECORD_OVERHEAD, Shares, Taken, Written};
use crate::segment::{FILE_HEADER_BYTES, SegmentReader, SegmentWriter, encoded_bytes, remove_file};

/// What is read before the reader is told and the next batch is written: long enough to be a sequential read, short
/// enough that neither end waits for it noticeably (below a millisecond from the page cache).
const READ_TURN_BYTES: usize = 1 << 20;

/// Works until both ends are dropped, then removes the files and, last, releases the lock.
pub(crate) fn run(shared: &Arc<Shared>, bell: &Receiver<()>, mut disk: Disk, lock: File) {
    let alarm = Alarm(shared);
    loop {
        let wrote = write_turn(shared, &mut disk);
        let read = read_turn(shared, &mut disk);
        let ended = if wrote || read {
            // A ring is forgotten here, but what it was about is looked at in the next turns.
            bell.try_recv() == Err(TryRecvError::Disconnected)
        } else {
            bell.recv().is_err()
        };
        if ended {
            break;
        }
    }
    disk.clear();
    drop(lock);
    drop(alarm);
}

/// Tells both ends if the thread ends by a panic; else they would wait for ever.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut queue = self.0.queue();
            queue.fail(Error::Stopped, true);
            self.0.wake(&queue);
        }
    }
}

fn write_turn(shared: &Shared, disk: &mut Disk) -> bool {
    let batch = {
        let mut queue = shared.queue();
        if !queue.wants_write() {
            return false;
        }
        queue.start_write()
    };
    let (written, failure) = disk.write(batch);
    let mut queue = shared.queue();
    queue.finish_write(written);
    if let Some(failure) = failure {
        tracing::error!(error = &failure as &dyn StdError, "change log cannot be written");
        queue.fail(failure, false);
    }
    shared.wake(&queue);
    true
}

fn read_turn(shared: &Shared, disk: &mut Disk) -> bool {
    let budget = shared.queue().wants_read();
    let Some(budget) = budget else { return false };
    let (taken, failure) = disk.read(budget);
    if taken.records.is_empty() && failure.is_none() {
        // The next record is larger than the budget: it waits for a reader that has nothing else.
        return false;
    }
    let mut queue = shared.queue();
    queue.finish_read(taken);
    if let Some(failure) = failure {
        tracing::error!(error = &failure as &dyn StdError, "change log cannot be read");
        queue.fail(failure, true);
    }
    shared.wake(&queue);
    true
}

struct Segment {
    number: u32,
    path: PathBuf,
    /// Flushed bytes.
    bytes: u64,
    /// Flushed records that have not been read.
    unread: u64,
}

pub(crate) struct Disk {
    folder: PathBuf,
    segment_bytes: u64,
    buffer_bytes: usize,
    /// From the oldest to the newest. Numbers, not open files: there may be thousands.
    segments: VecDeque<Segment>,
    next_number: u32,
    /// Writes the newest.
    tail: Option<SegmentWriter>,
    /// Reads the oldest.
    head: Option<SegmentReader>,
}

impl Disk {
    pub(crate) fn new(folder: PathBuf, limits: Limits) -> Self {
        Self {
            folder,
            segment_bytes: limits.segment_bytes.min(limits.disk_bytes / 4),
            buffer_bytes: Shares::of(limits.memory_bytes).buffer,
            segments: VecDeque::new(),
            next_number: 0,
            tail: None,
            head: None,
        }
    }

    /// Writes the batch; if that fails, says what was written before.
    fn write(&mut self, batch: VecDeque<Vec<u8>>) -> (Written, Option<Error>) {
        let mut written = Written::default();
        let failure = self.write_all(batch, &mut written).err();
        (written, failure)
    }

    fn write_all(&mut self, batch: VecDeque<Vec<u8>>, written: &mut Written) -> Result<(), Error> {
        let mut pending = Written::default();
        for record in batch {
            let bytes = encoded_bytes(&record);
            if !self.segments.back().is_some_and(|tail| {
                self.tail.is_some() && tail.bytes + pending.file_bytes + bytes <= self.segment_bytes
            }) {
                self.flush(&mut pending, written)?;
                self.start_segment(&mut pending)?;
            }
            let tail = self.tail.as_mut().expect("a segment was started");
            tail.append(&record)?;
            pending.records += 1;
            pending.record_bytes += bytes;
            pending.file_bytes += bytes;
        }
        self.flush(&mut pending, written)
    }

    fn flush(&mut self, pending: &mut Written, written: &mut Written) -> Result<(), Error> {
        let (Some(tail), Some(segment)) = (&mut self.tail, self.segments.back_mut()) else { return Ok(()) };
        tail.flush()?;
        let flushed = mem::take(pending);
        segment.bytes += flushed.file_bytes;
        segment.unread += flushed.records;
        written.records += flushed.records;
        written.record_bytes += flushed.record_bytes;
        written.file_bytes += flushed.file_bytes;
        Ok(())
    }

    fn start_segment(&mut self, pending: &mut Written) -> Result<(), Error> {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        let path = self.folder.join(format!("{number:010}.segment"));
        self.tail = None;
        self.tail = Some(SegmentWriter::create(&path, number, self.buffer_bytes)?);
        self.segments.push_back(Segment { number, path, bytes: 0, unread: 0 });
        pending.file_bytes += FILE_HEADER_BYTES as u64;
        Ok(())
    }

    /// Reads within the budget; if that fails, says what was read before.
    fn read(&mut self, budget: Budget) -> (Taken, Option<Error>) {
        let mut taken = Taken::default();
        let failure = self.read_all(budget, &mut taken).err();
        (taken, failure)
    }

    fn read_all(&mut self, budget: Budget, taken: &mut Taken) -> Result<(), Error> {
        let mut memory = 0;
        while memory < READ_TURN_BYTES {
            let Some(segment) = self.segments.front_mut().filter(|oldest| oldest.unread > 0) else { break };
            let ends_early = || Error::corrupt(&segment.path, segment.bytes, "records are missing");
            let head = match &mut self.head {
                Some(head) => head,
                None => self.head.insert(SegmentReader::open(
                    &segment.path,
                    segment.number,
                    Some(segment.bytes),
                    self.buffer_bytes,
                )?),
            };
            head.grow(segment.bytes)?;
            let cost = head.peek()?.ok_or_else(ends_early)? + RECORD_OVERHEAD;
            let asked_for = budget.at_least_one && taken.records.is_empty();
            if memory + cost > budget.memory && !asked_for {
                break;
            }
            let record = head.next()?.ok_or_else(ends_early)?;
            memory += cost;
            taken.record_bytes += encoded_bytes(&record);
            taken.records.push_back(record);
            segment.unread -= 1;
            if segment.unread == 0 {
                self.retire(taken)?;
            }
        }
        Ok(())
    }

    /// Removes the oldest segment. It may be the newest too; the next record then starts another.
    fn retire(&mut self, taken: &mut Taken) -> Result<(), Error> {
        let Some(oldest) = self.segments.pop_front() else { return Ok(()) };
        self.head = None;
        if self.segments.is_empty() {
            self.tail = None;
        }
        remove_file(&oldest.path)?;
        taken.freed_bytes += oldest.bytes;
        Ok(())
    }

    fn clear(&mut self) {
        self.head = None;
        self.tail = None;
        for segment in self.segments.drain(..) {
            if let Err(e) = remove_file(&segment.path) {
                tracing::warn!(error = &e as &dyn StdError, "change log file is left behind");
            }
        }
    }
}
