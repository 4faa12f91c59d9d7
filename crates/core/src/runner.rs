//! The run: one loop over phases.
//!
//! The runner alone writes the phase and owns every task; the first error of any of them ends the attempt. An attempt that ended with
//! a transient error is made again from the control tables, exactly as after a crash: there is no second way of recovering. So is each
//! turn that follows a swap, where there is a guard.

mod again;
mod guard;
mod index;
mod swap;
mod tally;

pub(crate) use again::{aborted, must_be_ours};
pub use guard::REFUSED;
pub(crate) use guard::settle;
use tally::Tally;

use crate::{
    apply::{Applied, Applier, Applying, GATHER, Ledger, Manner, Opener},
    clock,
    config::{Config, Live},
    control::{Command, Control, CopyState, Migration},
    copy::{self, Copying, Counters},
    engine::{Apply, Engine, Session},
    error::{Error, Kind, Result, Tried},
    failpoint::{self, Place},
    feed, folder,
    frontier::Frontier,
    hook::{self, Hooks},
    journal,
    mutations::{Mutation, breaks},
    patience,
    phase::Phase,
    plan::{Plan, Strategy},
    progress::{Progress, Report},
    steward::{self, Desk},
    throttle::Throttle,
    verify::{self, Markers, Verifying},
};
use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::{Instrument, info, info_span, warn};

/// Attempts at the whole run that end with a transient error and no progress in between.
const TRIES: u32 = 10;
/// An attempt that lasted this long had come to something, even if no client wrote.
const LASTING: Duration = Duration::from_secs(60);

/// Carries the plan through, and tells the hooks how it ended. See [`carry`].
///
/// # Errors
/// See [`carry`].
pub async fn run<E: Engine>(
    engine: &E,
    plan: Plan,
    config: Config,
    progress: watch::Sender<Progress>,
    stop: watch::Receiver<bool>,
) -> Result<Report> {
    let calling = hook::start(config.hooks.clone());
    let (hooks, shown) = (calling.hooks(), progress.subscribe());
    let ended = carry(engine, plan.clone(), config, progress, stop, &hooks).await;
    let (event, migration, message, detail) = match &ended {
        Ok(report) => ("success", report.migration, None, serde_json::to_value(report).unwrap_or_default()),
        Err(e) => {
            let detail = serde_json::json!({ "kind": e.kind, "next": e.next });
            ("failure", hooks.migration(), Some(e.message.clone()), detail)
        }
    };
    hooks.tell(hook::Event {
        event,
        at: clock::real().to_string(),
        migration,
        table: plan.source.to_string(),
        phase: if ended.is_ok() { Phase::Done } else { shown.borrow().phase }.name().to_string(),
        message,
        detail,
    });
    drop(hooks);
    calling.end().await;
    ended
}

/// Carries the plan through, or goes on with what an earlier runner left. `stop` set to true ends it at the next safe point.
///
/// # Errors
/// See [`Kind`]. Whatever the error, the source is in use and untouched unless the report or the error says that it was swapped.
async fn carry<E: Engine>(
    engine: &E,
    plan: Plan,
    config: Config,
    progress: watch::Sender<Progress>,
    stop: watch::Receiver<bool>,
    hooks: &Hooks,
) -> Result<Report> {
    let mut failed = 0;
    let mut tally = Tally::new(&config);
    loop {
        let begun = Instant::now();
        let before = progress.borrow().rows_copied + progress.borrow().changes;
        let attempt = once(engine, &plan, (&config, hooks), &progress, &stop, &mut tally);
        match attempt.await {
            // After a lost connection the server may hold our own former lock for a moment longer.
            Err(e)
                if (e.is_transient() || (e.kind == Kind::Held && failed > 0))
                    && failed < TRIES
                    && !*stop.borrow() =>
            {
                let moved = progress.borrow().rows_copied + progress.borrow().changes > before
                    || begun.elapsed() > LASTING;
                failed = if moved { 1 } else { failed + 1 };
                let pause = Duration::from_millis(200) * 2_u32.pow(failed.min(6));
                warn!(attempt = failed, error = %e, pause_ms = pause.as_millis() as u64, "the run was interrupted; going on from the checkpoint");
                let mut stop = stop.clone();
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    Ok(_) = stop.wait_for(|stop| *stop) => {}
                }
            }
            ended => return ended,
        }
    }
}

