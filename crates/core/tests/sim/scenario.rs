//! One run from its seed: a server with clients, an operator with a wish, and trouble, until it is over.

use crate::{
    chance::Chance,
    clients,
    engine::{Model, plan},
    oracle,
    server::Server,
    weather::Weather,
    world::{Flavor, Row, World},
};
use shadowswap_core::{
    Config, CutoverWhen, Error, Kind, MaxLoad, Phase, Result,
    control::Command,
    mutations::{self, Mutation, Sizes},
    offline,
    progress::{Progress, Report},
    runner,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    runtime::{Builder, RngSeed},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

/// The operator looks this often.
const LOOK: Duration = Duration::from_millis(500);
/// After the trouble, everything comes to its end within this time, the guard's own not counted.
const ENDS_WITHIN: Duration = Duration::from_secs(1800);
/// A command that seems to be lost is given again after this long.
const AGAIN: Duration = Duration::from_secs(20);
/// A key above those that clients use.
const HOT: u32 = 1_000_000;
/// More runners than any run needs.
const RUNNERS_MAX: u32 = 300;
/// The guard's length.
const GUARD_S: u64 = 45;

/// What is asked for besides the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices {
    pub mutation: Option<Mutation>,
    /// Whether rows are compared; if not said, chance decides.
    pub verify: Option<bool>,
    /// A row that is changed all the time is always written wrongly to the shadow: comparing has to find it.
    pub spoils: bool,
    /// A row is changed all the time, and its key gets other bytes that mean the same.
    pub renames: bool,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    pub violations: Vec<String>,
    /// Two runs of one seed have the same.
    pub fingerprint: u64,
    pub swaps: u32,
    pub commits: u64,
    pub runners: u32,
    pub virtual_s: u64,
    pub calls: u64,
    /// How its runners ended.
    pub ends: Vec<String>,
    /// Of many runs: how often runners ended in which way.
    pub kinds: BTreeMap<String, u64>,
}

impl Ended {
    /// Adds the numbers of another run.
    pub fn add(&mut self, other: &Ended) {
        self.swaps += other.swaps;
        self.commits += other.commits;
        self.runners += other.runners;
        self.virtual_s += other.virtual_s;
        self.calls += other.calls;
        for end in &other.ends {
            let kind = end.split(':').next().unwrap_or_default();
            *self.kinds.entry(kind.to_string()).or_default() += 1;
        }
    }
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Done,
    Guard,
    Finish,
    RollBack,
    RollForward,
    Abort,
}

/// Runs one seed.
pub fn simulate(seed: u64, choices: Choices) -> Ended {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.to_be_bytes()))
        .build()
        .expect("a runtime");
    let folder = folder(seed);
    let ended = runtime.block_on(async { Box::pin(whole(seed, choices, &folder)).await });
    drop(runtime);
    mutations::choose(None);
    drop(std::fs::remove_dir_all(&folder));
    ended
}

fn folder(seed: u64) -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-");
    let base = Path::new("/dev/shm");
    let base = if base.is_dir() { base.to_path_buf() } else { std::env::temp_dir() };
    base.join(format!("shadowswap-sim-{}", std::process::id())).join(format!("{seed}-{thread}"))
}

