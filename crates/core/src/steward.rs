//! The task that keeps in touch with people: publishes numbers, reads commands, and judges what holds the copy.

use crate::{
    apply::{Applied, Opener},
    brim::Brim,
    clock,
    config::{Config, Live, MaxLoad},
    control::{Command, Control},
    copy::Counters,
    engine::{Engine, Load},
    error::{Error, Kind, Result},
    forecast::{self, Filling, Outlook},
    hook::Hooks,
    phase::Phase,
    progress::Progress,
    setting,
    throttle::{
        Throttle,
        alarm::Alarm,
        board::{Board, Judge, Shown, Verdict},
        fairness::{self, Fairness, Word},
        lag::Lag,
        pulse::{self, Pulse, Timing},
        sampler,
        steer::{Steer, gait},
    },
    window::Calendar,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::warn;

/// Numbers are published and commands are read this often: an answer within a second.
const TICK: Duration = Duration::from_millis(250);
/// How long a chunk may take to end where a critical signal stops the run.
const EDGE_WITHIN: Duration = Duration::from_secs(10);
/// Rates are averaged over about this many ticks.
const SMOOTHING: f64 = 0.2;

/// What the runner tells about itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    detail: Option<String>,
    attempts: u32,
    verify: bool,
    alarm: Option<String>,
    guard_left: Option<Duration>,
}

