//! The only map from the server's error numbers to what to do next.

use mysql_async::Error as Driver;
use shadowswap_core::{Error, Kind};
use std::fmt::Display;

/// Waiting for a lock took too long.
pub const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// The statement was ended by `KILL QUERY`.
pub const QUERY_INTERRUPTED: u16 = 1317;
/// A value is there already where it must be unique.
pub const DUPLICATE: u16 = 1062;

/// The server's (or the driver's) error, with what was being tried.
pub fn server(e: Driver, what: impl Display) -> Error {
    match &e {
        Driver::Server(answer) => {
            let message = format!("{what}: error {} ({}) {}", answer.code, answer.state, answer.message);
            Error::new(kind(answer.code), message).because(e)
        }
        Driver::Io(_) => Error::transient(format!("{what}: {e}")).because(e),
        Driver::Driver(_) if is_closed(&e) => Error::transient(format!("{what}: {e}")).because(e),
        Driver::Driver(_) | Driver::Other(_) | Driver::Url(_) => {
            Error::corrupt(format!("{what}: {e}")).because(e)
        }
    }
}

fn is_closed(e: &Driver) -> bool {
    use mysql_async::DriverError as D;
    matches!(e, Driver::Driver(D::ConnectionClosed | D::PacketOutOfOrder | D::PoolDisconnected))
}

/// The server's error number, if it was the server that answered.
pub fn code(e: &Error) -> Option<u16> {
    match e.source.as_deref().and_then(|s| s.downcast_ref::<Driver>()) {
        Some(Driver::Server(answer)) => Some(answer.code),
        Some(_) | None => None,
    }
}

fn kind(code: u16) -> Kind {
    match code {
        // Lock wait timeout, deadlock, a row that changed since the snapshot (MariaDB, if somebody has it so), interrupted, too many connections, out of memory, shutdown, killed, statement timeouts,
        // a lost connection as the server words it, the semi-synchronous replica's absence.
        1205
        | 1213
        | 1020
        | 1317
        | 1040
        | 1203
        | 1037
        | 1038
        | 1041
        | 1053
        | 1077
        | 1079
        | 1080
        | 1152
        | 1158..=1161
        | 1184
        | 1689
        | 1907
        | 1927
        | 1969
        | 2006
        | 2013
        | 3024
        | 3168
        | 4031 => Kind::Transient,
        // Disk full, table full.
        1021 | 1114 | 1026 => Kind::Interrupted,
        // Duplicates, NULL where there must be none, out of range, cut off, wrong or impossible values, violated checks, JSON and
        // geometry that are none, division by zero.
        1022 | 1048 | 1062 | 1138 | 1169 | 1263 | 1264 | 1265 | 1292 | 1364 | 1365 | 1366 | 1367 | 1406
        | 1411 | 1416 | 1441 | 1451 | 1452 | 1526 | 1586 | 1690 | 1916 | 3140 | 3141 | 3144 | 3156 | 3819
        | 3854 | 4025 | 4078 => Kind::Unfit,
        // Corrupted tables and indexes; the binlog that is asked for is not there.
        1034 | 1194 | 1195 | 1236 | 1712 => Kind::Corrupt,
        _ => Kind::Refused,
    }
}
