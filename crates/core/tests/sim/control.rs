//! The control tables.

use crate::{
    engine::Model,
    server::{Link, Server},
    session::{bound, number},
    world::{Checkpoint, ChunkRow, Lock, MigrationRow, World, lost},
};
use shadowswap_core::{
    Bound, Chunk, Error, Kind, Phase, Result,
    control::{Command, Control as CoreControl, CopyState, Migration, Status},
    name::TableName,
    plan::Plan,
    progress::Progress,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// How long a lock that another runner holds is waited for.
const HELD_WAIT: Duration = Duration::from_secs(1);
/// How long what orphans hold is waited for.
const ORPHAN_WAIT: Duration = Duration::from_secs(60);
/// There is one migration.
pub const ID: i64 = 1;

pub struct Control(Mutex<Link>);

impl Control {
    pub fn new(link: Link) -> Control {
        Control(Mutex::new(link))
    }

    /// One statement that commits by itself.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        statement: impl FnOnce(&mut World) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut link = self.0.lock().await;
        let (server, id) = (link.server.clone(), link.id);
        let work = async move {
            server.step().await;
            let done = server.with(|w| match w.connections.contains_key(&id) {
                true => statement(w),
                false => Err(lost()),
            });
            server.tell();
            done
        };
        link.call(what, work).await
    }

    async fn update<T: Send + 'static>(
        &self,
        what: &'static str,
        epoch: i64,
        update: impl FnOnce(&mut MigrationRow) -> T + Send + 'static,
    ) -> Result<T> {
        self.run(what, move |w| w.migration(epoch).map(update)).await
    }
}

/// Takes the migration over: nobody writes under the former epoch any more.
async fn raise(server: &Server, connection: u64) -> Result<()> {
    if server.with(|w| w.flavor.ends_orphans) {
        server.with(|w| {
            let ours =
                w.connections.iter().filter(|(id, c)| c.is_ours && c.role != "control" && **id != connection);
            let ours: Vec<u64> = ours.map(|(id, _)| *id).collect();
            ours.into_iter().for_each(|id| w.end(id));
        });
        server.tell();
    }
    let tx = server.with(|w| w.begin(connection))?;
    let raised = async {
        server.lock(tx, Lock::Migration, Some(ORPHAN_WAIT)).await?;
        let epoch = server.with(|w| {
            let migration = w.migration.as_mut().ok_or_else(|| Error::corrupt("no migration"))?;
            migration.epoch += 1;
            Ok::<_, Error>(migration.epoch)
        })?;
        server.roll_back(tx);
        each(server, connection, Lock::Checkpoint, move |m| m.checkpoint.epoch = epoch).await?;
        let undone: Vec<i64> = server.with(|w| {
            let chunks = w.migration.iter().flat_map(|m| m.chunks.values());
            chunks.filter(|c| !c.is_done).map(|c| c.chunk.id).collect()
        });
        for id in undone {
            server.step().await;
            let claim = move |m: &mut MigrationRow| {
                if let Some(row) = m.chunks.get_mut(&id).filter(|row| !row.is_done) {
                    row.epoch = epoch;
                    row.chunk.attempt += 1;
                }
            };
            each(server, connection, Lock::Chunk(id), claim).await?;
        }
        Ok(())
    };
    let raised = raised.await;
    server.roll_back(tx);
    raised
}

/// Updates a row that somebody may hold; with the fences broken, nobody does.
async fn each(
    server: &Server,
    connection: u64,
    lock: Lock,
    update: impl FnOnce(&mut MigrationRow),
) -> Result<()> {
    let tx = server.with(|w| w.begin(connection))?;
    let locked = server.lock(tx, lock, Some(ORPHAN_WAIT)).await;
    if locked.is_ok() {
        server.with(|w| w.migration.as_mut().map(update));
    }
    server.roll_back(tx);
    locked
}

/// What whoever takes the migration finds.
enum Found {
    /// Nothing; it is begun.
    New,
    Unfinished,
    /// Nothing is unfinished, and nothing is begun.
    Nothing,
    /// He knew it, and it is over.
    Over,
}

