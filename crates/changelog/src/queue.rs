//! Where each record is and how many bytes that takes: the state that both ends and the disk thread share.
//!
//! Owns: `front` and `back`, the counts of what is on disk, and the decisions that follow from them. Pure: no file, no
//! thread, no waiting.
//!
//! Invariants, with the shares of [`Shares::of`]:
//! - `front` stays within its share, or holds one record that a waiting reader asked for.
//! - `back` and the batch being written stay within their share together, or are one record.
//! - So memory stays within the limit plus one record. Only if records are larger than the whole limit may there be one
//!   in each half; a second one is in memory anyway, in the hands of the caller that would have to wait with it.

use std::collections::VecDeque;
use std::mem;

use crate::error::Error;
use crate::log::{Limits, Stats};
use crate::segment::{FILE_HEADER_BYTES, encoded_bytes};

/// What a record costs beside its bytes: a slot of 24 in a deque that doubles, and what the allocator adds.
pub(crate) const RECORD_OVERHEAD: usize = 64;

/// More than this in one buffer of a file gains nothing measurable.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// How the memory limit is divided. Reading ahead and writing never compete for the same bytes, so neither can starve
/// the other, whatever the sizes.
#[derive(Clone, Copy)]
pub(crate) struct Shares {
    pub(crate) front: usize,
    pub(crate) back: usize,
    /// Each of the two buffers of files.
    pub(crate) buffer: usize,
}

impl Shares {
    pub(crate) fn of(memory_bytes: usize) -> Self {
        let buffer = (memory_bytes / 16).min(BUFFER_BYTES_MAX);
        let back = memory_bytes / 4;
        Self { front: memory_bytes - back - 2 * buffer, back, buffer }
    }
}

/// What one record takes in either place.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    memory: usize,
    /// As if it began a segment of its own, so that the disk limit holds however the records fall.
    disk: u64,
}

impl Size {
    pub(crate) fn of(record: &Vec<u8>) -> Self {
        Self {
            memory: record.capacity() + RECORD_OVERHEAD,
            disk: encoded_bytes(record) + FILE_HEADER_BYTES as u64,
        }
    }
}

enum Place {
    Front,
    Back,
    Nowhere,
}

/// What the disk thread has written.
#[derive(Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    pub(crate) file_bytes: u64,
}

/// What the disk thread has read back.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) records: VecDeque<Vec<u8>>,
    pub(crate) record_bytes: u64,
    pub(crate) freed_bytes: u64,
}

/// How much may be read from disk now.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) memory: usize,
    /// The reader waits with nothing in memory, so one record must be read however large it is.
    pub(crate) at_least_one: bool,
}

