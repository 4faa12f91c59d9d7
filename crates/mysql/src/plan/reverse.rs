//! The plan the other way round: from the new table to the old one.

use super::{Detail, back, converts, from_columns, key, rereads};
use crate::{catalog::Table, flavor::Server};
use shadowswap_core::{
    error::{Error, Result},
    name::TableName,
    plan::{Link, Plan},
};

/// The table that is kept in step after a swap.
#[derive(Clone, Debug)]
pub struct Other {
    /// What it is called now.
    pub name: TableName,
    /// Its definition.
    pub table: Table,
}

/// The plan for going back. `plan` is the one that was made, with its turn; `new` is the definition that the application's table has now.
///
/// # Errors
/// `Refused` with the reasons if there is no way back.
pub fn turned(plan: &Plan, server: Server, new: Table, old: Other) -> Result<Plan> {
    let back = back::back(&plan.link.columns, &old.table, &new, &plan.request.set_backs);
    if !back.is_possible() {
        let mistakes = back.mistakes.iter().map(|f| f.message.clone());
        let reasons = mistakes.chain(back.obstacles.iter().map(|(why, _)| why.clone()));
        return Err(Error::refused(format!(
            "the old table of {} cannot be kept in step: {}",
            plan.source,
            reasons.collect::<Vec<_>>().join("; ")
        ))
        .next("the tables stay swapped; run without --guard to finish, or `shadowswap finish`"));
    }
    let (key_index, key) = key::turned(&new, &plan.link.key).ok_or_else(|| {
        Error::refused(format!("{} has lost the unique index by which its rows are named", plan.source))
            .next("the tables stay swapped; the old one cannot be kept in step: `shadowswap finish`")
    })?;
    let detail = Detail {
        server,
        key_index,
        create: Vec::new(),
        late: Vec::new(),
        rereads: rereads(&new, &back.columns),
        is_plain: back.columns.iter().all(|m| m.mapping.expression.is_none() || m.is_same()),
        keeps_order: false,
        direct: None,
        converts: back.columns.iter().any(converts),
        is_back: true,
        uncompared: back.uncompared,
        insert_only: Vec::new(),
        source: new,
        shadow: old.table,
    };
    let link = Link {
        from: plan.source.clone(),
        to: old.name.clone(),
        key,
        columns: back.columns.into_iter().map(|m| m.mapping).collect(),
        from_columns: from_columns(&detail.source),
    };
    let fingerprint = detail.source.fingerprint();
    let detail = serde_json::to_value(&detail)
        .map_err(|e| Error::corrupt("a plan cannot be written down").because(e))?;
    Ok(Plan {
        shadow: old.name,
        old: plan.shadow.clone(),
        link,
        findings: Vec::new(),
        steps: Vec::new(),
        fingerprint,
        detail,
        ..plan.clone()
    })
}

/// The plan for going forward again after a roll back: the one that was made, but what only the new table has stays as it is.
///
/// # Errors
/// `Corrupt` if the plan cannot be read.
pub fn forward_again(plan: &Plan) -> Result<Plan> {
    let mut detail = Detail::of(plan)?;
    let back = back::back(&plan.link.columns, &detail.source, &detail.shadow, &plan.request.set_backs);
    for m in &plan.link.columns {
        let is_new = m.note == "new" && m.expression.is_some();
        // What the application wrote to it while it used the new table may be anything.
        let is_own =
            is_new || m.note == "computed" || m.from.as_ref().is_some_and(|f| back.uncompared.contains(f));
        if is_new {
            detail.insert_only.push(m.column.clone());
        }
        if is_own {
            detail.uncompared.push(m.column.clone());
        }
    }
    let detail = serde_json::to_value(&detail)
        .map_err(|e| Error::corrupt("a plan cannot be written down").because(e))?;
    Ok(Plan { detail, ..plan.clone() })
}
