//! The decoder of pgoutput's messages (protocol 1 to 4): bytes in, one [`Message`] out.
//!
//! It owns the wire layout and nothing else: it knows no catalog, remembers no relation and no transaction. Whether a message stands
//! inside a streamed block (and so carries an xid after its type byte) is the caller's to say. Values are never copied: each is a
//! slice of the message, which keeps the buffer of the network read alive as long as it lives.
//!
//! Invariant: no bytes make it panic or allocate more than a small multiple of their own number. Every count is checked against the
//! bytes that are left before anything is reserved, and a message must end exactly where its layout ends.
//!
//! Layout: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use crate::replication::Lsn;
use bytes::Bytes;

/// One message of pgoutput.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A transaction begins; its changes follow at once.
    Begin(Begin),
    /// The transaction that began last ends.
    Commit(Commit),
    /// The transaction came from elsewhere.
    Origin(Origin),
    /// The definition of a table, sent before its first change and after each time that it may have changed.
    Relation(Relation),
    /// A type that is not built in.
    Type(Type),
    /// A row is new.
    Insert(Insert),
    /// A row has changed.
    Update(Update),
    /// A row is gone.
    Delete(Delete),
    /// Tables were emptied.
    Truncate(Truncate),
    /// A message of `pg_logical_emit_message`.
    Logical(Logical),
    /// A part of a transaction that is still running follows.
    StreamStart(StreamStart),
    /// That part ends.
    StreamStop,
    /// A transaction that was streamed in parts has committed.
    StreamCommit(StreamCommit),
    /// A transaction that was streamed in parts, or a part of it, was rolled back.
    StreamAbort(StreamAbort),
}

/// The begin of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where its commit record begins.
    pub final_lsn: Lsn,
    /// Microseconds since 2000-01-01 UTC.
    pub timestamp: i64,
    /// Without the epoch.
    pub xid: u32,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where its commit record begins.
    pub commit_lsn: Lsn,
    /// Where the next record begins: the position to confirm.
    pub end_lsn: Lsn,
    /// Microseconds since 2000-01-01 UTC.
    pub timestamp: i64,
}

/// Where a transaction came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its commit there.
    pub commit_lsn: Lsn,
    /// The name of the replication origin.
    pub name: String,
}

/// What decides how a table's old rows are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key.
    Default,
    /// Nothing: updates and deletes cannot be published.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of a chosen unique index.
    Index,
}

/// A table's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The subtransaction, inside a streamed block.
    pub xid: Option<u32>,
    /// The table's OID.
    pub oid: u32,
    /// Its schema. `pg_catalog` comes as an empty name and is filled in.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its replica identity.
    pub identity: Identity,
    /// The published columns, in the order of the tuples.
    pub columns: Vec<RelationColumn>,
}

/// A column of a table's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Part of the replica identity. With `FULL` that is every column: take the key from the catalog instead.
    pub is_key: bool,
    /// Its name.
    pub name: String,
    /// Its type's OID.
    pub type_oid: u32,
    /// Its type modifier, -1 for none.
    pub type_modifier: i32,
}

/// A type that is not built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// The subtransaction, inside a streamed block.
    pub xid: Option<u32>,
    /// The type's OID.
    pub oid: u32,
    /// Its schema.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A new row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    /// The subtransaction, inside a streamed block.
    pub xid: Option<u32>,
    /// The table's OID.
    pub relation: u32,
    /// The row.
    pub new: Tuple,
}

/// A changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The subtransaction, inside a streamed block.
    pub xid: Option<u32>,
    /// The table's OID.
    pub relation: u32,
    /// What is known of the row before.
    pub old: Old,
    /// The row after. Large values that did not change are [`Column::Unchanged`], even where the identity is `FULL`.
    pub new: Tuple,
}

/// A row that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The subtransaction, inside a streamed block.
    pub xid: Option<u32>,
    /// The table's OID.
    pub relation: u32,
    /// What is known of the row; never `None`.
    pub old: Old,
}

/// Emptied tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// The subtransaction, inside a streamed block.
    pub xid: Option<u32>,
    /// With `CASCADE`.
    pub cascade: bool,
    /// With `RESTART IDENTITY`.
    pub restart_identity: bool,
    /// The tables' OIDs.
    pub relations: Vec<u32>,
}

/// A message of `pg_logical_emit_message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logical {
    /// The subtransaction, inside a streamed block.
    pub xid: Option<u32>,
    /// Part of a transaction; otherwise it was sent whatever became of that.
    pub transactional: bool,
    /// Its place in the log.
    pub lsn: Lsn,
    /// Whose message it is.
    pub prefix: String,
    /// What it says.
    pub content: Bytes,
}

/// The begin of a part of a running transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStart {
    /// The top-level transaction.
    pub xid: u32,
    /// The first part of it.
    pub first: bool,
}

