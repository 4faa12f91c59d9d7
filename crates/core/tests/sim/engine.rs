//! The model as an engine of the core's.

use crate::{
    control::Control,
    cutover::Locked,
    server::{Link, Server},
    session::Session,
    stream::Stream,
    world::{Lock, Number, Place, Snapshot, Table, lost},
};
use shadowswap_core::{
    Caps, Engine, Error, InPlace, Kind, Load, Obstacle, Outcome, Result,
    engine::{Leftover, Spelling},
    name::TableName,
    plan::{Indexes, Link as PlanLink, Plan, Request, Size, Strategy},
};
use std::{collections::VecDeque, future::Future, time::Duration};
use tokio::time::Instant;

/// How long verbs wait for others.
const WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Model {
    pub server: Server,
    /// Which runner this is.
    pub runner: u32,
}

/// The plan of the run.
pub fn plan(guard_s: Option<u64>) -> Plan {
    let (source, shadow) = (TableName::new("public", "t"), TableName::new("public", "_t_shadow"));
    let request = Request {
        table: "t".into(),
        alters: vec!["add column shifted".into()],
        sets: Vec::new(),
        set_backs: Vec::new(),
        guard_s,
        strategy: Strategy::Shadow,
        indexes: Indexes::Auto,
        control_schema: "shadowswap".into(),
    };
    let link = PlanLink {
        from: source.clone(),
        to: shadow.clone(),
        key: Vec::new(),
        columns: Vec::new(),
        from_columns: Vec::new(),
    };
    let plan = Plan {
        id: String::new(),
        request,
        server: "model".into(),
        strategy: Strategy::Shadow,
        reason: String::new(),
        old: source.sibling("_t_old"),
        source,
        shadow,
        link,
        indexes: Vec::new(),
        dependents: Vec::new(),
        findings: Vec::new(),
        size: Size { rows: 30, seconds: 1, ..Size::default() },
        steps: Vec::new(),
        fingerprint: "f".into(),
        detail: serde_json::Value::Null,
        turn: 0,
    };
    plan.with_id()
}

/// The table that a plan's changes come from.
pub fn direction(plan: &Plan) -> usize {
    usize::from(plan.detail == "back")
}

impl Model {
    pub async fn open(&self, role: &str) -> Result<Link> {
        Link::open(&self.server, self.runner, role).await
    }
}

impl Engine for Model {
    type Position = Place;
    type TxId = Number;
    type Floor = Snapshot;
    type Stream = Stream;
    type Session = Session;
    type Locked = Locked;
    type Control = Control;

    fn caps(&self) -> Caps {
        let flavor = self.server.with(|w| w.flavor);
        Caps {
            builds_indexes_late: flavor.late_indexes,
            drains_through_lock: flavor.drains_through_lock,
            spelling: Spelling { quote: '"', folds: true, ignores_case: false },
            log: "log",
        }
    }

    async fn control(&self, _: bool) -> Result<Control> {
        Ok(Control::new(self.open("control").await?))
    }

    async fn plan(&self, request: &Request) -> Result<Plan> {
        Ok(plan(request.guard_s))
    }

    async fn prepare(
        &self,
        _: &Plan,
        migration: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        if migration != crate::control::ID {
            self.server.with(|w| w.violation("a migration that is over begins anew"));
            return Err(Error::new(Kind::Aborted, "nobody wants this migration"));
        }
        let mut link = self.open("prepare").await?;
        ours.await?;
        let server = self.server.clone();
        let work = async move {
            server.step().await;
            let begins = server.with(|w| {
                let here = w.log.len() as u64;
                w.slot
                    .get_or_insert(crate::world::Slot { begins: here, confirmed: here, reader: None })
                    .begins
            });
            let visible = server.until(Instant::now() + WAIT, |w| {
                let is_hidden = w.running.values().any(|tx| tx.delivered.is_some_and(|at| at < begins));
                (!is_hidden).then_some(())
            });
            visible.await.ok_or_else(|| Error::transient("a transaction stays invisible"))?;
            server.step().await;
            server.with(|w| {
                if !w.tables[1].exists {
                    w.tables[1] =
                        Table { exists: true, has_index: !w.flavor.late_indexes, ..Table::default() };
                }
            });
            Ok(())
        };
        link.call("prepare", work).await
    }

