//! What the server's catalog and the tables themselves say: the means to tell two tables apart.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::time::sleep;
use tokio_postgres::Client;

use crate::operator::{POLL, SOON, texts};

const TABLE: &str = include_str!("sql/table.sql");

/// Values longer than this are compared by their hash: a difference stays readable.
const SHOWN: usize = 200;

/// All that the catalog says about a table, named as in SQL.
pub async fn facts(client: &Client, table: &str) -> BTreeSet<String> {
    let rows = client.query(TABLE, &[&table]).await.unwrap_or_else(|e| panic!("{table}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The names of a table's columns, quoted, in order.
pub async fn columns(client: &Client, table: &str) -> Vec<String> {
    let query = "select quote_ident(attname) from pg_attribute
        where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum";
    let rows = client.query(query, &[&table]).await.unwrap_or_else(|e| panic!("{table}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Every row of a table as text, sorted; without some of its columns.
pub async fn rows(client: &Client, table: &str, without: &[String]) -> Vec<String> {
    let columns = columns(client, table).await;
    let shown = columns.iter().filter(|column| !without.contains(column)).map(|column| {
        format!(
            "coalesce(case when length({column}::text) > {SHOWN} then 'md5 ' || md5({column}::text)
                else quote_literal({column}::text) end, 'NULL')"
        )
    });
    let shown: Vec<String> = shown.collect();
    // One expression a value: a table may have more columns than a function has arguments.
    let mut rows = texts(client, &format!("select array[{}]::text from {table}", shown.join(", "))).await;
    rows.sort_unstable();
    rows
}

/// What a table's sequences would give next, by column.
pub async fn next_values(client: &Client, table: &str) -> Vec<(String, i64)> {
    let query = "select a.attname::text, d.objid::regclass::text
        from pg_depend d
        join pg_class s on s.oid = d.objid and s.relkind = 'S'
        join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.refobjid = $1::text::regclass and d.deptype in ('a', 'i')
        order by a.attnum";
    let found = client.query(query, &[&table]).await.unwrap_or_else(|e| panic!("{table}: {e:?}"));
    let mut values = Vec::new();
    for row in found {
        let sequence: String = row.get(1);
        let query = format!("select last_value + is_called::int from {sequence}");
        values.push((row.get(0), client.query_one(&query, &[]).await.unwrap().get(0)));
    }
    values
}

/// What a migration leaves behind when it does not tidy up: slots and publications of this database, shadows, sessions.
pub async fn traces(client: &Client) -> Vec<String> {
    let query = "
        select 'slot ' || slot_name from pg_replication_slots where database = current_database()
        union all
        select 'publication ' || pubname from pg_publication where pubname like 'shadowswap%'
        union all
        select 'relation ' || oid::regclass from pg_class where relname like '%\\_shadow' and relkind in ('r', 'p')
        union all
        select 'session ' || application_name || ' ' || state from pg_stat_activity
        where application_name like 'shadowswap/%' and datname = current_database()";
    let start = Instant::now();
    loop {
        let found = texts(client, query).await;
        // The server ends a session a moment after its client has gone.
        let is_ending = found.iter().any(|trace| trace.starts_with("session"));
        if !is_ending || start.elapsed() > SOON {
            return found;
        }
        sleep(POLL).await;
    }
}

/// Every relation, publication and table definition outside the control tables: equal before and after means that nothing was changed.
pub async fn whole(client: &Client) -> BTreeSet<String> {
    const RELATIONS: &str = "
        select case when relkind in ('r', 'p') then 't' else 'x' end, c.oid::regclass::text, concat_ws(' ', relkind::text, c.oid, relfilenode)
        from pg_class c join pg_namespace n on n.oid = relnamespace
        where nspname not in ('pg_catalog', 'information_schema', 'shadowswap') and nspname not like 'pg\\_toast%' and nspname not like 'pg\\_temp%'";
    let relations = client.query(RELATIONS, &[]).await.unwrap();
    let mut all = BTreeSet::new();
    for row in relations {
        let (kind, name, what): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        all.insert(format!("{name}: {what}"));
        if kind == "t" {
            all.extend(facts(client, &name).await.into_iter().map(|fact| format!("{name}: {fact}")));
        }
    }
    all.extend(texts(client, "select 'publication ' || pubname from pg_publication").await);
    all
}
