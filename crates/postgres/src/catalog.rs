//! What the server's catalogs say about one table: read in one statement, the same for the source, its twin and the shadow.
//!
//! Definitions are the server's own texts (`pg_get_indexdef` and its like), read with an empty `search_path` so that every name in them
//! is qualified and they mean the same in any session.

use crate::{error::server, sql};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shadowswap_core::error::{Error, Result};
use tokio_postgres::{Client, error::SqlState, types::Json};

const TABLE: &str = include_str!("sql/table.sql");

/// A table's definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its number.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `pg_class.relkind`.
    pub kind: String,
    /// `pg_class.relpersistence`.
    pub persistence: String,
    /// Its owner.
    pub owner: String,
    /// `heap`, mostly.
    pub access_method: Option<String>,
    /// The tablespace, if it is not the database's own.
    pub tablespace: Option<String>,
    /// Changes with a rewrite.
    pub filenode: Option<i64>,
    /// Storage parameters, as `name=value`.
    pub options: Vec<String>,
    /// The TOAST table's.
    pub toast_options: Vec<String>,
    /// `pg_class.relreplident`.
    pub identity: String,
    /// Row security is on or forced.
    pub row_security: bool,
    /// `CREATE TABLE … OF type`.
    pub of_type: bool,
    /// A partition of another table.
    pub is_partition: bool,
    /// Has parents or children.
    pub inherits: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Definitions of its user triggers.
    pub triggers: Vec<String>,
    /// Definitions of its rules.
    pub rules: Vec<String>,
    /// Its policies.
    pub policies: Vec<String>,
    /// Its columns in order, without dropped ones.
    pub columns: Vec<Column>,
    /// Its indexes by name.
    pub indexes: Vec<Index>,
    /// CHECK, NOT NULL (from 18 on) and foreign key constraints by name.
    pub constraints: Vec<Constraint>,
    /// Extended statistics by name.
    pub statistics: Vec<Statistics>,
    /// Sequences that belong to columns.
    pub sequences: Vec<Sequence>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// `pg_attribute.attnum`.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// Its type as `format_type` spells it.
    pub type_name: String,
    /// Its type's number.
    pub type_oid: u32,
    /// Its type's modifier.
    pub typmod: i32,
    /// The type below its domains.
    pub base: String,
    /// NOT NULL.
    pub not_null: bool,
    /// The default's expression.
    pub default: Option<String>,
    /// The expression of a generated column.
    pub generation: Option<String>,
    /// `pg_attribute.attgenerated`.
    pub generated: String,
    /// `pg_attribute.attidentity`.
    pub identity: String,
    /// What rows have that were there before the column was added.
    pub missing: Option<String>,
    /// The collation's quoted name.
    pub collation: Option<String>,
    /// Equal means equal in every byte.
    pub deterministic: bool,
    /// The statistics target.
    pub target: Option<i32>,
    /// Options such as `n_distinct`.
    pub options: Vec<String>,
    /// Its comment.
    pub comment: Option<String>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Changes when it is built anew.
    pub filenode: Option<i64>,
    /// The definition from `USING` on.
    pub tail: Option<String>,
    /// `btree`, mostly.
    pub method: String,
    /// Unique.
    pub unique: bool,
    /// Checked at once, not at the end of the transaction.
    pub immediate: bool,
    /// Usable.
    pub valid: bool,
    /// The predicate of a partial index.
    pub predicate: Option<String>,
    /// The table was clustered by it.
    pub clustered: bool,
    /// It is the replica identity.
    pub replica_identity: bool,
    /// The tablespace, if it is not the database's own.
    pub tablespace: Option<String>,
    /// Storage parameters.
    pub options: Vec<String>,
    /// Its comment.
    pub comment: Option<String>,
    /// Statistics targets of its columns: place and target.
    pub targets: Vec<(i16, i32)>,
    /// The constraint that it serves.
    pub constraint: Option<KeyConstraint>,
    /// What it sorts by.
    pub keys: Vec<IndexKey>,
}

/// A primary key, unique or exclusion constraint. It has the name of its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyConstraint {
    /// `p`, `u` or `x`.
    pub kind: String,
    /// The definition.
    pub def: String,
    /// May be deferred.
    pub deferrable: bool,
    /// Is deferred at first.
    pub deferred: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// One column or expression of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexKey {
    /// The column's number; 0 for an expression.
    pub number: i16,
    /// The column's quoted name, or the expression.
    pub text: String,
    /// A column in its type's own order and its own collation.
    pub plain: bool,
}

/// A CHECK, NOT NULL or foreign key constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// `c`, `n` or `f`.
    pub kind: String,
    /// The definition.
    pub def: String,
    /// The expression of a CHECK.
    pub expression: Option<String>,
    /// Holds for every row.
    pub validated: bool,
    /// Its columns.
    pub columns: Vec<i16>,
    /// Its comment.
    pub comment: Option<String>,
}

