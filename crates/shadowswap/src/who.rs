//! Who we are, for the control tables: others must find the process or the person.

use std::{env, fs};

/// `host:pid`: the process that carries a migration.
pub fn runner() -> String {
    format!("{}:{}", host(), std::process::id())
}

/// `user@host`: the person behind a command.
pub fn operator() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| env::var(name).ok());
    format!("{}@{}", user.as_deref().map_or("unknown", str::trim), host())
}

fn host() -> String {
    // The kernel's word is what other machines know; the files and the variable are for systems without /proc.
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .or_else(|| env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_string())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_string())
}
