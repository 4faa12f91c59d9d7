//! The state of the model's server: tables, transactions, locks, the log, and the control tables.
//!
//! It is pure: what takes time is in `server.rs`. A transaction is *open*, then *delivered* (it is in the log and can never be undone, but
//! no new reader sees it, and it holds its locks), then *shown*, when it is forgotten. Clients' and our own transactions go the same way.

use crate::{chance::Chance, oracle, weather::Weather};
use shadowswap_core::{
    Chunk, Error, Floor, Key, Op, Phase, Position, Result, TxId, change::Change, control::Command,
    mutations::Mutation, plan::Plan,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tokio::time::Instant;

/// A place in the log: so many entries lie before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for Place {
    type Err = std::num::ParseIntError;
    fn from_str(s: &str) -> Result<Place, Self::Err> {
        s.parse().map(Place)
    }
}

impl Position for Place {}

/// The number of a transaction, given at its beginning. The log has them in the order of their commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Number(pub u64);

impl TxId for Number {}

/// What a reader sees: all transactions below `next` but those that were running.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub next: u64,
    pub running: BTreeSet<u64>,
}

impl Floor<Number> for Snapshot {
    fn includes(&self, tx: &Number) -> bool {
        tx.0 < self.next && !self.running.contains(&tx.0)
    }
}

/// A row, but for its key's number. Keys that differ in case alone are the same row to the server, and other bytes in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub upper_case: bool,
    /// Two rows never have the same.
    pub unique: Option<u32>,
    pub value: u64,
}

/// The projection's constant.
const SHIFT: u64 = 1_000_000;

impl Row {
    /// As the other table has it.
    pub fn projected(self, to: usize) -> Row {
        let value = if to == 1 { self.value.wrapping_add(SHIFT) } else { self.value.wrapping_sub(SHIFT) };
        Row { value, ..self }
    }

    pub fn encode(self) -> Vec<u8> {
        let unique = self.unique.map_or(0, |u| u64::from(u) + 1);
        [&[u8::from(self.upper_case)][..], &unique.to_be_bytes(), &self.value.to_be_bytes()].concat()
    }

    pub fn decode(bytes: &[u8]) -> Row {
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let unique = number(1).checked_sub(1).map(|u| u as u32);
        Row { upper_case: bytes[0] == 1, unique, value: number(9) }
    }
}

/// The key in the stream's bytes.
pub fn key(n: u32, upper_case: bool) -> Key {
    Key([&n.to_be_bytes()[..], &[u8::from(upper_case)]].concat())
}

/// The row that the server takes these bytes for.
pub fn key_number(key: &Key) -> u32 {
    u32::from_be_bytes(key.0[..4].try_into().expect("four bytes"))
}

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lock {
    Row(usize, u32),
    Unique(usize, u32),
    Chunk(i64),
    Checkpoint,
    Migration,
}

/// What a transaction does to the control tables.
#[derive(Clone, Debug)]
pub enum Effect {
    ChunkDone(i64, u64),
    Checkpoint(Place, i64),
    Writer(i64),
}

/// A transaction that has not been shown yet.
#[derive(Clone, Debug, Default)]
pub struct Tx {
    pub connection: u64,
    /// The table that it is a client of.
    pub client_of: Option<usize>,
    /// Rows as it leaves them, by table and key.
    pub writes: BTreeMap<(usize, u32), Option<Row>>,
    /// What the stream says of it.
    pub changes: Vec<Change>,
    pub marker: Option<u64>,
    pub effects: Vec<Effect>,
    /// Its place in the log.
    pub delivered: Option<u64>,
}

/// What the log holds.
#[derive(Clone, Debug)]
pub struct Entry {
    pub tx: u64,
    pub table: Option<usize>,
    pub changes: Vec<Change>,
    pub marker: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    pub exists: bool,
    /// Its unique values are checked.
    pub has_index: bool,
    pub rows: BTreeMap<u32, Row>,
}

/// A connection as the server sees it.
#[derive(Clone, Debug)]
pub struct Connection {
    pub role: String,
    pub is_busy: bool,
    /// Nobody is at the other end any more.
    pub is_orphan: bool,
    /// Of this migration's runners.
    pub is_ours: bool,
}

/// The lock at cutover.
#[derive(Clone, Debug)]
pub struct TableLock {
    pub table: usize,
    pub group: Vec<u64>,
    pub is_granted: bool,
    /// Since when clients wait, and for how long they may; `None` where trouble may make it longer.
    pub due: Option<(Instant, Duration)>,
}

