//! A plan, so that a reviewer sees everything that will happen on one page.

use super::{Style, columns, hanging, sizes};
use crate::{
    config::{Origin, Setting},
    units::{human_bytes, human_count, human_seconds},
};
use shadowswap_core::plan::{Finding, Mapping, Plan, Severity, Strategy};

/// The width of the names on the left.
const LEFT: usize = 12;

/// The whole plan.
pub fn plan(plan: &Plan, settings: &[Setting], style: Style) -> String {
    let mut lines = head(plan, style);
    let mut section = |title: &str, body: Vec<String>| {
        if !body.is_empty() {
            lines.push(String::new());
            lines.push(style.bold(title));
            lines.extend(body);
        }
    };
    if plan.strategy == Strategy::Shadow {
        section(
            "columns of the shadow",
            columns(&plan.link.columns.iter().map(|m| mapping(m, style)).collect::<Vec<_>>(), "  "),
        );
        section("indexes and constraints", list(&plan.indexes));
    }
    section("depends on the table", list(&plan.dependents));
    section("checks", checks(&plan.findings, style));
    let steps: Vec<_> = plan.steps.iter().map(|s| (s.phase.as_str(), s.statement.as_str())).collect();
    section(
        "statements",
        steps.iter().map(|(phase, text)| format!("  {phase:<8} {}", hanging(text, 11))).collect(),
    );
    let values: Vec<_> = settings.iter().map(setting).collect();
    section("settings", columns(&values, "  "));
    lines.push(String::new());
    lines.push(verdict(plan, style));
    lines.join("\n")
}

fn head(plan: &Plan, style: Style) -> Vec<String> {
    let row = |name: &str, value: &str| format!("{name:<LEFT$} {}", hanging(value, LEFT + 1));
    let size = &plan.size;
    let mut lines = vec![
        row("table", &style.bold(&plan.source.to_string())),
        row("server", &plan.server),
        row(
            "size",
            &format!("about {} rows, {}", human_count(size.rows), sizes(size.table_bytes, size.index_bytes)),
        ),
    ];
    let changes = plan.request.alters.iter().cloned();
    let sets = plan.request.sets.iter().map(|(column, expression)| format!("set {column} = {expression}"));
    lines.push(row("change", &changes.chain(sets).collect::<Vec<_>>().join("\n")));
    let strategy = match plan.strategy {
        Strategy::Auto => "auto",
        Strategy::Shadow => "shadow",
        Strategy::Direct => "direct",
    };
    lines.push(row("strategy", &format!("{strategy}: {}", plan.reason)));
    if plan.strategy == Strategy::Shadow {
        lines.push(row("shadow", &format!("{}; afterwards the old table is {}", plan.shadow, plan.old)));
        let (disk, log) = (human_bytes(size.disk_bytes), human_bytes(size.log_bytes));
        lines.push(row(
            "needs",
            &format!("about {disk} of disk, {log} of log; about {}", human_seconds(size.seconds as f64)),
        ));
    }
    lines
}

fn list(items: &[String]) -> Vec<String> {
    items.iter().map(|i| format!("  {}", hanging(i, 2))).collect()
}

/// `domain  text  <- split_part(email, '@', 2)  computed`.
fn mapping(m: &Mapping, style: Style) -> Vec<String> {
    let from = match (&m.from, &m.expression) {
        (Some(from), Some(expression)) if is_only(expression, from) => match &m.from_type {
            Some(kind) if *kind != m.data_type => format!("{} {from} {kind}", style.from()),
            Some(_) | None => format!("{} {from}", style.from()),
        },
        (_, Some(expression)) => format!("{} {expression}", style.from()),
        (_, None) => "filled by the server".to_string(),
    };
    vec![
        m.column.clone(),
        m.data_type.clone(),
        from,
        if m.note == "same" { String::new() } else { m.note.clone() },
    ]
}

/// The expression is the column itself, perhaps quoted, qualified or cast.
fn is_only(expression: &str, column: &str) -> bool {
    let bare: String = expression.chars().filter(|c| !"\"`()".contains(*c)).collect();
    let bare = bare.split("::").next().unwrap_or_default().trim();
    bare == column || bare.rsplit_once('.').is_some_and(|(_, name)| name == column)
}

fn checks(findings: &[Finding], style: Style) -> Vec<String> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    // The worst stand last: next to the verdict, and on the screen when the plan is longer than it.
    sorted.sort_by_key(|f| f.severity);
    let width = sorted.iter().map(|f| f.check.chars().count()).max().unwrap_or_default();
    let sign = if style.is_unicode { 1 } else { 2 };
    let indent = 2 + sign + 1 + width + 2;
    sorted.iter().flat_map(|f| finding(f, style, width, indent)).collect()
}

fn finding(f: &Finding, style: Style, width: usize, indent: usize) -> Vec<String> {
    let sign = match f.severity {
        Severity::Passed => style.passed(),
        Severity::Warning => style.warning(),
        Severity::Refused => style.refused(),
    };
    let mut lines = vec![format!("  {sign} {:<width$}  {}", f.check, hanging(&f.message, indent))];
    if let Some(next) = &f.next {
        lines.push(format!("{}{} {}", " ".repeat(indent), style.bold("next:"), hanging(next, indent + 6)));
    }
    lines
}

fn setting(s: &Setting) -> Vec<String> {
    let origin = match s.origin {
        Origin::Flag => "flag",
        Origin::File => "file",
        Origin::Default => "",
    };
    vec![s.name.to_string(), s.value.clone(), origin.to_string()]
}

fn verdict(plan: &Plan, style: Style) -> String {
    let refusals = plan.refusals().count();
    match refusals {
        0 => format!("plan {}", style.bold(&plan.id)),
        1 => format!("plan {}: refused by one check", plan.id),
        n => format!("plan {}: refused by {n} checks", plan.id),
    }
}
