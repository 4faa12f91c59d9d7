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

/// Removes what processes that were killed left of transactions that they had set aside: `…/changelog/NAME.PID.N.spool`.
fn forget_spools(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory.join(shadowswap_changelog::FOLDER)) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let pid = name.strip_suffix(".spool").and_then(|n| n.rsplit('.').nth(1)?.parse::<u32>().ok());
        if pid.is_some_and(is_gone)
            && let Err(e) = std::fs::remove_file(&path)
        {
            warn!(file = %path.display(), error = %e, "could not remove what a process that is gone had set aside");
        }
    }
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// Removes the change logs of processes that are gone. What was in them is read again from the server.
pub fn forget_dead(directory: &Path) {
    forget_spools(directory);
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|n| n.strip_prefix("shadowswap-")?.split_once('-')?.0.parse::<u32>().ok());
        if pid.is_some_and(is_gone)
            && let Err(e) = std::fs::remove_dir_all(entry.path())
        {
            warn!(folder = %entry.path().display(), error = %e, "could not remove the change log of a process that is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_processes_left_is_removed() {
        let directory = tempfile::tempdir().expect("a folder");
        let folder = directory.path().join(shadowswap_changelog::FOLDER);
        let (dead, alive) = (u32::MAX, std::process::id());
        let of = |pid| {
            [
                folder.join(format!("streamed-1-7.{pid}.0.spool")),
                directory.path().join(format!("shadowswap-{pid}-1/x")),
            ]
        };
        let others =
            [folder.join("notes"), directory.path().join("shadowswap-journal-1-ab/0000000000.journal")];
        for path in of(dead).iter().chain(&of(alive)).chain(&others) {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, "x").expect("a file");
        }
        forget_dead(directory.path());
        assert!(of(dead).iter().all(|path| !path.exists()));
        assert!(of(alive).iter().chain(&others).all(|path| path.exists()));
    }
}
