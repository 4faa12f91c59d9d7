//! The events that name a transaction, and which transactions are behind us.

use super::{Raw, Shape};
use crate::{
    decode::{Bytes, DecodeError},
    flavor::{Product, Server},
    floor::Tx,
    gtid::{GtidSet, MariaState},
};
use mysql_common::{
    binlog::{
        BinlogCtx,
        consts::BinlogVersion,
        events::{FormatDescriptionEvent, GtidEvent},
    },
    io::ParseBuf,
    proto::MyDeserialize,
};
use shadowswap_core::{Error, Result};
use std::fmt;

/// MariaDB: one event makes the whole transaction.
const MARIA_STANDALONE: u8 = 1;

/// What names a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gtid {
    MySql {
        source: [u8; 16],
        tag: String,
        number: u64,
        committed: i64,
    },
    Maria {
        domain: u32,
        server: u32,
        sequence: u64,
    },
    /// MySQL without GTIDs; newer servers still say when it committed.
    None {
        committed: i64,
    },
}

impl Gtid {
    /// Microseconds since 1970; 0: not known.
    pub(crate) fn committed(&self) -> i64 {
        match self {
            Gtid::MySql { committed, .. } | Gtid::None { committed } => *committed,
            Gtid::Maria { .. } => 0,
        }
    }

    /// Its name, where it is not named by its place.
    pub(crate) fn tx(&self) -> Option<Tx> {
        match self {
            Gtid::MySql { source, tag, number, .. } => {
                Some(Tx::Gtid { source: *source, tag: tag.clone(), number: *number })
            }
            Gtid::Maria { .. } | Gtid::None { .. } => None,
        }
    }
}

/// Whether a position is behind us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Yes,
    No,
    /// It names no transactions, but it is of this server: its place tells.
    AskPlace,
}

/// The transactions that are behind us.
#[derive(Clone, Debug)]
pub(crate) enum Gtids {
    MySql(GtidSet),
    Maria(MariaState),
    /// What the position says instead of them: which server it is of.
    None(String),
}

impl Gtids {
    pub(crate) fn new(server: &Server, text: &str) -> Result<Gtids> {
        Ok(match (server.product, server.has_gtids) {
            (Product::MariaDb, _) => Gtids::Maria(text.parse()?),
            (Product::MySql, true) => Gtids::MySql(text.parse()?),
            (Product::MySql, false) => Gtids::None(text.to_owned()),
        })
    }

    /// Whether a transaction may come without any event that names it.
    pub(crate) fn may_be_absent(&self) -> bool {
        matches!(self, Gtids::None(_))
    }