async fn whole(seed: u64, choices: Choices, folder: &Path) -> Ended {
    let mut chance = Chance::new(seed);
    mutations::choose(choices.mutation);
    mutations::simulate(Sizes {
        part_bytes: 150 + chance.below(1500) as usize,
        batch_keys: 6 + chance.below(30) as usize,
    });
    let flavor = Flavor {
        late_indexes: chance.coin(),
        drains_through_lock: chance.coin(),
        reads_at_floor: chance.coin(),
        delete_waits: chance.coin(),
        ends_orphans: chance.coin(),
        notes_swap: chance.coin(),
        rereads: chance.pick(&[0, 0, 6]),
        one_reader: chance.coin(),
    };
    let has_hot = choices.spoils || choices.renames;
    let weather = if has_hot { Weather::calm() } else { Weather::draw(&mut chance) };
    let wish = chance.pick(&[
        Wish::Done,
        Wish::Done,
        Wish::Guard,
        Wish::Finish,
        Wish::RollBack,
        Wish::RollBack,
        Wish::RollForward,
        Wish::Abort,
    ]);
    let wish = if has_hot { Wish::Done } else { wish };
    let is_manual = chance.one_in(4) && wish != Wish::Abort;
    let verify = choices.verify.unwrap_or_else(|| chance.coin());
    let workers = 1 + chance.below(3) as usize;
    let (writers, rest) = (1 + chance.below(4), chance.pick(&[5, 20, 60]));
    tracing::info!(seed, ?flavor, ?weather, ?wish, verify, workers, writers, "begins");
    let mut world = World::new(chance, flavor, weather, choices.mutation);
    if has_hot {
        let row = Row { upper_case: false, unique: None, value: 0 };
        world.spoils = choices.spoils.then_some(HOT);
        world.tables[0].rows.insert(HOT, row);
        world.truth.insert(HOT, row);
    }
    let server = Server::new(world);
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    if has_hot {
        clients.spawn(clients::hurry(server.clone(), HOT, choices.renames, stopped.clone()));
    }
    for _ in 0..writers {
        clients.spawn(clients::write(server.clone(), stopped.clone(), rest));
    }
    let mut operator = Operator {
        server: server.clone(),
        wish,
        verify,
        workers,
        folder: folder.to_path_buf(),
        runners: JoinSet::new(),
        handles: BTreeMap::new(),
        stops: BTreeMap::new(),
        started: 0,
        given: None,
        ends: Vec::new(),
        spoils: choices.spoils,
        overlapped: BTreeSet::new(),
        is_manual,
    };
    let ends_within = if choices.spoils { Duration::from_secs(60) } else { ENDS_WITHIN };
    let longest = weather.lasts + ends_within + Duration::from_secs(GUARD_S);
    if timeout(longest, operator.work()).await.is_err() && !choices.spoils {
        let phase = server.with(|w| w.migration.as_ref().map(|m| (m.phase, m.turn)));
        server.with(|w| w.violation(format!("the run does not end; it is in {phase:?}")));
    }
    operator.runners.shutdown().await;
    stop.send_replace(true);
    drop(timeout(Duration::from_secs(120), async { while clients.join_next().await.is_some() {} }).await);
    let calm = server.until(Instant::now() + Duration::from_secs(60), |w| w.running.is_empty().then_some(()));
    if calm.await.is_none() {
        server.with(|w| w.violation("a transaction never ends"));
    }
    server.with(|w| {
        oracle::judge_end(w);
        Ended {
            violations: w.violations.clone(),
            fingerprint: w.fingerprint(),
            swaps: w.swaps,
            commits: w.log.len() as u64,
            runners: operator.started,
            virtual_s: w.began.elapsed().as_secs(),
            calls: w.calls,
            ends: operator.ends.clone(),
            kinds: BTreeMap::new(),
        }
    })
}

/// Starts runners, gives commands, and is in for trouble.
struct Operator {
    server: Server,
    wish: Wish,
    verify: bool,
    workers: usize,
    folder: PathBuf,
    runners: JoinSet<(u32, Result<Report>)>,
    handles: BTreeMap<u32, (AbortHandle, u32)>,
    stops: BTreeMap<u32, watch::Sender<bool>>,
    started: u32,
    /// The last command, for which turn, and when.
    given: Option<(i64, Instant)>,
    ends: Vec<String>,
    spoils: bool,
    /// Runners that were not alone.
    overlapped: BTreeSet<u32>,
    /// The first swap waits for a word.
    is_manual: bool,
}

