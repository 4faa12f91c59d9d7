//! Events of the binlog to what the core wants to know: transactions that touch the source, our markers, and how far it is.
//!
//! This is where nothing may be overlooked. It knows no connection: events go in as bytes, in order. Invariants:
//!
//! 1. A type of event that is not listed in [`Assembly::take`] stops the run.
//! 2. A transaction is given as a whole: what has begun must end by an event that says so before anything else comes. A compressed
//!    transaction that is less than whole is noticed by this, too.
//! 3. The position moves at the end of a transaction and nowhere else.

mod gtids;
mod place;
mod query;
mod statement;
pub(crate) mod swap;

use crate::{
    catalog::Table,
    decode::{Layout, Outline, Plan, Rows, TableMap, marker_map, markers},
    flavor::Server,
    floor::Tx,
    position::Position,
};
use gtids::{Gtids, Reached};
use place::Place;
use query::Query;
use shadowswap_core::{Change, Error, Kind, Result};
use statement::{Meaning, Names};
use std::collections::{HashMap, HashSet, VecDeque};
use swap::Behind;

/// What comes out of the change stream, in commit order; the core's own event without an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction begins that has something of ours; it follows at once.
    Begin {
        /// Its name.
        tx: Tx,
        /// When it was committed, in microseconds since 1970; whole seconds on MariaDB.
        committed: i64,
    },
    /// One row's change in the transaction that began last.
    Change(Change),
    /// One of our own markers, in the transaction that began last.
    Marker(u64),
    /// The transaction that began last ends. The stream goes on after it at this position.
    Commit(Position),
    /// Nothing of ours comes before this position any more.
    Progress(Position),
}

/// An event as it came, without its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    pub kind: u8,
    /// Seconds since 1970.
    pub timestamp: u32,
    /// The server that it was born on.
    pub server: u32,
    pub size: u32,
    /// Where it ends, in 32 bits; 0: it is in no file.
    pub end_low: u32,
    pub flags: u16,
    pub data: &'a [u8],
}

/// What is done with a long row event, as its table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Long {
    /// Nobody looks at its rows.
    PassedOver,
    /// Only at what is not too long to be carried.
    Cut(Outline),
    Whole,
}

/// The server made it up for us; it is in no file.
const ARTIFICIAL: u16 = 0x20;

/// What is looked for in the binlog.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub source: Table,
    pub key: Vec<String>,
    pub rereads: bool,
    pub control_schema: String,
    pub migration: i64,
    /// Swaps that were made: after one the new table changes and the old one follows, after two it is the other way round again.
    pub turn: i64,
    /// Everything before this swap is left out.
    pub behind: Option<Behind>,
}

/// Puts events together.
pub(crate) struct Assembly {
    wanted: Wanted,
    names: Names,
    gtids: Gtids,
    place: Place,
    /// Without GTIDs: transactions that begin before this offset of the first file are done.
    done_before: Option<(u64, u64)>,
    maps: HashMap<u64, Mapped>,
    /// The plan, with the definition that it was made for.
    plan: Option<(Vec<u8>, Plan)>,
    group: Option<Group>,
    ready: VecDeque<Event>,
    /// XA transactions may have been prepared before the stream began and be undecided yet: nobody could look.
    fears_xa: bool,
    /// Those that were prepared since, with nothing of ours.
    prepared: HashSet<Vec<u8>>,
}

/// So many prepared XA transactions are remembered.
const PREPARED_MAX: usize = 10_000;

/// What a table's number stands for, within a transaction.
enum Mapped {
    Other,
    Source,
    Marker(Vec<Layout>),
}

/// A transaction that has begun.
struct Group {
    tx: Tx,
    gtid: gtids::Gtid,
    shape: Shape,
    committed: i64,
    /// Its name, if it is an XA transaction.
    xid: Option<Vec<u8>>,
    /// Something of ours was given.
    gave: bool,
    /// It was done before: nothing of it is given.
    skipped: bool,
    /// Its events come out of a compressed one.
    packed: bool,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The first statement will tell.
    Unknown,
    /// With one statement.
    Single,
    /// With XID or COMMIT.
    Many,
    /// With XA PREPARE.
    Xa,
}