/// One attempt: from the control tables to the end, or to the first error.
async fn once<E: Engine>(
    engine: &E,
    plan: &Plan,
    (config, hooks): (&Config, &Hooks),
    progress: &watch::Sender<Progress>,
    stop: &watch::Receiver<bool>,
    tally: &mut Tally,
) -> Result<Report> {
    failpoint::at(Place::Beginning).await;
    let control = patience::answer("opening the control tables", engine.control(true)).await?;
    let control = Arc::new(control);
    if let Some(report) = again::came_to_an_end::<E>(&control, plan, tally).await? {
        return again::closed::<E>(&control, report).await;
    }
    let mut is_first = true;
    // Once for each turn. The lock is held all the time.
    loop {
        failpoint::at(Place::Taking).await;
        let taken = async {
            // What an operator asks for, or an earlier attempt had, is not begun anew.
            if config.rollback || tally.taken.is_some() {
                return control.resume(&plan.source, &config.who).await;
            }
            control.take(plan, &config.who).await.map(Some)
        };
        let taken = patience::work("taking the migration over", taken).await?;
        let mut migration = taken.ok_or_else(|| crate::offline::ended_meanwhile(&plan.source))?;
        failpoint::at(Place::Taken).await;
        hooks.of(migration.id);
        if tally.taken.is_some_and(|id| id != migration.id) {
            return Err(crate::offline::ended_meanwhile(&plan.source));
        }
        tally::is_ours(plan, config, &migration)?;
        tally.taken = Some(migration.id).filter(|_| !breaks(Mutation::BeginsAnew));
        tally.aborts |= migration.resumed && crate::offline::is_given_up::<E>(&control, migration.id).await?;
        if tally.aborts && !breaks(Mutation::ForgetsAbort) {
            return Err(again::failed(engine, &*control, &migration, again::aborted(), config).await);
        }
        let in_place = migration.plan.strategy == Strategy::Direct;
        if migration.phase == Phase::Prepare && !in_place {
            tally::is_as_planned(engine, &*control, &migration).await?;
        }
        if std::mem::take(&mut is_first) && migration.resumed {
            control.note(migration.id, &config.who, &format!("resumed in {}", migration.phase)).await?;
        }
        if in_place {
            let changed =
                change_in_place(engine, &control, &migration, (config, progress), stop, tally).await;
            return match changed {
                Ok(report) => again::closed::<E>(&control, report).await,
                Err(e) => {
                    tally.aborts |= e.kind == Kind::Aborted;
                    Err(again::failed(engine, &*control, &migration, e, config).await)
                }
            };
        }
        // The steward reads them too, but at its own time.
        let settled = steward::settled::<E>(&*control, migration.id, config.clone(), None).await?;
        let choices = (config, &settled);
        let opened = guard::open(engine, &*control, &mut migration, choices, tally.rollback).await;
        let ended = match opened {
            Ok(plan) => {
                tally.wish_again(migration.turn);
                let mut run = Run::new(
                    engine,
                    (choices, hooks),
                    progress,
                    stop,
                    (Arc::clone(&control), migration.clone()),
                    plan,
                    tally,
                );
                let ended = run.phases().await;
                if run.is_turned {
                    run.keep_commands().await;
                } else if ended.is_err() {
                    run.keep_wishes();
                }
                run.tasks.shutdown().await;
                folder::remove(&run.log_directory());
                // All that was in it is applied, and the next turn has none.
                if run.migration.turn > 0 {
                    journal::forget::<E>(&control, migration.id).await;
                }
                match ended {
                    Ok(()) if run.is_turned => continue,
                    ended => ended.map(|()| run.report()),
                }
            }
            Err(e) => Err(e),
        };
        return match ended {
            Ok(report) => again::closed::<E>(&control, report).await,
            Err(e) => {
                tally.aborts |= e.kind == Kind::Aborted;
                Err(again::failed(engine, &*control, &migration, e, config).await)
            }
        };
    }
}

/// One attempt where the server changes only its catalog.
async fn change_in_place<E: Engine>(
    engine: &E,
    control: &E::Control,
    migration: &Migration<E>,
    (config, progress): (&Config, &watch::Sender<Progress>),
    stop: &watch::Receiver<bool>,
    tally: &mut Tally,
) -> Result<Report> {
    let shown = progress.borrow().clone();
    let changed = crate::direct::run(engine, control, migration, (config, &shown), stop, tally.started);
    let report = Box::pin(changed).await?;
    tally.report = Some(report.clone());
    failpoint::at(Place::Saving(Phase::Done)).await;
    control.save_phase(migration.id, migration.epoch, Phase::Done).await?;
    failpoint::at(Place::Saved(Phase::Done)).await;
    Ok(report)
}

