//! The two ends of the log, and what they share with the disk thread.
//!
//! Owns: waiting and waking. Does not know: files (see `writer.rs`), nor where a record goes (see `queue.rs`).
//!
//! Invariant: an end that waits has first said so in the queue, under the lock. Whoever changes the queue looks there,
//! under the lock, and wakes it; `Notify` keeps a wake-up that comes before the wait.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use crate::error::Error;
use crate::queue::{Queue, Size};
use crate::segment::{checked_length, create_folder, remove_file};
use crate::writer::{self, Disk};

/// How long `open` waits for the thread of an earlier log in the same directory, which ends soon after its two ends.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// How much the log may take. Any values are legal; with `memory_bytes: 0`, all goes through the disk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records in memory, with a small charge for each, and buffers of files: at most this plus one record.
    pub memory_bytes: usize,
    /// Files on disk, in all. Never exceeded.
    pub disk_bytes: u64,
    /// One file. Space comes back a file at a time, so that at most a quarter of `disk_bytes` is used for one.
    pub segment_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 16 << 20, disk_bytes: 64 << 30, segment_bytes: 32 << 20 }
    }
}

/// How full the log is, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Accepted and not yet taken.
    pub records: u64,
    /// What these take in memory, with the charge for each.
    pub memory_bytes: u64,
    /// What these take on disk. The files may be larger: one goes away once it has been read whole.
    pub disk_bytes: u64,
    /// What was ever written to disk.
    pub disk_written_bytes_total: u64,
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// For the writer: there may be room.
    room: Notify,
    /// For the reader: there may be a record, or an end.
    data: Notify,
}

impl Shared {
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic under the lock is a failed assertion in `queue.rs`; the disk thread reports its own as `Stopped`.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits; they look for themselves whether it was for them.
    pub(crate) fn wake(&self, queue: &Queue) {
        if queue.reader_waits {
            self.data.notify_one();
        }
        if queue.writer_waits {
            self.room.notify_one();
        }
    }
}

/// Rings the disk thread. One place is enough: a bell that is already ringing need not be rung.
#[derive(Clone)]
struct Bell(Sender<()>);

impl Bell {
    fn ring(&self) {
        // Full: it rings already. Disconnected: the thread has failed, which it has said in the queue.
        let _ = self.0.try_send(());
    }
}

/// Opens a log in its own folder below `directory`. Both are created if needed; files that an earlier process left are removed.
///
/// Blocks on the file system, and for some seconds if an earlier log there is still ending. The disk thread and the
/// files go away soon after both ends are dropped; dropping does not wait for that.
///
/// # Errors
/// `Busy` if another log uses the directory; `Io` if the folder cannot be made, locked, or cleared.
#[expect(clippy::needless_pass_by_value, reason = "the log takes the directory over")]
pub fn open(directory: PathBuf, limits: Limits) -> Result<(Writer, Reader), Error> {
    let folder = create_folder(&directory)?;
    let lock = lock_within(&folder, LOCK_TIMEOUT)?;
    remove_stale(&folder)?;

    let shared =
        Arc::new(Shared { queue: Mutex::new(Queue::new(limits)), room: Notify::new(), data: Notify::new() });
    let (sender, receiver) = bounded(1);
    let bell = Bell(sender);
    let disk = Disk::new(folder.clone(), limits);
    let on_thread = Arc::clone(&shared);
    thread::Builder::new()
        .name("shadowswap-log".to_owned())
        .spawn(move || writer::run(&on_thread, &receiver, disk, lock))
        .map_err(|e| Error::io("start a thread for", &folder, e))?;

    let last = Size::of(&Vec::new());
    let writer = Writer { shared: Arc::clone(&shared), bell: bell.clone(), last };
    Ok((writer, Reader { shared, bell }))
}

/// The kernel releases the lock when we end, however we end, so there is no stale lock to break.
pub(crate) fn lock_within(folder: &Path, timeout: Duration) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| Error::io("open", &path, e))?;
    let deadline = Instant::now() + timeout;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: folder.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
        }
    }
}

fn remove_stale(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))? {
        let path = entry.map_err(|e| Error::io("list", folder, e))?.path();
        if path.extension().is_some_and(|extension| extension == "segment" || extension == "spool") {
            remove_file(&path)?;
            tracing::debug!(path = %path.display(), "file of an earlier change log removed");
        }
    }
    Ok(())
}

/// The end that gives records to the log.
pub struct Writer {
    shared: Arc<Shared>,
    bell: Bell,
    last: Size,
}

impl Writer {
    /// Appends a record, once there is room for it in memory or on disk.
    ///
    /// Dropping the future before it is ready leaves the log as if `append` had not been called; the record is dropped.
    ///
    /// # Errors
    /// `TooLarge` for this record alone. `Closed` if the reader is gone, and any failure of the disk, of this or an
    /// earlier record: these are for good.
    pub async fn append(&mut self, record: Vec<u8>) -> Result<(), Error> {
        checked_length(&record)?;
        self.last = Size::of(&record);
        consume_budget().await;
        let mut waiting = self.offer(record)?;
        while let Some(record) = waiting {
            self.shared.room.notified().await;
            waiting = self.offer(record)?;
        }
        Ok(())
    }

    /// Whether a record as large as the last one would not have to wait for disk space.
    ///
    /// It may still have to wait a moment for others to be written. Also true if it would fail at once.
    pub fn has_room(&self) -> bool {
        self.shared.queue().has_room(self.last)
    }

    /// How full the log is.
    pub fn stats(&self) -> Stats {
        self.shared.queue().stats()
    }

    fn offer(&self, record: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        let mut queue = self.shared.queue();
        let refused = queue.offer(record, self.last)?;
        if refused.is_none() && queue.reader_waits {
            self.shared.data.notify_one();
        }
        if queue.wants_write() {
            self.bell.ring();
        }
        Ok(refused)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.writer_gone = true;
        self.shared.wake(&queue);
    }
}

/// The end that takes records from the log.
pub struct Reader {
    shared: Arc<Shared>,
    bell: Bell,
}

impl Reader {
    /// The next record in the order of `append`, once there is one; `None` once the writer is dropped and all is taken.
    ///
    /// Dropping the future loses no record: one is only taken when the future is ready.
    ///
    /// # Errors
    /// A failure of the disk, after all records before it; from then on the same again.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        consume_budget().await;
        loop {
            if let Some(record) = self.take() {
                return Ok(Some(record));
            }
            // On its own line: the lock must be released before the wait.
            let end = self.shared.queue().end();
            if let Some(end) = end {
                return end.map(|()| None);
            }
            self.shared.data.notified().await;
        }
    }

    /// The next record if it is in memory now, else `None`, also at the end. Asks the disk thread for the next if not.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn try_next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(record) = self.take() {
            return Ok(Some(record));
        }
        self.shared.queue().end().transpose().map(|_| None)
    }

    /// How full the log is.
    pub fn stats(&self) -> Stats {
        self.shared.queue().stats()
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut queue = self.shared.queue();
        let record = queue.take();
        if queue.writer_waits {
            self.shared.room.notify_one();
        }
        if queue.wants_read().is_some() {
            self.bell.ring();
        }
        record
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.reader_gone = true;
        self.shared.wake(&queue);
    }
}

#[cfg(test)]
mod tests;
