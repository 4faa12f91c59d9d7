//! Works out what will be done, and changes nothing of the source: everything is tried on an empty copy.

mod back;
pub(crate) mod conversion;
mod create;
pub mod detail;
mod expression;
mod key;
pub mod mapping;
mod reverse;
mod steps;
mod strategy;
pub mod twin;

pub use detail::{Detail, LateIndex};
pub use reverse::{Other, forward_again, turned};

use crate::{
    alter::Body,
    catalog::{self, Table, same_name, show},
    check::{self, Facts},
    error::server,
    flavor::Server,
    sql::{NAME_BYTES_MAX, table},
};
use key::Key;
use mapping::{Mapped, Projection};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    error::{Error, Result},
    name::{TableName, derived},
    plan::{Finding, Link, Plan, Request, Severity, Strategy},
};
use strategy::Verdict;
use twin::{Algorithm, Stage};

/// What MySQL adds to a table's name to call its CHECK constraints.
const CHECK_SUFFIX_BYTES: usize = 8;

/// The bodies of ALTER TABLE.
///
/// # Errors
/// `Usage` if one cannot be read.
pub fn bodies(request: &Request) -> Result<Vec<Body>> {
    check::read(request)
}

/// The statements that make the change in place. What the server agreed to comes first, so that no comment or partition clause of a body
/// can swallow it.
///
/// # Errors
/// `Usage` if a body cannot be read.
pub fn direct(plan: &Plan, detail: &Detail) -> Result<Vec<String>> {
    let clause = detail.direct.iter().map(|c| format!("{c}, ")).collect::<String>();
    let statement =
        |b: &Body| format!("{} alter table {} {clause}{}", twin::MARK, table(&plan.source), b.text);
    Ok(bodies(&plan.request)?.iter().map(statement).collect())
}

/// What was learnt from the twins.
struct Trial {
    after: Table,
    projection: Projection,
    algorithms: Vec<Algorithm>,
    key: std::result::Result<Key, Vec<String>>,
    late: Vec<LateIndex>,
    back: back::Back,
    findings: Vec<Finding>,
}

/// Looks at everything and says what would be done.
///
/// Makes empty copies of the table in the control database, and drops them again; the database too, if it was not there. Sets the
/// session's character set, `sql_mode`, time zone and `lock_wait_timeout`. Dropping the future may leave copies behind, which a later plan
/// removes: close the connection then.
///
/// # Errors
/// `Usage` if the request cannot be read; `Refused` if there is no such table, or if the server refuses the change itself; `Transient` if
/// the source was locked. What the checks refuse is in the plan's findings.
pub async fn plan(conn: &mut Conn, request: &Request) -> Result<Plan> {
    let bodies = bodies(request)?;
    let product = catalog::server(conn).await?;
    conn.query_drop(twin::SETUP).await.map_err(|e| server(e, "setting up the session"))?;
    let name = catalog::resolve(conn, &request.table).await?;
    let source = catalog::table(conn, &name).await?;
    let source = source.ok_or_else(|| Error::refused(format!("table {name} is gone")))?;
    let limit = name_limit(&product, &source);
    let shadow = name.sibling(if product.renames_under_lock() {
        derived("_", &name.name, "_shadow", limit)
    } else {
        crate::cutover::behind(&name.name, "_shadow", limit)
    });
    let old = name.sibling(derived("_", &name.name, "_old", limit));
    let facts = check::gather(conn, &product, source, shadow, old, &request.control_schema).await?;
    let mut findings = check::general(&facts);
    findings.extend(check::duplicates(request));
    findings.extend(check::refused(&bodies));
    if is_refused(&findings) {
        return refused_plan(request, &facts, findings);
    }
    let mut stage = twin::open(conn, &request.control_schema).await?;
    let tried = attempt(conn, &mut stage, &facts, request, &bodies).await;
    let closed = stage.close(conn).await;
    let trial = tried?;
    closed?;
    assemble(request, &facts, &bodies, trial, findings)
}

fn is_refused(findings: &[Finding]) -> bool {
    findings.iter().any(|f| f.severity == Severity::Refused)
}

/// Names of the shadow and the old table leave room for those of CHECK constraints, which MySQL makes of them.
fn name_limit(product: &Server, source: &Table) -> usize {
    let elements = show::parts(&source.create).map(|p| p.elements).unwrap_or_default();
    let has_checks = elements.iter().any(|e| show::constraint(e).is_some());
    if product.is_mariadb() || !has_checks { NAME_BYTES_MAX } else { NAME_BYTES_MAX - CHECK_SUFFIX_BYTES }
}