/// One attempt's state. Owns the tasks.
struct Run<'a, E: Engine> {
    config: &'a Config,
    live: Live,
    hooks: Hooks,
    stop: watch::Receiver<bool>,
    control: Arc<E::Control>,
    migration: Migration<E>,
    opener: Opener<E>,
    counters: Arc<Counters>,
    throttle: Throttle,
    applied: watch::Sender<Applied<E::Position>>,
    ledger: Ledger,
    markers: Arc<Markers>,
    desk: Desk,
    progress: &'a watch::Sender<Progress>,
    tasks: JoinSet<()>,
    failures: (mpsc::Sender<Error>, mpsc::Receiver<Error>),
    commands: mpsc::Receiver<Command>,
    /// Ends the steward.
    dismiss: watch::Sender<bool>,
    applying: Option<Applying<E>>,
    frontier: Option<Frontier<E::TxId, E::Floor>>,
    cutover_now: bool,
    rollback_now: bool,
    /// An operator ended the guard; true: with the old table.
    finish_now: Option<bool>,
    /// This turn keeps a table in step.
    in_step: bool,
    /// A swap ended this turn.
    is_turned: bool,
    tally: &'a mut Tally,
}

impl<'a, E: Engine> Run<'a, E> {
    fn new(
        engine: &E,
        ((config, settled), hooks): ((&'a Config, &Config), &Hooks),
        progress: &'a watch::Sender<Progress>,
        stop: &watch::Receiver<bool>,
        (control, migration): (Arc<E::Control>, Migration<E>),
        plan: Option<Plan>,
        tally: &'a mut Tally,
    ) -> Run<'a, E> {
        // Once: what was wished for at the swap is not wished for again at each reconnect.
        let left_over = std::mem::take(&mut tally.left_over);
        let in_step = plan.is_some();
        let opener = Opener {
            engine: engine.clone(),
            plan: Arc::new(plan.unwrap_or_else(|| migration.plan.clone())),
            migration: migration.id,
            epoch: migration.epoch,
        };
        let counters = Arc::new(Counters::default());
        counters.rows.store(migration.copy.rows, Ordering::Relaxed);
        let applied = watch::Sender::new(Applied::new(migration.applied.clone()));
        let (throttle, live) = (Throttle::default(), Live::new(settled.clone()));
        // Until every signal has been read once.
        throttle.hold(Some("starting".to_string()));
        let (tell, commands) = mpsc::channel(16);
        let failures = mpsc::channel(16);
        let desk = Desk::new(migration.phase);
        if left_over.contains(&Command::Verify) {
            desk.ask_verify();
        }
        let mut tasks = JoinSet::new();
        let dismiss = watch::Sender::new(false);
        steward::start(
            steward::Steward {
                opener: opener.clone(),
                control: Arc::clone(&control),
                live: live.clone(),
                hooks: hooks.clone(),
                desk: desk.clone(),
                counters: Arc::clone(&counters),
                applied: applied.subscribe(),
                throttle: throttle.clone(),
                progress: progress.clone(),
                commands: tell,
                failures: failures.0.clone(),
                stop: dismiss.subscribe(),
            },
            &mut tasks,
        );
        Run {
            config,
            live,
            hooks: hooks.clone(),
            stop: stop.clone(),
            control,
            opener,
            counters,
            throttle,
            applied,
            ledger: Ledger::default(),
            markers: Arc::new(Markers::new(migration.epoch)),
            desk,
            progress,
            tasks,
            failures,
            commands,
            dismiss,
            applying: None,
            frontier: None,
            cutover_now: left_over.contains(&Command::Cutover),
            rollback_now: tally.rollback || left_over.contains(&Command::Rollback),
            finish_now: left_over.iter().find_map(|command| match command {
                Command::Finish { drop_old } => Some(*drop_old),
                _ => None,
            }),
            in_step,
            is_turned: false,
            tally,
            migration,
        }
    }

    /// The loop. Each phase returns the one that follows it, or none where this is the end, or the end of a turn.
    async fn phases(&mut self) -> Result<()> {
        loop {
            let phase = self.migration.phase;
            self.desk.phase(phase);
            let started = Instant::now();
            let span = info_span!("phase", phase = %phase);
            let applies = phase.applies_changes() || phase == Phase::Guard;
            if applies && !self.is_over() && self.applying.is_none() {
                self.begin_applying().instrument(span.clone()).await?;
            }
            let next = self.phase(phase).instrument(span).await?;
            let took = started.elapsed().as_secs_f64();
            match self.tally.phases.last_mut() {
                Some((name, seconds)) if name == phase.name() => *seconds += took,
                Some(_) | None => self.tally.phases.push((phase.name().to_string(), took)),
            }
            match next {
                Some(next) => self.save(next).await?,
                None => return Ok(()),
            }
        }
    }

    async fn phase(&mut self, phase: Phase) -> Result<Option<Phase>> {
        match phase {
            Phase::Prepare => self.prepare().await.map(Some),
            Phase::Copy => self.copy().await.map(Some),
            Phase::Index => self.index().await.map(Some),
            Phase::Verify => self.verify().await.map(Some),
            Phase::Ready | Phase::Cutover if self.is_over() => self.finish(false).await.map(Some),
            Phase::Ready => self.ready().await.map(Some),
            Phase::Cutover => self.cutover().await,
            Phase::Guard => self.guard().await,
            Phase::Done => Ok(None),
            Phase::Aborted => Err(again::aborted()),
            Phase::RolledBack => Err(again::rolled_back(&self.migration.plan)),
        }
    }

    async fn save(&mut self, phase: Phase) -> Result<()> {
        failpoint::at(Place::Saving(phase)).await;
        self.control.save_phase(self.migration.id, self.migration.epoch, phase).await?;
        failpoint::at(Place::Saved(phase)).await;
        info!(phase = %phase, "phase begins");
        self.hooks.tell(self.opener.event("phase", phase, None));
        self.migration.phase = phase;
        Ok(())
    }

    /// Runs work until it ends, a task fails, an operator aborts, or the run is told to stop.
    async fn guarded<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::pin!(work);
        let (desk, stop, is_turned) = (&self.desk, &mut self.stop, self.migration.plan.is_turned());
        loop {
            tokio::select! {
                biased;
                Some(e) = self.failures.1.recv() => return Err(e),
                Ok(_) = stop.wait_for(|stop| *stop) => return Err(interrupted()),
                Some(command) = self.commands.recv() => match command {
                    Command::Abort if !is_turned => {
                        return Err(Error::new(Kind::Aborted, "aborted by an operator"));
                    }
                    Command::Cutover => self.cutover_now = true,
                    Command::Verify => desk.ask_verify(),
                    Command::Rollback => self.rollback_now = true,
                    Command::Finish { drop_old } => self.finish_now = Some(drop_old),
                    // The steward has seen to these.
                    Command::Abort | Command::Pause | Command::Resume | Command::Throttle => {}
                },
                done = &mut work => return done,
            }
        }
    }

