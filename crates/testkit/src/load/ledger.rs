//! What the server acknowledged, row by row, and the comparison of that with a table.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::driver::Store;
use super::row::encode;
use super::shape::TableShape;

/// Differences that are printed; the rest is only counted.
const SAMPLES: usize = 20;

/// A key, encoded as a line.
pub(super) type Key = Arc<str>;

/// A row's values without its key, encoded as a line.
pub(super) type Row = Arc<str>;

/// What a row may be now; `None` is "not there".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Known(Option<Row>),
    /// The answer was lost: either it happened or it did not.
    Either(Option<Row>, Option<Row>),
}

/// The last acknowledged state of every row of a table. Nobody else may write to the table's known columns.
pub struct Ledger {
    shape: Arc<TableShape>,
    pub(super) states: HashMap<Key, State>,
    /// No key made from this number or a later one has ever been used.
    pub(super) next_key: u64,
    /// No unique value made from this number or a later one has ever been used.
    pub(super) next_stamp: u64,
}

impl Ledger {
    /// The ledger of a table that is empty.
    pub fn empty(shape: TableShape) -> Ledger {
        Ledger { shape: Arc::new(shape), states: HashMap::new(), next_key: 1, next_stamp: 0 }
    }

    pub(super) fn resume(
        shape: Arc<TableShape>,
        states: HashMap<Key, State>,
        next_key: u64,
        next_stamp: u64,
    ) -> Ledger {
        Ledger { shape, states, next_key, next_stamp }
    }

    /// Fills an empty table with rows. Their keys are the even numbers, so that later inserts also fall between them.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn fill(mut client: impl Store, shape: TableShape, rows: u64, seed: u64) -> Ledger {
        let mut ledger = Ledger::empty(shape);
        let mut rng = StdRng::seed_from_u64(seed);
        let shape = Arc::clone(&ledger.shape);
        let states = &mut ledger.states;
        let lines = (1..=rows.saturating_mul(2)).filter_map(|number| {
            let key = make_key(&shape, number);
            if number % 2 == 1 {
                states.insert(key, State::Known(None));
                return None;
            }
            let row = make_row(&shape, &mut rng, number / 2);
            states.insert(Arc::clone(&key), State::Known(Some(Arc::clone(&row))));
            Some((key, row))
        });
        let filled = client.fill(&shape, lines).await;
        let filled = filled.unwrap_or_else(|e| panic!("cannot fill {}: {e:?}", shape.table));
        assert_eq!(filled, rows, "the server took every row");
        (ledger.next_key, ledger.next_stamp) = (rows * 2 + 1, rows + 1);
        ledger
    }

    /// Takes what is in a table for acknowledged. The first key column must be an integer; new keys come after its largest.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn adopt(mut client: impl Store, shape: TableShape) -> Ledger {
        let mut ledger = Ledger::empty(shape);
        let shape = Arc::clone(&ledger.shape);
        let mut states = HashMap::new();
        let mut largest = 0;
        let taken = client.read(&shape, &shape.table, |key, row| {
            let number: u64 = key.split('\t').next().and_then(|first| first.parse().ok()).unwrap_or(0);
            largest = largest.max(number);
            states.insert(key.into(), State::Known(Some(row.into())));
        });
        taken.await.unwrap_or_else(|e| panic!("cannot read {}: {e:?}", shape.table));
        ledger.states = states;
        ledger.next_key = largest + 1;
        // Values that an earlier load made unique are not known to be so; the clock has moved on since.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        ledger.next_stamp = now.map_or(0, |t| t.as_micros() as u64);
        ledger
    }

    /// The table and its columns.
    pub fn shape(&self) -> &Arc<TableShape> {
        &self.shape
    }

    /// Rows that are certainly there.
    pub fn rows(&self) -> u64 {
        self.states.values().filter(|state| matches!(state, State::Known(Some(_)))).count() as u64
    }

    /// Keys whose last statement's answer was lost.
    pub fn unknown(&self) -> u64 {
        self.states.values().filter(|state| matches!(state, State::Either(..))).count() as u64
    }

    /// Reads a whole table, named as in SQL, and compares the columns of the shape. The table may have more columns.
    ///
    /// # Errors
    /// The server's, if it cannot be read.
    pub async fn check<C: Store>(&self, mut client: C, table: &str) -> Result<Differences, C::Error> {
        let mut found =
            Differences { table: table.to_owned(), unknown: self.unknown(), ..Differences::default() };
        let mut seen: HashSet<&str> = HashSet::with_capacity(self.states.len());
        let compared = client.read(&self.shape, table, |key, row| {
            found.rows += 1;
            let Some((known, state)) = self.states.get_key_value(key) else {
                found.extra += 1;
                return found.sample(format!("extra: key {key} was never written, table has {row:?}"));
            };
            if !seen.insert(known) {
                found.extra += 1;
                return found.sample(format!("extra: key {key} is there twice, table has {row:?}"));
            }
            let is_row = |candidate: &Option<Row>| candidate.as_deref() == Some(row);
            match state {
                State::Known(None) => {
                    found.extra += 1;
                    found.sample(format!("extra: key {key} was deleted, table has {row:?}"));
                }
                State::Known(expected) if !is_row(expected) => {
                    found.different += 1;
                    found.sample(format!(
                        "different: key {key}, acknowledged {expected:?}, table has {row:?}"
                    ));
                }
                State::Either(a, b) if !is_row(a) && !is_row(b) => {
                    found.different += 1;
                    found.sample(format!("different: key {key}, possible {a:?} or {b:?}, table has {row:?}"));
                }
                State::Known(_) | State::Either(..) => {}
            }
        });
        compared.await?;
        for (key, state) in self.states.iter().filter(|(key, _)| !seen.contains(&***key)) {
            let is_missing = match state {
                State::Known(row) => row.is_some(),
                State::Either(a, b) => a.is_some() && b.is_some(),
            };
            if is_missing {
                found.missing += 1;
                found.sample(format!("missing: key {key}, acknowledged {state:?}"));
            }
        }
        Ok(found)
    }
}

