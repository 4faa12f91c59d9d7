//! The twin: an empty copy of the source under the source's own name, on which the server itself carries out the change.
//!
//! It lives in a transaction of the caller's, in `pg_temp` or in a schema made for it. Its definition before and after each body of
//! ALTER TABLE is all that is known about the change. `LIKE` numbers columns densely, in the source's order: that, and nothing else, says
//! which column of the twin stems from which of the source. A rename keeps the number, a type keeps it, a new column gets a new one.

use crate::{
    alter,
    catalog::{self, Index, Table},
    error::server,
    sql::{literal, qualified, quote, run, set_search_path},
};
use shadowswap_core::error::{Error, Kind, Result};
use tokio_postgres::{Client, error::SqlState};

/// Where the twin is made.
#[derive(Clone, Debug)]
pub enum Place {
    /// In `pg_temp`: only to look, in a transaction that is rolled back.
    Temporary,
    /// In this schema: it becomes the shadow.
    Schema(String),
}

impl Place {
    fn schema(&self) -> &str {
        match self {
            Place::Temporary => "pg_temp",
            Place::Schema(name) => name,
        }
    }
}

/// The twin between two bodies.
#[derive(Clone, Debug)]
pub struct State {
    /// Its definition.
    pub table: Table,
    /// How often it was read from end to end so far.
    pub scans: i64,
}

/// The twin and its history: one state more than there were bodies.
#[derive(Clone, Debug)]
pub struct Twin {
    /// What was asked for.
    pub bodies: Vec<alter::Body>,
    /// Before the first body, and after each.
    pub states: Vec<State>,
}

impl Twin {
    /// After the last body.
    pub fn after(&self) -> &Table {
        &self.states.last().expect("a twin has a last state").table
    }
}

/// Makes the twin and carries out the bodies on it. Needs an open transaction; leaves the operator's `search_path` set in it.
///
/// # Errors
/// `Refused` with the server's answer if it refuses a body, or if a body does what a shadow cannot take over.
pub async fn build(
    client: &Client,
    place: &Place,
    source: &Table,
    bodies: Vec<alter::Body>,
    search_path: &str,
) -> Result<Twin> {
    set_search_path(client, "", true).await?;
    for statement in statements(place, source)? {
        run(client, &statement).await.map_err(|e| e.while_trying("making an empty copy of the table"))?;
    }
    set_search_path(client, search_path, true).await?;
    let name = qualified(place.schema(), &source.name);
    let row = client
        .query_one("select to_regclass($1)::oid", &[&name])
        .await
        .map_err(|e| server(e, "looking for the copy"))?;
    let oid: u32 = row.get(0);
    let mut made = state(client, oid).await?;
    let types = sequence_types(source, &made.table);
    for statement in &types {
        run(client, statement).await.map_err(|e| e.while_trying("making an empty copy of the table"))?;
    }
    if !types.is_empty() {
        made = state(client, oid).await?;
    }
    let mut twin = Twin { bodies, states: vec![made] };
    for body in &twin.bodies {
        // Through the extended protocol, which takes one statement only.
        let text = format!("alter table {name} {}", body.text);
        client.execute(&text, &[]).await.map_err(|e| refused(e, source, body))?;
        let after = state(client, oid).await?;
        same_place(twin.after(), &after.table, body)?;
        twin.states.push(after);
    }
    Ok(twin)
}

/// `LIKE` makes every identity's sequence a bigint; ALTER TABLE would go by the type that it has.
fn sequence_types(source: &Table, made: &Table) -> Vec<String> {
    let former = |n: i16| {
        let column = usize::try_from(n - 1).ok().and_then(|n| source.columns.get(n))?;
        source.sequences.iter().find(|s| s.is_identity && s.column == column.number)
    };
    let changed = made.sequences.iter().filter_map(|s| Some((s, former(s.column)?)));
    let changed = changed.filter(|(s, f)| s.is_identity && s.type_name != f.type_name);
    changed
        .map(|(s, f)| format!("alter sequence {} as {}", qualified(&s.schema, &s.name), f.type_name))
        .collect()
}

