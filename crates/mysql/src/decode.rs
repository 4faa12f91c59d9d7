//! Rows of the binlog to changes: keys and images as SQL literals.
//!
//! The driver's own decoding is not used. It gives negative MEDIUMINTs, negative TIMEs with a fraction and the year 0 as other values
//! without saying so, and is a fifth as fast. A [`Plan`] is made once for each definition that the stream announces; it is checked
//! against the catalog, and then every row is two passes over its bytes: where the values are, and what they become.

mod bytes;
mod cut;
mod form;
mod map;
mod rows;

pub use bytes::DecodeError;
pub use map::TableMap;
pub use rows::Rows;

pub(crate) use bytes::Bytes;
pub(crate) use cut::{Cutter, Outline};
pub(crate) use rows::{EVENT_BYTES_MAX, HEAD_BYTES_MAX, inflate, inflated_size, is_compressed, uncompressed};

use rows::Verb;

use crate::catalog::Table;
use form::Form;
pub(crate) use map::Layout;
use map::{Wire, code};
use shadowswap_core::{Change, Error, Key, Kind, Op, Result, change::IMAGE_BYTES_MAX};

/// How the rows of the source become changes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// ``db.table``, for messages.
    name: String,
    columns: Vec<Planned>,
    /// Places of the key's columns, in the key's order.
    key: Vec<usize>,
    rereads: bool,
    json_columns: usize,
}

#[derive(Clone, Debug)]
struct Planned {
    name: String,
    layout: Layout,
    form: Form,
    generated: bool,
}

/// One value of a row.
#[derive(Clone, Copy, Debug)]
enum Cell<'a> {
    /// The event leaves the column out.
    Absent,
    Null,
    Value(&'a [u8]),
}

impl Plan {
    /// The plan for rows that are laid out as `map` says. `rereads`: give no images, only keys.
    ///
    /// # Errors
    /// `Unfit` if the table has other columns than the catalog said; `Refused` if images are wanted and cannot be written.
    pub fn new(map: &TableMap<'_>, table: &Table, key: &[String], rereads: bool) -> Result<Plan> {
        let name = format!("{}.{}", table.schema, table.name);
        let changed = |what: String| {
            Error::new(
                Kind::Unfit,
                format!(
                    "the definition of {name} changed while it was being copied: in the change stream, {what}"
                ),
            )
            .next("nothing was swapped, and what was made is removed; plan and run again")
        };
        let (wires, names) = map.columns().map_err(|e| {
            Error::refused(format!("the columns of {name} in the change stream cannot be read: {e}"))
                .next("nothing was swapped; such a table cannot be changed with shadowswap")
        })?;
        // MariaDB keeps a hash in a hidden column behind the others for each unique index that is too long for a B-tree.
        let hashes = table.indexes.iter().filter(|i| i.unique && i.kind.eq_ignore_ascii_case("HASH")).count();
        if wires.len() != table.columns.len() && wires.len() != table.columns.len() + hashes {
            return Err(changed(format!(
                "it has {} columns instead of {}",
                wires.len(),
                table.columns.len()
            )));
        }
        if let Some(names) = names {
            let of = |at: usize| names.get(at).map(|n| String::from_utf8_lossy(n));
            for (at, column) in table.columns.iter().enumerate() {
                if of(at).is_none_or(|n| n != column.name) {
                    let now = of(at).unwrap_or_default();
                    return Err(changed(format!(
                        "column {} is `{now}` instead of `{}`",
                        at + 1,
                        column.name
                    )));
                }
            }
        }
        let mut columns = Vec::with_capacity(wires.len());
        for (column, wire) in table.columns.iter().zip(&wires) {
            if form::is_old_fraction(column, *wire) {
                let column = &column.name;
                return Err(Error::refused(format!(
                    "`{column}` of {name} is stored in MariaDB's own format with fractions (mysql56_temporal_format=OFF), which the \
                     change stream does not describe"
                ))
                .next("SET GLOBAL mysql56_temporal_format = ON, ALTER TABLE … FORCE the table, and run again"));
            }
            let form = form::form(column, *wire).ok_or_else(|| {
                let Wire { code, meta, .. } = wire;
                let (column, planned) = (&column.name, &column.column_type);
                changed(format!("`{column}` is of type {code} ({meta}) instead of {planned}"))
            })?;
            if form == Form::Opaque && !rereads && !column.generated {
                return Err(Error::refused(format!(
                    "`{}` of {name} is {}, which cannot be written as a literal",
                    column.name, column.column_type
                )));
            }
            let Wire { layout, .. } = *wire;
            columns.push(Planned { name: column.name.clone(), layout, form, generated: column.generated });
        }
        for wire in wires.iter().skip(columns.len()) {
            let (layout, form) = (wire.layout, Form::Opaque);
            columns.push(Planned { name: String::new(), layout, form, generated: true });
        }
        let mut places = Vec::with_capacity(key.len());
        for part in key {
            let place = columns.iter().position(|c| c.name.eq_ignore_ascii_case(part));
            let place = place.filter(|p| columns[*p].form.may_be_key());
            places.push(
                place.ok_or_else(|| Error::refused(format!("`{part}` cannot be in the key of {name}")))?,
            );
        }
        let json_columns = wires.iter().filter(|w| w.code == code::JSON).count();
        Ok(Plan { name, columns, key: places, rereads, json_columns })
    }

