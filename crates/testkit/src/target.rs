//! Where cargo puts its output, found at run time: the servers and the built binary live there.

use std::env;
use std::path::{Path, PathBuf};

/// Cargo's target directory: `CARGO_TARGET_DIR`, else the one the running program is in, else the workspace's own.
pub fn target_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR") {
        // Cargo reads a relative value from where it was called; that is the workspace root in all of our scripts.
        return workspace.join(dir);
    }
    let own = env::current_exe().unwrap_or_default();
    let tagged = own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    match tagged {
        Some(dir) => dir.to_path_buf(),
        None => workspace.join("target"),
    }
}

/// The folder of the profile that the running program was built with (`target/debug`), so that tests run a binary of their own kind.
pub(crate) fn profile_dir() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let dir = own.parent()?;
    let is_nested = dir.ends_with("deps") || dir.ends_with("examples");
    Some(if is_nested { dir.parent()?.to_path_buf() } else { dir.to_path_buf() })
}

/// Where `scripts/install` unpacks servers and where data folder templates are kept.
pub(crate) fn servers_dir() -> PathBuf {
    target_dir().join("servers")
}