impl Desk {
    /// A desk in this phase.
    pub fn new(phase: Phase) -> Desk {
        Desk(Arc::new(Mutex::new(State {
            phase,
            detail: None,
            attempts: 0,
            verify: false,
            guard_left: None,
            alarm: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A phase begins.
    pub fn phase(&self, phase: Phase) {
        let mut state = self.lock();
        state.phase = phase;
        state.detail = None;
    }

    /// The phase now.
    pub fn now(&self) -> Phase {
        self.lock().phase
    }

    /// What is being done within the phase.
    pub fn detail(&self, what: &str) {
        self.lock().detail = Some(what.to_string());
    }

    /// Cutover attempts so far.
    pub fn attempts(&self, n: u32) {
        self.lock().attempts = n;
    }

    /// What is watched during the guard says that something is wrong, and has said so for long enough. `None`: all is well.
    pub fn alarm(&self) -> Option<String> {
        self.lock().alarm.clone()
    }

    /// What is left of the guard.
    pub fn guard_left(&self, left: Duration) {
        self.lock().guard_left = Some(left);
    }

    /// An operator wants every row compared again.
    pub fn ask_verify(&self) {
        self.lock().verify = true;
    }

    /// Takes that wish.
    pub fn take_verify(&self) -> bool {
        std::mem::take(&mut self.lock().verify)
    }
}

/// What the steward needs.
pub struct Steward<E: Engine> {
    pub(crate) opener: Opener<E>,
    pub(crate) control: Arc<E::Control>,
    pub(crate) live: Live,
    pub(crate) hooks: Hooks,
    pub(crate) desk: Desk,
    pub(crate) counters: Arc<Counters>,
    pub(crate) applied: watch::Receiver<Applied<E::Position>>,
    pub(crate) throttle: Throttle,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) failures: mpsc::Sender<Error>,
    /// True: it ends, but not between taking commands and handing them on.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Starts it. A failing control connection ends the run: without it the migration's lock is gone too.
pub fn start<E: Engine>(steward: Steward<E>, tasks: &mut JoinSet<()>) {
    tasks.spawn(async move {
        let failures = steward.failures.clone();
        if let Err(e) = work(steward).await {
            drop(failures.send(e.while_trying("keeping the control tables up to date")).await);
        }
    });
}

struct Rate {
    total: u64,
    at: Instant,
    per_second: f64,
}

impl Rate {
    fn new(total: u64) -> Rate {
        Rate { total, at: Instant::now(), per_second: 0.0 }
    }

    fn observe(&mut self, total: u64) -> f64 {
        let now = Instant::now();
        let elapsed = (now - self.at).as_secs_f64().max(1e-3);
        let rate = total.saturating_sub(self.total) as f64 / elapsed;
        let is_first = self.per_second == 0.0;
        self.per_second =
            if is_first { rate } else { self.per_second * (1.0 - SMOOTHING) + rate * SMOOTHING };
        (self.total, self.at) = (total, now);
        self.per_second
    }
}

async fn work<E: Engine>(steward: Steward<E>) -> Result<()> {
    let started = Instant::now();
    let earlier = steward.progress.borrow().clone();
    let rows = steward.counters.rows.load(Ordering::Relaxed);
    let (mut copied, mut changed, mut verified) = (Rate::new(rows), Rate::new(0), Rate::new(0));
    let board = Board::default();
    // Ends with this task.
    let mut readers = JoinSet::new();
    settle(&steward, None).await?;
    let loads = sampler::start(
        &steward.opener,
        &steward.live,
        &board,
        steward.applied.clone(),
        &steward.counters,
        &mut readers,
    );
    let pulse = Pulse::default();
    readers.spawn(pulse::follow(Timing {
        opener: steward.opener.clone(),
        live: steward.live.clone(),
        loads: loads.clone(),
        counters: Arc::clone(&steward.counters),
        throttle: steward.throttle.clone(),
        desk: steward.desk.clone(),
        pulse: pulse.clone(),
    }));
    let mut lag = Lag::new(steward.applied.clone(), Arc::clone(&steward.counters));
    let mut dismissed = steward.stop.clone();
    let mut hold = Hold::new(&steward, pulse);
    let (mut trend, mut brim) = (Trend::default(), Brim::default());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut paused, mut retained) = (false, 0);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = steward.control.nudged() => {}
            Ok(_) = dismissed.wait_for(|is_dismissed| *is_dismissed) => return Ok(()),
        }
        let applied = steward.applied.borrow().clone();
        let load = match loads.0.borrow().as_ref() {
            Some((_, Ok(load))) => Some(load.clone()),
            Some((_, Err(_))) | None => None,
        };
        let lag = lag.now(Instant::now());
        let verdict = hold.judge(&board, paused);
        let mut progress = collect(&steward, &applied, load.as_ref(), lag);
        retained = kept(retained, load.as_ref());
        progress.retained_bytes = retained;
        progress.rows_per_second = copied.observe(progress.rows_copied);
        progress.changes_per_second = changed.observe(applied.changes);
        let verify_rate = verified.observe(progress.rows_verified);
        progress.changes += earlier.changes;
        progress.elapsed_s = earlier.elapsed_s + started.elapsed().as_secs_f64();
        progress.eta_s = eta(&progress, verify_rate);
        progress.signals = verdict.signals;
        trend.observe(&steward, &mut progress, load.as_ref());
        hold.kept = brim.observe(&steward, &mut progress, load.as_ref()).await?;
        steward.progress.send_replace(progress.clone());
        hold.watch(&board).await?;
        // What keeps in step or swaps puts no load on the server that stopping would take away; and what is kept for it would grow unseen.
        let works = matches!(progress.phase, Phase::Copy | Phase::Index | Phase::Verify);
        let critical = verdict.critical.filter(|_| works);
        let critical = critical.or(hold.overload(lag, &progress, paused).await?);
        if let Some(why) = critical {
            stop(&steward, why).await;
            return Ok(());
        }
        for failure in steward.hooks.take_failures() {
            let who = steward.live.with(|c| c.who.clone());
            steward.control.note(steward.opener.migration, &who, &failure).await?;
        }
        let report = steward.control.report(steward.opener.migration, steward.opener.epoch, &progress);
        let (commands, now_paused) = report.await?;
        paused = now_paused;
        for command in commands {
            if command == Command::Throttle {
                settle(&steward, Some(&steward.live.now().who)).await?;
            }
            drop(steward.commands.send(command).await);
        }
    }
}

/// What the server keeps for us. A reading that failed says nothing of it: a budget that was used up still is.
fn kept(before: u64, load: Option<&Load>) -> u64 {
    load.map_or(before, |load| load.retained_bytes)
}

/// Applies the settings that were stored with the migration. What cannot be applied is noted, where there is somebody to note it.
async fn settle<E: Engine>(steward: &Steward<E>, who: Option<&str>) -> Result<()> {
    let config = steward.live.now();
    let config = settled::<E>(&*steward.control, steward.opener.migration, config, who).await?;
    steward.live.change(config);
    Ok(())
}

/// These choices, with the settings applied that were stored with the migration.
pub(crate) async fn settled<E: Engine>(
    control: &E::Control,
    migration: i64,
    mut config: Config,
    who: Option<&str>,
) -> Result<Config> {
    for (name, value) in control.settings(migration).await? {
        match setting::apply(&config, &name, &value) {
            Ok(changed) => config = changed,
            Err(why) => {
                warn!(setting = name, error = %why, "a setting cannot be applied");
                if let Some(who) = who {
                    let note = format!("setting {name}={value} cannot be applied: {why}");
                    control.note(migration, who, &note).await?;
                }
            }
        }
    }
    Ok(config)
}

/// Lets every copier come to its chunk's edge, then ends the run.
async fn stop<E: Engine>(steward: &Steward<E>, why: String) {
    steward.throttle.close();
    drop(tokio::time::timeout(EDGE_WITHIN, steward.counters.idle()).await);
    let error = Error::new(Kind::Interrupted, why)
        .next("run the same command again to go on from here, once that is over");
    drop(steward.failures.send(error).await);
}

/// What holds the copy, over time.
struct Hold<'a, E: Engine> {
    steward: &'a Steward<E>,
    judge: Judge,
    steer: Steer,
    pulse: Pulse,
    fairness: Fairness,
    alarm: Alarm,
    at: Instant,
    /// The server keeps too much for us.
    kept: Option<String>,
}

impl<'a, E: Engine> Hold<'a, E> {
    fn new(steward: &'a Steward<E>, pulse: Pulse) -> Hold<'a, E> {
        let (judge, steer, fairness, alarm) = Default::default();
        Hold { steward, judge, steer, pulse, fairness, alarm, at: Instant::now(), kept: None }
    }

    fn judge(&mut self, board: &Board, paused: bool) -> Verdict {
        let steward = self.steward;
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut self.at, now);
        let config = steward.live.now();
        let mut verdict = self.judge.verdict(&config.all_limits(), &config.criticals, board, now);
        self.steer.observe(verdict.pressure, passed);
        let mut ease = self.steer.ease();
        if config.max_load == MaxLoad::Auto {
            ease = ease.min(self.courtesy(&config, passed, &mut verdict));
        }
        let gait = gait(ease, config.copy_workers, config.chunk_time);
        steward.throttle.pace(ease, gait.workers);
        let calendar = Calendar { windows: config.copy_windows, blackouts: config.blackouts };
        let held = match () {
            () if paused => Some("paused by an operator".to_string()),
            () => outside(&calendar).or_else(|| verdict.held.clone()).or_else(|| self.kept.clone()),
        };
        let before = steward.throttle.reason();
        steward.throttle.hold(held.clone());
        let phase = steward.desk.now();
        if before.is_some() != held.is_some() && matches!(phase, Phase::Copy | Phase::Verify) {
            let message = held.unwrap_or_else(|| "goes on".to_string());
            steward.hooks.tell(steward.opener.event("throttle", phase, Some(message)));
        }
        verdict
    }

