//! The service file: named sets of connection parameters in `~/.pg_service.conf` or the system's `pg_service.conf`.
//!
//! It owns the file's format and nothing of what the parameters mean.
//! <https://www.postgresql.org/docs/current/libpq-pgservice.html>

use std::{io::Read, path::Path};

/// No sane service file is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Parameters in the order of the file.
pub type Parameters = Vec<(String, String)>;

/// The parameters of a service in a file. `None` if the file is not there or does not name the service.
pub fn read(path: &Path, service: &str) -> Result<Option<Parameters>, String> {
    let shown = path.display();
    let failed = |e: &dyn std::fmt::Display| format!("the service file {shown} cannot be read: {e}");
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(&e)),
    };
    let mut text = String::new();
    // A device says that it has no size.
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| failed(&e))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(&format_args!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    find(&text, service).map_err(|(line, what)| format!("{shown}, line {line}: {what}"))
}

/// The parameters of a service. An error has the line's number and what is wrong with it, without the line: it may hold a password.
fn find(text: &str, service: &str) -> Result<Option<Parameters>, (usize, &'static str)> {
    let mut found: Option<Parameters> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            let name = name.strip_suffix(']').ok_or((at + 1, "a section's name has no closing bracket"))?;
            if name == service {
                found = Some(Vec::new());
            }
            continue;
        }
        let Some(parameters) = &mut found else { continue };
        if line.starts_with("ldap") && !line.contains('=') {
            return Err((at + 1, "looking services up with LDAP is not supported"));
        }
        let (name, value) = line.split_once('=').ok_or((at + 1, "neither a section nor name=value"))?;
        let name = name.trim();
        if name == "service" || name == "servicefile" {
            return Err((at + 1, "a service cannot name another service"));
        }
        parameters.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# services\n[other]\nhost=elsewhere\nbroken\n\n[shop]\nhost=db1\n port = 5433 \noptions=-c a=b\n[later]\nhost=no\n";

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn only_the_named_section_is_read() {
        let expected = vec![pair("host", "db1"), pair("port", "5433"), pair("options", "-c a=b")];
        assert_eq!(find(TEXT, "shop"), Ok(Some(expected)));
        assert_eq!(find(TEXT, "absent"), Ok(None));
    }

    #[test]
    fn mistakes_name_their_line() {
        assert_eq!(find(TEXT, "other"), Err((4, "neither a section nor name=value")));
        assert_eq!(find("[a]\nservice=b", "a").unwrap_err().0, 2);
        assert_eq!(find("[a\nhost=b", "a").unwrap_err().0, 1);
    }

    #[test]
    fn missing_file_is_no_service() {
        assert_eq!(read(Path::new("/nonexistent/pg_service.conf"), "shop"), Ok(None));
    }
}