/// `plan`: of what is begun where nothing is unfinished; none: nothing is begun.
async fn take(
    server: Server,
    connection: u64,
    runner: u32,
    plan: Option<Plan>,
) -> Result<Option<Migration<Model>>> {
    let held = server.until(Instant::now() + HELD_WAIT, |w| {
        let is_free = w.holder.is_none_or(|holder| holder == connection);
        let is_there = w.connections.contains_key(&connection);
        if is_free && is_there {
            w.holder = Some(connection);
        }
        (is_free || !is_there).then_some(())
    });
    held.await.ok_or_else(|| Error::new(Kind::Held, "another runner holds the migration"))?;
    server.step().await;
    let begun = plan.clone();
    let found = server.with(|w| {
        if !w.connections.contains_key(&connection) {
            return Err(lost());
        }
        let Some(plan) = begun else {
            let is_there = w.migration.is_some() && !w.is_over();
            if is_there {
                w.takers.insert(runner);
            }
            return Ok(if is_there { Found::Unfinished } else { Found::Nothing });
        };
        if w.is_over() {
            // Whoever comes now makes a plan of the table as it is. Whoever has one begins another migration.
            let knew_it = w.takers.contains(&runner);
            return if knew_it { Ok(Found::Over) } else { Err(Error::refused("the migration is over")) };
        }
        w.takers.insert(runner);
        if w.migration.is_some() {
            return Ok(Found::Unfinished);
        }
        w.migration = Some(MigrationRow {
            epoch: 1,
            phase: Phase::Prepare,
            turn: 0,
            plan,
            copy_begun: false,
            last: None,
            chunks: BTreeMap::new(),
            checkpoint: Checkpoint { epoch: 1, ..Checkpoint::default() },
            is_paused: false,
            commands: VecDeque::new(),
            settings: Vec::new(),
            guard_until: None,
            swapped_at: 0,
        });
        Ok(Found::New)
    })?;
    let is_new = match (found, plan) {
        (Found::New, _) => true,
        (Found::Unfinished, _) => false,
        (Found::Nothing, _) | (Found::Over, None) => return Ok(None),
        (Found::Over, Some(plan)) => {
            let epoch = server.with(|w| w.migration.as_ref().map_or(0, |m| m.epoch));
            let (phase, copy) = (Phase::Prepare, CopyState::default());
            return Ok(Some(Migration {
                id: ID + 1,
                epoch,
                phase,
                turn: 0,
                plan,
                applied: None,
                copy,
                resumed: false,
            }));
        }
    };
    if !is_new {
        raise(&server, connection).await?;
    }
    server.step().await;
    server.with(|w| {
        let is_held = w.holder == Some(connection);
        match &w.migration {
            Some(migration) if is_held => Ok(Some(load(migration, !is_new))),
            Some(_) | None => Err(lost()),
        }
    })
}

fn load(m: &MigrationRow, resumed: bool) -> Migration<Model> {
    let undone = m.chunks.values().rev().filter(|row| !row.is_done).map(|row| row.chunk.clone());
    Migration {
        id: ID,
        epoch: m.epoch,
        phase: m.phase,
        turn: m.turn,
        plan: Plan { turn: m.turn, ..m.plan.clone() },
        applied: m.checkpoint.position,
        copy: CopyState {
            last: m.last.map(bound),
            begun: m.copy_begun,
            cursor: m.chunks.values().next_back().and_then(|row| row.chunk.upper.clone()),
            chunk: m.chunks.keys().next_back().copied().unwrap_or_default(),
            undone: undone.collect(),
            rows: m.chunks.values().map(|row| row.rows).sum(),
        },
        resumed,
    }
}

fn status(m: &MigrationRow) -> Status {
    Status {
        id: ID,
        table: m.plan.source.clone(),
        phase: m.phase,
        turn: m.turn,
        guard_left_s: None,
        plan_id: m.plan.id.clone(),
        alters: Vec::new(),
        paused: m.is_paused,
        started_at: String::new(),
        updated_at: String::new(),
        ended_at: None,
        runner: None,
        progress: None,
        error: None,
        stall_ms: None,
        events: Vec::new(),
    }
}

impl CoreControl<Model> for Control {
    async fn find(&self, _: &TableName) -> Result<Option<(i64, Phase, Plan)>> {
        self.run("find", |w| {
            Ok(w.migration.as_ref().filter(|m| !m.phase.is_over()).map(|m| (ID, m.phase, m.plan.clone())))
        })
        .await
    }

    async fn finished(&self, _: &TableName) -> Result<Option<(i64, Plan, String)>> {
        self.run("finished", |w| {
            let done = w.migration.as_ref().filter(|m| m.phase == Phase::Done);
            Ok(done.map(|m| (ID, m.plan.clone(), String::new())))
        })
        .await
    }

    async fn begin(&self, plan: &Plan, _: &str) -> Result<Migration<Model>> {
        let mut link = self.0.lock().await;
        let work = take(link.server.clone(), link.id, link.runner, Some(plan.clone()));
        let begun = link.call("begin", work).await?;
        begun.ok_or_else(|| Error::corrupt("nothing was begun"))
    }

