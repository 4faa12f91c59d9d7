//! What can be done about a migration while nobody runs it.

use crate::{
    control::{Control, Migration},
    engine::{Engine, Outcome},
    error::{Error, Kind, Result, Tried},
    failpoint::{self, Place},
    patience,
    phase::Phase,
    plan::{Plan, Strategy},
};

/// Removes an unfinished migration that no runner holds. Says in a sentence what was done.
///
/// # Errors
/// `Held` if a runner holds it; `Refused` if there is none.
pub async fn abort<E: Engine>(engine: &E, table: &crate::name::TableName, who: &str) -> Result<String> {
    let control = engine.control(false).await?;
    let Some((_, phase, plan)) = control.find(table).await? else {
        return Err(Error::refused(format!("there is no unfinished migration of {table}")));
    };
    if phase.is_swapped() {
        return Err(Error::refused(format!("the migration of {table} is already swapped"))
            .next(format!("run it again to go on with it, or `shadowswap finish --table {table}` ends it")));
    }
    // What an older version wrote is brought to this one before it is changed.
    let control = engine.control(true).await?;
    let taken = control.resume(&plan.source, who).await?;
    let mut migration = taken.ok_or_else(|| ended_meanwhile(&plan.source))?;
    if migration.phase == Phase::Cutover {
        crate::runner::settle(engine, &control, &mut migration).await?;
    }
    give_up(engine, &control, &migration, who).await
}

/// Ends keeping a table in step, while no runner does it: removes the change stream and, with `drop_old`, the old table. Where that is
/// done already, only drops the old table that the newest finished migration left. Says in a sentence what was done.
///
/// # Errors
/// `Held` if a runner holds it; `Refused` if the migration has not swapped yet, or there is none.
pub async fn finish<E: Engine>(
    engine: &E,
    table: &crate::name::TableName,
    who: &str,
    drop_old: bool,
) -> Result<String> {
    let control = engine.control(true).await?;
    let Some((_, _, plan)) = control.find(table).await? else {
        return finish_done(engine, &control, table, who, drop_old).await;
    };
    let taken = control.resume(&plan.source, who).await?;
    let mut migration = taken.ok_or_else(|| ended_meanwhile(&plan.source))?;
    if matches!(migration.phase, Phase::Cutover | Phase::Guard) {
        crate::runner::settle(engine, &control, &mut migration).await?;
    }
    let (id, epoch, plan) = (migration.id, migration.epoch, &migration.plan);
    if migration.turn == 0 {
        let e = Error::refused(format!(
            "the migration of {table} has not swapped yet (phase {})",
            migration.phase
        ));
        return Err(e.next("run it again to go on; `shadowswap abort` gives it up"));
    }
    let is_rolled_back = !plan.is_turned();
    control.note(id, who, "finished by an operator").await?;
    failpoint::at(Place::Ending).await;
    control.end_guard(id, epoch).await?;
    failpoint::at(Place::EndNoted).await;
    let ours = crate::runner::must_be_ours::<E>(&control, id, epoch);
    let (cleaned, what) = (engine.clean_up(plan, id, drop_old, ours), "removing what is not needed any more");
    patience::attended(engine, (id, "clean up"), what, cleaned).await.tried(what)?;
    failpoint::at(Place::CleanedUp).await;
    let phase = if is_rolled_back { Phase::RolledBack } else { Phase::Done };
    control.save_phase(id, epoch, phase).await?;
    failpoint::at(Place::Saved(phase)).await;
    control.close(id, None, None).await?;
    failpoint::at(Place::Closed).await;
    Ok(match (is_rolled_back, drop_old) {
        (true, _) => format!("{table} is the original table again; the new one is kept as {}", plan.shadow),
        (false, false) => format!("{table} is changed; the old table is kept as {}", plan.old),
        (false, true) => format!("{table} is changed; the old table is dropped"),
    })
}

