//! Sets of transactions: MySQL's executed GTID sets, and MariaDB's last number of each domain.

use mysql_common::packets::{GnoInterval, Sid, Tag};
use shadowswap_core::{Error, Result};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The greatest number that MySQL gives to a transaction, plus one, so that an end that is not included fits.
const NUMBER_END: u64 = i64::MAX as u64;
/// The longest tag.
const TAG_CHARS_MAX: usize = 32;

/// A server's number and a tag; empty: none.
type Source = ([u8; 16], String);

/// A set of MySQL's transactions: for each source and tag (`""`: none), intervals of numbers.
///
/// Intervals are `[first, end)`, ascending, and neither overlap nor touch; no source is without an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    sources: BTreeMap<Source, Vec<(u64, u64)>>,
}

impl GtidSet {
    /// Whether the transaction is in the set.
    pub fn contains(&self, source: &[u8; 16], tag: &str, number: u64) -> bool {
        // The map's key owns its tag; a tag is short, and most are empty, which allocates nothing.
        let Some(intervals) = self.sources.get(&(*source, tag.to_owned())) else { return false };
        let after = intervals.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).and_then(|i| intervals.get(i)).is_some_and(|(_, end)| number < *end)
    }

    /// Whether every transaction of the other set is in this one.
    pub fn includes(&self, other: &GtidSet) -> bool {
        other.sources.iter().all(|(source, intervals)| {
            let mine = self.sources.get(source).map(Vec::as_slice).unwrap_or_default();
            intervals.iter().all(|of| mine.iter().any(|i| i.0 <= of.0 && of.1 <= i.1))
        })
    }

    /// Adds one transaction.
    ///
    /// # Errors
    /// `Corrupt` if the number is none that a server gives.
    pub fn insert(&mut self, source: &[u8; 16], tag: &str, number: u64) -> Result<()> {
        if number == 0 || number >= NUMBER_END {
            return Err(Error::corrupt(format!("{number} is no number of a transaction")));
        }
        self.add(*source, tag, number, number + 1);
        Ok(())
    }

    /// Adds `[first, end)`, and merges what overlaps or touches.
    fn add(&mut self, source: [u8; 16], tag: &str, first: u64, end: u64) {
        let intervals = self.sources.entry((source, tag.to_owned())).or_default();
        // The usual case: the next number of the last interval.
        if let Some(last) = intervals.last_mut()
            && last.1 == first
        {
            last.1 = end;
            return;
        }
        let from = intervals.partition_point(|i| i.1 < first);
        let to = intervals.partition_point(|i| i.0 <= end);
        let merged = intervals.get(from..to).unwrap_or_default();
        let first = merged.first().map_or(first, |i| i.0.min(first));
        let end = merged.last().map_or(end, |i| i.1.max(end));
        intervals.splice(from..to.max(from), [(first, end)]);
    }

    /// Whether no transaction is in it.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The set in the driver's words, for the request of a dump.
    ///
    /// # Errors
    /// `Corrupt` if a tag is none.
    pub fn sids(&self) -> Result<Vec<Sid<'static>>> {
        let mut sids = Vec::with_capacity(self.sources.len());
        for ((source, tag), intervals) in &self.sources {
            let intervals = intervals.iter().map(|(first, end)| GnoInterval::new(*first, *end));
            let sid = Sid::new(*source).with_intervals(intervals.collect());
            sids.push(if tag.is_empty() {
                sid
            } else {
                let tag = Tag::new(tag.clone());
                sid.with_tag(
                    tag.map_err(|e| Error::corrupt("a GTID's tag cannot be sent to the server").because(e))?,
                )
            });
        }
        Ok(sids)
    }
}

impl FromStr for GtidSet {
    type Err = Error;

    /// Reads `uuid:1-5:7-9,uuid:tag:1-3`, in any order, with blanks and line ends anywhere between the parts.
    fn from_str(text: &str) -> Result<GtidSet> {
        let wrong = || Error::corrupt(format!("this is no set of GTIDs: {text:?}"));
        let mut set = GtidSet::default();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let mut parts = entry.split(':').map(str::trim);
            let source = parts.next().and_then(uuid).ok_or_else(wrong)?;
            let (mut tag, mut has_interval) = (String::new(), false);
            for part in parts {
                if let Some((first, end)) = interval(part) {
                    set.add(source, &tag, first, end);
                    has_interval = true;
                } else if is_tag(part) {
                    tag = part.to_ascii_lowercase();
                    has_interval = false;
                } else {
                    return Err(wrong());
                }
            }
            if !has_interval {
                return Err(wrong());
            }
        }
        Ok(set)
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, ((source, tag), intervals)) in self.sources.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            for (at, byte) in source.iter().enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    f.write_str("-")?;
                }
                write!(f, "{byte:02x}")?;
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for (first, end) in intervals {
                match end - 1 {
                    last if last == *first => write!(f, ":{first}")?,
                    last => write!(f, ":{first}-{last}")?,
                }
            }
        }
        Ok(())
    }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().filter(|b| *b != b'-').map(|b| char::from(b).to_digit(16));
    let mut out = [0; 16];
    for byte in &mut out {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    digits.next().is_none().then_some(out)
}

/// `[first, end)` of `7` or `7-9`.
fn interval(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    (first > 0 && first <= last && last < NUMBER_END).then_some((first, last + 1))
}

fn is_tag(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.len() <= TAG_CHARS_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The last transaction of each domain of MariaDB: `domain-server-sequence`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MariaState {
    domains: BTreeMap<u32, (u32, u64)>,
}

impl MariaState {
    /// The transaction is the last of its domain now.
    pub fn set(&mut self, domain: u32, server: u32, sequence: u64) {
        self.domains.insert(domain, (server, sequence));
    }

    /// The last transaction of a domain: server and sequence.
    pub fn last(&self, domain: u32) -> Option<(u32, u64)> {
        self.domains.get(&domain).copied()
    }
}

impl MariaState {
    /// Whether a stream that is here has given everything up to the other state. Numbers of one server only grow; those of two servers
    /// in one domain say nothing of each other.
    pub fn has_reached(&self, other: &MariaState) -> bool {
        other.domains.iter().all(|(domain, (server, sequence))| {
            self.last(*domain).is_some_and(|(mine, at)| mine == *server && at >= *sequence)
        })
    }
}

impl FromStr for MariaState {
    type Err = Error;

    fn from_str(text: &str) -> Result<MariaState> {
        let mut state = MariaState::default();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let read = || {
                let mut parts = entry.split('-');
                let domain = parts.next()?.parse().ok()?;
                let (server, sequence) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
                parts.next().is_none().then_some((domain, server, sequence))
            };
            let (domain, server, sequence) =
                read().ok_or_else(|| Error::corrupt(format!("this is no MariaDB GTID: {entry:?}")))?;
            state.set(domain, server, sequence);
        }
        Ok(state)
    }
}

impl fmt::Display for MariaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (domain, (server, sequence))) in self.domains.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