impl Assembly {
    /// Goes on behind `from`. `is_whole`: the server sends the file from its head, whatever the position.
    pub(crate) fn new(wanted: Wanted, server: &Server, from: &Position, is_whole: bool) -> Result<Assembly> {
        let names = Names {
            schema: wanted.source.schema.clone(),
            table: wanted.source.name.clone(),
            ignores_case: server.lower_case != 0,
        };
        let place = if is_whole { Place::at_head(&from.file)? } else { Place::new(&from.file, from.offset)? };
        let done_before = is_whole.then_some((place.number, from.offset));
        Ok(Assembly {
            wanted,
            names,
            gtids: Gtids::new(server, &from.gtids)?,
            place,
            done_before,
            maps: HashMap::new(),
            plan: None,
            group: None,
            ready: VecDeque::new(),
            fears_xa: false,
            prepared: HashSet::new(),
        })
    }

    /// From now on the commit of an XA transaction whose preparation was not seen stops the run: its rows are in neither the stream nor
    /// the copy.
    pub(crate) fn fear_xa(&mut self) {
        self.fears_xa = true;
    }

    /// The next finished event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Where the stream is, if no transaction is open and it has come to where it begins.
    pub(crate) fn position(&self) -> Option<Position> {
        (self.group.is_none() && self.wanted.behind.is_none()).then(|| self.position_now())
    }

    /// The swap that the stream begins behind must have come by before the binlog's end.
    pub(crate) fn has_its_swap(&self) -> Result<()> {
        let Some(behind) = self.wanted.behind.as_ref().filter(|b| self.has_come(&b.upto)) else {
            return Ok(());
        };
        Err(Error::corrupt(format!(
            "the statement that swapped the names (swap {} of migration {}) is not in the binlog, so that it cannot be told which \
             changes of {} came after it",
            behind.turn(),
            self.wanted.migration,
            self.name()
        )))
    }

