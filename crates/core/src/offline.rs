//! What can be done about a migration while nobody runs it.

use crate::{
    control::{Control, Migration},
    engine::{Engine, Outcome},
    error::{Error, Kind, Result, Tried},
    phase::Phase,
};

/// Removes an unfinished migration that no runner holds.
///
/// # Errors
/// `Held` if a runner holds it; `Refused` if there is none.
pub async fn abort<E: Engine>(engine: &E, table: &crate::name::TableName, who: &str) -> Result<()> {
    let control = engine.control(false).await?;
    let Some((_, phase, plan)) = control.find(table).await? else {
        return Err(Error::refused(format!("there is no unfinished migration of {table}")));
    };
    if phase.is_swapped() {
        return Err(Error::refused(format!("the migration of {table} is already swapped"))
            .next("run it again to finish it"));
    }
    let migration = control.take(&plan, who).await?;
    give_up(engine, &control, &migration, who).await
}

/// Checks that this environment really has what the newest finished migration of the table made; says so in a sentence.
///
/// # Errors
/// `Refused` if no migration of the table was finished here; `Differs` with the list if something is missing.
pub async fn check_done<E: Engine>(engine: &E, table: &crate::name::TableName) -> Result<String> {
    let control = engine.control(false).await?;
    let Some((_, plan, at)) = control.finished(table).await? else {
        return Err(Error::refused(format!("no migration of {table} was finished in this database")));
    };
    let lacks = engine.lacks(&plan).await?;
    let change = plan.request.alters.join("; ");
    if lacks.is_empty() {
        return Ok(format!("{table} has the change ({change}), finished {at}"));
    }
    Err(Error::new(
        Kind::Differs,
        format!(
            "{table} does not have all of the change ({change}) that was finished {at}: {}",
            lacks.join("; ")
        ),
    )
    .next("somebody changed the table afterwards; plan the change again"))
}

/// Removes everything that was made, and notes it.
pub async fn give_up<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &Migration<E>,
    who: &str,
) -> Result<()> {
    if engine.outcome(&migration.plan, migration.id).await? == Outcome::Swapped {
        return Err(Error::refused("the tables are already swapped; there is nothing to abort")
            .next("run it again to finish it"));
    }
    engine.abort(&migration.plan, migration.id).await.tried("removing what was made")?;
    control.save_phase(migration.id, migration.epoch, Phase::Aborted).await?;
    control.note(migration.id, who, "aborted; everything that was made is removed").await
}
