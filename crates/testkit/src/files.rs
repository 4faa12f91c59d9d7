//! Files of servers: folders made once and copied from then on, and a folder for each server.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::{Statvfs, statvfs};
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::process::{Account, output, temp_base};
use crate::target::servers_dir;

/// What a server's folder lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// The disk.
    Disk,
    /// Memory, if there is much of it: for servers that do not sync anyway. (Measured: a sixth of the tests' processor time went into ext4
    /// making and deleting small files.)
    Memory,
}

/// A file system in memory.
const MEMORY: &str = "/dev/shm";
/// So much must be free there.
const MEMORY_BYTES_MIN: u64 = 8 << 30;

impl Medium {
    /// The medium of a server that syncs, or does not.
    pub(crate) fn of(syncs: bool) -> Medium {
        if syncs { Medium::Disk } else { Medium::Memory }
    }

    fn base(self) -> PathBuf {
        let free = |found: Statvfs| found.blocks_available() * found.fragment_size();
        let has_room =
            self == Medium::Memory && statvfs(MEMORY).is_ok_and(|found| free(found) >= MEMORY_BYTES_MIN);
        if has_room { PathBuf::from(MEMORY) } else { temp_base() }
    }
}

/// A server's own folder, which is the servers' account's. `kind` is part of its name.
pub(crate) fn new_dir(kind: &str, medium: Medium) -> Result<TempDir, String> {
    let made = tempfile::Builder::new().prefix(&format!("shadowswap-{kind}-")).tempdir_in(medium.base());
    let dir = made.map_err(|e| format!("no temporary folder: {e}"))?;
    Account::for_servers().own_one(dir.path())?;
    Ok(dir)
}

/// Adds text to the end of a file, which is made if there is none.
pub(crate) fn append(file: &Path, text: &str) -> Result<(), String> {
    let opened = OpenOptions::new().create(true).append(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| format!("cannot write {}: {e}", file.display()))
}

/// Root's servers run as `nobody`, to whom a checkout below /root is closed: copies `root` out once, and returns `bin` in the copy.
pub(crate) fn copy_out(bin: &Path, root: &Path, name: &str) -> Result<PathBuf, String> {
    let copy = temp_base().join(format!("shadowswap-server-{name}"));
    let inside = bin.strip_prefix(root).map_err(|e| e.to_string())?;
    make_once(&copy, |partial| {
        output(Command::new("cp").arg("-a").arg(root).arg(partial))?;
        output(Command::new("chmod").args(["-R", "a+rX"]).arg(partial)).map(|_| ())
    })?;
    let owner = fs::metadata(&copy).map_err(|e| format!("{}: {e}", copy.display()))?.uid();
    if owner != Uid::effective().as_raw() {
        return Err(format!("{} is not ours; remove it", copy.display()));
    }
    Ok(copy.join(inside))
}

/// Makes a folder whole or not at all, once, however many processes want it at the same time.
pub(crate) fn make_once(dir: &Path, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let at = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let parent = dir.parent().ok_or("a folder without a parent")?;
    fs::create_dir_all(parent).map_err(|e| at(parent, e))?;
    // All locks lie in the target folder, which is ours; a fixed name in /tmp could be someone else's.
    let locks = servers_dir();
    fs::create_dir_all(&locks).map_err(|e| at(&locks, e))?;
    let name = dir.file_name().ok_or("a folder without a name")?.to_string_lossy();
    let lock = locks.join(format!("{name}.lock"));
    let file = File::create(&lock).map_err(|e| at(&lock, e))?;
    file.lock().map_err(|e| at(&lock, e))?;
    if dir.is_dir() {
        return Ok(());
    }
    let partial = parent.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| at(&partial, e))?;
    }
    make(&partial)?;
    fs::rename(&partial, dir).map_err(|e| at(dir, e))
}