impl Operator {
    async fn work(&mut self) {
        let lasts = self.server.with(|w| w.weather.lasts);
        let calm_at = Instant::now() + lasts;
        loop {
            if self.runners.is_empty() {
                if self.server.with(|w| w.is_over()) || self.is_spoilt() {
                    return;
                }
                if self.started == RUNNERS_MAX {
                    self.server.with(|w| w.violation("runners are started without end"));
                    return;
                }
                self.start();
            }
            let server = self.server.clone();
            tokio::select! {
                biased;
                Some(ended) = self.runners.join_next() => {
                    if let Ok((runner, ended)) = ended {
                        self.ended(runner, &ended);
                    }
                    // As an operator, or whatever starts it again, would need a moment.
                    sleep(server.draw(|c| c.time(500, 3, 3000))).await;
                }
                () = server.crash.notified() => self.bury(),
                () = sleep(LOOK) => {
                    self.bury();
                    let is_calm = Instant::now() >= calm_at;
                    if is_calm && server.with(|w| w.weather.lasts > Duration::ZERO) {
                        tracing::info!("calm");
                        server.with(|w| {
                            w.weather = Weather::calm();
                            w.crashes.clear();
                            if let Some(m) = &mut w.migration { m.is_paused = false; }
                        });
                    }
                    self.trouble();
                    self.command();
                }
            }
        }
    }

    /// Comparing has found what it had to find.
    fn is_spoilt(&self) -> bool {
        self.spoils && self.ends.iter().any(|end| end.starts_with("Differs"))
    }

    fn start(&mut self) {
        self.started += 1;
        let id = self.started;
        let (guard, config) = self.server.with(|w| {
            let crash = w.weather.crash;
            if crash > 0 && w.chance.coin() {
                let after = 1 + w.chance.below(crash);
                w.crashes.insert(id, after);
            }
            let is_small = w.chance.one_in(3);
            let is_guarded = w.migration.as_ref().is_some_and(|m| m.phase == Phase::Guard && m.turn == 1);
            let rolls_back = self.wish == Wish::RollBack && is_guarded && w.chance.coin();
            let config = Config {
                stall_budget: Duration::from_millis(60 + w.chance.below(300)),
                copy_workers: self.workers,
                verify: self.verify,
                cutover: if self.is_manual { CutoverWhen::Manual } else { CutoverWhen::Auto },
                rollback: rolls_back,
                max_load: if self.is_manual { MaxLoad::Auto } else { MaxLoad::Off },
                log_directory: self.folder.join(id.to_string()),
                log_memory: if is_small { 6000 } else { 8 << 20 },
                log_disk: if is_small { 0 } else { 64 << 20 },
                who: format!("runner {id}"),
                ..Config::default()
            };
            w.trace(("start", id));
            let guard = !matches!(self.wish, Wish::Done | Wish::Abort);
            (guard.then_some(GUARD_S), config)
        });
        tracing::info!(runner = id, "starts");
        let engine = Model { server: self.server.clone(), runner: id };
        let (stop, stopped) = watch::channel(false);
        self.stops.insert(id, stop);
        let progress = watch::Sender::new(Progress::new(Phase::Prepare));
        let aborts = self.wish == Wish::Abort && self.given.is_some();
        let run = async move {
            if aborts {
                // Who has said so once says it again, whoever runs it.
                let aborted = offline::abort(&engine, &plan(guard).source, &config.who).await;
                return (id, Err(aborted.err().unwrap_or_else(|| Error::new(Kind::Aborted, "aborted"))));
            }
            let ended = Box::pin(runner::run(&engine, plan(guard), config, progress, stopped)).await;
            (id, ended)
        };
        let handle = self.runners.spawn(run);
        if !self.handles.is_empty() {
            self.overlapped.extend(self.handles.keys());
            self.overlapped.insert(id);
        }
        self.handles.insert(id, (handle, id));
    }

    /// Runners that have crashed are gone with all they held in memory.
    fn bury(&mut self) {
        for id in self.server.with(|w| w.crashed.clone()) {
            if let Some((handle, _)) = self.handles.remove(&id) {
                tracing::info!(runner = id, "crashes");
                self.ends.push("crash".into());
                handle.abort();
            }
        }
    }