/// A chunk's control row.
#[derive(Clone, Debug)]
pub struct ChunkRow {
    pub chunk: Chunk,
    pub epoch: i64,
    pub is_done: bool,
    pub rows: u64,
}

/// The control row of the position applied.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    pub epoch: i64,
    pub writer: i64,
    pub position: Option<Place>,
    pub turn: i64,
}

#[derive(Clone, Debug)]
pub struct MigrationRow {
    pub epoch: i64,
    pub phase: Phase,
    pub turn: i64,
    pub plan: Plan,
    pub copy_begun: bool,
    pub last: Option<u32>,
    pub chunks: BTreeMap<i64, ChunkRow>,
    pub checkpoint: Checkpoint,
    pub is_paused: bool,
    pub commands: VecDeque<Command>,
    pub settings: Vec<(String, String)>,
    pub guard_until: Option<Instant>,
    /// Where the turn begins.
    pub swapped_at: u64,
}

/// The stream's place on the server.
#[derive(Clone, Debug)]
pub struct Slot {
    pub begins: u64,
    pub confirmed: u64,
    /// The connection that reads it.
    pub reader: Option<u64>,
}

/// In what this server differs from others.
#[derive(Clone, Copy, Debug)]
pub struct Flavor {
    pub late_indexes: bool,
    pub drains_through_lock: bool,
    /// A chunk reads in the snapshot of its floor; else in one that is taken afterwards.
    pub reads_at_floor: bool,
    /// A delete waits for a row that another transaction has inserted and not committed; else it finds nothing.
    pub delete_waits: bool,
    /// Whoever takes a migration over ends the former runner's sessions first.
    pub ends_orphans: bool,
    /// The swap notes itself in the control tables.
    pub notes_swap: bool,
    /// The stream leaves parts of this many rows out: one in so many.
    pub rereads: u64,
    /// One reader at a time.
    pub one_reader: bool,
}

/// See the module.
pub struct World {
    pub chance: Chance,
    pub flavor: Flavor,
    pub weather: Weather,
    pub mutation: Option<Mutation>,
    /// The row of this key is always written wrongly to the shadow.
    pub spoils: Option<u32>,
    pub is_up: bool,
    /// Grows with each restart.
    pub life: u64,
    pub tables: [Table; 2],
    /// The table that has the application's name.
    pub app: usize,
    pub running: BTreeMap<u64, Tx>,
    pub next_tx: u64,
    pub locks: BTreeMap<Lock, u64>,
    pub log: Vec<Entry>,
    pub slot: Option<Slot>,
    pub connections: BTreeMap<u64, Connection>,
    pub next_connection: u64,
    pub table_lock: Option<TableLock>,
    pub migration: Option<MigrationRow>,
    /// The connection that holds the migration.
    pub holder: Option<u64>,
    /// What the application's table must be, as the first table would have it.
    pub truth: BTreeMap<u32, Row>,
    pub violations: Vec<String>,
    pub swaps: u32,
    pub calls: u64,
    /// For each runner that will crash: after so many calls.
    pub crashes: BTreeMap<u32, u64>,
    pub crashed: Vec<u32>,
    /// Runners that have had the migration.
    pub takers: BTreeSet<u32>,
    /// Keys are below this.
    pub keys: u32,
    /// Keys that are gone never come back: nothing makes good what was lost. The next one to be used.
    pub fresh: Option<u32>,
    pub began: Instant,
    trace: DefaultHasher,
}

impl World {
    pub fn new(mut chance: Chance, flavor: Flavor, weather: Weather, mutation: Option<Mutation>) -> World {
        let keys = chance.pick(&[40, 40, 120]);
        let rows = 1 + chance.below(u64::from(keys)) as u32;
        let fresh = chance.coin().then_some(keys);
        let mut world = World {
            flavor,
            weather,
            mutation,
            spoils: None,
            is_up: true,
            life: 0,
            tables: Default::default(),
            app: 0,
            running: BTreeMap::new(),
            next_tx: 1,
            locks: BTreeMap::new(),
            log: Vec::new(),
            slot: None,
            connections: BTreeMap::new(),
            next_connection: 1,
            table_lock: None,
            migration: None,
            holder: None,
            truth: BTreeMap::new(),
            violations: Vec::new(),
            swaps: 0,
            calls: 0,
            crashes: BTreeMap::new(),
            crashed: Vec::new(),
            takers: BTreeSet::new(),
            keys: 0,
            fresh: None,
            began: Instant::now(),
            trace: DefaultHasher::new(),
            chance,
        };
        (world.keys, world.fresh) = (keys, fresh);
        for n in 0..rows {
            if world.chance.one_in(4) {
                continue;
            }
            let unique = world.chance.coin().then_some(n);
            let row = Row { upper_case: world.chance.coin(), unique, value: world.chance.below(1000) };
            world.truth.insert(n, row);
        }
        world.tables[0] = Table { exists: true, has_index: true, rows: world.truth.clone() };
        world
    }