    /// Whether the transaction is behind us.
    pub(crate) fn has(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (Gtids::MySql(set), Gtid::MySql { source, tag, number, .. }) => {
                set.contains(source, tag, *number)
            }
            // MariaDB's numbers may go back where several servers write one domain; the server alone knows what comes next.
            (Gtids::MySql(_) | Gtids::Maria(_) | Gtids::None(_), _) => false,
        }
    }

    /// Whether everything that a position names is behind us.
    pub(crate) fn has_reached(&self, text: &str) -> Reached {
        let reached = match self {
            Gtids::MySql(set) => text.parse().is_ok_and(|other| set.includes(&other)),
            Gtids::Maria(state) => text.parse().is_ok_and(|other| state.has_reached(&other)),
            Gtids::None(server) if server == text => return Reached::AskPlace,
            Gtids::None(_) => false,
        };
        if reached { Reached::Yes } else { Reached::No }
    }

    /// The transaction is behind us now.
    pub(crate) fn add(&mut self, gtid: &Gtid) -> Result<()> {
        match (self, gtid) {
            (Gtids::MySql(set), Gtid::MySql { source, tag, number, .. }) => set.insert(source, tag, *number),
            (Gtids::Maria(state), Gtid::Maria { domain, server, sequence }) => {
                state.set(*domain, *server, *sequence);
                Ok(())
            }
            (Gtids::MySql(_) | Gtids::Maria(_) | Gtids::None(_), _) => Ok(()),
        }
    }

    /// Reads an event that names a transaction, and how the transaction ends.
    pub(crate) fn read(&self, raw: &Raw<'_>) -> Result<(Gtid, Shape)> {
        let read = match raw.kind {
            162 => maria(raw),
            42 => tagged(raw),
            _ => untagged(raw).map(|gtid| (gtid, Shape::Unknown)),
        };
        let (gtid, shape) = read.map_err(|e| {
            Error::corrupt(format!("the name of a transaction in the binlog cannot be read: {e}"))
        })?;
        match (self, &gtid) {
            (Gtids::MySql(_), Gtid::MySql { .. }) | (Gtids::Maria(_), Gtid::Maria { .. }) => Ok((gtid, shape)),
            // Named by its place whether it has a GTID or not.
            (Gtids::None(_), _) => Ok((Gtid::None { committed: gtid.committed() }, shape)),
            (Gtids::MySql(_) | Gtids::Maria(_), _) => Err(Error::refused(
                "the binlog has a transaction without a GTID: gtid_mode was changed while the table was being copied",
            )
            .next("set gtid_mode back to ON, then abort and run again")),
        }
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtids::MySql(set) => set.fmt(f),
            Gtids::Maria(state) => state.fmt(f),
            Gtids::None(server) => f.write_str(server),
        }
    }
}

/// GTID and ANONYMOUS_GTID. Read by hand: the driver refuses an event that has more at its end than it knows.
fn untagged(raw: &Raw<'_>) -> Result<Gtid, DecodeError> {
    /// The logical clock is there: two numbers, and behind it the times.
    const HAS_CLOCK: u8 = 2;
    /// Of the 55 bits of a time; the bit above says that another follows.
    const TIME: u64 = (1 << 55) - 1;
    let mut bytes = Bytes(raw.data);
    bytes.take(1)?;
    let source = <[u8; 16]>::try_from(bytes.take(16)?).map_err(DecodeError::new)?;
    let number = bytes.number(8)?;
    let mut committed = 0;
    // 5.6 ends here, and 5.7 has no times.
    if !bytes.is_empty() && bytes.u8()? == HAS_CLOCK {
        bytes.take(16)?;
        // The time of this server's commit comes first; the one of the server where it was born follows if it is another.
        committed = bytes.number(7).map_or(0, |time| (time & TIME).cast_signed());
    }
    Ok(match raw.kind {
        34 => Gtid::None { committed },
        _ => Gtid::MySql { source, tag: String::new(), number, committed },
    })
}

/// GTID_TAGGED, in the server's serialization format, which the driver knows.
fn tagged(raw: &Raw<'_>) -> Result<(Gtid, Shape), DecodeError> {
    let fde = FormatDescriptionEvent::new(BinlogVersion::Version4);
    let ctx = BinlogCtx::new(raw.data.len(), &fde, raw.kind);
    let event = GtidEvent::deserialize(ctx, &mut ParseBuf(raw.data)).map_err(DecodeError::new)?;
    let gtid = Gtid::MySql {
        source: event.sid(),
        tag: event.tag().map(|t| t.as_str().to_owned()).unwrap_or_default(),
        number: event.gno(),
        committed: event.immediate_commit_timestamp().cast_signed(),
    };
    Ok((gtid, Shape::Unknown))
}

fn maria(raw: &Raw<'_>) -> Result<(Gtid, Shape), DecodeError> {
    let mut bytes = Bytes(raw.data);
    let sequence = bytes.number(8)?;
    let domain = u32::try_from(bytes.number(4)?).map_err(DecodeError::new)?;
    let flags = bytes.u8()?;
    let shape = if flags & MARIA_STANDALONE != 0 { Shape::Single } else { Shape::Many };
    Ok((Gtid::Maria { domain, server: raw.server, sequence }, shape))
}