async fn state(client: &Client, oid: u32) -> Result<State> {
    let table = catalog::table(client, oid).await?;
    let text = "select pg_stat_get_xact_numscans($1)";
    let row =
        client.query_one(text, &[&oid]).await.map_err(|e| server(e, "counting the scans of the copy"))?;
    Ok(State { table, scans: row.get(0) })
}

fn refused(e: tokio_postgres::Error, source: &Table, body: &alter::Body) -> Error {
    let what =
        format!("trying `alter table … {}` on an empty copy of {}.{}", body.text, source.schema, source.name);
    let code = e.code().cloned();
    let error = server(e, what);
    if error.is_transient() {
        return error;
    }
    let is_foreign = source.constraints.iter().any(|c| c.kind == "f" && body.text.contains(&c.name));
    let next = if is_foreign {
        "the copy has no foreign keys; run this ALTER TABLE by itself, with a short lock_timeout: it changes only the catalog"
    } else if code == Some(SqlState::SYNTAX_ERROR) {
        "give what follows the table's name, one --alter for each ALTER TABLE"
    } else {
        "the table itself would refuse the same"
    };
    Error { kind: Kind::Refused, ..error }.next(next)
}

/// A body must leave the table where it is and whose it is.
fn same_place(before: &Table, after: &Table, body: &alter::Body) -> Result<()> {
    let found = if (&before.schema, &before.name) != (&after.schema, &after.name) {
        "moves or renames the table"
    } else if before.owner != after.owner {
        "gives the table another owner"
    } else if before.persistence != after.persistence {
        "changes whether the table is logged"
    } else if after.inherits || after.is_partition || after.of_type {
        "ties the table to another one or to a type"
    } else if before.row_security != after.row_security {
        "turns row security on or off"
    } else {
        return Ok(());
    };
    Err(Error::refused(format!("`{}` {found}", body.text))
        .next("take it out; it needs no shadow, so run it by itself with a short lock_timeout"))
}

fn statements(place: &Place, source: &Table) -> Result<Vec<String>> {
    let name = qualified(place.schema(), &source.name);
    let method = source.access_method.as_deref().unwrap_or("heap");
    let mut all = Vec::new();
    let is_permanent = matches!(place, Place::Schema(_));
    if is_permanent {
        all.push(tablespace(source.tablespace.as_deref()));
    }
    all.push(format!(
        "create table {name} (like {} including all excluding indexes excluding constraints excluding statistics) using {}",
        source.quoted(),
        quote(method),
    ));
    all.extend(options(source).map(|option| format!("alter table {name} set ({option})")));
    for column in &source.columns {
        let c = quote(&column.name);
        all.extend(
            column
                .target
                .map(|target| format!("alter table {name} alter column {c} set statistics {target}")),
        );
        all.extend(
            column
                .options
                .iter()
                .map(|o| format!("alter table {name} alter column {c} set ({})", assignment(o))),
        );
    }
    for constraint in source.constraints.iter().filter(|c| c.kind == "c") {
        all.push(format!("alter table {name} add constraint {} {}", quote(&constraint.name), constraint.def));
    }
    for index in source.indexes.iter().filter(|i| i.valid) {
        if is_permanent {
            all.push(tablespace(index.tablespace.as_deref()));
        }
        all.extend(index_statements(&name, index, &index.name)?);
        all.extend(index_extras(place.schema(), &name, index, &index.name));
    }
    if is_permanent {
        all.push(tablespace(None));
    }
    for s in &source.statistics {
        all.push(statistics_statement(&name, s, place.schema(), &s.name)?);
        all.extend(statistics_extras(s, place.schema(), &s.name));
    }
    for c in &source.constraints {
        all.extend(comment(
            &format!("constraint {} on {name}", quote(&c.name)),
            c.comment.as_deref().filter(|_| c.kind != "f"),
        ));
    }
    match source.identity.as_str() {
        "f" => all.push(format!("alter table {name} replica identity full")),
        "n" => all.push(format!("alter table {name} replica identity nothing")),
        _ => {}
    }
    Ok(all)
}