    /// What of the rows must stay whole where they are too long to be carried.
    pub(crate) fn outline(&self) -> Outline {
        let columns = self.columns.iter().enumerate().map(|(at, c)| (c.layout, self.key.contains(&at)));
        Outline { columns: columns.collect(), json_columns: self.json_columns }
    }

    /// Gives the changes of an event's rows, in order.
    ///
    /// # Errors
    /// `Refused` if the event leaves out what is needed (the server's row image is not full); `Corrupt` if the bytes are no rows of
    /// this table. Changes that came before the error have been given.
    pub fn walk(&self, rows: &Rows<'_>, mut give: impl FnMut(Change)) -> Result<()> {
        if rows.columns != self.columns.len() {
            let (got, due) = (rows.columns, self.columns.len());
            return Err(self.broken(&DecodeError(format!("{got} columns instead of {due}"))));
        }
        if rows.verb == Verb::PartialUpdate && !self.rereads {
            return Err(Error::refused(format!(
                "the change stream has only the changed parts of JSON values of {}",
                self.name
            ))
            .next("SET GLOBAL binlog_row_value_options = '', have the clients reconnect, then abort and run again"));
        }
        let mut bytes = Bytes(&rows.data);
        let mut before = vec![Cell::Absent; self.columns.len()];
        let mut after = before.clone();
        while !bytes.is_empty() {
            match rows.verb {
                Verb::Insert => {
                    self.split(&mut bytes, rows.after, &mut after)?;
                    give(self.written(&after, &before)?);
                }
                Verb::Delete => {
                    self.split(&mut bytes, rows.before, &mut before)?;
                    give(Change { key: self.key(&before, &before)?, op: Op::Delete });
                }
                Verb::Update | Verb::PartialUpdate => {
                    self.split(&mut bytes, rows.before, &mut before)?;
                    if rows.verb == Verb::PartialUpdate {
                        self.skip_partial_bits(&mut bytes, rows.after)?;
                    }
                    self.split(&mut bytes, rows.after, &mut after)?;
                    let old = self.key(&before, &before)?;
                    let change = self.written(&after, &before)?;
                    if old != change.key {
                        give(Change { key: old, op: Op::Delete });
                    }
                    give(change);
                }
            }
        }
        Ok(())
    }

    /// Finds the values of the next row.
    fn split<'a>(&self, bytes: &mut Bytes<'a>, present: &[u8], cells: &mut [Cell<'a>]) -> Result<()> {
        split(self.columns.iter().map(|c| c.layout), bytes, present, cells).map_err(|e| self.broken(&e))
    }