/// The commit of a transaction that was streamed in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCommit {
    /// The top-level transaction.
    pub xid: u32,
    /// Where its commit record begins.
    pub commit_lsn: Lsn,
    /// Where the next record begins: the position to confirm.
    pub end_lsn: Lsn,
    /// Microseconds since 2000-01-01 UTC.
    pub timestamp: i64,
}

/// The rollback of a transaction that was streamed in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAbort {
    /// The top-level transaction.
    pub xid: u32,
    /// The subtransaction; the same number as `xid` if all is rolled back.
    pub subxid: u32,
    /// The place of the abort record and its time: only with `streaming = parallel` (protocol 4).
    pub at: Option<(Lsn, i64)>,
}

/// What is known of a row as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Old {
    /// Nothing was sent: the key did not change.
    None,
    /// Only the columns of the replica identity; the others say `Null` and mean nothing.
    Key(Tuple),
    /// The whole row.
    Full(Tuple),
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// One for each column of the last [`Relation`].
    pub columns: Vec<Column>,
}

/// A value. The format is the column's own: one without a binary output function comes as text among binary ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// NULL, or not part of the key in [`Old::Key`].
    Null,
    /// A large value, stored apart, that did not change and was not sent.
    Unchanged,
    /// As the type's output function writes it.
    Text(Bytes),
    /// As the type's send function writes it.
    Binary(Bytes),
}

/// Bytes that are no message of pgoutput.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends before its layout does.
    #[error("the message of type {kind:?} ends early: {wanted} more bytes were due at byte {at}")]
    Short {
        /// Its type.
        kind: char,
        /// Bytes that were due.
        wanted: usize,
        /// Where.
        at: usize,
    },
    /// The message goes on after its layout has ended.
    #[error("the message of type {kind:?} has {left} bytes too many")]
    Long {
        /// Its type.
        kind: char,
        /// Bytes that are left.
        left: usize,
    },
    /// A type that this decoder does not know.
    #[error("unknown message type {0:?}")]
    Kind(char),
    /// A byte that says what follows, and is none of the known ones.
    #[error("the message of type {kind:?} has an unknown {what}: byte {byte:#04x}")]
    Byte {
        /// Its type.
        kind: char,
        /// What the byte should have been.
        what: &'static str,
        /// The byte.
        byte: u8,
    },
    /// A name that is not UTF-8.
    #[error("the message of type {kind:?} has a name that is not UTF-8")]
    Name {
        /// Its type.
        kind: char,
    },
}

/// Decodes one message. `in_stream` says that it came between a stream start and a stream stop.
///
/// # Errors
/// The bytes are no message of pgoutput, or of a type that is not known here. Nothing is skipped.
pub fn decode(data: &Bytes, in_stream: bool) -> Result<Message, DecodeError> {
    let Some(kind) = data.first() else {
        return Err(DecodeError::Short { kind: ' ', wanted: 1, at: 0 });
    };
    let mut r = Reader { all: data, at: 1, kind: char::from(*kind) };
    // Inside a streamed block these types, and only these, carry the subtransaction.
    let xid = match kind {
        b'I' | b'U' | b'D' | b'R' | b'T' | b'Y' | b'M' if in_stream => Some(r.u32()?),
        _ => None,
    };
    let message = match kind {
        b'I' => {
            let relation = r.u32()?;
            r.expect(b'N', "tuple kind")?;
            Message::Insert(Insert { xid, relation, new: r.tuple()? })
        }
        b'U' => {
            let relation = r.u32()?;
            let old = match r.u8()? {
                b'K' => Old::Key(r.tuple()?),
                b'O' => Old::Full(r.tuple()?),
                b'N' => Old::None,
                byte => return Err(r.unknown("tuple kind", byte)),
            };
            if !matches!(old, Old::None) {
                r.expect(b'N', "tuple kind")?;
            }
            Message::Update(Update { xid, relation, old, new: r.tuple()? })
        }
        b'D' => {
            let relation = r.u32()?;
            let old = match r.u8()? {
                b'K' => Old::Key(r.tuple()?),
                b'O' => Old::Full(r.tuple()?),
                byte => return Err(r.unknown("tuple kind", byte)),
            };
            Message::Delete(Delete { xid, relation, old })
        }
        b'B' => Message::Begin(Begin { final_lsn: r.lsn()?, timestamp: r.i64()?, xid: r.u32()? }),
        b'C' => {
            r.u8()?;
            Message::Commit(Commit { commit_lsn: r.lsn()?, end_lsn: r.lsn()?, timestamp: r.i64()? })
        }
        b'O' => Message::Origin(Origin { commit_lsn: r.lsn()?, name: r.string()? }),
        b'R' => Message::Relation(r.relation(xid)?),
        b'Y' => Message::Type(Type { xid, oid: r.u32()?, namespace: r.namespace()?, name: r.string()? }),
        b'T' => {
            let count = r.u32()? as usize;
            let options = r.u8()?;
            r.has(count.saturating_mul(4))?;
            let relations = (0..count).map(|_| r.u32()).collect::<Result<_, _>>()?;
            let (cascade, restart_identity) = (options & 1 != 0, options & 2 != 0);
            Message::Truncate(Truncate { xid, cascade, restart_identity, relations })
        }
        b'M' => {
            let transactional = r.u8()? & 1 != 0;
            let (lsn, prefix) = (r.lsn()?, r.string()?);
            let size = r.u32()? as usize;
            Message::Logical(Logical { xid, transactional, lsn, prefix, content: r.bytes(size)? })
        }
        b'S' => Message::StreamStart(StreamStart { xid: r.u32()?, first: r.u8()? != 0 }),
        b'E' => Message::StreamStop,
        b'c' => {
            let xid = r.u32()?;
            r.u8()?;
            let (commit_lsn, end_lsn, timestamp) = (r.lsn()?, r.lsn()?, r.i64()?);
            Message::StreamCommit(StreamCommit { xid, commit_lsn, end_lsn, timestamp })
        }
        b'A' => {
            let (xid, subxid) = (r.u32()?, r.u32()?);
            let at = if r.left() > 0 { Some((r.lsn()?, r.i64()?)) } else { None };
            Message::StreamAbort(StreamAbort { xid, subxid, at })
        }
        _ => return Err(DecodeError::Kind(r.kind)),
    };
    match r.left() {
        0 => Ok(message),
        left => Err(DecodeError::Long { kind: r.kind, left }),
    }
}

