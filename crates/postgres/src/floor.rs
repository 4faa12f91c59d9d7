//! Snapshots as floors: which transactions a read is sure to include.

use bincode::{Decode, Encode};
use shadowswap_core::{Error, Floor, Result};

/// A transaction's 32-bit number, as pgoutput's Begin carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Xid(pub u32);

impl shadowswap_core::TxId for Xid {}

/// What `pg_current_snapshot()` said: 64-bit numbers, top-level transactions only, which is what the stream names too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything below is over.
    pub xmin: u64,
    /// Everything from here on had not begun.
    pub xmax: u64,
    /// In between, these were still running.
    pub running: Vec<u64>,
}

impl Snapshot {
    /// Reads `xmin:xmax:xip,xip`.
    pub fn parse(text: &str) -> Result<Snapshot> {
        let read = || {
            let mut parts = text.split(':');
            let (xmin, xmax, list) =
                (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
            let mut running = Vec::new();
            for xid in list.split(',').filter(|x| !x.is_empty()) {
                running.push(xid.parse().ok()?);
            }
            running.sort_unstable();
            parts.next().is_none().then_some(Snapshot { xmin, xmax, running })
        };
        read().ok_or_else(|| {
            Error::corrupt(format!("the server gave a snapshot that cannot be read: {text:?}"))
        })
    }

    /// The 64-bit number of a transaction of the stream: the one nearest to this snapshot.
    fn widen(&self, xid: Xid) -> u64 {
        const ROUND: u64 = 1 << 32;
        const HALF: u64 = 1 << 31;
        let near = (self.xmax & !(ROUND - 1)) | u64::from(xid.0);
        if near > self.xmax + HALF && near >= ROUND {
            near - ROUND
        } else if near + HALF < self.xmax {
            near + ROUND
        } else {
            near
        }
    }
}

impl Floor<Xid> for Snapshot {
    fn includes(&self, tx: &Xid) -> bool {
        let xid = self.widen(*tx);
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_and_future_transactions_are_not_included() {
        let s = Snapshot::parse("10:20:12,15").expect("valid");
        assert!(s.includes(&Xid(9)) && s.includes(&Xid(11)) && s.includes(&Xid(19)));
        assert!(
            !s.includes(&Xid(12)) && !s.includes(&Xid(15)) && !s.includes(&Xid(20)) && !s.includes(&Xid(21))
        );
        assert!(Snapshot::parse("10:20:").expect("valid").includes(&Xid(15)));
        assert!(Snapshot::parse("10:x:").is_err());
    }

    #[test]
    fn wraparound_of_the_streams_32_bits_is_seen() {
        let e = 1_u64 << 32;
        let s = Snapshot { xmin: e + 5, xmax: e + 5, running: vec![] };
        assert!(s.includes(&Xid(u32::MAX)), "a transaction of the epoch before");
        assert!(s.includes(&Xid(4)));
        assert!(!s.includes(&Xid(6)));
        let s = Snapshot { xmin: e - 5, xmax: e - 5, running: vec![] };
        assert!(!s.includes(&Xid(3)), "a transaction of the epoch to come");
    }
}
