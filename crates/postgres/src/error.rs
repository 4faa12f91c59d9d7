//! The only map from SQLSTATE to what to do next.

use shadowswap_core::{Error, Kind};
use std::fmt::Display;

/// The server's (or the driver's) error, with what was being tried.
pub fn server(e: tokio_postgres::Error, what: impl Display) -> Error {
    let Some(db) = e.as_db_error() else {
        let cause = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        // Without an answer of the server it is the connection, or a value that the driver cannot read.
        let kind = if e.is_closed() || e.to_string().contains("communicating") {
            Kind::Transient
        } else {
            Kind::Corrupt
        };
        return Error::new(kind, format!("{what}: {e}{cause}")).because(e);
    };
    let code = db.code().code();
    let mut message = format!("{what}: {code} {}", db.message());
    if let Some(detail) = db.detail() {
        message.push_str(&format!(" ({detail})"));
    }
    if let Some(hint) = db.hint() {
        message.push_str(&format!("; hint: {hint}"));
    }
    Error::new(kind(code), message).because(e)
}

fn kind(code: &str) -> Kind {
    match code {
        // Serialization failure, deadlock, lock timeout, cancelled; a session that the server ended for being silent in a transaction.
        "40001" | "40P01" | "55P03" | "57014" | "25P03" | "25P04" => Kind::Transient,
        // Connection exceptions, out of resources, shutdown and recovery, object in use.
        _ if code.starts_with("08")
            || code.starts_with("53")
            || code.starts_with("57P")
            || code == "55006" =>
        {
            Kind::Transient
        }
        // Data exceptions and violated constraints: the rows do not fit the new definition.
        _ if code.starts_with("22") || code.starts_with("23") => Kind::Unfit,
        // Corruption of the server's own data.
        _ if code.starts_with("XX") => Kind::Corrupt,
        _ => Kind::Refused,
    }
}
