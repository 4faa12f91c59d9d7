//! Rows and keys as array parameters of a statement, for batches small enough that round trips are what they cost.
//!
//! The bytes are those of the stream, as in a staging table: an array's elements are read by the types' own input functions.

use crate::{
    error::server,
    statements::{Place, Statements},
};
use bytes::{BufMut, BytesMut};
use futures_util::future::join_all;
use shadowswap_core::{Op, Result, batch::Batch};
use std::fmt;
use tokio_postgres::{
    Client, Statement,
    types::{Field, IsNull, Kind, ToSql, Type, to_sql_checked},
};

/// More keys or bytes than this are faster through a staging table.
const KEYS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;

/// The rows and keys of a small batch.
pub struct Small<'a> {
    rows: Vec<&'a [u8]>,
    gone: Vec<&'a [u8]>,
}

impl<'a> Small<'a> {
    /// The batch, if it is small and its images are complete.
    pub fn of(batch: &'a Batch) -> Option<Small<'a>> {
        if batch.keys() > KEYS_MAX || batch.bytes() > BYTES_MAX {
            return None;
        }
        let mut small = Small { rows: Vec::new(), gone: Vec::new() };
        for (key, op) in batch.iter() {
            match op {
                Op::Upsert(row) => small.rows.push(row),
                Op::Delete => small.gone.push(&key.0),
                Op::Reread => return None,
            }
        }
        Some(small)
    }
}

/// The statements that write a small batch.
pub struct Writes {
    delete: Statement,
    give_way: Vec<Statement>,
    upsert: Statement,
    key_columns: usize,
}

impl Writes {
    /// Prepares them; `None` if rows of this table cannot be parameters.
    pub async fn prepare(client: &Client, texts: &Statements) -> Result<Option<Writes>> {
        if !texts.can_be_inline {
            return Ok(None);
        }
        let prepare = async |text: String| {
            client.prepare(&text).await.map_err(|e| server(e, format_args!("preparing a statement ({text})")))
        };
        let upsert = prepare(texts.upsert(Place::Inline)).await?;
        if !takes_rows_of(&upsert, texts) {
            return Ok(None);
        }
        let mut give_way = Vec::new();
        for text in texts.give_way(Place::Inline) {
            give_way.push(prepare(text).await?);
        }
        let delete = prepare(texts.delete(Place::Inline)).await?;
        let key_columns = delete.params().len();
        Ok(Some(Writes { delete, give_way, upsert, key_columns }))
    }

    /// Sends everything at once, in order: deletes, then rows that must give way if `gives_way`, then images. The first error is the
    /// one that counts; whatever comes after it fails for being in the same transaction.
    pub async fn run(&self, client: &Client, small: &Small<'_>, gives_way: bool) -> Result<()> {
        let rows = Rows(&small.rows);
        let images: &[&(dyn ToSql + Sync)] = &[&rows];
        let has_rows = !small.rows.is_empty();
        let keys: Vec<Column<'_>> =
            (0..self.key_columns).map(|index| Column { rows: &small.gone, index }).collect();
        let keys: Vec<&(dyn ToSql + Sync)> = keys.iter().map(|k| k as &(dyn ToSql + Sync)).collect();
        let execute = async |statement: &Statement, params: &[&(dyn ToSql + Sync)], what: &str| {
            client.execute(statement, params).await.map(drop).map_err(|e| server(e, what))
        };
        let owners = self.give_way.iter().filter(|_| gives_way && has_rows);
        let (deleted, gave_way, written) = tokio::join!(
            biased;
            async {
                if !small.gone.is_empty() { execute(&self.delete, &keys, "deleting rows").await } else { Ok(()) }
            },
            join_all(owners.map(|s| execute(s, images, "removing rows that must give way"))),
            async {
                if has_rows { execute(&self.upsert, images, "writing rows").await } else { Ok(()) }
            }
        );
        deleted?;
        gave_way.into_iter().collect::<Result<()>>()?;
        written
    }
}

type Failure = Box<dyn std::error::Error + Sync + Send>;

/// Rows in COPY's binary format, as an array of the table's row type.
struct Rows<'a>(pub &'a [&'a [u8]]);

/// One column of rows in COPY's binary format, as an array of its type.
struct Column<'a> {
    rows: &'a [&'a [u8]],
    index: usize,
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", self.0.len())
    }
}

impl fmt::Debug for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {} of {} rows", self.index, self.rows.len())
    }
}