    /// The share of full speed that other people hardly feel.
    fn courtesy(&self, config: &Config, passed: Duration, verdict: &mut Verdict) -> f64 {
        let mut courtesy = self.pulse.lock();
        let workers = config.copy_workers.max(1);
        let ease = courtesy.share(workers, passed) / workers as f64;
        if courtesy.is_busy() {
            verdict.signals.push(Shown {
                name: "courtesy".to_string(),
                value: courtesy.seen(),
                limit: format!("{:.1}% of the time", ease * 100.0),
                holds: false,
            });
        }
        ease
    }

    /// During the guard: whether what is watched is well. The desk has the answer for the guard; people and hooks are told.
    async fn watch(&mut self, board: &Board) -> Result<()> {
        let steward = self.steward;
        let (limits, long) = steward.live.with(|c| (c.all_watches(), c.watch_for));
        let phase = steward.desk.now();
        let alarm = match phase {
            Phase::Guard => self.alarm.observe(&limits, board, Instant::now(), long),
            _ => {
                self.alarm = Alarm::default();
                None
            }
        };
        let before = std::mem::replace(&mut steward.desk.lock().alarm, alarm.clone());
        let message = match (before, alarm) {
            (None, Some(why)) => why,
            (Some(_), None) if phase == Phase::Guard => "what is watched is well again".to_string(),
            _ => return Ok(()),
        };
        warn!("{message}");
        steward.hooks.tell(steward.opener.event("watch", phase, Some(message.clone())));
        let who = steward.live.with(|c| c.who.clone());
        steward.control.note(steward.opener.migration, &who, &message).await
    }

