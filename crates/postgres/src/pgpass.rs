//! The password file: `~/.pgpass`, `PGPASSFILE` or `passfile`.
//!
//! It owns the file's format and libpq's rule that a file which others can read is not used. It knows nothing of connecting.
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use crate::connect::Secret;
use std::{os::unix::fs::PermissionsExt, path::Path};

/// No sane password file is larger; what is larger is some other file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a password is looked up for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The host's name, or `localhost` for the default socket folder, or the socket folder.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: &'a str,
    /// The user.
    pub user: &'a str,
}

/// Reads the file. A file that is not there is no password; one that cannot be trusted or read gives a warning instead.
pub fn read(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("the password file {shown} was not used: {e}")),
    };
    if !metadata.is_file() {
        return Err(format!("the password file {shown} was not used: it is not a plain file"));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o777;
        return Err(format!(
            "the password file {shown} was not used: its mode is {mode:04o}, so that others than its owner may read or change it; \
             `chmod 0600 {shown}`"
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!(
            "the password file {shown} was not used: it is larger than {FILE_BYTES_MAX} bytes"
        ));
    }
    std::fs::read_to_string(path)
        .map(Some)
        .map_err(|e| format!("the password file {shown} was not used: {e}"))
}

/// The password in the first line that fits.
pub fn find(text: &str, wanted: Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut rest = line;
        let fits = [wanted.host, &port, wanted.database, wanted.user].iter().all(|value| {
            let (field, after) = split(rest);
            rest = after.unwrap_or_default();
            after.is_some() && (field == "*" || unescape(field) == **value)
        });
        if fits {
            return Some(Secret::new(unescape(split(rest).0)));
        }
    }
    None
}

/// The field up to the next colon that is not escaped, and what follows it.
fn split(text: &str) -> (&str, Option<&str>) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}

fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'_> = Wanted { host: "db1", port: 5432, database: "shop", user: "app" };

    fn found(text: &str, wanted: Wanted<'_>) -> Option<String> {
        find(text, wanted).map(|s| s.reveal().to_owned())
    }

    #[test]
    fn first_line_that_fits_wins() {
        let text =
            "# comment:with:colons:in:it\n\ndb2:5432:shop:app:wrong\ndb1:*:*:app:right\n*:*:*:*:late\n";
        assert_eq!(found(text, WANTED).as_deref(), Some("right"));
        assert_eq!(found(text, Wanted { host: "db3", ..WANTED }).as_deref(), Some("late"));
        assert_eq!(found("db1:5433:shop:app:x", WANTED), None);
        assert_eq!(found("db1:5432:shop:app", WANTED), None);
    }

    #[test]
    fn colons_and_backslashes_are_escaped() {
        let text = r"\:\:1:5432:a\\b:u\:v:p\:w\\d:ignored";
        let wanted = Wanted { host: "::1", database: r"a\b", user: "u:v", ..WANTED };
        assert_eq!(found(text, wanted).as_deref(), Some(r"p:w\d"));
    }

    #[test]
    fn escaped_star_is_a_star() {
        assert_eq!(found(r"\*:*:*:*:x", WANTED), None);
        assert_eq!(found(r"\*:*:*:*:x", Wanted { host: "*", ..WANTED }).as_deref(), Some("x"));
    }

    #[test]
    fn file_that_others_may_read_is_not_used() {
        let path = std::env::temp_dir().join(format!("shadowswap-pgpass-{}", std::process::id()));
        std::fs::write(&path, "*:*:*:*:x").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let warning = read(&path).unwrap_err();
        assert!(warning.contains("0640") && warning.contains("chmod 0600"), "{warning}");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("*:*:*:*:x"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&path), Ok(None));
    }
}