    fn position_now(&self) -> Position {
        Position { gtids: self.gtids.to_string(), file: self.place.file.clone(), offset: self.place.offset }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// Whatever must stop the run; see the head of this file.
    pub(crate) fn take(&mut self, raw: &Raw<'_>) -> Result<()> {
        if self.group.as_ref().is_some_and(|g| g.packed && raw.end_low != 0) {
            return Err(self.cut_short("a compressed transaction could not be unpacked whole"));
        }
        match raw.kind {
            2 | 165 => self.query(raw),
            33 | 34 | 42 | 162 => self.begin(raw),
            16 => {
                self.pass(raw);
                self.commit(raw)
            }
            38 => self.prepare(raw),
            19 => self.map(raw),
            _ if Rows::is_rows(raw.kind) => self.rows(raw),
            40 => {
                self.pass(raw);
                let group = self.group.as_mut().ok_or_else(|| outside(raw.kind))?;
                group.packed = true;
                Ok(())
            }
            4 => self.rotate(raw),
            // The head of a file, and its end.
            15 => self.head(raw),
            3 => self.between("the server stopped"),
            26 => Err(Error::corrupt(
                "the server says that its binlog lacks something (an incident event): changes may be missing",
            )
            .next("nothing was swapped; abort, and run again")),
            // LOAD DATA in statement format: the statement itself, behind its file's blocks.
            18 => self.load(raw),
            kind if is_passed_over(kind) => {
                self.pass(raw);
                Ok(())
            }
            // Between transactions: heartbeats (27, 41).
            27 | 41 => Ok(()),
            // The transactions of former files (35, MariaDB 163), which files a recovery needs (MariaDB 161), how the file is encrypted
            // on the server's disk (MariaDB 164).
            35 | 161 | 163 | 164 => {
                self.pass_between(raw);
                Ok(())
            }
            kind => Err(Error::corrupt(format!(
                "the binlog has an event of type {kind}, which is not known here"
            ))
            .next("nothing was swapped; abort, and report this with the server's version")),
        }
    }

    /// What is done with long rows of this table.
    pub(crate) fn long(&self, table: u64) -> Long {
        let is_skipped = self.group.as_ref().is_none_or(|g| g.skipped);
        match (self.maps.get(&table), &self.plan) {
            (Some(Mapped::Source), Some((_, plan))) if !is_skipped => Long::Cut(plan.outline()),
            (Some(Mapped::Marker(_)), _) if !is_skipped => Long::Whole,
            _ => Long::PassedOver,
        }
    }

    /// Counts the place on within a transaction. Gives where the event begins.
    fn pass(&mut self, raw: &Raw<'_>) -> u64 {
        let is_in_file = raw.end_low != 0 && raw.flags & ARTIFICIAL == 0;
        if is_in_file { self.place.pass(raw.size, raw.end_low) } else { self.place.offset }
    }

    fn pass_between(&mut self, raw: &Raw<'_>) {
        if self.group.is_none() && raw.end_low != 0 && raw.flags & ARTIFICIAL == 0 {
            self.place.pass_between(raw.size, raw.end_low);
        }
    }

    /// Gives the marker if everything up to this position has come, and no transaction is open. With GTIDs they alone tell: a place in
    /// another server's binlog says nothing, and neither do the GTIDs of a server that the stream is not of.
    pub(crate) fn mark(&mut self, upto: &Position, token: u64) -> bool {
        let is_there = self.wanted.behind.is_none() && self.has_come(upto);
        if is_there {
            let position = self.position_now();
            let begin = Event::Begin { tx: Tx::Mark, committed: 0 };
            self.ready.extend([begin, Event::Marker(token), Event::Commit(position)]);
        }
        is_there
    }

    /// Whether everything up to this position has come, and no transaction is open.
    fn has_come(&self, upto: &Position) -> bool {
        self.group.is_none()
            && match self.gtids.has_reached(&upto.gtids) {
                Reached::Yes => true,
                Reached::No => false,
                Reached::AskPlace => crate::position::file_number(&upto.file)
                    .is_ok_and(|file| self.place.has_reached(file, upto.offset)),
            }
    }

    fn begin(&mut self, raw: &Raw<'_>) -> Result<()> {
        self.between("a transaction began")?;
        let offset = self.pass(raw);
        let (gtid, shape) = self.gtids.read(raw)?;
        // MariaDB: what stands before a transaction in the binlog is written when it is committed, and has that time.
        let committed = match gtid.committed() {
            0 => i64::from(raw.timestamp) * 1_000_000,
            micros => micros,
        };
        self.open(gtid, shape, offset, committed);
        Ok(())
    }

    fn open(&mut self, gtid: gtids::Gtid, shape: Shape, offset: u64, committed: i64) {
        let tx = gtid.tx().unwrap_or(Tx::Place { file: self.place.number, offset });
        let is_done = |(number, before)| self.place.number == number && offset < before;
        let skipped =
            self.wanted.behind.is_some() || self.done_before.is_some_and(is_done) || self.gtids.has(&gtid);
        self.maps.clear();
        self.group =
            Some(Group { tx, gtid, shape, committed, xid: None, gave: false, skipped, packed: false });
    }

    fn query(&mut self, raw: &Raw<'_>) -> Result<()> {
        let offset = self.pass(raw);
        let query = Query::read(raw.kind, raw.data)
            .map_err(|e| Error::corrupt(format!("a statement in the binlog cannot be read: {e}")))?;
        let meaning = statement::meaning(&query.sql, &query.database, query.dialect, &self.names);
        if self.group.is_none() {
            if !self.gtids.may_be_absent() {
                return Err(outside(raw.kind));
            }
            // Servers before 5.7 without GTIDs put nothing in front of a transaction.
            let begun = i64::from(raw.timestamp) * 1_000_000;
            self.open(gtids::Gtid::None { committed: 0 }, Shape::Unknown, offset, begun);
        }
        let Some(group) = &mut self.group else { return Err(outside(raw.kind)) };
        if group.shape == Shape::Unknown {
            group.shape = match meaning {
                Meaning::Begin => Shape::Many,
                Meaning::XaStart => Shape::Xa,
                _ => Shape::Single,
            };
        }
        let (is_single, gave, skipped) = (group.shape == Shape::Single, group.gave, group.skipped);
        if self.wanted.behind.as_ref().is_some_and(|b| b.is_made_by(&query.sql, query.dialect)) {
            self.wanted.behind = None;
            return self.end();
        }
        match meaning {
            Meaning::Commit => return self.commit(raw),
            Meaning::Rollback | Meaning::RollbackTo if gave => {
                return Err(self.unfit(format!(
                    "a transaction with changes of {} was rolled back after it was written to the binlog, as happens with tables \
                     that know no transactions; what became of its rows cannot be told",
                    self.name()
                )));
            }
            Meaning::Rollback => return self.end(),
            // What is tied to the table after a swap only stands in the way of the next one.
            Meaning::Ties if self.wanted.turn > 0 => {}
            Meaning::Definition | Meaning::Ties if !skipped => {
                let what =
                    format!("{} was changed while it was {}: {}", self.name(), self.doing(), query.excerpt());
                return Err(self.unfit(what));
            }
            Meaning::Writes if !skipped => return Err(self.in_statement_format(&query)),
            Meaning::XaEnd => group.xid = Some(statement::xid(&query.sql)),
            Meaning::XaCommit if self.fears_xa => {
                let is_harmless = self.prepared.remove(&statement::xid(&query.sql));
                if !is_harmless && !skipped {
                    return Err(self.unseen_xa(&query));
                }
            }
            _ => {}
        }
        if is_single { self.end() } else { Ok(()) }
    }

    fn load(&mut self, raw: &Raw<'_>) -> Result<()> {
        self.pass(raw);
        let query = Query::read(raw.kind, raw.data)
            .map_err(|e| Error::corrupt(format!("a LOAD DATA in the binlog cannot be read: {e}")))?;
        let meaning = statement::meaning(&query.sql, &query.database, query.dialect, &self.names);
        let group = self.group.as_ref().ok_or_else(|| outside(raw.kind))?;
        if meaning != Meaning::Other && !group.skipped {
            return Err(self.in_statement_format(&query));
        }
        if matches!(group.shape, Shape::Unknown | Shape::Single) { self.end() } else { Ok(()) }
    }

    /// XA PREPARE, or XA COMMIT … ONE PHASE.
    fn prepare(&mut self, raw: &Raw<'_>) -> Result<()> {
        self.pass(raw);
        let is_one_phase = raw.data.first().is_some_and(|b| *b != 0);
        if is_one_phase {
            return self.commit(raw);
        }
        if self.group.as_ref().is_some_and(|g| g.gave) {
            return Err(self.unfit(format!(
                "an XA transaction with changes of {} was prepared; XA transactions on this table are not supported while it is \
                 {}, since they are in the binlog long before it is known whether they commit",
                self.name(),
                self.doing()
            )));
        }
        let xid = self.group.as_mut().and_then(|g| g.xid.take());
        if self.fears_xa && self.prepared.len() < PREPARED_MAX {
            self.prepared.extend(xid);
        }
        self.end()
    }

    fn unseen_xa(&self, query: &Query<'_>) -> Error {
        self.unfit(format!(
            "an XA transaction was committed that may have been prepared before the changes were followed ({}): if it has rows of {}, \
             they would be missing",
            query.excerpt(),
            self.name()
        ))
        .next("nothing was swapped; grant XA_RECOVER_ADMIN, so that it can be seen whether any is prepared, and run again")
    }

    fn map(&mut self, raw: &Raw<'_>) -> Result<()> {
        self.pass(raw);
        if self.group.is_none() {
            return Err(outside(raw.kind));
        }
        let (id, map) = TableMap::read(raw.data)
            .map_err(|e| Error::corrupt(format!("a TABLE_MAP in the binlog cannot be read: {e}")))?;
        let (schema, table) = (String::from_utf8_lossy(map.schema()), String::from_utf8_lossy(map.name()));
        let mapped = if self.names.is_source(&schema, &table) {
            let is_same = self.plan.as_ref().is_some_and(|(of, _)| of == map.definition());
            let is_skipped = self.group.as_ref().is_some_and(|g| g.skipped);
            if !is_same && !is_skipped {
                let Wanted { source, key, rereads, .. } = &self.wanted;
                self.plan = Some((map.definition().to_vec(), Plan::new(&map, source, key, *rereads)?));
            }
            Mapped::Source
        } else if table == "marker" && schema.eq_ignore_ascii_case(&self.wanted.control_schema) {
            let layouts = marker_map(&map);
            Mapped::Marker(layouts.map_err(|e| Error::corrupt(format!("the table {schema}.marker: {e}")))?)
        } else {
            Mapped::Other
        };
        self.maps.insert(id, mapped);
        Ok(())
    }

    fn rows(&mut self, raw: &Raw<'_>) -> Result<()> {
        self.pass(raw);
        let group = self.group.as_mut().ok_or_else(|| outside(raw.kind))?;
        if !matches!(group.shape, Shape::Many | Shape::Xa) {
            return Err(outside(raw.kind));
        }
        let unreadable = |e| Error::corrupt(format!("rows in the binlog cannot be read: {e}"));
        // The rows of other tables are not even inflated.
        let table = Rows::table(raw.data).map_err(unreadable)?;
        match self.maps.get(&table) {
            Some(Mapped::Other) => Ok(()),
            Some(Mapped::Source | Mapped::Marker(_)) if group.skipped => Ok(()),
            Some(Mapped::Source) => {
                let rows = Rows::read(raw.kind, raw.data).map_err(unreadable)?;
                let (_, plan) = self.plan.as_ref().ok_or_else(|| outside(raw.kind))?;
                begin_once(group, &mut self.ready);
                plan.walk(&rows, |change| self.ready.push_back(Event::Change(change)))
            }
            Some(Mapped::Marker(layouts)) => {
                let rows = Rows::read(raw.kind, raw.data).map_err(unreadable)?;
                let tokens = markers(layouts, &rows, self.wanted.migration).map_err(unreadable)?;
                for token in tokens {
                    begin_once(group, &mut self.ready);
                    self.ready.push_back(Event::Marker(token));
                }
                Ok(())
            }
            None if Rows::read(raw.kind, raw.data).is_ok_and(|rows| rows.is_empty()) => Ok(()),
            None => Err(Error::corrupt(format!(
                "the binlog has rows of table {table}, which it did not announce"
            ))),
        }
    }

    fn commit(&mut self, raw: &Raw<'_>) -> Result<()> {
        let gave = self.group.as_ref().ok_or_else(|| outside(raw.kind))?.gave;
        self.end()?;
        if gave {
            let position = self.position_now();
            self.ready.push_back(Event::Commit(position));
        }
        Ok(())
    }

    /// The transaction is over, and the position behind it.
    fn end(&mut self) -> Result<()> {
        match self.group.take() {
            Some(group) => self.gtids.add(&group.gtid),
            None => Ok(()),
        }
    }

    fn rotate(&mut self, raw: &Raw<'_>) -> Result<()> {
        self.between("the binlog went on to the next file")?;
        let (offset, name) = raw.data.split_at_checked(8).ok_or_else(|| outside(raw.kind))?;
        let offset = offset.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let name = std::str::from_utf8(name)
            .map_err(|e| Error::corrupt("the name of a binlog file is not UTF-8").because(e))?;
        self.place.rotate(name, offset.max(place::FILE_HEAD))
    }

    /// The head of a file says how long the fixed parts of events are. All servers since 5.1 have the same.
    fn head(&mut self, raw: &Raw<'_>) -> Result<()> {
        const LENGTHS: usize = 2 + 50 + 4 + 1;
        const DUE: [(u8, u8); 7] = [(19, 8), (23, 8), (24, 8), (25, 8), (30, 10), (31, 10), (32, 10)];
        self.between("a file of the binlog began")?;
        for (kind, due) in DUE {
            let length = raw.data.get(LENGTHS + usize::from(kind) - 1).copied();
            // Version 1 of row events is unknown to MySQL 9, version 2 to MariaDB.
            if !matches!(length, None | Some(0)) && length != Some(due) {
                return Err(Error::corrupt(format!(
                    "events of type {kind} have a head of {length:?} bytes in this binlog, {due} were expected"
                )));
            }
        }
        self.pass_between(raw);
        Ok(())
    }

    /// Nothing may be open here.
    fn between(&self, what: &str) -> Result<()> {
        if self.group.is_some() { Err(self.cut_short(what)) } else { Ok(()) }
    }

    fn cut_short(&self, what: &str) -> Error {
        let place = &self.place;
        Error::corrupt(format!(
            "a transaction in the binlog does not end: {what} ({}, near {})",
            place.file, place.offset
        ))
        .next("nothing was swapped; abort, and run again")
    }

    fn name(&self) -> String {
        format!("{}.{}", self.wanted.source.schema, self.wanted.source.name)
    }

    fn doing(&self) -> &'static str {
        if self.wanted.turn > 0 { "being guarded" } else { "being copied" }
    }

