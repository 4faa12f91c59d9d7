//! The plan of a later turn, from the plan as it was made and the catalogs as they are.
//!
//! Tables go by their numbers, for their names go to and fro: the original one's is in the plan, the other one's is in the publication
//! that was made for it before the stream began. Where the catalogs do not show what the control tables say, nothing is done.

use crate::{
    catalog::{self, Table},
    error::server,
    plan::{self, Detail, Later, ShadowKey, back, key},
    prepare::publication_name,
    swap::old_name_of,
};
use shadowswap_core::{
    error::{Error, Result},
    plan::{Link, Plan},
};
use tokio_postgres::Client;

/// The plan of this turn.
///
/// # Errors
/// `Refused` if the tables are not those of the migration any more, or were changed so that there is no way.
pub async fn reverse(client: &Client, plan: &Plan, migration: i64) -> Result<Plan> {
    let planned = Detail::of(plan)?;
    let original = catalog::table(client, planned.source_oid).await.map_err(|e| gone(e, plan))?;
    let new = catalog::table(client, published(client, plan, migration).await?).await?;
    let is_turned = plan.is_turned();
    let (names, wanted) = if is_turned {
        ((&original, &plan.old), (&new, &plan.source))
    } else {
        ((&original, &plan.source), (&new, &plan.shadow))
    };
    for (table, name) in [names, wanted] {
        if (&table.schema, &table.name) != (&name.schema, &name.name) {
            let message =
                format!("{name} is called {}.{} now: somebody renamed it", table.schema, table.name);
            return Err(Error::refused(message).next("give it its name again, then run again"));
        }
    }
    let way = back::project(&original, &new, &plan.link.columns, &plan.request.set_backs);
    if let Some((message, next)) = way.impossible.first() {
        return Err(Error::refused(format!("{} cannot be kept in step: {message}", plan.old)).next(next));
    }
    let is_computed = plan.link.columns.iter().any(|m| m.note == "computed");
    let is_exact = way.is_exact(&original, &new) && !is_computed;
    if is_turned {
        turned(client, plan, planned, (original, new), way, is_exact).await
    } else {
        let opposite = way.columns.into_iter().map(|m| m.mapping).collect();
        let later = Later { planned: None, opposite, is_exact };
        let detail = Detail { later: Some(Box::new(later)), ..planned };
        Ok(Plan { detail: written(&detail)?, ..plan.clone() })
    }
}

async fn turned(
    client: &Client,
    plan: &Plan,
    planned: Detail,
    (original, new): (Table, Table),
    way: back::Back,
    is_exact: bool,
) -> Result<Plan> {
    let key_columns = back::key(&plan.link.key, &original, &new).ok_or_else(|| {
        Error::refused(format!("the key of {} has no type that both tables know", plan.source))
    })?;
    let index = planned.shadow_key.index.as_deref().and_then(|name| new.index(name)).cloned();
    let index = index.ok_or_else(|| {
        Error::refused(format!(
            "{} has not the unique index over its key any more that it was given",
            plan.source
        ))
        .next("add it again, then run again; or `shadowswap finish` ends the guard")
    })?;
    let now = old_name_of(&planned.source, &original, &planned.key_index)?;
    let key = key::Key {
        columns: key_columns.clone(),
        shadow_index: Some(now.clone()),
        is_bytewise: key_columns.iter().all(|k| new.column(&k.from).is_some_and(key::is_bytewise_type)),
        collation_changes: planned.key_collation_changes,
        index,
    };
    let shared_unique = plan::shared_unique(&new, &original, &way.columns, &key);
    let is_streamed_binary = planned.server_version_num >= 140_000;
    let detail = Detail {
        scope: planned.scope.clone(),
        source_oid: new.oid,
        server_version_num: planned.server_version_num,
        cluster: planned.cluster.clone(),
        search_path: planned.search_path.clone(),
        binary: is_streamed_binary && plan::has_binary_form(client, new.oid).await?,
        shadow_binary: is_streamed_binary && plan::has_binary_form(client, original.oid).await?,
        key_index: key.index.name.clone(),
        key_is_bytewise: key.is_bytewise,
        key_collation_changes: key.collation_changes,
        shadow_key: ShadowKey { index: Some(planned.key_index.clone()), name: now },
        shared_unique,
        index_steps: Vec::new(),
        set_identity: None,
        restore_identity: None,
        restore_identity_old: None,
        shadow_identity_has_key: true,
        converts: way.columns.iter().any(|m| m.mapping.note == "type" || m.mapping.note == "computed"),
        shadow: planned.source.clone(),
        later: Some(Box::new(Later {
            opposite: plan.link.columns.clone(),
            is_exact,
            planned: Some(planned),
        })),
        source: new,
    };
    let source = &detail.source;
    let link = Link {
        from: plan.source.clone(),
        to: plan.old.clone(),
        key: key_columns,
        columns: way.columns.into_iter().map(|m| m.mapping).collect(),
        from_columns: source.columns.iter().map(|c| (c.name.clone(), c.type_name.clone())).collect(),
    };
    Ok(Plan {
        shadow: plan.old.clone(),
        old: plan.shadow.clone(),
        link,
        fingerprint: source.fingerprint(),
        detail: written(&detail)?,
        ..plan.clone()
    })
}

fn written(detail: &Detail) -> Result<serde_json::Value> {
    serde_json::to_value(detail).map_err(|e| Error::corrupt("a plan cannot be written down").because(e))
}

fn gone(e: Error, plan: &Plan) -> Error {
    e.while_trying(format_args!("looking for the table that {} was before the change", plan.source))
}

/// The table that the change made: the one in the publication for the way back.
async fn published(client: &Client, plan: &Plan, migration: i64) -> Result<u32> {
    let text = "select r.prrelid from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = $1";
    let name = publication_name(&crate::scope::tag(plan, migration), true);
    let rows =
        client.query(text, &[&name]).await.map_err(|e| server(e, "looking for the table that was made"))?;
    match rows.as_slice() {
        [row] => Ok(row.get(0)),
        _ => Err(Error::refused(format!(
            "the publication {name} of {} is gone, or is not what it was: changes may be missing",
            plan.source
        ))
        .next("`shadowswap finish` ends the guard; the table in use is not affected")),
    }
}