    async fn reverse(
        &self,
        plan: &Plan,
        _: i64,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<Plan> {
        ours.await?;
        let mut reversed = plan.clone();
        if plan.is_turned() {
            reversed.detail = "back".into();
            (reversed.shadow, reversed.old) = (plan.old.clone(), plan.shadow.clone());
            (reversed.link.from, reversed.link.to) = (plan.source.clone(), plan.old.clone());
        }
        Ok(reversed)
    }

    async fn stream(&self, plan: &Plan, _: i64, from: Option<&Place>) -> Result<Stream> {
        let mut link = self.open("stream").await?;
        let (server, id, turn, from) = (self.server.clone(), link.id, plan.turn, from.copied());
        let work = async move {
            server.step().await;
            server.with(|w| {
                if !w.connections.contains_key(&id) {
                    return Err(lost());
                }
                let migration = w.migration.as_ref().ok_or_else(|| Error::corrupt("no migration"))?;
                let (swapped_at, is_first) = (migration.swapped_at, migration.checkpoint.turn < turn);
                let one_reader = w.flavor.one_reader;
                let slot = w.slot.as_mut().ok_or_else(|| Error::corrupt("the change stream is gone"))?;
                let begins = if is_first { swapped_at } else { from.map_or(slot.begins, |place| place.0) };
                if is_first && (slot.confirmed > swapped_at || from.is_some_and(|place| place.0 > swapped_at))
                {
                    return Err(Error::corrupt(
                        "this turn begins before what is confirmed or applied already",
                    ));
                }
                if one_reader && slot.reader.is_some_and(|reader| reader != id) {
                    return Err(Error::transient("the change stream is being read by another session"));
                }
                slot.reader = Some(id);
                // What was confirmed is not there any more.
                Ok(begins.max(slot.confirmed))
            })
        };
        let next = link.call("open stream", work).await?;
        let now = Instant::now();
        let direction = direction(plan);
        Ok(Stream {
            link,
            from: direction,
            next,
            events: VecDeque::new(),
            ready: now,
            silent: now,
            told: next,
        })
    }

    async fn session(&self, plan: &Plan, _: i64, epoch: i64, role: &str) -> Result<Session> {
        Ok(Session::new(self.open(role).await?, plan, epoch))
    }

    async fn finish_shadow(
        &self,
        plan: &Plan,
        _: i64,
        _: bool,
        ours: impl Future<Output = Result<()>> + Send,
        report: impl Fn(String) + Send + Sync,
    ) -> Result<()> {
        report("building an index".into());
        let mut link = self.open("index").await?;
        ours.await?;
        let (server, to) = (self.server.clone(), 1 - direction(plan));
        let work = async move {
            server.step().await;
            let free = server.until(Instant::now() + WAIT, |w| (!w.is_touched(to, &[])).then_some(()));
            free.await.ok_or_else(|| Error::transient("the shadow is in use"))?;
            server.with(|w| {
                let mut values: Vec<u32> = w.tables[to].rows.values().filter_map(|row| row.unique).collect();
                values.sort_unstable();
                if let Some(twice) = values.windows(2).find(|pair| pair[0] == pair[1]) {
                    let text = format!("two rows have the same unique value {}", twice[0]);
                    return Err(Error::new(Kind::Early, text));
                }
                w.tables[to].has_index = true;
                Ok(())
            })
        };
        link.call("finish shadow", work).await
    }

    async fn obstacles(&self, _: &Plan, _: i64) -> Result<Vec<Obstacle>> {
        let mut link = self.open("obstacles").await?;
        let server = self.server.clone();
        let work = async move {
            server.step().await;
            let blocks = server.with(|w| w.weather.events > 0 && w.chance.one_in(6));
            let session = Obstacle { who: "pid 7".into(), what: "transaction open".into(), blocks: true };
            Ok(if blocks { vec![session] } else { Vec::new() })
        };
        link.call("obstacles", work).await
    }

    async fn lock(
        &self,
        plan: &Plan,
        _: i64,
        epoch: i64,
        budget: Duration,
        ready: impl Future<Output = Result<()>> + Send,
    ) -> Result<Locked> {
        crate::cutover::lock(self, plan, epoch, budget, ready).await
    }

    async fn outcome(&self, plan: &Plan, _: i64) -> Result<Outcome> {
        let mut link = self.open("outcome").await?;
        let (server, id, from) = (self.server.clone(), link.id, direction(plan));
        let work = async move {
            let tx = server.with(|w| w.begin(id))?;
            let locked = server.lock(tx, Lock::Migration, Some(WAIT)).await;
            let app = server.with(|w| w.app);
            server.roll_back(tx);
            locked.map(|()| if app == from { Outcome::NotSwapped } else { Outcome::Swapped })
        };
        link.call("outcome", work).await
    }

    async fn clean_up(
        &self,
        _: &Plan,
        _: i64,
        _: bool,
        ours: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let mut link = self.open("clean up").await?;
        ours.await?;
        let server = self.server.clone();
        let work = async move {
            server.step().await;
            server.with(|w| w.slot = None);
            Ok(())
        };
        link.call("clean up", work).await
    }

    async fn abort(&self, _: &Plan, _: i64, ours: impl Future<Output = Result<()>> + Send) -> Result<()> {
        let mut link = self.open("abort").await?;
        ours.await?;
        let server = self.server.clone();
        let work = async move {
            server.step().await;
            server.with(|w| {
                w.slot = None;
                if w.app == 0 {
                    w.tables[1] = Table::default();
                }
            });
            Ok(())
        };
        link.call("abort", work).await
    }

    async fn direct(&self, _: &Plan, _: i64, _: i64, _: Duration) -> Result<()> {
        Err(Error::corrupt("the model changes nothing in place"))
    }

    async fn made(&self, _: &Plan, _: i64) -> Result<InPlace> {
        Err(Error::corrupt("the model changes nothing in place"))
    }

    async fn lacks(&self, _: &Plan) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn load(&self, _: &Plan, _: i64, _: bool) -> Result<Load> {
        let mut link = self.open("load").await?;
        link.call("load", async { Ok(Load::default()) }).await
    }

    async fn probe_commit(&self, _: i64) -> Result<Duration> {
        Ok(Duration::from_millis(1))
    }

    async fn ask(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    async fn drop_old(&self, _: &Plan, _: i64) -> Result<bool> {
        Ok(false)
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &Leftover) -> Result<()> {
        Ok(())
    }
}
