//! Works out what will be done, and changes nothing: everything is tried in a transaction that is rolled back.

pub mod back;
pub mod detail;
mod expression;
pub mod key;
mod lock;
pub mod mapping;
mod steps;
mod strategy;

pub use detail::{Detail, Later, ShadowKey, SharedUnique};

use crate::{
    alter::Body,
    catalog::{self, Column, Index, Table},
    check::{self, Facts},
    error::server,
    shadow::{
        index,
        twin::{self, Place, Twin},
    },
    sql::{NAME_BYTES_MAX, quote, run},
    swap::old_name,
};
use back::Back;
use key::Key;
use mapping::{Mapped, Projection};
use shadowswap_core::{
    error::{Error, Result},
    name::{TableName, derived},
    plan::{Finding, KeyColumn, Link, Plan, Request, Severity, Strategy},
};
use std::collections::HashSet;
use strategy::Verdict;
use tokio_postgres::Client;

/// Planning takes no lock that anybody waits for, and must not wait for long itself.
const SETUP: &str = "begin isolation level read committed; set local lock_timeout = '5s'; set local statement_timeout = '60s'";

/// The bodies of ALTER TABLE.
///
/// # Errors
/// `Usage` if one cannot be read.
pub fn bodies(request: &Request) -> Result<Vec<Body>> {
    check::read(request)
}

/// What was learnt from the twin.
struct Trial {
    twin: Twin,
    projection: Projection,
    back: Back,
    binary: bool,
    shadow_binary: bool,
    /// The lock that the change takes in place.
    lock: Option<&'static str>,
}

/// Looks at everything and says what would be done.
///
/// Dropping the future may leave a transaction open that changes nothing: close the connection then.
///
/// # Errors
/// `Usage` if the request cannot be read; `Refused` if there is no such table, or if the server refuses the change itself. What the checks
/// refuse is in the plan's findings.
pub async fn plan(client: &Client, request: &Request) -> Result<Plan> {
    let bodies = bodies(request)?;
    let search_path = catalog::user_search_path(client).await?;
    let oid = catalog::resolve(client, &request.table, &search_path).await?;
    let source = catalog::table(client, oid).await?;
    let name = TableName::new(&source.schema, &source.name);
    let shadow = name.sibling(derived("_", &name.name, "_shadow", NAME_BYTES_MAX));
    let old = name.sibling(derived("_", &name.name, "_old", NAME_BYTES_MAX));
    let facts = check::gather(client, source, shadow, old).await?;
    let mut findings = check::general(&facts);
    findings.extend(check::duplicates(request));
    findings.extend(check::references(&bodies));
    if is_refused(&findings) {
        return refused_plan(request, &facts, findings, &search_path);
    }
    run(client, SETUP).await?;
    let trial = attempt(client, &facts, request, bodies, &search_path).await;
    let ended = client.batch_execute("rollback").await.map_err(|e| server(e, "ending the trial"));
    let mut trial = trial?;
    ended?;
    trial.lock = lock::strongest(client, &facts.source, &trial.twin.bodies, &search_path).await?;
    assemble(client, request, facts, trial, findings, search_path).await
}

fn is_refused(findings: &[Finding]) -> bool {
    findings.iter().any(|f| f.severity == Severity::Refused)
}

async fn attempt(
    client: &Client,
    facts: &Facts,
    request: &Request,
    bodies: Vec<Body>,
    search_path: &str,
) -> Result<Trial> {
    let source = &facts.source;
    let twin = twin::build(client, &Place::Temporary, source, bodies, search_path).await?;
    let mut projection = mapping::project(source, &twin, &request.sets, facts.table.heap_bytes == 0);
    expression::settle(client, &mut projection.columns, &projection.filled).await?;
    let found = expression::check(client, source, twin.after(), &projection.columns).await?;
    projection.findings.extend(found);
    let back = back(client, source, twin.after(), &projection, request).await?;
    let is_new = facts.server.version_num >= 140_000;
    let binary = is_new && has_binary_form(client, source.oid).await?;
    let shadow_binary = is_new && has_binary_form(client, twin.after().oid).await?;
    Ok(Trial { twin, projection, back, binary, shadow_binary, lock: None })
}

