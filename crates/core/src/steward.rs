//! The task that keeps in touch with people: publishes numbers, reads commands, and judges what holds the copy.

use crate::{
    apply::{Applied, Opener},
    config::Config,
    control::{Command, Control},
    copy::Counters,
    engine::{Engine, Load},
    error::{Error, Result},
    phase::Phase,
    progress::Progress,
    throttle::{self, Throttle},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Numbers are published and commands are read this often: an answer within a second.
const TICK: Duration = Duration::from_millis(250);
/// The server's load is read this often.
const LOAD_EVERY: u32 = 4;
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

    /// What is being done within the phase.
    pub fn detail(&self, what: &str) {
        self.lock().detail = Some(what.to_string());
    }

    /// Cutover attempts so far.
    pub fn attempts(&self, n: u32) {
        self.lock().attempts = n;
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
    pub(crate) config: Config,
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

async fn work<E: Engine>(mut steward: Steward<E>) -> Result<()> {
    let started = Instant::now();
    let earlier = steward.progress.borrow().clone();
    let rows = steward.counters.rows.load(Ordering::Relaxed);
    let (mut copied, mut changed, mut verified) = (Rate::new(rows), Rate::new(0), Rate::new(0));
    let mut load: Result<Load, String> = Ok(Load::default());
    let (mut ticks, mut paused) = (0_u32, false);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Ok(_) = steward.stop.wait_for(|stop| *stop) => return Ok(()),
        }
        if ticks.is_multiple_of(LOAD_EVERY) {
            let reading = steward.opener.engine.load(&steward.opener.plan, steward.opener.migration);
            load = match tokio::time::timeout(Duration::from_secs(5), reading).await {
                Ok(reading) => reading.map_err(|e| e.message),
                Err(_) => Err("no answer within 5 s".to_string()),
            };
        }
        ticks = ticks.wrapping_add(1);
        let applied = steward.applied.borrow().clone();
        let lag = if applied.backlog == 0 { Duration::ZERO } else { applied.lag };
        let held = throttle::judge(&steward.config, paused, lag, load.as_ref().map_err(String::as_str));
        steward.throttle.hold(held);
        let mut progress = collect(&steward, &applied, load.as_ref().ok());
        progress.rows_per_second = copied.observe(progress.rows_copied);
        progress.changes_per_second = changed.observe(applied.changes);
        let verify_rate = verified.observe(progress.rows_verified);
        progress.changes += earlier.changes;
        progress.elapsed_s = earlier.elapsed_s + started.elapsed().as_secs_f64();
        progress.eta_s = eta(&progress, verify_rate);
        steward.progress.send_replace(progress.clone());
        let report = steward.control.report(steward.opener.migration, steward.opener.epoch, &progress);
        let (commands, now_paused) = report.await?;
        paused = now_paused;
        for command in commands {
            drop(steward.commands.send(command).await);
        }
    }
}

fn collect<E: Engine>(steward: &Steward<E>, applied: &Applied<E::Position>, load: Option<&Load>) -> Progress {
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
        lag_ms: if applied.backlog == 0 { 0.0 } else { applied.lag.as_secs_f64() * 1e3 },
        backlog: applied.backlog,
        backlog_disk_bytes: applied.backlog_disk_bytes,
        retained_bytes: load.map_or(0, |l| l.retained_bytes),
        throttled: steward.throttle.reason(),
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