    fn ended(&mut self, runner: u32, ended: &Result<Report>) {
        let Some((_, began)) = self.handles.remove(&runner) else { return };
        let was_alone = !self.overlapped.contains(&began);
        let text = match ended {
            Ok(_) => "Ok".to_string(),
            Err(e) => format!("{:?}: {}", e.kind, e.message),
        };
        tracing::info!(runner, text, "ends");
        let (phase, is_over) = self.server.with(|w| (w.migration.as_ref().map(|m| m.phase), w.is_over()));
        let is_sensible = match ended.as_ref().map_err(|e| e.kind) {
            Ok(_) => phase == Some(Phase::Done),
            Err(Kind::Transient | Kind::Interrupted | Kind::Budget | Kind::Held | Kind::Ambiguous) => true,
            Err(Kind::Superseded) => !was_alone,
            Err(Kind::RolledBack) => phase == Some(Phase::RolledBack),
            Err(Kind::Aborted) => self.wish == Wish::Abort,
            Err(Kind::Differs) => self.spoils,
            // Another runner has come to the end meanwhile.
            Err(Kind::Refused) => is_over,
            // It had been taken over without knowing, and found what the other one has removed.
            Err(Kind::Corrupt) => is_over && !was_alone,
            Err(Kind::Unfit | Kind::Early | Kind::Usage) => false,
        };
        if !is_sensible {
            self.server.with(|w| w.violation(format!("a runner ended in {phase:?} with {text}")));
        }
        self.ends.push(text);
    }

    /// What happens to a server and its runners.
    fn trouble(&mut self) {
        let what: Option<u64> = self.server.with(|w| {
            let events = w.weather.events;
            let happens = w.chance.one_in(events);
            happens.then(|| w.chance.below(8))
        });
        let server = self.server.clone();
        match what {
            Some(0) => drop(tokio::spawn(async move { server.restart().await })),
            // A second runner; the first one's lock may be lost without it knowing.
            Some(1) if self.handles.len() < 3 => self.start(),
            Some(2) if self.handles.len() < 3 => {
                server.with(|w| w.holder.into_iter().for_each(|holder| w.end(holder)));
                server.tell();
                self.start();
            }
            // An administrator ends a session.
            Some(3 | 4) => {
                server.with(|w| {
                    let all: Vec<u64> = w.connections.keys().copied().collect();
                    if !all.is_empty() {
                        let one = w.chance.pick(&all);
                        w.end(one);
                    }
                });
                server.tell();
            }
            Some(5) => server.with(|w| {
                if let Some(m) = &mut w.migration {
                    m.is_paused = !m.is_paused;
                }
            }),
            Some(6) => {
                let one = self.stops.iter().find(|(id, _)| self.handles.contains_key(id));
                if let Some((_, stop)) = one {
                    stop.send_replace(true);
                }
            }
            Some(7) => {
                server.with(|w| w.migration.iter_mut().for_each(|m| m.commands.push_back(Command::Verify)));
            }
            Some(_) | None => {}
        }
    }

    /// What the operator wants next, and again if nothing comes of it.
    fn command(&mut self) {
        let Some((phase, turn)) = self.server.with(|w| w.migration.as_ref().map(|m| (m.phase, m.turn)))
        else {
            return;
        };
        let command = match (self.wish, phase, turn) {
            (Wish::Abort, Phase::Copy | Phase::Index | Phase::Verify | Phase::Ready, 0) => Command::Abort,
            (Wish::Finish, Phase::Guard, 1) | (Wish::RollForward, Phase::Guard, 3) => {
                Command::Finish { drop_old: false }
            }
            (Wish::RollBack | Wish::RollForward, Phase::Guard, 1) => Command::Rollback,
            (Wish::RollForward, Phase::Ready, 2) => Command::Cutover,
            (_, Phase::Ready, 0) if self.is_manual => Command::Cutover,
            (Wish::RollBack, Phase::Ready, 2) if self.server.draw(|c| c.one_in(10)) => {
                Command::Finish { drop_old: false }
            }
            _ => return,
        };
        let is_given = self.given.is_some_and(|(for_turn, at)| for_turn == turn && at.elapsed() < AGAIN);
        if is_given || !self.server.draw(|c| c.one_in(4)) {
            return;
        }
        tracing::info!(?command, "commands");
        self.given = Some((turn, Instant::now()));
        self.server.with(|w| w.migration.iter_mut().for_each(|m| m.commands.push_back(command.clone())));
    }
}