    /// Which JSON values are partial. That only matters to who reads them: both kinds have their length in front.
    fn skip_partial_bits(&self, bytes: &mut Bytes<'_>, present: &[u8]) -> Result<()> {
        if (0..self.columns.len()).any(|at| !bit(present, at)) {
            return Err(self.left_out("some column"));
        }
        let skip = |bytes: &mut Bytes<'_>| {
            if bytes.packed()? & 1 != 0 {
                bytes.take(self.json_columns.div_ceil(8))?;
            }
            Ok(())
        };
        skip(bytes).map_err(|e| self.broken(&e))
    }

    /// The change of a row that is there afterwards.
    fn written(&self, after: &[Cell<'_>], before: &[Cell<'_>]) -> Result<Change> {
        let key = self.key(after, before)?;
        let bytes = |cell: &Cell<'_>| if let Cell::Value(value) = cell { value.len() } else { 0 };
        let is_long = after.iter().map(bytes).sum::<usize>() > IMAGE_BYTES_MAX;
        if self.rereads || is_long || !self.is_writable(after) {
            return Ok(Change { key, op: Op::Reread });
        }
        Ok(Change { key, op: Op::Upsert(self.row(after)?) })
    }

    /// Whether every literal of the row is taken by a strict session.
    fn is_writable(&self, cells: &[Cell<'_>]) -> bool {
        let is_writable = |(column, cell): (&Planned, &Cell<'_>)| match cell {
            Cell::Value(value) => column.generated || column.form.is_writable(value),
            Cell::Absent | Cell::Null => true,
        };
        self.columns.iter().zip(cells).all(is_writable)
    }

    /// The key's literals. What `cells` leave out is taken from `others`.
    fn key(&self, cells: &[Cell<'_>], others: &[Cell<'_>]) -> Result<Key> {
        let mut out = Vec::with_capacity(self.key.len() * 24);
        for (nth, place) in self.key.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            let column = &self.columns[*place];
            let cell = match cells[*place] {
                Cell::Absent => others[*place],
                cell @ (Cell::Null | Cell::Value(_)) => cell,
            };
            match cell {
                Cell::Value(value) => {
                    column.form.push_key(&mut out, value).map_err(|e| self.broken_value(column, &e))?;
                }
                Cell::Absent => return Err(self.left_out(&column.name)),
                Cell::Null => {
                    return Err(self.broken_value(column, &DecodeError::new("NULL in a key")));
                }
            }
        }
        Ok(Key(out))
    }

    /// The literals of the columns that are not generated.
    fn row(&self, cells: &[Cell<'_>]) -> Result<Vec<u8>> {
        // Quotes, commas and a few escapes; strings dominate large rows and digits small ones.
        let size: usize =
            cells.iter().map(|c| if let Cell::Value(v) = c { v.len() * 5 / 4 + 8 } else { 5 }).sum();
        let mut out = Vec::with_capacity(size);
        for (column, cell) in self.columns.iter().zip(cells) {
            if column.generated {
                continue;
            }
            if !out.is_empty() {
                out.push(b',');
            }
            match cell {
                Cell::Value(value) => {
                    column.form.push_row(&mut out, value).map_err(|e| self.broken_value(column, &e))?;
                }
                Cell::Null => out.extend_from_slice(b"NULL"),
                Cell::Absent => return Err(self.left_out(&column.name)),
            }
        }
        Ok(out)
    }

    fn left_out(&self, column: &str) -> Error {
        Error::refused(format!(
            "the change stream leaves out `{column}` of {}: a session writes with a binlog_row_image other than FULL",
            self.name
        ))
        .next("SET GLOBAL binlog_row_image = 'FULL', have the clients reconnect, then abort and run again")
    }

    fn broken(&self, e: &DecodeError) -> Error {
        Error::corrupt(format!("a row of {} in the change stream cannot be read: {e}", self.name))
            .next("nothing was swapped; abort, and report this with the server's version")
    }

    fn broken_value(&self, column: &Planned, e: &DecodeError) -> Error {
        self.broken(&DecodeError(format!("column `{}`: {e}", column.name)))
    }
}

/// The tokens of the markers that an event inserts with this migration's number. The marker table begins with two bigints.
///
/// # Errors
/// The bytes are no rows of such a table.
pub(crate) fn markers(map: &[Layout], rows: &Rows<'_>, migration: i64) -> Result<Vec<u64>, DecodeError> {
    let mut tokens = Vec::new();
    if rows.verb != Verb::Insert {
        return Ok(tokens);
    }
    if rows.columns != map.len() {
        return Err(DecodeError(format!("{} columns instead of {}", rows.columns, map.len())));
    }
    let mut bytes = Bytes(&rows.data);
    let mut cells = vec![Cell::Absent; map.len()];
    while !bytes.is_empty() {
        split(map.iter().copied(), &mut bytes, rows.after, &mut cells)?;
        let [Cell::Value(number), Cell::Value(token), ..] = cells[..] else {
            return Err(DecodeError::new("a marker without its number"));
        };
        if bytes::little_endian(number).cast_signed() == migration {
            tokens.push(bytes::little_endian(token));
        }
    }
    Ok(tokens)
}

/// The layouts of the marker table's columns.
///
/// # Errors
/// It does not begin with two bigints.
pub(crate) fn marker_map(map: &TableMap<'_>) -> Result<Vec<Layout>, DecodeError> {
    let (wires, _) = map.columns()?;
    match &wires[..] {
        [first, second, ..] if first.code == code::LONGLONG && second.code == code::LONGLONG => {
            Ok(wires.iter().map(|w| w.layout).collect())
        }
        _ => Err(DecodeError::new("it does not begin with two bigints")),
    }
}

#[inline]
fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 != 0)
}

/// A row is one bit for each column that is there, which says whether it is NULL, and then the values of the others.
fn split<'a>(
    layouts: impl Iterator<Item = Layout>,
    bytes: &mut Bytes<'a>,
    present: &[u8],
    cells: &mut [Cell<'a>],
) -> Result<(), DecodeError> {
    let count = (0..cells.len()).filter(|at| bit(present, *at)).count();
    if count == 0 {
        return Err(DecodeError::new("a row without columns"));
    }
    let nulls = bytes.take(count.div_ceil(8))?;
    let mut nth = 0;
    for ((at, layout), cell) in layouts.enumerate().zip(cells) {
        if !bit(present, at) {
            *cell = Cell::Absent;
            continue;
        }
        let is_null = bit(nulls, nth);
        nth += 1;
        *cell = if is_null {
            Cell::Null
        } else {
            let size = match layout {
                Layout::Fixed(size) => size,
                Layout::Sized(digits) => bytes.number(digits)? as usize,
            };
            Cell::Value(bytes.take(size)?)
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