/// The way back, with what the server says to its expressions.
async fn back(
    client: &Client,
    source: &Table,
    after: &Table,
    projection: &Projection,
    request: &Request,
) -> Result<Back> {
    let forward: Vec<_> = projection.columns.iter().map(|m| m.mapping.clone()).collect();
    let mut back = back::project(source, after, &forward, &request.set_backs);
    let from = format!("pg_temp.{} as {}", quote(&after.name), quote(&source.name));
    let asked = back.columns.iter().filter(|m| m.is_operators || (m.mapping.note == "type" && !m.is_plain));
    let (mut wrong, mut impossible) = (Vec::new(), Vec::new());
    for column in asked {
        let found = expression::between(client, &from, &source.quoted(), &column.mapping).await?;
        let refused = found.into_iter().filter(|f| f.severity == Severity::Refused);
        if column.is_operators {
            wrong.extend(refused.map(|f| {
                Finding::refused(
                    "going-back",
                    format!("--set-back: {}", f.message),
                    f.next.unwrap_or_default(),
                )
            }));
        } else if let Some(refused) = refused.into_iter().next() {
            impossible.push((
                refused.message,
                format!("say --set-back '{}=expression over the new row'", column.column),
            ));
        }
    }
    back.wrong.extend(wrong);
    back.impossible.extend(impossible);
    Ok(back)
}

/// Whether all values of a table's types come back from their binary form as they were.
pub async fn has_binary_form(client: &Client, table: u32) -> Result<bool> {
    let row = client.query_one(include_str!("sql/binary.sql"), &[&table]).await;
    Ok(row.map_err(|e| server(e, "looking at the columns' types"))?.get(0))
}

async fn assemble(
    client: &Client,
    request: &Request,
    facts: Facts,
    trial: Trial,
    mut findings: Vec<Finding>,
    search_path: String,
) -> Result<Plan> {
    let Trial { twin, projection, mut back, binary, shadow_binary, lock } = trial;
    let has_guard = request.guard_s.is_some();
    let source = &facts.source;
    let mut verdict = strategy::judge(&twin, request, facts.server.counts_scans);
    verdict.reason.extend(lock.map(|mode| format!(" (lock in place: {mode})")));
    let mut after = settle_names(source, twin.after());
    after.schema.clone_from(&source.schema);
    let key = key::choose(source, &after, &projection.columns);
    match verdict.strategy {
        Strategy::Direct => findings.extend(direct_findings(&verdict, request)),
        Strategy::Auto | Strategy::Shadow => {
            findings.extend(check::shadow(&facts));
            findings.extend(check::restarts(&twin.bodies));
            findings.extend(projection.findings.iter().cloned());
            findings.extend(key_findings(source, &key));
            findings.extend(new_names(client, source, &after).await?);
            findings.extend(not_validated(&after));
            back::constraints(&mut back, source, &after, key.as_ref().ok());
            findings.extend(back.findings(has_guard));
        }
    }
    let key = key.ok();
    let columns = key.as_ref().map(|k| k.columns.clone()).unwrap_or_default();
    let shadow_index = key.as_ref().and_then(|k| k.shadow_index.clone());
    let index_steps = index::steps(source, &after, &facts.shadow, &columns, shadow_index.as_deref())?;
    let (set_identity, restore) = identity(&facts, key.as_ref());
    let detail = Detail {
        source_oid: source.oid,
        server_version_num: facts.server.version_num,
        cluster: crate::prepare::cluster(client).await?,
        search_path,
        binary,
        shadow_binary,
        source: source.clone(),
        key_index: key.as_ref().map(|k| k.index.name.clone()).unwrap_or_default(),
        key_is_bytewise: key.as_ref().is_none_or(|k| k.is_bytewise),
        key_collation_changes: key.as_ref().is_some_and(|k| k.collation_changes),
        shadow_key: shadow_key(source, shadow_index),
        shared_unique: key
            .as_ref()
            .map(|k| shared_unique(source, &after, &projection.columns, k))
            .unwrap_or_default(),
        index_steps,
        restore_identity: set_identity
            .as_ref()
            .map(|_| format!("alter table only {} replica identity {}", source.quoted(), restore.0)),
        restore_identity_old: set_identity.as_ref().map(|_| {
            format!("alter table only {} replica identity {}", crate::sql::table(&facts.old), restore.1)
        }),
        set_identity,
        shadow_identity_has_key: identity_has(&after, &columns),
        converts: projection.columns.iter().any(|m| m.mapping.note == "type" || m.mapping.note == "computed"),
        scope: crate::scope::of(&request.control_schema),
        later: None,
        shadow: after,
    };
    finished(request, &facts, findings, verdict, link(&facts, columns, projection.columns), &detail)
}