struct Reader<'a> {
    all: &'a Bytes,
    at: usize,
    kind: char,
}

impl Reader<'_> {
    fn left(&self) -> usize {
        self.all.len().saturating_sub(self.at)
    }

    fn short(&self, wanted: usize) -> DecodeError {
        DecodeError::Short { kind: self.kind, wanted: wanted - self.left().min(wanted), at: self.all.len() }
    }

    fn unknown(&self, what: &'static str, byte: u8) -> DecodeError {
        DecodeError::Byte { kind: self.kind, what, byte }
    }

    /// That many bytes are there.
    fn has(&self, size: usize) -> Result<(), DecodeError> {
        if size <= self.left() { Ok(()) } else { Err(self.short(size)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let found = self.all.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).copied();
        let found = found.ok_or_else(|| self.short(N))?;
        self.at += N;
        Ok(found)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    fn lsn(&mut self) -> Result<Lsn, DecodeError> {
        self.array().map(|b| Lsn(u64::from_be_bytes(b)))
    }

    fn bytes(&mut self, size: usize) -> Result<Bytes, DecodeError> {
        self.has(size)?;
        let found = self.all.slice(self.at..self.at + size);
        self.at += size;
        Ok(found)
    }

    /// Text that ends with a zero byte.
    fn string(&mut self) -> Result<String, DecodeError> {
        let rest = self.all.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == 0).ok_or_else(|| self.short(rest.len() + 1))?;
        let text = std::str::from_utf8(&rest[..end]).map_err(|_| DecodeError::Name { kind: self.kind })?;
        self.at += end + 1;
        Ok(text.to_owned())
    }

    fn namespace(&mut self) -> Result<String, DecodeError> {
        let name = self.string()?;
        Ok(if name.is_empty() { "pg_catalog".to_owned() } else { name })
    }

    fn expect(&mut self, wanted: u8, what: &'static str) -> Result<(), DecodeError> {
        match self.u8()? {
            byte if byte == wanted => Ok(()),
            byte => Err(self.unknown(what, byte)),
        }
    }

    fn tuple(&mut self) -> Result<Tuple, DecodeError> {
        let count = usize::from(self.u16()?);
        // Each column takes a byte at least, so that the count cannot ask for more room than the message is worth.
        self.has(count)?;
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            columns.push(match self.u8()? {
                b'n' => Column::Null,
                b'u' => Column::Unchanged,
                b't' => {
                    let size = self.u32()? as usize;
                    Column::Text(self.bytes(size)?)
                }
                b'b' => {
                    let size = self.u32()? as usize;
                    Column::Binary(self.bytes(size)?)
                }
                byte => return Err(self.unknown("column kind", byte)),
            });
        }
        Ok(Tuple { columns })
    }

    fn relation(&mut self, xid: Option<u32>) -> Result<Relation, DecodeError> {
        let (oid, namespace, name) = (self.u32()?, self.namespace()?, self.string()?);
        let identity = match self.u8()? {
            b'd' => Identity::Default,
            b'n' => Identity::Nothing,
            b'f' => Identity::Full,
            b'i' => Identity::Index,
            byte => return Err(self.unknown("replica identity", byte)),
        };
        let count = usize::from(self.u16()?);
        // Flags, an empty name, type and modifier: ten bytes a column at least.
        self.has(count * 10)?;
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let is_key = self.u8()? & 1 != 0;
            let (name, type_oid) = (self.string()?, self.u32()?);
            let type_modifier = self.array().map(i32::from_be_bytes)?;
            columns.push(RelationColumn { is_key, name, type_oid, type_modifier });
        }
        Ok(Relation { xid, oid, namespace, name, identity, columns })
    }
}

#[cfg(test)]
mod tests;
