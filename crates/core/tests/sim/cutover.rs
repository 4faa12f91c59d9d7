//! The lock at cutover, and the swap.

use crate::{
    engine::{Model, direction},
    server::{Link, Server},
    session::Session,
    world::{Lock, Place, Snapshot, TableLock, lost},
};
use shadowswap_core::{
    Apply, Error, Kind, Locked as CoreLocked, Result, batch::Batch, mutations::Mutation, plan::Plan,
};
use std::{future::Future, time::Duration};
use tokio::time::Instant;

/// How long the control row is waited for. Clients do not wait meanwhile.
const FENCE_WAIT: Duration = Duration::from_secs(3);

pub struct Locked {
    link: Link,
    session: Session,
    since: Instant,
    /// Holds the migration's control row.
    tx: u64,
    from: usize,
    epoch: i64,
}

fn late(what: &str) -> Error {
    Error::new(Kind::Budget, format!("{what} within the stall budget"))
}

/// The fence, and whether the tables are as the plan has them.
async fn begin(server: Server, connection: u64, epoch: i64, from: usize) -> Result<u64> {
    let tx = server.with(|w| w.begin(connection))?;
    let begun = async {
        server.lock(tx, Lock::Migration, Some(FENCE_WAIT)).await?;
        server.with(|w| {
            w.migration(epoch)?;
            let is_planned = w.app == from;
            if is_planned {
                Ok(())
            } else {
                Err(Error::new(Kind::Unfit, "the table is not the planned one any more"))
            }
        })
    };
    let begun = begun.await;
    if begun.is_err() {
        server.roll_back(tx);
    }
    begun.map(|()| tx)
}

/// Keeps new clients out, and waits for those that are in.
async fn take(server: Server, group: Vec<u64>, from: usize, budget: Duration) -> Result<()> {
    let deadline = Instant::now() + budget / 2;
    server.with(|w| {
        let due = w.weather.lasts.is_zero().then(|| (Instant::now(), budget));
        let lock = TableLock { table: from, group: group.clone(), is_granted: false, due };
        if !group.iter().all(|id| w.connections.contains_key(id)) {
            return Err(lost());
        }
        if w.table_lock.is_some() {
            return Err(late("another session has the lock, which was not to be had"));
        }
        w.table_lock = Some(lock);
        Ok(())
    })?;
    let granted = server.until(deadline, |w| {
        let keeps_all_out = w.flavor.drains_through_lock;
        let is_ours = |w: &crate::world::World| w.table_lock.as_ref().is_some_and(|l| l.group == group);
        if !is_ours(w) {
            return Some(Err(lost()));
        }
        let is_used = w.running.values().any(|tx| tx.client_of == Some(from));
        if is_used || (keeps_all_out && w.is_touched(1 - from, &group)) {
            return None;
        }
        if let Some(lock) = &mut w.table_lock {
            lock.is_granted = true;
        }
        Some(Ok(()))
    });
    match granted.await {
        Some(granted) => granted,
        None => {
            server.with(|w| w.unlock(|lock| lock.group == group));
            server.tell();
            Err(late("the lock was not to be had"))
        }
    }
}

pub async fn lock(
    model: &Model,
    plan: &Plan,
    epoch: i64,
    budget: Duration,
    ready: impl Future<Output = Result<()>> + Send,
) -> Result<Locked> {
    let mut link = model.open("cutover").await?;
    let session = Session::new(model.open("marker").await?, plan, epoch);
    let (server, from) = (model.server.clone(), direction(plan));
    let tx = link.call("begin cutover", begin(server.clone(), link.id, epoch, from)).await?;
    ready.await?;
    let since = Instant::now();
    let group = vec![link.id, session.link.id];
    link.call("lock tables", take(server, group, from, budget)).await?;
    Ok(Locked { link, session, since, tx, from, epoch })
}

impl Apply<Model> for Locked {
    async fn floor(&mut self) -> Result<Snapshot> {
        self.session.floor().await
    }

    async fn apply(&mut self, batch: &Batch, checkpoint: Option<&Place>) -> Result<u64> {
        self.session.apply(batch, checkpoint).await
    }

    async fn mark(&mut self, token: u64) -> Result<()> {
        self.session.mark(token).await
    }
}

/// Waits until nobody else has the tables open, and swaps.
async fn swap(
    server: Server,
    tx: u64,
    group: Vec<u64>,
    (from, epoch): (usize, i64),
    wait: Duration,
) -> Result<()> {
    let deadline = Instant::now() + wait;
    let swapped = async {
        server.step().await;
        let free = server.until(deadline, |w| {
            (!w.is_touched(from, &group) && !w.is_touched(1 - from, &group)).then_some(())
        });
        free.await.ok_or_else(|| late("the exclusive lock was not to be had"))?;
        server.with(|w| {
            w.tx(tx)?;
            let is_fenced = !w.breaks(Mutation::NoFence);
            if is_fenced && w.migration(epoch).is_err() {
                return Err(Error::superseded());
            }
            if !w.table_lock.as_ref().is_some_and(|l| l.group == group && l.is_granted) {
                return Err(lost());
            }
            w.swap();
            w.unlock(|_| true);
            w.roll_back(tx);
            Ok(())
        })
    };
    let swapped = swapped.await;
    if swapped.is_err() {
        server.with(|w| {
            w.roll_back(tx);
            w.unlock(|lock| lock.group == group);
        });
    }
    server.tell();
    swapped
}

impl CoreLocked<Model> for Locked {
    fn since(&self) -> Instant {
        self.since
    }

    async fn swap(&mut self, deadline: Duration) -> Result<()> {
        if deadline < Duration::from_millis(1) {
            return Err(late("nothing was left for the swap"));
        }
        let group = vec![self.link.id, self.session.link.id];
        let server = self.link.server.clone();
        let swapped =
            self.link.call("swap", swap(server, self.tx, group, (self.from, self.epoch), deadline)).await;
        swapped.map_err(crate::server::ambiguous)
    }

    async fn release(mut self) {
        let (server, tx, id) = (self.link.server.clone(), self.tx, self.link.id);
        let work = async move {
            server.with(|w| {
                w.roll_back(tx);
                w.unlock(|lock| lock.group.first() == Some(&id));
            });
            server.tell();
            Ok(())
        };
        drop(self.link.call("release", work).await);
    }
}