fn finished(
    request: &Request,
    facts: &Facts,
    findings: Vec<Finding>,
    verdict: Verdict,
    link: Link,
    detail: &Detail,
) -> Result<Plan> {
    let source = &facts.source;
    let indexes = detail.index_steps.iter().map(|s| {
        let new = if s.existed_on_source { "" } else { "new, " };
        format!("{} ({new}built after the copy)", s.name)
    });
    let key = detail.shadow_key.index.iter().map(|name| format!("{name} (there while copying)"));
    let mut plan = Plan {
        id: String::new(),
        request: request.clone(),
        server: format!("PostgreSQL {}", facts.server.version),
        strategy: verdict.strategy,
        reason: verdict.reason,
        source: TableName::new(&source.schema, &source.name),
        shadow: facts.shadow.clone(),
        old: facts.old.clone(),
        link,
        indexes: key.chain(indexes).collect(),
        dependents: check::dependents_list(facts),
        findings,
        size: check::size(facts),
        steps: Vec::new(),
        fingerprint: source.fingerprint(),
        detail: serde_json::to_value(detail)
            .map_err(|e| Error::corrupt("a plan cannot be written down").because(e))?,
        turn: 0,
    };
    plan.steps = steps::steps(&plan, detail);
    Ok(plan.with_id())
}

/// A plan of a table that was not even tried.
fn refused_plan(request: &Request, facts: &Facts, findings: Vec<Finding>, search_path: &str) -> Result<Plan> {
    let source = &facts.source;
    let detail = Detail {
        source_oid: source.oid,
        server_version_num: facts.server.version_num,
        cluster: String::new(),
        search_path: search_path.to_string(),
        binary: false,
        shadow_binary: false,
        source: source.clone(),
        shadow: source.clone(),
        key_index: String::new(),
        key_is_bytewise: true,
        key_collation_changes: false,
        shadow_key: ShadowKey::default(),
        shared_unique: Vec::new(),
        index_steps: Vec::new(),
        set_identity: None,
        restore_identity: None,
        restore_identity_old: None,
        shadow_identity_has_key: false,
        converts: false,
        scope: crate::scope::of(&request.control_schema),
        later: None,
    };
    let verdict = Verdict {
        strategy: Strategy::Shadow,
        reason: "a check refused it before it was tried".to_string(),
        is_heavy: true,
    };
    finished(request, facts, findings, verdict, link(facts, Vec::new(), Vec::new()), &detail)
}

fn link(facts: &Facts, key: Vec<KeyColumn>, mapped: Vec<Mapped>) -> Link {
    let source = &facts.source;
    Link {
        from: TableName::new(&source.schema, &source.name),
        to: facts.shadow.clone(),
        key,
        columns: mapped.into_iter().map(|m| m.mapping).collect(),
        from_columns: source.columns.iter().map(|c| (c.name.clone(), c.type_name.clone())).collect(),
    }
}

/// Gives the twin's parts the tablespaces that a temporary table cannot have.
fn settle_names(source: &Table, after: &Table) -> Table {
    let mut after = after.clone();
    for index in &mut after.indexes {
        let former = source.index(&index.name).and_then(|i| i.tablespace.clone());
        index.tablespace = index.tablespace.take().or(former);
    }
    after
}

fn shadow_key(source: &Table, index: Option<String>) -> ShadowKey {
    let name = match &index {
        Some(index) => index::name_now(index),
        None => derived("_", &source.name, "_shadow_key", NAME_BYTES_MAX),
    };
    ShadowKey { index, name }
}

