//! The tasks that read signals, each on its own, so that a slow one holds up no other.

use super::{
    archive::Archive,
    board::Board,
    command::Command,
    commit::Commit,
    flag::Flag,
    lag::Lag,
    replica_lag::ReplicaLag,
    retained::Retained,
    sessions::Sessions,
    signal::{Custom, Loads, Signal, Source},
    slot_budget::SlotBudget,
    sql::Sql,
    undo::Undo,
    url::Url,
    vacuum::Vacuum,
    wraparound::Wraparound,
};
use crate::{
    apply::{Applied, Opener},
    config::Live,
    copy::Counters,
    engine::Engine,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// The server's load is read this often.
const LOAD_EVERY: Duration = Duration::from_secs(1);
const SECOND_LOAD: Duration = Duration::from_millis(200);
/// How long one reading may take.
pub const READ_WITHIN: Duration = Duration::from_secs(5);
/// A signal that has no limit now is looked at again after this long: one may be given at any time.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Starts reading. What the engine reads of the server is published, too.
pub(crate) fn start<E: Engine>(
    opener: &Opener<E>,
    live: &Live,
    board: &Board,
    applied: watch::Receiver<Applied<E::Position>>,
    counters: &Arc<Counters>,
    tasks: &mut JoinSet<()>,
) -> Loads {
    let (publish, loads) = watch::channel(None);
    let (from, choices) = (opener.clone(), live.clone());
    tasks.spawn(async move {
        // Two readings tell what goes on, and copying waits for the second.
        for pause in std::iter::once(SECOND_LOAD).chain(std::iter::repeat(LOAD_EVERY)) {
            let next = tokio::time::Instant::now() + pause;
            let reading =
                from.engine.load(&from.plan, from.migration, choices.with(|c| c.wants("replica-lag")));
            let load = match tokio::time::timeout(READ_WITHIN, reading).await {
                Ok(load) => load.map_err(|e| e.message),
                Err(_) => Err(late()),
            };
            publish.send_replace(Some((Instant::now(), load)));
            tokio::time::sleep_until(next).await;
        }
    });
    let loads = Loads(loads);
    let mut signals: Vec<Box<dyn Signal>> = vec![
        Box::new(Lag::new(applied, Arc::clone(counters))),
        Box::new(ReplicaLag(loads.clone())),
        Box::new(Sessions(loads.clone())),
        Box::new(Commit(opener.clone())),
        Box::new(Retained(loads.clone())),
        Box::new(SlotBudget(loads.clone())),
        Box::new(Undo(loads.clone())),
        Box::new(Vacuum(loads.clone())),
        Box::new(Wraparound(loads.clone())),
        Box::new(Archive(loads.clone())),
    ];
    let (custom, flag) =
        live.with(|c| (c.signals.iter().chain(&c.watches).cloned().collect::<Vec<_>>(), c.flag_file.clone()));
    signals.extend(flag.map(|path| Box::new(Flag(path)) as Box<dyn Signal>));
    signals.extend(custom.into_iter().map(|custom| own(custom, opener)));
    for signal in signals {
        let (live, board) = (live.clone(), board.clone());
        tasks.spawn(async move { follow(signal, live, board).await });
    }
    loads
}

fn own<E: Engine>(custom: Custom, opener: &Opener<E>) -> Box<dyn Signal> {
    let Custom { name, source } = custom;
    match source {
        Source::Sql(text) => Box::new(Sql { opener: opener.clone(), name, text }),
        Source::Url(url) => Box::new(Url { name, url }),
        Source::Command(text) => Box::new(Command { name, text }),
    }
}

/// Reads one signal for as long as it has a limit.
async fn follow(mut signal: Box<dyn Signal>, live: Live, board: Board) {
    loop {
        let name = signal.name().to_string();
        if live.with(|c| c.wants(&name)) {
            let read = match tokio::time::timeout(READ_WITHIN, signal.sample()).await {
                Ok(read) => read,
                Err(_) => Err(late()),
            };
            board.post(&name, read);
            tokio::time::sleep(signal.every()).await;
        } else {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn late() -> String {
    format!("no answer within {} s", READ_WITHIN.as_secs())
}