    /// Says, and in the end gives why the run has to stop, where more is written than can be applied.
    async fn overload(&mut self, lag: Duration, progress: &Progress, paused: bool) -> Result<Option<String>> {
        let steward = self.steward;
        let (limit, patience) = steward.live.with(|c| (c.max_lag, c.overload_after));
        // While indexes are built nothing is applied, and while people hold the run they see for themselves.
        if progress.phase != Phase::Copy || paused {
            self.fairness = Fairness::default();
            return Ok(None);
        }
        let applying =
            fairness::Applying { lag, limit, rate: progress.changes_per_second, backlog: progress.backlog };
        match self.fairness.observe(Instant::now(), applying, patience) {
            None => Ok(None),
            Some(Word::Say(what)) => {
                warn!("{what}");
                let who = steward.live.with(|c| c.who.clone());
                steward.control.note(steward.opener.migration, &who, &what).await?;
                Ok(None)
            }
            Some(Word::Stop(what)) => Ok(Some(what)),
        }
    }
}

fn outside(calendar: &Calendar) -> Option<String> {
    let now = clock::now();
    if calendar.is_open(now) {
        return None;
    }
    let what =
        if calendar.blackouts.until(now).is_some() { "in a blackout" } else { "outside the copy window" };
    Some(match calendar.next_open(now) {
        Some(at) => format!("{what} until {at}"),
        None => what.to_string(),
    })
}

/// What fills up, and how fast: averaged over a minute or so.
#[derive(Default)]
struct Trend {
    /// Rows a second while nothing held the copy.
    speed: f64,
    retained: Option<(Instant, f64, f64)>,
    log: Option<(Instant, f64, f64)>,
}

/// How much of a trend is the newest reading's.
const TREND: f64 = 0.02;

fn fill(state: &mut Option<(Instant, f64, f64)>, value: f64, full: f64) -> Filling {
    let now = Instant::now();
    let per_second = match *state {
        Some((at, before, rate)) => {
            let seconds = (now - at).as_secs_f64();
            if seconds > 0.0 { rate * (1.0 - TREND) + TREND * (value - before) / seconds } else { rate }
        }
        None => 0.0,
    };
    *state = Some((now, value, per_second));
    Filling { now: value, full, per_second }
}

impl Trend {
    fn observe<E: Engine>(&mut self, steward: &Steward<E>, progress: &mut Progress, load: Option<&Load>) {
        if progress.throttled.is_none() && progress.rows_per_second > 0.0 && progress.phase == Phase::Copy {
            self.speed = progress.rows_per_second;
        }
        let retained = load.and_then(|l| l.retained_percent);
        let retained = retained.map(|percent| fill(&mut self.retained, percent, 100.0));
        let (log_disk, calendar) = steward.live.with(|c| {
            let calendar = Calendar { windows: c.copy_windows.clone(), blackouts: c.blackouts.clone() };
            (c.log_disk as f64, calendar)
        });
        let log = fill(&mut self.log, progress.backlog_disk_bytes as f64, log_disk);
        if progress.phase != Phase::Copy {
            return;
        }
        let size = &steward.opener.plan.size;
        let planned = size.rows as f64 / size.seconds.max(1) as f64;
        let speed = if self.speed > 0.0 { self.speed } else { planned };
        let left = progress.rows_total.saturating_sub(progress.rows_copied) as f64;
        let needs = (speed > 0.0).then(|| Duration::try_from_secs_f64(left / speed).unwrap_or(Duration::MAX));
        let outlook = Outlook { needs, calendar, retained, log: Some(log) };
        let zone = jiff::tz::TimeZone::system();
        let told = forecast::tell(&outlook, clock::now(), &zone, steward.opener.engine.caps().log);
        (progress.forecast, progress.warnings) = (told.forecast, told.warnings);
    }
}

fn collect<E: Engine>(
    steward: &Steward<E>,
    applied: &Applied<E::Position>,
    load: Option<&Load>,
    lag: Duration,
) -> Progress {
    let counters = &steward.counters;
    let rows_copied = counters.rows.load(Ordering::Relaxed);
    let state = steward.desk.lock();
    Progress {
        detail: state.detail.clone(),
        rows_copied,
        rows_total: steward.opener.plan.size.rows.max(rows_copied),
        rows_verified: counters.verified.load(Ordering::Relaxed),
        chunks: counters.chunks.load(Ordering::Relaxed),
        chunk_ms: counters.chunk_us.load(Ordering::Relaxed) as f64 / 1e3,
        chunk_rows: counters.chunk_rows.load(Ordering::Relaxed),
        changes: applied.changes,
        lag_ms: lag.as_secs_f64() * 1e3,
        backlog: applied.backlog.max(counters.waiting.load(Ordering::Relaxed)),
        backlog_disk_bytes: applied.backlog_disk_bytes,
        retained_bytes: load.map_or(0, |l| l.retained_bytes),
        throttled: steward.throttle.reason(),
        ease: steward.throttle.ease(),
        attempts: state.attempts,
        guard_left_s: state.guard_left.map(|left| left.as_secs_f64()),
        ..Progress::new(state.phase)
    }
}

fn eta(progress: &Progress, verify_rate: f64) -> Option<f64> {
    let (left, rate) = match progress.phase {
        Phase::Copy => (progress.rows_total.saturating_sub(progress.rows_copied), progress.rows_per_second),
        Phase::Verify => (progress.rows_total.saturating_sub(progress.rows_verified), verify_rate),
        Phase::Prepare
        | Phase::Index
        | Phase::Ready
        | Phase::Cutover
        | Phase::Guard
        | Phase::Done
        | Phase::Aborted
        | Phase::RolledBack => {
            return None;
        }
    };
    (rate > 0.0 && progress.throttled.is_none()).then(|| left as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_forgotten_where_it_cannot_be_read() {
        let load = Load { retained_bytes: 7, ..Load::default() };
        assert_eq!((kept(0, Some(&load)), kept(7, None)), (7, 7));
    }
}
