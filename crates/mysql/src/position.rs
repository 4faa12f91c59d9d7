//! Points in the binlog.

use shadowswap_core::Error;
use std::{fmt, str::FromStr};

/// A point in the binlog between two transactions.
///
/// Its text is `gtids|file:offset`. With GTIDs a stream goes on by them, and file and offset only say where that was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// MySQL: the executed set. MariaDB: the last transaction of each domain. Without GTIDs: `@` and the UUID of the server whose files
    /// these are; empty where that was not noted.
    pub gtids: String,
    /// The binlog file: `bin.000012`.
    pub file: String,
    /// Bytes from the file's beginning; beyond 4 GiB too.
    pub offset: u64,
}

impl shadowswap_core::Position for Position {}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}:{}", self.gtids, self.file, self.offset)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Position, Error> {
        // Neither kind of GTID has a bar in it; a file's name may have nearly anything.
        let read = || {
            let (gtids, place) = text.split_once('|')?;
            let (file, offset) = place.rsplit_once(':')?;
            Some(Position { gtids: gtids.to_owned(), file: file.to_owned(), offset: offset.parse().ok()? })
        };
        read().ok_or_else(|| Error::corrupt(format!("this is no position in a binlog: {text:?}")))
    }
}

/// The number of a binlog file: its suffix.
///
/// # Errors
/// `Corrupt` if there is none.
pub fn file_number(file: &str) -> Result<u64, Error> {
    let suffix = file.rsplit_once('.').map(|(_, suffix)| suffix);
    suffix
        .filter(|s| s.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| Error::corrupt(format!("the binlog file {file:?} has no number at its end")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_their_text() {
        for (gtids, file, offset) in [
            ("0-1-155,1-2-7", "bin.000012", 4),
            ("", "a|b:c.000001", 5_000_000_000),
            ("u:1-5,v:t:1", "", 0),
            ("@9a1b-2", "bin.000001", 4),
        ] {
            let position = Position { gtids: gtids.into(), file: file.into(), offset };
            assert_eq!(position.to_string().parse::<Position>().expect("its own text"), position);
        }
        for text in ["", "0-1-2", "0-1-2|bin.000001", "|bin.000001:x", "|bin.000001:-1"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn files_are_numbered_by_their_suffix() {
        assert_eq!(file_number("my.host-bin.000012").expect("a number"), 12);
        assert_eq!(file_number("bin.1000000").expect("a number"), 1_000_000);
        assert!(
            file_number("bin").is_err() && file_number("bin.").is_err() && file_number("bin.+1").is_err()
        );
    }
}