async fn finish_done<E: Engine>(
    engine: &E,
    control: &E::Control,
    table: &crate::name::TableName,
    who: &str,
    drop_old: bool,
) -> Result<String> {
    // With the lock no other migration begins whose old table would have the same name.
    if drop_old && control.resume(table, who).await?.is_some() {
        return Err(Error::refused(format!("another migration of {table} has begun meanwhile"))
            .next("nothing was dropped; `shadowswap status` shows it"));
    }
    let Some((id, plan, at)) = control.finished(table).await? else {
        return Err(Error::refused(format!("there is no migration of {table} to finish")));
    };
    if !drop_old || plan.strategy == Strategy::Direct {
        return Ok(format!("nothing is left to do: {table} was finished {at}"));
    }
    let is_dropped = engine.drop_old(&Plan { turn: 1, ..plan.clone() }, id).await;
    if !is_dropped.tried("dropping the old table")? {
        return Ok(format!(
            "nothing is left to do: {table} was finished {at}, and its old table {} is not there any more",
            plan.old
        ));
    }
    control.note(id, who, "the old table is dropped").await?;
    Ok(format!("{table} was finished {at}; the old table {} is dropped", plan.old))
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

/// Somebody else ended the migration between our looking for it and our taking it.
pub(crate) fn ended_meanwhile(table: &crate::name::TableName) -> Error {
    Error::refused(format!("the migration of {table} has just been ended by somebody else"))
        .next("nothing was changed; `shadowswap status` shows how it ended")
}

/// The setting that says that a migration is being given up: some of what it needs may be gone.
pub(crate) const GIVING_UP: &str = "giving-up";

/// Whether an earlier runner has begun to remove what was made.
pub(crate) async fn is_given_up<E: Engine>(control: &E::Control, migration: i64) -> Result<bool> {
    let settings = patience::answer("reading the settings", control.settings(migration)).await?;
    Ok(settings.iter().any(|(name, _)| name == GIVING_UP))
}

/// What an abort notes.
const ABORTED: &str = "aborted; everything that was made is removed";

/// What an abort came to that another runner has done; from its events.
pub fn aborted(status: &crate::control::Status) -> String {
    let noted = status.events.iter().rev().find(|e| e.what.starts_with("aborted; ") && e.what != ABORTED);
    let said = noted.and_then(|e| e.what.strip_prefix("aborted; "));
    said.map_or_else(|| is_as_it_was(&status.table, status.id), str::to_string)
}

/// What an abort comes to.
fn is_as_it_was(table: &crate::name::TableName, migration: i64) -> String {
    format!("{table} is as it was; everything that was made for migration {migration} is removed")
}

/// Removes everything that was made, and notes it; says so in a sentence. Whoever takes over half way has to go on with it.
pub async fn give_up<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &Migration<E>,
    who: &str,
) -> Result<String> {
    if migration.plan.strategy == Strategy::Direct {
        return crate::direct::give_up(engine, control, migration, who).await;
    }
    if engine.outcome(&migration.plan, migration.id).await? == Outcome::Swapped {
        return Err(Error::refused("the tables are already swapped; there is nothing to abort")
            .next("run it again to finish it"));
    }
    failpoint::at(Place::GivingUp).await;
    // Who has been superseded has lost this connection with the lock.
    control.set(migration.id, who, GIVING_UP, "yes").await?;
    failpoint::at(Place::GivenUp).await;
    let ours = crate::runner::must_be_ours::<E>(control, migration.id, migration.epoch);
    let (removed, what) = (engine.abort(&migration.plan, migration.id, ours), "removing what was made");
    patience::attended(engine, (migration.id, "abort"), what, removed).await.tried(what)?;
    crate::journal::forget::<E>(control, migration.id).await;
    failpoint::at(Place::Saving(Phase::Aborted)).await;
    control.save_phase(migration.id, migration.epoch, Phase::Aborted).await?;
    failpoint::at(Place::Saved(Phase::Aborted)).await;
    control.note(migration.id, who, ABORTED).await?;
    Ok(is_as_it_was(&migration.plan.source, migration.id))
}