pub(crate) struct Queue {
    shares: Shares,
    disk_limit: u64,
    front: VecDeque<Vec<u8>>,
    front_bytes: usize,
    back: VecDeque<Vec<u8>>,
    back_bytes: usize,
    back_disk_bytes: u64,
    writing_records: u64,
    writing_bytes: usize,
    writing_disk_bytes: u64,
    disk_records: u64,
    disk_record_bytes: u64,
    disk_file_bytes: u64,
    disk_written_bytes_total: u64,
    /// A reader found nothing; tell it when there is something.
    pub(crate) reader_waits: bool,
    /// A writer found no room; tell it when there is some.
    pub(crate) writer_waits: bool,
    pub(crate) reader_gone: bool,
    pub(crate) writer_gone: bool,
    failure: Option<Error>,
    /// The failure is one of reading: what is on disk is lost.
    unreadable: bool,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            shares: Shares::of(limits.memory_bytes),
            disk_limit: limits.disk_bytes,
            front: VecDeque::new(),
            front_bytes: 0,
            back: VecDeque::new(),
            back_bytes: 0,
            back_disk_bytes: 0,
            writing_records: 0,
            writing_bytes: 0,
            writing_disk_bytes: 0,
            disk_records: 0,
            disk_record_bytes: 0,
            disk_file_bytes: 0,
            disk_written_bytes_total: 0,
            reader_waits: false,
            writer_waits: false,
            reader_gone: false,
            writer_gone: false,
            failure: None,
            unreadable: false,
        }
    }

    /// Takes the record, or gives it back if there is no room for it now.
    pub(crate) fn offer(&mut self, record: Vec<u8>, size: Size) -> Result<Option<Vec<u8>>, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.reader_gone {
            return Err(Error::Closed);
        }
        if size.memory > self.shares.front && size.disk > self.disk_limit {
            let memory = self.shares.front.saturating_sub(RECORD_OVERHEAD) as u64;
            let disk = self.disk_limit.saturating_sub(Size::of(&Vec::new()).disk);
            return Err(Error::TooLarge { bytes: record.len() as u64, limit: memory.max(disk) });
        }
        match self.place(size) {
            Place::Front => {
                self.front_bytes += size.memory;
                self.front.push_back(record);
            }
            Place::Back => {
                self.back_bytes += size.memory;
                self.back_disk_bytes += size.disk;
                self.back.push_back(record);
            }
            Place::Nowhere => {
                self.writer_waits = true;
                return Ok(Some(record));
            }
        }
        self.writer_waits = false;
        Ok(None)
    }

    fn place(&self, size: Size) -> Place {
        if self.only_front() && self.front_bytes + size.memory <= self.shares.front {
            return Place::Front;
        }
        let behind = self.back_bytes + self.writing_bytes;
        if (behind == 0 || behind + size.memory <= self.shares.back) && self.has_disk_room(size) {
            return Place::Back;
        }
        Place::Nowhere
    }

    fn only_front(&self) -> bool {
        self.disk_records == 0 && self.writing_records == 0 && self.back.is_empty()
    }

    fn has_disk_room(&self, size: Size) -> bool {
        let used = self.disk_file_bytes + self.writing_disk_bytes + self.back_disk_bytes;
        used.saturating_add(size.disk) <= self.disk_limit
    }

    /// Whether a record of this size would find room, but for what is still to be written. Also true if it would fail.
    pub(crate) fn has_room(&self, size: Size) -> bool {
        let in_memory = self.only_front() && self.front_bytes + size.memory <= self.shares.front;
        in_memory || self.has_disk_room(size) || self.failure.is_some() || self.reader_gone
    }

    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        if self.front.is_empty() && self.disk_records == 0 && self.writing_records == 0 {
            mem::swap(&mut self.front, &mut self.back);
            self.front_bytes = mem::take(&mut self.back_bytes);
            self.back_disk_bytes = 0;
        }
        let record = self.front.pop_front();
        match &record {
            Some(record) => self.front_bytes -= Size::of(record).memory,
            None => assert_eq!(self.front_bytes, 0, "an empty queue holds no bytes"),
        }
        self.reader_waits = record.is_none();
        record
    }

    /// Why there will never be another record, once `take` found none: `Ok` for the regular end.
    pub(crate) fn end(&self) -> Option<Result<(), Error>> {
        // The disk thread may have put some there since.
        if !self.front.is_empty() {
            return None;
        }
        if self.records() == 0 && self.failure.is_none() {
            return self.writer_gone.then_some(Ok(()));
        }
        let readable = self.disk_records > 0 && !self.unreadable;
        self.failure.clone().filter(|_| !readable).map(Err)
    }

    /// Whether the disk thread has something to write. Until `back` is half full it has not: the larger the batch the
    /// better, and a reader that catches up gets the records without any disk.
    pub(crate) fn wants_write(&self) -> bool {
        let enough = self.back_bytes >= self.shares.back / 2 || self.writer_waits;
        !self.back.is_empty() && enough && self.failure.is_none() && !self.reader_gone
    }

    pub(crate) fn start_write(&mut self) -> VecDeque<Vec<u8>> {
        assert_eq!(self.writing_records, 0, "one thread writes one batch at a time");
        self.writing_records = self.back.len() as u64;
        self.writing_bytes = mem::take(&mut self.back_bytes);
        self.writing_disk_bytes = mem::take(&mut self.back_disk_bytes);
        mem::take(&mut self.back)
    }

    pub(crate) fn finish_write(&mut self, written: Written) {
        assert!(written.records <= self.writing_records, "no more is written than was given");
        self.writing_records = 0;
        self.writing_bytes = 0;
        self.writing_disk_bytes = 0;
        self.disk_records += written.records;
        self.disk_record_bytes += written.record_bytes;
        self.disk_file_bytes += written.file_bytes;
        self.disk_written_bytes_total += written.file_bytes;
    }

    /// How much the disk thread may read, if anything: once `front` is half empty, so that it reads in long runs.
    pub(crate) fn wants_read(&self) -> Option<Budget> {
        if self.disk_records == 0 || self.unreadable || self.reader_gone {
            return None;
        }
        let memory = self.shares.front.saturating_sub(self.front_bytes);
        let at_least_one = self.front.is_empty() && self.reader_waits;
        (self.front_bytes <= self.shares.front / 2).then_some(Budget { memory, at_least_one })
    }

    pub(crate) fn finish_read(&mut self, mut taken: Taken) {
        assert!(taken.records.len() as u64 <= self.disk_records, "no more is read than was written");
        self.disk_records -= taken.records.len() as u64;
        self.disk_record_bytes -= taken.record_bytes;
        self.disk_file_bytes -= taken.freed_bytes;
        self.front_bytes += taken.records.iter().map(|record| Size::of(record).memory).sum::<usize>();
        self.front.append(&mut taken.records);
    }

    /// Ends the log: the writer is told at once, the reader after the records before the failure. Those after it are
    /// dropped: with what was lost between, they would be a gap.
    pub(crate) fn fail(&mut self, failure: Error, unreadable: bool) {
        self.back.clear();
        self.back_bytes = 0;
        self.back_disk_bytes = 0;
        self.failure.get_or_insert(failure);
        self.unreadable |= unreadable;
    }

    fn records(&self) -> u64 {
        self.front.len() as u64 + self.back.len() as u64 + self.writing_records + self.disk_records
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            records: self.records(),
            memory_bytes: (self.front_bytes + self.writing_bytes + self.back_bytes) as u64,
            disk_bytes: self.disk_record_bytes,
            disk_written_bytes_total: self.disk_written_bytes_total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of 36 bytes, each charged 100, as many as there is room for.
    fn fill(queue: &mut Queue) -> u8 {
        let mut accepted = 0;
        while offer(queue, accepted) {
            accepted += 1;
        }
        accepted
    }

    fn offer(queue: &mut Queue, mark: u8) -> bool {
        let record = vec![mark; 36];
        let size = Size::of(&record);
        queue.offer(record, size).unwrap().is_none()
    }

    fn queue() -> Queue {
        Queue::new(Limits { memory_bytes: 4000, ..Limits::default() })
    }

    #[test]
    fn records_accepted_during_failed_write_do_not_close_over_the_gap() {
        let mut queue = queue();
        let accepted = fill(&mut queue);
        let batch = queue.start_write();
        let later = u8::try_from(batch.len()).unwrap();
        queue.finish_write(Written { records: 3, record_bytes: 132, file_bytes: 148 });
        assert!(offer(&mut queue, accepted), "there is room behind the batch");
        let second = queue.start_write();
        assert_eq!(second.len(), 1);
        assert!(offer(&mut queue, accepted + 1));
        // The second batch is lost, so what came after it must be as well.
        queue.finish_write(Written::default());
        queue.fail(Error::Stopped, false);

        for mark in 0..accepted - later {
            assert_eq!(queue.take().unwrap()[0], mark);
        }
        assert!(queue.take().is_none());
        assert!(queue.end().is_none(), "three are still to be read");
        let budget = queue.wants_read().unwrap();
        assert!(budget.at_least_one);
        let records = (accepted - later..accepted - later + 3).map(|mark| vec![mark; 36]).collect();
        queue.finish_read(Taken { records, record_bytes: 132, freed_bytes: 148 });
        for mark in accepted - later..accepted - later + 3 {
            assert!(queue.end().is_none());
            assert_eq!(queue.take().unwrap()[0], mark);
        }
        assert!(queue.take().is_none());
        assert!(matches!(queue.end(), Some(Err(Error::Stopped))));
    }

    #[test]
    fn writer_refused_for_memory_makes_thread_write_even_a_small_batch() {
        let mut queue = queue();
        while queue.only_front() {
            assert!(offer(&mut queue, 0));
        }
        assert!(!queue.wants_write(), "a batch of one is not worth a write");
        let large = vec![0; 900];
        let size = Size::of(&large);
        assert!(queue.offer(large, size).unwrap().is_some());
        assert!(queue.wants_write());
    }

    #[test]
    fn shares_add_up_to_the_limit() {
        for memory_bytes in [0, 1, 15, 16, 4000, 16 << 20, usize::MAX] {
            let shares = Shares::of(memory_bytes);
            assert_eq!(shares.front + shares.back + 2 * shares.buffer, memory_bytes);
            assert!(shares.front >= shares.back, "back may become front");
        }
    }
}