    async fn prepare(&mut self) -> Result<Phase> {
        let (opener, control) = (self.opener.clone(), Arc::clone(&self.control));
        self.guarded(async move {
            let ours = must_be_ours::<E>(&control, opener.migration, opener.epoch);
            let prepared = opener.engine.prepare(&opener.plan, opener.migration, ours);
            let what = "preparing; a change stream begins when the transactions of now have ended";
            let whose = (opener.migration, "prepare");
            patience::attended(&opener.engine, whose, what, prepared).await.tried("preparing")
        })
        .await?;
        Ok(Phase::Copy)
    }

    /// Opens the stream and the log, and starts feed and applier.
    async fn begin_applying(&mut self) -> Result<()> {
        folder::forget_dead(&self.config.log_directory);
        let directory = self.log_directory();
        let (stream, keeper) =
            journal::open_stream(&self.opener, &self.control, &self.migration, self.config).await?;
        // What is on disk twice may take half of it each time.
        let shares = if keeper.is_some() { 2 } else { 1 };
        let limits = shadowswap_changelog::Limits {
            memory_bytes: self.config.log_memory,
            disk_bytes: self.config.log_disk / shares,
            ..shadowswap_changelog::Limits::default()
        };
        let (writer, reader) = shadowswap_changelog::open(directory, limits)?;
        let mut session = self.opener.open("horizon").await?;
        let horizon = patience::answer("asking what is visible", session.floor()).await?;
        drop(session);
        let frontier = Frontier::new(horizon);
        let applier = Applier::new(reader, frontier.clone(), self.ledger.clone(), self.applied.clone())
            .counting(Arc::clone(&self.counters));
        let (failures, applied) = (self.failures.0.clone(), self.applied.subscribe());
        let counters = Arc::clone(&self.counters);
        self.tasks.spawn(async move {
            if let Err(e) = feed::run::<E>(stream, writer, applied, &counters, keeper).await {
                drop(failures.send(e.while_trying("reading the change stream")).await);
            }
        });
        self.frontier = Some(frontier);
        self.resume_applying(applier);
        Ok(())
    }