/// Unique indexes that both tables have over the same columns, taken over as they are.
pub fn shared_unique(source: &Table, after: &Table, mapped: &[Mapped], key: &Key) -> Vec<SharedUnique> {
    let usable = |t: &Table| {
        let plain = t.indexes.iter().filter(|i| keeps_unique(i) && is_plain(i));
        plain
            .map(|i| i.keys.iter().filter_map(|k| t.numbered(k.number).cloned()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<HashSet<_>>();
    let on_shadow: Vec<HashSet<String>> = usable(after).iter().map(|c| names(c)).collect();
    let taken_over = |c: &Column| {
        mapped.iter().find(|m| m.source == Some(c.number) && m.is_plain).map(|m| m.column.clone())
    };
    let of_key: HashSet<String> = key.columns.iter().map(|k| k.to.clone()).collect();
    let shared = usable(source)
        .into_iter()
        .filter_map(|columns| columns.iter().map(taken_over).collect::<Option<Vec<_>>>());
    shared
        .filter(|columns| {
            let set: HashSet<String> = columns.iter().cloned().collect();
            set != of_key && on_shadow.contains(&set)
        })
        .map(|columns| SharedUnique { terms: columns.iter().map(|c| quote(c)).collect(), predicate: None })
        .chain(source.indexes.iter().filter_map(|i| shared_partial(source, after, mapped, i)))
        .collect()
}

fn keeps_unique(index: &Index) -> bool {
    index.unique && index.valid && index.method == "btree"
}

/// Over columns alone, and all rows.
fn is_plain(index: &Index) -> bool {
    index.predicate.is_none() && index.keys.iter().all(|k| k.number != 0)
}

/// The same for an index over expressions, or over some of the rows: it must read the same on both tables, and whatever column it may
/// speak of must be the same.
fn shared_partial(source: &Table, after: &Table, mapped: &[Mapped], index: &Index) -> Option<SharedUnique> {
    let terms = |i: &Index| i.keys.iter().map(|k| k.text.clone()).collect::<Vec<_>>();
    let shared = SharedUnique { terms: terms(index), predicate: index.predicate.clone() };
    let is_on_shadow = after
        .indexes
        .iter()
        .any(|i| keeps_unique(i) && terms(i) == shared.terms && i.predicate == shared.predicate);
    let text = shared.terms.iter().chain(&shared.predicate).cloned().collect::<Vec<_>>().join(" ");
    // A name that only looks like a column's does no harm.
    let mut spoken_of =
        source.columns.iter().filter(|c| text.contains(&c.name) || text.contains(&quote(&c.name)));
    let is_same = spoken_of
        .all(|c| mapped.iter().any(|m| m.source == Some(c.number) && m.is_plain && m.column == c.name));
    (keeps_unique(index) && !is_plain(index) && is_on_shadow && is_same).then_some(shared)
}

/// The statement that makes the stream carry the key, and what undoes it: before and after the swap.
fn identity(facts: &Facts, key: Option<&Key>) -> (Option<String>, (String, String)) {
    let source = &facts.source;
    let former = source.indexes.iter().find(|i| i.replica_identity);
    let restore = match (source.identity.as_str(), former) {
        ("n", _) => ("nothing".to_string(), "nothing".to_string()),
        ("f", _) => ("full".to_string(), "full".to_string()),
        ("i", Some(i)) => {
            (format!("using index {}", quote(&i.name)), format!("using index {}", quote(&old_name(&i.name))))
        }
        _ => ("default".to_string(), "default".to_string()),
    };
    let Some(key) = key else { return (None, restore) };
    let is_primary = key.index.constraint.as_ref().is_some_and(|c| c.kind == "p");
    let is_carried = match source.identity.as_str() {
        "f" => true,
        "d" => is_primary && key.index.immediate,
        "i" => key.index.replica_identity,
        _ => false,
    };
    if is_carried {
        return (None, restore);
    }
    // A deferrable key cannot be a replica identity.
    let identity = if key.index.immediate {
        format!("using index {}", quote(&key.index.name))
    } else {
        "full".to_string()
    };
    (Some(format!("alter table only {} replica identity {identity}", source.quoted())), restore)
}

fn identity_has(after: &Table, key: &[KeyColumn]) -> bool {
    let holds = |index: &catalog::Index| {
        let names: Vec<&str> =
            index.keys.iter().filter_map(|k| after.numbered(k.number)).map(|c| c.name.as_str()).collect();
        index.immediate && key.iter().all(|k| names.contains(&k.to.as_str()))
    };
    match after.identity.as_str() {
        "f" => true,
        "d" => after.indexes.iter().any(|i| i.constraint.as_ref().is_some_and(|c| c.kind == "p") && holds(i)),
        "i" => after.indexes.iter().any(|i| i.replica_identity && holds(i)),
        _ => false,
    }
}

fn direct_findings(verdict: &Verdict, request: &Request) -> Vec<Finding> {
    if !request.sets.is_empty() {
        return vec![Finding::refused("strategy", "--set needs a shadow", "leave --strategy direct out")];
    }
    if request.guard_s.is_some() {
        let message = "--guard needs a shadow: what is changed in place leaves no old table";
        return vec![Finding::refused("strategy", message, "leave --strategy direct or --guard out")];
    }
    if verdict.is_heavy {
        return vec![Finding::refused("strategy", verdict.reason.clone(), "leave --strategy direct out")];
    }
    Vec::new()
}

fn key_findings(source: &Table, key: &std::result::Result<Key, Vec<String>>) -> Vec<Finding> {
    match key {
        Ok(key) => {
            let columns = key.columns.iter().map(|k| k.from.as_str()).collect::<Vec<_>>().join(", ");
            let mut found =
                vec![Finding::passed("key", format!("rows go by {} ({columns})", key.index.name))];
            if !key.index.immediate && source.identity != "f" {
                found.push(Finding::warning(
                    "key",
                    format!(
                        "{} is deferrable: the change stream has to carry whole rows (replica identity full)",
                        key.index.name
                    ),
                    "expect more WAL for each UPDATE and DELETE during the run",
                ));
            }
            found
        }
        Err(reasons) => vec![Finding::refused(
            "key",
            format!("no key that both tables share: {}", reasons.join("; ")),
            "add a unique index over NOT NULL columns that the change leaves as they are (CREATE UNIQUE INDEX CONCURRENTLY)",
        )],
    }
}

/// NOT NULL constraints that are NOT VALID (from 18 on) hold for every row of the shadow, and not for every row of the source.
fn not_validated(after: &Table) -> Vec<Finding> {
    let open = after.constraints.iter().filter(|c| c.kind == "n" && !c.validated);
    open.map(|c| {
        let message = format!("NOT NULL constraint {} is NOT VALID after the change", c.name);
        Finding::refused(
            "not-null",
            message,
            "add it without NOT VALID: the rows are checked on the shadow anyway",
        )
    })
    .collect()
}

/// Names of new indexes and sequences must be free beside the source: the server chose them in a schema of their own.
async fn new_names(client: &Client, source: &Table, after: &Table) -> Result<Vec<Finding>> {
    let own: HashSet<&str> = source
        .indexes
        .iter()
        .map(|i| i.name.as_str())
        .chain(source.sequences.iter().map(|s| s.name.as_str()))
        .collect();
    let indexes = after.indexes.iter().map(|i| i.name.as_str());
    let serials = after.sequences.iter().map(|s| s.name.as_str());
    let mut wanted: Vec<String> =
        indexes.chain(serials).filter(|n| !own.contains(n)).map(str::to_string).collect();
    wanted.extend(after.indexes.iter().map(|i| index::name_now(&i.name)));
    wanted.extend(after.sequences.iter().map(|s| index::name_now(&s.name)));
    let text = "select relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and relname = any($2)";
    let rows = client.query(text, &[&source.schema, &wanted]).await;
    let rows = rows.map_err(|e| server(e, "looking which names are free"))?;
    let taken = rows.iter().map(|r| r.get::<_, String>(0));
    Ok(taken
        .map(|name| {
            let message =
                format!("the change needs the name {name} in schema {}, which is taken", source.schema);
            Finding::refused(
                "names",
                message,
                "name the index or constraint in --alter, or rename the other object",
            )
        })
        .collect())
}