/// Whether the statement's first parameter is an array of rows that have these columns in this order, and arrays of the key's columns
/// come apart into their elements again.
fn takes_rows_of(statement: &Statement, texts: &Statements) -> bool {
    let Some((_, fields)) = statement.params().first().and_then(row_type) else { return false };
    let mut keys = fields.iter().filter(|f| texts.is_of_key(f.name()));
    keys.all(|f| is_plain(f.type_()))
        && fields.iter().map(Field::name).eq(texts.sent().iter().map(String::as_str))
}

/// `unnest` takes arrays of arrays apart to the last element, and rows into their columns.
fn is_plain(ty: &Type) -> bool {
    match ty.kind() {
        Kind::Array(_) | Kind::Composite(_) => false,
        Kind::Domain(base) => is_plain(base),
        _ => true,
    }
}

fn row_type(array: &Type) -> Option<(u32, &[Field])> {
    let Kind::Array(element) = array.kind() else { return None };
    let Kind::Composite(fields) = element.kind() else { return None };
    Some((element.oid(), fields))
}

impl ToSql for Rows<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let (oid, fields) = row_type(ty).ok_or("the parameter is no array of rows")?;
        array_header(out, oid, self.0.len())?;
        for row in self.0 {
            let start = out.len();
            out.put_i32(0);
            out.put_i32(i32::try_from(fields.len())?);
            let mut values = Values::of(row)?;
            for field in fields {
                out.put_u32(field.type_().oid());
                put_value(out, values.next().ok_or("a row has too few columns")??)?;
            }
            if values.next().is_some() {
                return Err("a row has too many columns".into());
            }
            let length = i32::try_from(out.len() - start - 4)?;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSql for Column<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let Kind::Array(element) = ty.kind() else { return Err("the parameter is no array".into()) };
        array_header(out, element.oid(), self.rows.len())?;
        for row in self.rows {
            put_value(out, Values::of(row)?.nth(self.index).ok_or("a row has too few columns")??)?;
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// One dimension from 1, with or without NULLs; none if it is empty.
fn array_header(out: &mut BytesMut, element: u32, length: usize) -> Result<(), Failure> {
    out.put_i32(i32::from(length > 0));
    out.put_i32(1);
    out.put_u32(element);
    if length > 0 {
        out.put_i32(i32::try_from(length)?);
        out.put_i32(1);
    }
    Ok(())
}

fn put_value(out: &mut BytesMut, value: Option<&[u8]>) -> Result<(), Failure> {
    match value {
        Some(value) => {
            out.put_i32(i32::try_from(value.len())?);
            out.put_slice(value);
        }
        None => out.put_i32(-1),
    }
    Ok(())
}

/// The values of a row in COPY's binary format.
struct Values<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    fn of(row: &'a [u8]) -> Result<Values<'a>, Failure> {
        let (left, rest) = row.split_first_chunk().ok_or("a row without a column count")?;
        Ok(Values { left: u16::from_be_bytes(*left), rest })
    }

    fn value(&mut self) -> Result<Option<&'a [u8]>, Failure> {
        let (length, rest) = self.rest.split_first_chunk().ok_or("a row that ends too early")?;
        self.rest = rest;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Ok(None) };
        let (value, rest) = rest.split_at_checked(length).ok_or("a row that ends too early")?;
        self.rest = rest;
        Ok(Some(value))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Option<&'a [u8]>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::encode;

    #[test]
    fn column_of_rows_becomes_an_array() {
        let rows = [encode(&[Some(b"a"), None], true), encode(&[Some(b"bc"), Some(b"")], true)];
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let mut out = BytesMut::new();
        Column { rows: &rows, index: 0 }.to_sql(&Type::TEXT_ARRAY, &mut out).unwrap();
        assert_eq!(
            &out[..],
            [
                &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1][..],
                &[0, 0, 0, 1, b'a', 0, 0, 0, 2, b'b', b'c']
            ]
            .concat()
        );
        let mut nulls = BytesMut::new();
        Column { rows: &rows, index: 1 }.to_sql(&Type::TEXT_ARRAY, &mut nulls).unwrap();
        assert!(nulls.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), "NULL and empty stay apart");
    }

    #[test]
    fn rows_that_do_not_fit_are_errors() {
        let row = encode(&[Some(b"a")], true);
        let mut out = BytesMut::new();
        assert!(Column { rows: &[&row], index: 1 }.to_sql(&Type::TEXT_ARRAY, &mut out).is_err());
        assert!(Column { rows: &[&row[..5]], index: 0 }.to_sql(&Type::TEXT_ARRAY, &mut out).is_err());
        assert!(Column { rows: &[&row], index: 0 }.to_sql(&Type::TEXT, &mut out).is_err());
        assert!(Rows(&[&row]).to_sql(&Type::TEXT_ARRAY, &mut out).is_err());
    }
}