async fn attempt(
    conn: &mut Conn,
    stage: &mut Stage,
    facts: &Facts,
    request: &Request,
    bodies: &[Body],
) -> Result<Trial> {
    let source = &facts.source;
    let name = TableName::new(&source.schema, &source.name);
    let mut algorithms = Vec::new();
    if !bodies.is_empty() {
        let other = stage.twin(conn, &name).await?;
        for body in bodies {
            algorithms.push(twin::algorithm(conn, &other, source, body).await?);
        }
        stage.drop_twin(conn, &other).await?;
    }
    let main = stage.twin(conn, &name).await?;
    let mut states = vec![twin::read(conn, &main, &name).await?];
    for body in bodies {
        twin::change(conn, &main, source, body).await?;
        states.push(twin::read(conn, &main, &name).await?);
    }
    let after = states.last().cloned().unwrap_or_else(|| source.clone());
    let mut projection = mapping::project(source, bodies, &states, &request.sets);
    let found = expression::check(conn, stage, source, &name, &projection.columns).await?;
    projection.findings.extend(found);
    let key = key::choose(source, &after, &projection.columns);
    let is_early = check::is_early(facts, request.indexes);
    let late = key
        .as_ref()
        .map(|k| create::late(source, &after, &projection.columns, k, is_early))
        .unwrap_or_default();
    let mut findings = same_copy(source, &states);
    if !is_refused(&projection.findings) {
        findings.extend(expression::fits(conn, &name, &main, &projection.columns).await?);
        findings.extend(rehearse(conn, &main, &name, &after, &late).await?);
    }
    if request.guard_s.is_some() {
        findings.extend(guard_name(conn, facts, &name).await?);
    }
    let forward: Vec<_> = projection.columns.iter().map(|m| m.mapping.clone()).collect();
    let mut back = back::back(&forward, source, &after, &request.set_backs);
    if request.guard_s.is_some() || !request.set_backs.is_empty() {
        try_back(conn, stage, &name, (&main, &after), &mut back).await?;
    }
    Ok(Trial { after, projection, algorithms, key, late, back, findings })
}

/// Where two sessions swap, the old table has a name of its own while it is kept in step.
async fn guard_name(conn: &mut Conn, facts: &Facts, name: &TableName) -> Result<Option<Finding>> {
    if facts.server.renames_under_lock() {
        return Ok(None);
    }
    let guarded = crate::names::guarded_beside(name);
    if guarded.name.as_bytes() <= name.name.as_bytes() {
        let message = format!(
            "no name for the old table sorts behind {name}, as swapping back on {} needs it",
            facts.server
        );
        return Ok(Some(Finding::refused(
            "names",
            message,
            "rename the table to a shorter name first, or leave --guard out",
        )));
    }
    Ok(crate::cutover::exists(conn, &guarded).await?.map(|_| {
        let message = format!(
            "there is a table {guarded}, which is what the old table is called while it is kept in step"
        );
        Finding::refused("names", message, "rename or drop it, or leave --guard out")
    }))
}

/// Asks the server what it makes of the projection back: each expression over the changed twin, and all values into an empty copy of the
/// table as it is.
async fn try_back(
    conn: &mut Conn,
    stage: &mut Stage,
    name: &TableName,
    (main, after): (&TableName, &Table),
    back: &mut back::Back,
) -> Result<()> {
    let told = |mut f: Finding| {
        f.check = back::CHECK.to_string();
        f.message = f.message.replace(&main.name, &name.name);
        f.next = Some(f.next.unwrap_or_default().replace("--set ", "--set-back "));
        f
    };
    let found = expression::check(conn, stage, after, main, &back.columns).await?;
    for f in found.into_iter().map(told) {
        match f.severity {
            Severity::Refused => back.mistakes.push(f),
            Severity::Warning | Severity::Passed => back.losses.push((f.message, f.next.unwrap_or_default())),
        }
    }
    if !back.is_possible() {
        return Ok(());
    }
    let old = stage.twin(conn, name).await?;
    let found = expression::fits(conn, main, &old, &back.columns).await?;
    stage.drop_twin(conn, &old).await?;
    for f in found.into_iter().map(told) {
        back.obstacles.push((f.message, f.next.unwrap_or_default()));
    }
    Ok(())
}

/// The server's own copy must have the source's columns: the projection begins with that.
fn same_copy(source: &Table, states: &[Table]) -> Vec<Finding> {
    let Some(copy) = states.first() else { return Vec::new() };
    let names =
        |t: &Table| t.columns.iter().map(|c| (c.name.clone(), c.column_type.clone())).collect::<Vec<_>>();
    if names(source) == names(copy) {
        return Vec::new();
    }
    let message = "the server's own copy of the table (CREATE TABLE … LIKE) has other columns than the table";
    vec![Finding::refused(
        "columns",
        message,
        "rebuild the table, or give its old types up, in a maintenance window",
    )]
}

