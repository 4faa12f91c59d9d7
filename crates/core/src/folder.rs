//! The change log's folder, one for each process and migration.

use std::path::{Path, PathBuf};
use tracing::warn;

/// This process's folder for a migration.
pub fn of(directory: &Path, migration: i64) -> PathBuf {
    directory.join(format!("shadowswap-{}-{migration}", std::process::id()))
}

/// Removes it.
pub fn remove(folder: &Path) {
    if folder.exists()
        && let Err(e) = std::fs::remove_dir_all(folder)
    {
        warn!(folder = %folder.display(), error = %e, "could not remove the change log");
    }
}

/// Removes the change logs of processes that are gone. What was in them is read again from the server.
pub fn forget_dead(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|n| n.strip_prefix("shadowswap-")?.split_once('-')?.0.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            && let Err(e) = std::fs::remove_dir_all(entry.path())
        {
            warn!(folder = %entry.path().display(), error = %e, "could not remove the change log of a process that is gone");
        }
    }
}