    fn log_directory(&self) -> std::path::PathBuf {
        folder::of(&self.config.log_directory, self.migration.id)
    }

    fn resume_applying(&mut self, applier: Applier<E>) {
        let is_soon_over = self.migration.phase == Phase::Cutover;
        // What is gathered is behind, and must not hold the copy by that.
        let (is_gentle, gather) = self.live.with(|c| (c.is_gentle(), GATHER.min(c.max_lag / 5)));
        let manner = if is_gentle && !is_soon_over { Manner::Gently(gather) } else { Manner::Swiftly };
        let (opener, failures) = (self.opener.clone(), self.failures.0.clone());
        self.applying = Some(Applying::start(applier, opener, failures, manner, &mut self.tasks));
    }

    async fn halt_applying(&mut self) -> Result<Applier<E>> {
        let applying = self.applying.take().ok_or_else(|| Error::corrupt("nothing is being applied"))?;
        self.guarded(applying.halt()).await
    }

    /// Waits until everything that is committed now is applied.
    async fn catch_up(&mut self) -> Result<()> {
        self.desk.detail("catching up");
        let (opener, markers, applied) =
            (self.opener.clone(), Arc::clone(&self.markers), self.applied.clone());
        self.guarded(async move {
            let mut session = opener.open("marker").await?;
            verify::settle::<E, _>(&mut session, &markers, &applied).await
        })
        .await
    }

    async fn copy(&mut self) -> Result<Phase> {
        let (id, epoch) = (self.migration.id, self.migration.epoch);
        if !self.migration.copy.begun {
            let mut session = self.opener.open("copy").await?;
            let last = patience::work("looking for the last key", session.last_key()).await?;
            drop(session);
            failpoint::at(Place::CopyBeginning).await;
            self.control.begin_copy(id, epoch, last.as_ref()).await?;
            failpoint::at(Place::CopyBegun).await;
            self.migration.copy = CopyState { last, begun: true, ..CopyState::default() };
        }
        let frontier = self.frontier.clone().ok_or_else(|| Error::corrupt("copying without a frontier"))?;
        let copying = Copying {
            opener: self.opener.clone(),
            frontier,
            control: Arc::clone(&self.control),
            throttle: self.throttle.clone(),
            counters: Arc::clone(&self.counters),
            live: self.live.clone(),
        };
        let work = copy::run(copying, self.migration.copy.clone());
        // A stop lets every copier come to its chunk's edge first.
        let (throttle, mut stop) =
            (self.throttle.clone(), std::mem::replace(&mut self.stop, watch::channel(false).1));
        let original = stop.clone();
        let copied = self
            .guarded(async move {
                tokio::pin!(work);
                tokio::select! {
                    copied = &mut work => return copied,
                    Ok(_) = stop.wait_for(|stop| *stop) => throttle.close(),
                }
                work.await.and(Err(interrupted()))
            })
            .await;
        self.stop = original;
        if !copied? {
            // Something closed the throttle, and is about to say why.
            return self.guarded(std::future::pending()).await;
        }
        Ok(Phase::Index)
    }

    async fn verify(&mut self) -> Result<Phase> {
        if self.config.verify {
            self.compare(self.throttle.clone()).await?;
        }
        failpoint::at(Place::Verified).await;
        Ok(Phase::Ready)
    }

    async fn compare(&mut self, throttle: Throttle) -> Result<()> {
        self.desk.detail("comparing rows");
        let verifying = Verifying {
            opener: self.opener.clone(),
            ledger: self.ledger.clone(),
            markers: Arc::clone(&self.markers),
            applied: self.applied.clone(),
            counters: Arc::clone(&self.counters),
            throttle,
            live: self.live.clone(),
        };
        let workers = self.live.with(|c| c.copy_workers);
        self.guarded(verify::run(verifying, workers)).await
    }
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "stopped by a signal").next("run the same command again to go on from here")
}
