//! Which transactions a read is sure to include.

use crate::gtid::GtidSet;
use bincode::{Decode, Encode};

/// The name of a transaction in the binlog.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Tx {
    /// MySQL with GTIDs.
    Gtid {
        /// The server it was born on.
        source: [u8; 16],
        /// Its tag; empty: none.
        tag: String,
        /// Its number.
        number: u64,
    },
    /// MariaDB, and MySQL without GTIDs: where it begins.
    Place {
        /// The number at the end of the file's name.
        file: u64,
        /// Bytes from the file's beginning.
        offset: u64,
    },
    /// No transaction: a marker that is a place in the binlog. It touches no row.
    Mark,
}

impl shadowswap_core::TxId for Tx {}

/// The transactions that a read includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Floor {
    /// MySQL with GTIDs: `@@global.gtid_executed` before the read.
    Gtids(GtidSet),
    /// MariaDB: the binlog's position of a consistent snapshot. A transaction that begins before it is included.
    Place {
        /// The number at the end of the file's name.
        file: u64,
        /// Bytes from the file's beginning.
        offset: u64,
    },
    /// Reads that lock what they read wait for every transaction that is in the binlog and not yet committed.
    All,
}

impl shadowswap_core::Floor<Tx> for Floor {
    fn includes(&self, tx: &Tx) -> bool {
        match (self, tx) {
            (_, Tx::Mark) => true,
            (Floor::All, Tx::Gtid { .. } | Tx::Place { .. }) => true,
            (Floor::Gtids(set), Tx::Gtid { source, tag, number }) => set.contains(source, tag, *number),
            (Floor::Place { file, offset }, Tx::Place { file: tx_file, offset: tx_offset }) => {
                (tx_file, tx_offset) < (file, offset)
            }
            // A floor of one kind says nothing of a transaction of the other: it is not sure to be included.
            (Floor::Gtids(_), Tx::Place { .. }) | (Floor::Place { .. }, Tx::Gtid { .. }) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowswap_core::Floor as _;

    #[test]
    fn places_are_compared_by_file_and_then_offset() {
        let floor = Floor::Place { file: 12, offset: 500 };
        let at = |file, offset| Tx::Place { file, offset };
        assert!(floor.includes(&at(12, 499)) && floor.includes(&at(11, 5_000_000_000)));
        assert!(!floor.includes(&at(12, 500)) && !floor.includes(&at(13, 4)));
    }

    #[test]
    fn gtids_are_included_by_their_set_only() {
        let set: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:t:7".parse().expect("a set");
        let mut source = [0; 16];
        source.copy_from_slice(b"\x3e\x11\xfa\x47\x71\xca\x11\xe1\x9e\x33\xc8\x0a\xa9\x42\x95\x62");
        let tx = |tag: &str, number| Tx::Gtid { source, tag: tag.into(), number };
        let floor = Floor::Gtids(set);
        assert!(floor.includes(&tx("", 5)) && floor.includes(&tx("t", 7)));
        assert!(!floor.includes(&tx("", 6)) && !floor.includes(&tx("t", 5)));
        assert!(!floor.includes(&Tx::Place { file: 0, offset: 0 }));
        assert!(Floor::All.includes(&tx("", 6)));
        assert!(floor.includes(&Tx::Mark));
    }
}