/// Drops the late indexes from the changed twin and makes them again, as the run will: the same must come out.
async fn rehearse(
    conn: &mut Conn,
    twin_name: &TableName,
    name: &TableName,
    after: &Table,
    late: &[LateIndex],
) -> Result<Vec<Finding>> {
    let Some(drop) = create::drop_late(twin_name, late) else { return Ok(Vec::new()) };
    let again = late.iter().map(|i| format!("{} alter table {} {}", twin::MARK, table(twin_name), i.clause));
    for text in [drop].into_iter().chain(again) {
        let Err(e) = conn.query_drop(&text).await else { continue };
        let mut error = server(e, "dropping the indexes of the copy and making them again");
        if error.is_transient() {
            return Err(error);
        }
        error.message = error.message.replace(&twin_name.name, &name.name);
        let next = "change the indexes by themselves, apart from the columns";
        return Ok(vec![Finding::refused("indexes", error.message, next)]);
    }
    let again = twin::read(conn, twin_name, name).await?;
    let definitions = |t: &Table| {
        let mut all: Vec<_> = t.indexes.iter().map(|i| (i.name.clone(), i.definition.clone())).collect();
        all.sort();
        all
    };
    if definitions(&again) == definitions(after) && again.columns == after.columns {
        return Ok(Vec::new());
    }
    let message = "indexes that were dropped from a copy and made again did not come out the same";
    Ok(vec![Finding::refused("indexes", message, "change the indexes by themselves, apart from the columns")])
}

fn assemble(
    request: &Request,
    facts: &Facts,
    bodies: &[Body],
    trial: Trial,
    mut findings: Vec<Finding>,
) -> Result<Plan> {
    let Trial { after, projection, algorithms, key, late, back, findings: tried } = trial;
    let source = &facts.source;
    let (has_sets, has_guard) = (!request.sets.is_empty(), request.guard_s.is_some());
    let verdict = strategy::judge(bodies, &algorithms, request.strategy, has_sets, has_guard);
    match verdict.strategy {
        Strategy::Direct => findings.extend(direct_findings(&verdict, request)),
        Strategy::Auto | Strategy::Shadow => {
            findings.extend(check::shadow(facts));
            findings.extend(check::after(facts, &after));
            if after.indexes.iter().any(|i| key.as_ref().is_ok_and(|k| k.shadow_index != i.name)) {
                findings.extend(check::indexes(facts, request.indexes, &late));
            }
            findings.extend(projection.findings);
            findings.extend(tried);
            findings.extend(key_findings(&key));
            findings.extend(check::views(facts, &gone(source, &after)));
            findings.extend(late_primary(facts, &late));
            findings.extend(back.findings(request.guard_s.is_some()));
            findings.push(check::retention(facts, request.guard_s));
        }
    }
    let columns = projection.columns;
    let key = key.ok();
    let name = TableName::new(&source.schema, &source.name);
    let detail = Detail {
        server: facts.server.clone(),
        source: source.clone(),
        key_index: key.as_ref().map(|k| k.index.clone()).unwrap_or_default(),
        create: create::statements(&name, &facts.shadow, bodies, &late),
        late,
        rereads: rereads(source, &columns),
        is_plain: columns.iter().all(|m| m.mapping.expression.is_none() || m.is_same()),
        keeps_order: key.as_ref().is_some_and(|k| k.keeps_order),
        direct: verdict.clause.map(str::to_string),
        converts: columns.iter().any(converts),
        is_back: false,
        uncompared: Vec::new(),
        insert_only: Vec::new(),
        shadow: after,
    };
    let has_key = key.is_some();
    let link = Link {
        from: name,
        to: facts.shadow.clone(),
        key: key.map(|k| k.columns).unwrap_or_default(),
        columns: columns.into_iter().map(|m| m.mapping).collect(),
        from_columns: from_columns(source),
    };
    finished(request, facts, findings, verdict, link, &detail, has_key)
}

fn from_columns(source: &Table) -> Vec<(String, String)> {
    source.columns.iter().map(|c| (c.name.clone(), c.column_type.clone())).collect()
}

/// The values may be what stops the copy.
fn converts(m: &Mapped) -> bool {
    let becomes_not_null = m.from.as_ref().is_some_and(|f| f.nullable) && !m.to.nullable;
    matches!(m.mapping.note.as_str(), "type" | "computed") || becomes_not_null
}

/// Row images do not suffice: they hold no generated columns, and not every type.
fn rereads(source: &Table, mapped: &[Mapped]) -> bool {
    let is_needed = |name: &str| {
        mapped.iter().filter_map(|m| m.mapping.expression.as_deref()).any(|e| expression::speaks_of(e, name))
    };
    source.columns.iter().any(|c| if c.generated { is_needed(&c.name) } else { !conversion::has_literals(c) })
}