    async fn resume(&self, _: &TableName, _: &str) -> Result<Option<Migration<Model>>> {
        let mut link = self.0.lock().await;
        let work = take(link.server.clone(), link.id, link.runner, None);
        link.call("take", work).await
    }

    async fn is_ours(&self, migration: i64, epoch: i64) -> Result<bool> {
        let is_newest = move |w: &mut World| w.migration.as_ref().is_some_and(|m| m.epoch == epoch);
        self.run("is ours", move |w| Ok(migration != ID || is_newest(w))).await
    }

    async fn save_phase(&self, migration: i64, epoch: i64, phase: Phase) -> Result<()> {
        if migration != ID {
            return Ok(());
        }
        self.update("save phase", epoch, move |m| m.phase = phase).await?;
        let mut link = self.0.lock().await;
        link.call("note", async { Ok(()) }).await
    }

    async fn turn(&self, _: i64, epoch: i64, turn: i64, phase: Phase, _: Option<f64>) -> Result<()> {
        self.update("turn", epoch, move |m| {
            if m.turn < turn && turn % 2 == 1 {
                m.guard_until = None;
            }
            (m.turn, m.phase) = (turn, phase);
        })
        .await
    }

    async fn guard_left(&self, _: i64, epoch: i64, length: Duration, _: bool) -> Result<Duration> {
        self.update("guard left", epoch, move |m| {
            let now = Instant::now();
            m.guard_until.get_or_insert(now + length).saturating_duration_since(now)
        })
        .await
    }

    async fn end_guard(&self, _: i64, epoch: i64) -> Result<()> {
        self.update("end guard", epoch, |m| {
            let now = Instant::now();
            m.guard_until = Some(m.guard_until.map_or(now, |until| until.min(now)));
        })
        .await
    }

    async fn begin_copy(&self, _: i64, epoch: i64, last: Option<&Bound>) -> Result<()> {
        let last = last.map(number);
        self.update("begin copy", epoch, move |m| (m.copy_begun, m.last) = (true, last)).await
    }

    async fn claim(&self, _: i64, epoch: i64, chunk: &Chunk) -> Result<()> {
        let chunk = chunk.clone();
        self.run("claim", move |w| {
            let m = w.migration(epoch)?;
            if m.chunks.contains_key(&chunk.id) {
                return Err(Error::corrupt("a chunk was claimed twice"));
            }
            m.chunks.insert(chunk.id, ChunkRow { chunk, epoch, is_done: false, rows: 0 });
            Ok(())
        })
        .await
    }

    async fn copied(&self, _: i64) -> Result<(u64, u64)> {
        self.run("copied", |w| {
            let done: Vec<u64> = w
                .migration
                .iter()
                .flat_map(|m| m.chunks.values())
                .filter(|c| c.is_done)
                .map(|c| c.rows)
                .collect();
            Ok((done.iter().sum(), done.len() as u64))
        })
        .await
    }

    async fn report(&self, _: i64, epoch: i64, _: &Progress) -> Result<(Vec<Command>, bool)> {
        self.update("report", epoch, |m| (m.commands.drain(..).collect(), m.is_paused)).await
    }

    async fn note(&self, _: i64, _: &str, what: &str) -> Result<()> {
        tracing::info!(what, "noted");
        self.run("note", |_| Ok(())).await
    }

    async fn close(&self, _: i64, _: Option<&str>, _: Option<f64>) -> Result<()> {
        self.run("close", |_| Ok(())).await
    }

    async fn command(&self, _: i64, _: &str, _: &Command) -> Result<bool> {
        Err(Error::superseded())
    }

    async fn set(&self, migration: i64, _: &str, name: &str, value: &str) -> Result<bool> {
        let setting = (name.to_string(), value.to_string());
        self.run("set", move |w| {
            if let Some(row) = w.migration.as_mut().filter(|_| migration == ID) {
                row.settings.push(setting);
            }
            Ok(true)
        })
        .await
    }

    async fn settings(&self, migration: i64) -> Result<Vec<(String, String)>> {
        self.run("settings", move |w| {
            let row = w.migration.as_ref().filter(|_| migration == ID);
            Ok(row.map(|m| m.settings.clone()).unwrap_or_default())
        })
        .await
    }

    async fn keep(&self, _: i64, _: &str) -> Result<()> {
        self.run("keep", |_| Ok(())).await
    }

    async fn reports(&self) -> Result<Vec<(i64, String)>> {
        Ok(Vec::new())
    }

    async fn status(&self, _: Option<&TableName>) -> Result<Vec<Status>> {
        self.run("status", |w| Ok(w.migration.iter().map(status).collect())).await
    }
}