    fn unfit(&self, what: String) -> Error {
        Error::new(Kind::Unfit, what).next("nothing was swapped, and what was made is removed; run again")
    }

    fn in_statement_format(&self, query: &Query<'_>) -> Error {
        self.unfit(format!(
            "a session wrote {} as a statement and not as rows (its binlog_format is not ROW): {}",
            self.name(),
            query.excerpt()
        ))
        .next("nothing was swapped; have all sessions write with binlog_format=ROW, and run again")
    }
}

/// Within transactions, of no meaning for rows: values for statements (5, 13, 14), blocks and removal of a statement's file (9, 11, 17),
/// the statement as a comment (29, MariaDB 160), group replication's own (36, 37), ignorable (28).
pub(crate) fn is_passed_over(kind: u8) -> bool {
    matches!(kind, 5 | 9 | 11 | 13 | 14 | 17 | 28 | 29 | 36 | 37 | 160)
}

fn begin_once(group: &mut Group, ready: &mut VecDeque<Event>) {
    if !std::mem::replace(&mut group.gave, true) {
        ready.push_back(Event::Begin { tx: group.tx.clone(), committed: group.committed });
    }
}

fn outside(kind: u8) -> Error {
    Error::corrupt(format!("the binlog has an event of type {kind} where none can be"))
        .next("nothing was swapped; abort, and report this with the server's version")
}

#[cfg(test)]
mod tests;