/// Names of columns that the changed table has no more.
fn gone(source: &Table, after: &Table) -> Vec<String> {
    let names = source.columns.iter().map(|c| c.name.clone());
    names.filter(|n| !after.columns.iter().any(|c| same_name(&c.name, n))).collect()
}

fn late_primary(facts: &Facts, late: &[LateIndex]) -> Option<Finding> {
    let is_late = late.iter().any(|i| i.name == "PRIMARY");
    (is_late && facts.variable("sql_require_primary_key") == "on").then(|| {
        Finding::refused(
            "primary-key",
            "sql_require_primary_key = ON, and the new primary key can only be made after the copy",
            "SET GLOBAL sql_require_primary_key = OFF for the run",
        )
    })
}

fn finished(
    request: &Request,
    facts: &Facts,
    findings: Vec<Finding>,
    verdict: Verdict,
    link: Link,
    detail: &Detail,
    has_key: bool,
) -> Result<Plan> {
    let source = &facts.source;
    let late = detail.late.iter().map(|i| {
        let new = if i.existed_on_source { "" } else { "new, " };
        format!("{} ({new}built after the copy)", i.name)
    });
    let is_late = |name: &str| detail.late.iter().any(|i| i.name == name);
    let early = detail.shadow.indexes.iter().filter(|i| has_key && !is_late(&i.name));
    let early = early.map(|i| format!("{} (there while copying)", i.name));
    let is_shadow = verdict.strategy != Strategy::Direct;
    let mut plan = Plan {
        id: String::new(),
        request: request.clone(),
        server: facts.server.to_string(),
        strategy: verdict.strategy,
        reason: verdict.reason,
        source: TableName::new(&source.schema, &source.name),
        shadow: facts.shadow.clone(),
        old: facts.old.clone(),
        link,
        indexes: early.chain(late).filter(|_| is_shadow).collect(),
        dependents: check::dependents_list(facts),
        findings,
        size: check::size(facts),
        steps: Vec::new(),
        fingerprint: source.fingerprint(),
        detail: serde_json::to_value(detail)
            .map_err(|e| Error::corrupt("a plan cannot be written down").because(e))?,
        turn: 0,
    };
    plan.steps = steps::steps(&plan, detail)?;
    Ok(plan.with_id())
}

/// A plan of a table that was not even tried.
fn refused_plan(request: &Request, facts: &Facts, findings: Vec<Finding>) -> Result<Plan> {
    let source = &facts.source;
    let detail = Detail {
        server: facts.server.clone(),
        source: source.clone(),
        shadow: source.clone(),
        key_index: String::new(),
        create: Vec::new(),
        late: Vec::new(),
        rereads: false,
        is_plain: false,
        keeps_order: false,
        direct: None,
        converts: false,
        is_back: false,
        uncompared: Vec::new(),
        insert_only: Vec::new(),
    };
    let verdict = Verdict {
        strategy: Strategy::Shadow,
        reason: "a check refused it before it was tried".to_string(),
        is_heavy: true,
        clause: None,
    };
    let link = Link {
        from: TableName::new(&source.schema, &source.name),
        to: facts.shadow.clone(),
        key: Vec::new(),
        columns: Vec::new(),
        from_columns: from_columns(source),
    };
    finished(request, facts, findings, verdict, link, &detail, false)
}

fn direct_findings(verdict: &Verdict, request: &Request) -> Vec<Finding> {
    if !request.sets.is_empty() {
        return vec![Finding::refused("strategy", "--set needs a shadow", "leave --strategy direct out")];
    }
    if request.guard_s.is_some() {
        let message = "--guard needs the table as it was, and a change in place leaves none";
        return vec![Finding::refused("strategy", message, "leave --strategy direct out")];
    }
    if verdict.is_heavy {
        return vec![Finding::refused("strategy", verdict.reason.clone(), "leave --strategy direct out")];
    }
    Vec::new()
}

fn key_findings(key: &std::result::Result<Key, Vec<String>>) -> Vec<Finding> {
    match key {
        Ok(key) => {
            let columns = key.columns.iter().map(|k| k.from.as_str()).collect::<Vec<_>>().join(", ");
            vec![Finding::passed("key", format!("rows go by {} ({columns})", key.index))]
        }
        Err(reasons) => vec![Finding::refused(
            "key",
            format!("no key that both tables share: {}", reasons.join("; ")),
            "add a unique index over NOT NULL columns that the change leaves as they are (ALTER TABLE … ADD UNIQUE, ALGORITHM=INPLACE, LOCK=NONE)",
        )],
    }
}