pub(super) fn make_key(shape: &TableShape, number: u64) -> Key {
    let values: Vec<String> = shape.key.iter().map(|column| (column.make)(number)).collect();
    encode(values.iter().map(|value| Some(value.as_str()))).into()
}

pub(super) fn make_row(shape: &TableShape, rng: &mut StdRng, stamp: u64) -> Row {
    let values: Vec<Option<String>> = shape.columns.iter().map(|column| (column.make)(rng, stamp)).collect();
    encode(values.iter().map(Option::as_deref)).into()
}

/// How a table differs from the ledger.
#[derive(Debug, Default)]
pub struct Differences {
    /// The table that was read.
    pub table: String,
    /// Rows that the table has.
    pub rows: u64,
    /// Acknowledged rows that the table does not have.
    pub missing: u64,
    /// Rows of the table that were deleted, or that nobody wrote, or that are there twice.
    pub extra: u64,
    /// Rows with other values than acknowledged.
    pub different: u64,
    /// Keys whose last answer was lost: for them, two states passed.
    pub unknown: u64,
    /// The first differences, in words.
    pub samples: Vec<String>,
}

impl Differences {
    /// Whether the table holds what was acknowledged and nothing else.
    pub fn is_empty(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.different == 0
    }

    fn sample(&mut self, text: String) {
        if self.samples.len() < SAMPLES {
            self.samples.push(text);
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Differences { table, rows, missing, extra, different, unknown, samples } = self;
        write!(
            f,
            "{table}: {rows} rows, {missing} missing, {extra} extra, {different} different ({unknown} unknown)"
        )?;
        samples.iter().try_for_each(|sample| write!(f, "\n  {sample}"))
    }
}