fn tablespace(name: Option<&str>) -> String {
    format!("set local default_tablespace = {}", literal(name.unwrap_or_default()))
}

/// `name=value` as SQL takes it.
pub fn assignment(option: &str) -> String {
    let (name, value) = option.split_once('=').unwrap_or((option, "true"));
    format!("{name} = {}", literal(value))
}

/// The table's storage parameters and its TOAST table's.
fn options(source: &Table) -> impl Iterator<Item = String> {
    let own = source.options.iter().map(|o| assignment(o));
    own.chain(source.toast_options.iter().map(|o| format!("toast.{}", assignment(o))))
}

/// What makes an index on a table, with its constraint, under another name.
pub fn index_statements(table: &str, index: &Index, name: &str) -> Result<Vec<String>> {
    let quoted = quote(name);
    let tail = index.tail.as_deref();
    let tail =
        tail.ok_or_else(|| Error::corrupt(format!("cannot read the definition of index {}", index.name)))?;
    let create = |unique: &str| format!("create {unique}index {quoted} on {table} {tail}");
    let Some(constraint) = &index.constraint else {
        return Ok(vec![create(if index.unique { "unique " } else { "" })]);
    };
    if constraint.kind == "x" || index.method != "btree" {
        return Ok(vec![format!("alter table {table} add constraint {quoted} {}", constraint.def)]);
    }
    let kind = if constraint.kind == "p" { "primary key" } else { "unique" };
    let when = match (constraint.deferrable, constraint.deferred) {
        (false, _) => "",
        (true, false) => " deferrable",
        (true, true) => " deferrable initially deferred",
    };
    Ok(vec![
        create("unique "),
        format!("alter table {table} add constraint {quoted} {kind} using index {quoted}{when}"),
    ])
}

/// What else belongs to an index: comments, statistics targets, marks.
pub fn index_extras(schema: &str, table: &str, index: &Index, name: &str) -> Vec<String> {
    let (bare, full) = (quote(name), qualified(schema, name));
    let mut all = Vec::new();
    if let Some(constraint) = &index.constraint {
        all.extend(comment(&format!("constraint {bare} on {table}"), constraint.comment.as_deref()));
        if constraint.kind == "x" || index.method != "btree" {
            all.extend(index.options.iter().map(|o| format!("alter index {full} set ({})", assignment(o))));
        }
    }
    all.extend(comment(&format!("index {full}"), index.comment.as_deref()));
    let targets = index.targets.iter();
    all.extend(
        targets.map(|(place, target)| {
            format!("alter index {full} alter column {place} set statistics {target}")
        }),
    );
    if index.clustered {
        all.push(format!("alter table {table} cluster on {bare}"));
    }
    if index.replica_identity {
        all.push(format!("alter table {table} replica identity using index {bare}"));
    }
    all
}

/// What makes extended statistics on a table.
pub fn statistics_statement(
    table: &str,
    s: &catalog::Statistics,
    schema: &str,
    name: &str,
) -> Result<String> {
    let tail = s.tail.as_deref();
    let tail =
        tail.ok_or_else(|| Error::corrupt(format!("cannot read the definition of statistics {}", s.name)))?;
    Ok(format!("create statistics {} {tail} from {table}", qualified(schema, name)))
}

/// What else belongs to extended statistics.
pub fn statistics_extras(s: &catalog::Statistics, schema: &str, name: &str) -> Vec<String> {
    let full = qualified(schema, name);
    let target = s.target.map(|target| format!("alter statistics {full} set statistics {target}"));
    target.into_iter().chain(comment(&format!("statistics {full}"), s.comment.as_deref())).collect()
}

/// A comment on an object, if there is one.
pub fn comment(object: &str, text: Option<&str>) -> Option<String> {
    text.map(|text| format!("comment on {object} is {}", literal(text)))
}
