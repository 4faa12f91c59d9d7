//! One connection: sends plans, and learns of each whether it happened, did not, or may have.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Load;
use super::driver::{Answer, Session, Target};
use super::ledger::State;
use super::plan::{Op, Plan, Sql, Step, plan};
use super::pool::Pool;
use super::report::{Meter, Shared};

/// A statement that takes longer counts as lost; far above every stall that is worth measuring.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Between attempts to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What became of a plan.
enum Fate {
    Done,
    NotDone,
    Unknown,
}

pub(super) struct Writer {
    target: Target,
    session: Option<Session>,
    pool: Pool,
    rng: StdRng,
    mix: Vec<(Op, u32)>,
    meter: Meter,
    stopped: watch::Receiver<bool>,
    statements: Option<u64>,
    duration: Option<Duration>,
    /// Open loop: the time between two of this writer's statements.
    interval: Option<Duration>,
    started: Instant,
}

impl Writer {
    pub(super) async fn connect(
        load: &Load,
        index: usize,
        pool: Pool,
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Writer, String> {
        let target = Target::parse(&load.url)?;
        let session = Session::open(&target, &pool.shape)
            .await
            .map_err(|e| format!("cannot start writer {index}: {}", e.detail))?;
        Ok(Writer {
            target,
            session: Some(session),
            pool,
            rng: StdRng::seed_from_u64(
                load.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index as u64),
            ),
            mix: load.mix.clone(),
            meter: Meter { shared, index },
            stopped,
            statements: load.statements,
            duration: load.duration,
            interval: load.rate.map(|rate| Duration::from_secs_f64(load.writers as f64 / rate)),
            started: Instant::now(),
        })
    }

    /// Works until stopped or limited, then returns the keys with what is known of them.
    pub(super) async fn run(mut self, start: Instant) -> Pool {
        self.started = start;
        let offset = self.interval.unwrap_or_default().mul_f64(self.rng.random_range(0.0..1.0));
        let mut due = start + offset;
        while !self.is_over() {
            if self.interval.is_some() && !self.waited_until(due).await {
                break;
            }
            if self.session.is_none() && !self.reconnect().await {
                break;
            }
            let op = self.pick_op();
            let plan = plan(op, &mut self.pool, &mut self.rng);
            let intended = if self.interval.is_some() { due } else { Instant::now() };
            due += self.interval.unwrap_or_default() * plan.steps.len() as u32;
            let fate = self.execute(&plan, intended).await;
            self.settle(plan, &fate);
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        self.pool
    }

    fn is_over(&self) -> bool {
        let made = self.meter.shared.statements.load(std::sync::atomic::Ordering::Relaxed);
        let is_counted_out = self.statements.is_some_and(|limit| made >= limit);
        let is_timed_out = self.duration.is_some_and(|limit| self.started.elapsed() >= limit);
        is_counted_out || is_timed_out || *self.stopped.borrow()
    }

    /// False if the load ended meanwhile.
    async fn waited_until(&mut self, due: Instant) -> bool {
        tokio::select! {
            () = sleep_until(due) => !self.is_over(),
            _ = self.stopped.changed() => false,
        }
    }

    /// False if the load ended meanwhile.
    async fn reconnect(&mut self) -> bool {
        while !self.is_over() {
            match Session::open(&self.target, &self.pool.shape).await {
                Ok(session) => {
                    self.session = Some(session);
                    self.meter.reconnected();
                    return true;
                }
                Err(e) => self.meter.failed(format!("reconnect: {}", e.what)),
            }
            sleep(RECONNECT_PAUSE).await;
        }
        false
    }

    fn pick_op(&mut self) -> Op {
        let total: u32 = self.mix.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.random_range(0..total);
        for (op, weight) in &self.mix {
            if at < *weight {
                return *op;
            }
            at -= weight;
        }
        unreachable!("a number below the sum of the weights falls into one of them")
    }

    async fn execute(&mut self, plan: &Plan, intended: Instant) -> Fate {
        let Some(session) = &mut self.session else { return Fate::NotDone };
        for (index, step) in plan.steps.iter().enumerate() {
            let sent = if index == 0 { intended } else { Instant::now() };
            let answer = timeout(STATEMENT_TIMEOUT, session.send(step)).await;
            let (is_broken, is_open) = match answer {
                Ok(Ok(answer)) => {
                    let (latency, at) = (sent.elapsed(), self.started.elapsed());
                    self.meter.answered(|| format!("{:?}", step.sql), latency, at);
                    if let Some(wrong) = violation(plan, step, &answer) {
                        self.meter.violated(wrong);
                    }
                    continue;
                }
                Ok(Err(e)) => {
                    let what = format!("{:?}: {}", step.sql, e.what);
                    if e.is_conflict {
                        self.meter.conflicted(what);
                    } else {
                        self.meter.failed(what);
                    }
                    (e.is_broken, e.is_open)
                }
                Err(_) => {
                    self.meter.failed(format!("{:?}: no answer in {STATEMENT_TIMEOUT:?}", step.sql));
                    (true, true)
                }
            };
            let is_rolled_back = !is_broken && session.rollback().await;
            if !is_rolled_back {
                self.session = None;
            }
            return if is_open && plan.is_decisive(index) { Fate::Unknown } else { Fate::NotDone };
        }
        Fate::Done
    }

    fn settle(&mut self, plan: Plan, fate: &Fate) {
        for touched in plan.touched {
            let state = match fate {
                Fate::Done => State::Known(touched.after),
                Fate::NotDone => State::Known(touched.before),
                Fate::Unknown if touched.before == touched.after => State::Known(touched.after),
                Fate::Unknown => State::Either(touched.before, touched.after),
            };
            self.pool.settle(touched.key, state);
        }
    }
}

/// What the answer breaks of what was acknowledged before.
fn violation(plan: &Plan, step: &Step, answer: &Answer) -> Option<String> {
    let expected = match step.sql {
        Sql::Text(_) => return None,
        Sql::Insert | Sql::UpdateOne(_) | Sql::UpdateAll | Sql::Delete | Sql::Rekey => None,
        Sql::Read => plan.touched.first().and_then(|touched| touched.before.as_deref()),
    };
    let Step { sql, params } = step;
    if answer.rows != 1 {
        return Some(format!("{sql:?} with {params:?} found {} rows, one was acknowledged", answer.rows));
    }
    let is_same = answer.read.as_deref() == expected;
    (!is_same).then(|| format!("read of {params:?} gave {:?}, acknowledged was {expected:?}", answer.read))
}