    pub fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Notes what happens: two runs are the same if all of it is.
    pub fn trace(&mut self, what: impl Hash) {
        (self.began.elapsed(), what).hash(&mut self.trace);
    }

    pub fn fingerprint(&self) -> u64 {
        self.trace.finish()
    }

    pub fn violation(&mut self, what: impl Into<String>) {
        let what = what.into();
        tracing::error!("VIOLATION: {what}");
        self.violations.push(what);
    }

    pub fn is_over(&self) -> bool {
        self.migration.as_ref().is_some_and(|m| m.phase.is_over())
    }

    // Connections.

    pub fn connect(&mut self, role: &str, is_ours: bool) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        let role = role.to_string();
        self.connections.insert(id, Connection { role, is_busy: false, is_orphan: false, is_ours });
        id
    }

    /// Ends a connection: what it had not committed is undone, and what it held is free.
    pub fn end(&mut self, connection: u64) {
        if self.connections.remove(&connection).is_none() {
            return;
        }
        let open =
            self.running.iter().filter(|(_, tx)| tx.connection == connection && tx.delivered.is_none());
        let open: Vec<u64> = open.map(|(id, _)| *id).collect();
        open.into_iter().for_each(|tx| self.roll_back(tx));
        if self.holder == Some(connection) {
            self.holder = None;
        }
        self.unlock(|lock| lock.group.first() == Some(&connection));
        if let Some(slot) = self.slot.as_mut().filter(|slot| slot.reader == Some(connection)) {
            slot.reader = None;
        }
    }

    /// The server dies and recovers: what is in the log is committed, everything else is undone.
    pub fn restart(&mut self) {
        self.life += 1;
        self.is_up = false;
        let (delivered, open): (Vec<_>, Vec<_>) = self
            .running
            .iter()
            .map(|(id, tx)| (*id, tx.delivered.is_some()))
            .partition(|(_, is_delivered)| *is_delivered);
        delivered.into_iter().for_each(|(tx, _)| self.show(tx));
        open.into_iter().for_each(|(tx, _)| self.roll_back(tx));
        let all: Vec<u64> = self.connections.keys().copied().collect();
        all.into_iter().for_each(|connection| self.end(connection));
    }

    // Transactions.

    pub fn begin(&mut self, connection: u64) -> Result<u64> {
        if !self.connections.contains_key(&connection) {
            return Err(lost());
        }
        let id = self.next_tx;
        self.next_tx += 1;
        self.running.insert(id, Tx { connection, ..Tx::default() });
        Ok(id)
    }

    /// A transaction that may still write.
    pub fn tx(&mut self, tx: u64) -> Result<&mut Tx> {
        self.running.get_mut(&tx).filter(|tx| tx.delivered.is_none()).ok_or_else(lost)
    }

    pub fn roll_back(&mut self, tx: u64) {
        if self.running.get(&tx).is_some_and(|tx| tx.delivered.is_none()) {
            self.forget(tx);
        }
    }

    fn forget(&mut self, tx: u64) -> Option<Tx> {
        self.locks.retain(|_, holder| *holder != tx);
        self.running.remove(&tx)
    }

    /// The commit is in the log.
    pub fn deliver(&mut self, id: u64) -> Result<()> {
        let place = self.log.len() as u64;
        let tx = self.tx(id)?;
        let entry = Entry { tx: id, table: tx.client_of, changes: tx.changes.clone(), marker: tx.marker };
        let (is_streamed, writes) = (tx.marker.is_some() || !tx.changes.is_empty(), tx.writes.clone());
        tx.delivered = Some(place);
        if let Some(table) = entry.table {
            for ((_, n), row) in writes {
                match row {
                    Some(row) => drop(self.truth.insert(n, oracle::original(row, table))),
                    None => drop(self.truth.remove(&n)),
                }
            }
        }
        if is_streamed {
            self.trace(("commit", id, format!("{:?}", entry.changes)));
            self.log.push(entry);
        }
        Ok(())
    }

    /// New readers see it from now on, and its locks are free.
    pub fn show(&mut self, id: u64) {
        let Some(tx) = self.forget(id) else { return };
        for ((table, n), row) in tx.writes {
            match row {
                Some(row) => drop(self.tables[table].rows.insert(n, row)),
                None => drop(self.tables[table].rows.remove(&n)),
            }
        }
        let Some(migration) = &mut self.migration else { return };
        for effect in tx.effects {
            match effect {
                Effect::ChunkDone(id, rows) => {
                    if let Some(chunk) = migration.chunks.get_mut(&id) {
                        (chunk.is_done, chunk.rows) = (true, rows);
                    }
                }
                Effect::Checkpoint(position, turn) => {
                    (migration.checkpoint.position, migration.checkpoint.turn) = (Some(position), turn);
                }
                Effect::Writer(writer) => migration.checkpoint.writer = writer,
            }
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot { next: self.next_tx, running: self.running.keys().copied().collect() }
    }

    /// A row as this transaction sees it.
    pub fn row(&self, tx: u64, table: usize, n: u32) -> Option<Row> {
        let own = self.running.get(&tx).and_then(|tx| tx.writes.get(&(table, n)));
        own.copied().unwrap_or_else(|| self.tables[table].rows.get(&n).copied())
    }

    /// The other row that has this unique value, as this transaction sees it.
    pub fn owner(&self, tx: u64, table: usize, unique: u32, but: u32) -> Option<u32> {
        let own = self.running.get(&tx).map(|tx| &tx.writes);
        let of_own =
            own.into_iter().flatten().filter(|((t, _), _)| *t == table).map(|((_, n), row)| (*n, *row));
        let written = |n: &u32| own.is_some_and(|own| own.contains_key(&(table, *n)));
        let owners = self.tables[table].rows.iter().filter(|(_, row)| row.unique == Some(unique));
        let of_table = owners.filter(|(n, _)| !written(n)).map(|(n, row)| (*n, Some(*row)));
        of_own
            .chain(of_table)
            .find(|(n, row)| *n != but && row.is_some_and(|row| row.unique == Some(unique)))
            .map(|(n, _)| n)
    }

    pub fn write(&mut self, tx: u64, table: usize, n: u32, row: Option<Row>) -> Result<()> {
        self.tx(tx)?.writes.insert((table, n), row);
        Ok(())
    }

    /// A client's row as the stream will have it.
    pub fn change(&mut self, tx: u64, key: Key, row: Option<Row>) -> Result<()> {
        let rereads = self.flavor.rereads;
        let is_left_out = row.is_some() && self.chance.one_in(rereads);
        let op = match row {
            Some(_) if is_left_out => Op::Reread,
            Some(row) => Op::Upsert(row.encode()),
            None => Op::Delete,
        };
        self.tx(tx)?.changes.push(Change { key, op });
        Ok(())
    }

    /// Some other transaction writes one of the tables, or has it open.
    pub fn is_touched(&self, table: usize, but: &[u64]) -> bool {
        self.running.values().any(|tx| {
            !but.contains(&tx.connection)
                && (tx.client_of == Some(table) || tx.writes.keys().any(|(t, _)| *t == table))
        })
    }

    // The migration.

    pub fn migration(&mut self, epoch: i64) -> Result<&mut MigrationRow> {
        let migration = self.migration.as_mut().ok_or_else(|| Error::refused("there is no migration"))?;
        if migration.epoch == epoch { Ok(migration) } else { Err(Error::superseded()) }
    }

    /// Lets clients in again, if it is this lock that keeps them out.
    pub fn unlock(&mut self, is_it: impl Fn(&TableLock) -> bool) {
        if let Some(lock) = self.table_lock.take_if(|lock| is_it(lock)) {
            oracle::judge_stall(self, &lock);
        }
    }

    /// What a transaction does to the control tables, once it is committed.
    pub fn effect(&mut self, tx: u64, effect: Effect) -> Result<()> {
        self.tx(tx)?.effects.push(effect);
        Ok(())
    }

    /// The names change hands.
    pub fn swap(&mut self) {
        oracle::judge_swap(self);
        self.app = 1 - self.app;
        self.swaps += 1;
        let place = self.log.len() as u64;
        self.trace(("swap", self.swaps, place));
        let notes = self.flavor.notes_swap;
        if let Some(migration) = &mut self.migration {
            migration.swapped_at = place;
            if notes {
                migration.turn += 1;
                let is_back = migration.turn % 2 == 0;
                migration.phase = if is_back { Phase::Ready } else { Phase::Guard };
                if !is_back {
                    migration.guard_until = None;
                }
            }
        }
    }
}

/// The connection is gone.
pub fn lost() -> Error {
    Error::transient("the connection to the server was lost")
}
