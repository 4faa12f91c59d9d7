//! QUERY events: a statement, its default database, and how its session reads it.

use super::statement::Dialect;
use crate::decode::{Bytes, DecodeError, inflate};
use std::borrow::Cow;

const ANSI_QUOTES: u64 = 4;
const NO_BACKSLASH_ESCAPES: u64 = 0x10_0000;
/// So much of a statement is shown to people.
const EXCERPT_CHARS: usize = 120;

/// A statement.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub database: String,
    pub dialect: Dialect,
    pub sql: Cow<'a, [u8]>,
}

impl<'a> Query<'a> {
    /// Reads QUERY (2), EXECUTE_LOAD_QUERY (18) or MariaDB's compressed QUERY (165).
    pub(crate) fn read(kind: u8, data: &'a [u8]) -> Result<Query<'a>, DecodeError> {
        let mut bytes = Bytes(data);
        // Session and duration.
        bytes.take(8)?;
        let database_size = usize::from(bytes.u8()?);
        // An error code: a statement that failed half way is logged with it, and counts like any other.
        bytes.take(2)?;
        let variables_size = bytes.number(2)? as usize;
        if kind == 18 {
            // A file's number, two places in the statement, what to do with duplicates.
            bytes.take(4 + 4 + 4 + 1)?;
        }
        let dialect = dialect(bytes.take(variables_size)?);
        let database = String::from_utf8_lossy(bytes.take(database_size)?).into_owned();
        bytes.take(1)?;
        let sql = if kind == 165 { Cow::Owned(inflate(bytes.0)?) } else { Cow::Borrowed(bytes.0) };
        Ok(Query { database, dialect, sql })
    }

    /// Its beginning, for people.
    pub(crate) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.sql);
        let mut words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = words.char_indices().nth(EXCERPT_CHARS) {
            words.truncate(end);
            words.push('…');
        }
        words
    }
}

/// The session's `sql_mode`: variable 1, behind variable 0, in front of all others on both products.
fn dialect(variables: &[u8]) -> Dialect {
    let mut bytes = Bytes(variables);
    let mut mode = || {
        let mut variable = bytes.u8()?;
        if variable == 0 {
            bytes.take(4)?;
            variable = bytes.u8()?;
        }
        if variable == 1 { bytes.number(8) } else { Ok(0) }
    };
    let mode = mode().unwrap_or(0);
    Dialect { ansi_quotes: mode & ANSI_QUOTES != 0, no_backslashes: mode & NO_BACKSLASH_ESCAPES != 0 }
}