/// Extended statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The definition between the name and `FROM`.
    pub tail: Option<String>,
    /// Its owner: not always the table's.
    pub owner: String,
    /// Its target.
    pub target: Option<i32>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A sequence that belongs to a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its number.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// The column's number.
    pub column: i16,
    /// An identity column's own; else that of a `serial`.
    pub is_identity: bool,
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The column of this number.
    pub fn numbered(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|c| c.number == number)
    }

    /// The index of this name.
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|i| i.name == name)
    }

    /// Its quoted name.
    pub fn quoted(&self) -> String {
        sql::qualified(&self.schema, &self.name)
    }

    /// A hash of what a run must find unchanged at its end.
    ///
    /// Left out is what may change without harm, or what a run itself changes: storage parameters, comments, statistics targets, the
    /// replica identity, where files lie, and which index was clustered by.
    pub fn fingerprint(&self) -> String {
        let mut bare = self.clone();
        bare.filenode = None;
        bare.tablespace = None;
        bare.options.clear();
        bare.toast_options.clear();
        bare.identity.clear();
        bare.comment = None;
        for c in &mut bare.columns {
            (c.target, c.comment, c.missing) = (None, None, None);
            c.options.clear();
        }
        for i in &mut bare.indexes {
            (i.filenode, i.tablespace, i.comment, i.clustered, i.replica_identity) =
                (None, None, None, false, false);
            i.options.clear();
            i.targets.clear();
            if let Some(c) = &mut i.constraint {
                c.comment = None;
            }
        }
        for c in &mut bare.constraints {
            c.comment = None;
        }
        for s in &mut bare.statistics {
            (s.target, s.comment) = (None, None);
        }
        let text = serde_json::to_vec(&bare).expect("a definition is plain data");
        Sha256::digest(&text).iter().take(16).map(|b| format!("{b:02x}")).collect()
    }
}

/// Reads a table's definition. Leaves the session's `search_path` as it was.
///
/// # Errors
/// `Refused` if there is no such table any more.
pub async fn table(client: &Client, oid: u32) -> Result<Table> {
    let path = sql::set_search_path(client, "", false).await?;
    let read =
        client.query_opt(TABLE, &[&oid]).await.map_err(|e| server(e, "reading the table's definition"));
    // In a failed transaction nothing can be set any more; its rollback brings the path back.
    let restored = sql::set_search_path(client, &path, false).await;
    let row = read?.ok_or_else(|| Error::refused(format!("table number {oid} is gone")))?;
    restored?;
    let Json(table) =
        row.try_get::<_, Json<Table>>(0).map_err(|e| server(e, "reading the table's definition"))?;
    Ok(table)
}

/// The `search_path` that an application of this user would have: what the session began with.
pub async fn user_search_path(client: &Client) -> Result<String> {
    let text = "select reset_val from pg_catalog.pg_settings where name = 'search_path'";
    let row = client.query_one(text, &[]).await.map_err(|e| server(e, "reading the search path"))?;
    Ok(row.get(0))
}

/// Finds the table that the operator means, by the server's own rules.
///
/// # Errors
/// `Usage` if the text is no name, `Refused` if no table has it.
pub async fn resolve(client: &Client, name: &str, search_path: &str) -> Result<u32> {
    let path = sql::set_search_path(client, search_path, false).await?;
    let found = client.query_one("select to_regclass($1)::oid", &[&name]).await;
    let row = match found {
        Ok(row) => row,
        Err(e) if e.code() == Some(&SqlState::INVALID_NAME) || e.code() == Some(&SqlState::SYNTAX_ERROR) => {
            drop(sql::set_search_path(client, &path, false).await);
            return Err(Error::usage(format!("{name:?} is no table name")).because(e));
        }
        Err(e) => return Err(server(e, format_args!("looking for the table {name}"))),
    };
    sql::set_search_path(client, &path, false).await?;
    if let Some(oid) = row.get::<_, Option<u32>>(0) {
        return Ok(oid);
    }
    let bare = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
    let text = "select format('%I.%I', n.nspname, c.relname) ||\n\
        case when has_schema_privilege(n.oid, 'USAGE') then '' else ' (no USAGE on its schema)' end from pg_class c join pg_namespace n on n.oid = c.relnamespace\n\
        where lower(c.relname) = lower($1) and c.relkind in ('r', 'p') order by 1 limit 5";
    let rows =
        client.query(text, &[&bare]).await.map_err(|e| server(e, "looking for tables of a similar name"))?;
    let others = rows.iter().map(|r| r.get::<_, String>(0)).collect::<Vec<_>>().join(", ");
    let next = if others.is_empty() {
        format!("the search path is {search_path}; give the schema too, and quotes if the name has capitals")
    } else {
        format!("did you mean {others}? (the search path is {search_path})")
    };
    Err(Error::refused(format!("there is no table {name}")).next(next))
}

#[cfg(test)]
mod tests;
