//! The model's server: what takes time, waits, or goes on though nobody is there any more.
//!
//! A call travels to the server, is carried out there by a task of its own, and its answer travels back. Whoever drops a call, or loses its
//! connection, does not stop the task: by chance it ends at once, later, or not before it is done.

use crate::{
    chance::Chance,
    world::{Connection, Lock, World, lost},
};
use shadowswap_core::{Error, Kind, Result};
use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout_at},
};

/// How long a statement waits for a lock.
const LOCK_WAIT: Duration = Duration::from_millis(600);
/// More calls than any run needs.
const CALLS_MAX: u64 = 400_000;

#[derive(Clone)]
pub struct Server {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
    /// A runner crashes.
    pub crash: Arc<Notify>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    pub fn new(world: World) -> Server {
        Server { world: Arc::new(Mutex::new(world)), changed: Arc::default(), crash: Arc::default() }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut self.world())
    }

    pub fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.world().chance)
    }

    /// Wakes everybody who waits for something.
    pub fn tell(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until something is so, or the deadline has passed: false.
    pub async fn until<T>(
        &self,
        deadline: Instant,
        mut is_so: impl FnMut(&mut World) -> Option<T>,
    ) -> Option<T> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(so) = is_so(&mut self.world()) {
                return Some(so);
            }
            if timeout_at(deadline, changed).await.is_err() {
                return is_so(&mut self.world());
            }
        }
    }

    /// Takes as long as a step of a statement takes.
    pub async fn step(&self) {
        let (time, is_slow) = self.with(|w| {
            let slow = w.weather.slow;
            (w.chance.time(2, 20, 12), w.chance.one_in(slow))
        });
        pause(if is_slow { time + self.draw(|c| c.time(100, 4, 4000)) } else { time }).await;
    }

    /// Locks, or fails after a while.
    pub async fn lock(&self, tx: u64, lock: Lock, wait: Option<Duration>) -> Result<()> {
        let deadline = Instant::now() + wait.unwrap_or(LOCK_WAIT);
        let got = self.until(deadline, |w| {
            if let Err(e) = w.tx(tx) {
                return Some(Err(e));
            }
            match w.locks.get(&lock) {
                Some(holder) if *holder != tx => None,
                Some(_) | None => {
                    w.locks.insert(lock, tx);
                    Some(Ok(()))
                }
            }
        });
        match got.await {
            Some(got) => got,
            None => Err(Error::transient(format!("a lock was not to be had in time: {lock:?}"))),
        }
    }

    pub fn roll_back(&self, tx: u64) {
        self.with(|w| w.roll_back(tx));
        self.tell();
    }

    /// Commits: into the log, then hidden for a while, then shown. `at_once`: without waiting for others to have it.
    pub async fn commit(&self, tx: u64, at_once: bool) -> Result<()> {
        self.step().await;
        self.with(|w| w.deliver(tx))?;
        self.tell();
        if !at_once {
            let hidden = self.with(|w| {
                let (rarely, long) = (w.weather.hidden, w.weather.hidden_ms);
                w.chance.time(2, rarely, long)
            });
            pause(hidden).await;
        }
        let is_there = self.with(|w| {
            let is_there = w.running.contains_key(&tx);
            w.show(tx);
            is_there
        });
        self.tell();
        if is_there { Ok(()) } else { Err(lost()) }
    }

    /// The server dies, and is back after a while.
    pub async fn restart(&self) {
        let down = self.with(|w| {
            w.trace("restart");
            w.restart();
            w.chance.time(1500, 6, 12_000)
        });
        tracing::info!(?down, "server restarts");
        self.tell();
        pause(down).await;
        self.with(|w| w.is_up = true);
    }

    /// A statement whose client is gone takes its time.
    pub async fn linger(&self, connection: u64) {
        let time = self.with(|w| {
            let is_orphan = w.connections.get(&connection).is_some_and(|c| c.is_orphan);
            let is_calm = w.weather.lasts.is_zero();
            (is_orphan && !is_calm).then(|| w.chance.time(300, 2, 4000))
        });
        if let Some(time) = time {
            pause(time).await;
        }
    }

    /// Whoever was at the other end is gone. The server learns of it by and by; a statement that is running may go on.
    pub fn abandon(&self, connection: u64) {
        let after = self.with(|w| {
            let is_calm = w.weather.breaks == 0 && w.weather.crash == 0;
            let is_busy = match w.connections.get_mut(&connection) {
                Some(c) if !c.is_orphan => {
                    c.is_orphan = true;
                    c.is_busy
                }
                Some(_) | None => return None,
            };
            match w.chance.below(4) {
                // It ends with its statement.
                0 | 1 if is_busy => None,
                _ if is_calm => Some(Duration::ZERO),
                2 => Some(w.chance.time(500, 3, 4000)),
                _ => Some(Duration::ZERO),
            }
        });
        let Some(after) = after else { return };
        if after.is_zero() {
            self.with(|w| w.end(connection));
            self.tell();
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let server = self.clone();
        runtime.spawn(async move {
            sleep(after).await;
            server.with(|w| w.end(connection));
            server.tell();
        });
    }

    /// Counts a call of this runner. If it is its last one, it never returns.
    pub async fn count(&self, runner: u32) {
        let is_crashed = self.with(|w| {
            w.calls += 1;
            if w.calls == CALLS_MAX {
                w.violation("the run makes calls without end");
            }
            if let Some(left) = w.crashes.get_mut(&runner) {
                *left = left.saturating_sub(1);
                if *left == 0 && !w.crashed.contains(&runner) {
                    w.crashed.push(runner);
                    w.trace(("crash", runner));
                }
            }
            w.crashed.contains(&runner) || w.calls >= CALLS_MAX
        });
        if is_crashed {
            self.crash.notify_waiters();
            std::future::pending::<()>().await;
        }
    }
}

/// Sleeps; no time at all lets others go first.
pub async fn pause(time: Duration) {
    if time.is_zero() { tokio::task::yield_now().await } else { sleep(time).await }
}

/// A connection as its client has it.
#[derive(Debug)]
pub struct Link {
    pub server: Server,
    pub id: u64,
    pub runner: u32,
    is_broken: bool,
}

/// What becomes of a call.
enum Fault {
    None,
    Before,
    During(Duration),
    After,
}

impl Link {
    /// Opens one.
    pub async fn open(server: &Server, runner: u32, role: &str) -> Result<Link> {
        server.count(runner).await;
        server.step().await;
        let id = server.with(|w| {
            let unreachable = w.weather.unreachable;
            if !w.is_up || w.chance.one_in(unreachable) {
                return Err(Error::transient("could not connect to the server"));
            }
            let id = w.connect(role, true);
            w.trace(("connect", role, id));
            Ok(id)
        })?;
        let link = Link { server: server.clone(), id, runner, is_broken: false };
        server.step().await;
        Ok(link)
    }

    pub fn is_alive(&self) -> bool {
        !self.is_broken && self.server.with(|w| w.connections.get(&self.id).is_some_and(|c| !c.is_orphan))
    }

    fn broken(&mut self) -> Error {
        self.is_broken = true;
        self.server.abandon(self.id);
        lost()
    }

    /// Carries something out on the server.
    pub async fn call<T: Send + 'static>(
        &mut self,
        what: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.server.count(self.runner).await;
        if !self.is_alive() {
            return Err(self.broken());
        }
        let fault = self.server.with(|w| {
            // What commits is lost more often than what only looks.
            let writes = matches!(what, "copy chunk" | "write batch" | "swap");
            let breaks = if writes { w.weather.breaks / 3 } else { w.weather.breaks };
            if !w.chance.one_in(breaks) {
                return Fault::None;
            }
            match w.chance.below(4) {
                0 => Fault::Before,
                1 => Fault::During(w.chance.time(4, 4, 1500)),
                _ => Fault::After,
            }
        });
        self.server.step().await;
        self.server.count(self.runner).await;
        if matches!(fault, Fault::Before) || !self.is_alive() {
            return Err(self.broken());
        }
        let answer = self.send(work);
        let result = match fault {
            Fault::During(time) => match tokio::time::timeout(time, answer).await {
                Ok(result) => result,
                Err(_) => return Err(self.broken()),
            },
            Fault::None | Fault::Before | Fault::After => answer.await,
        };
        self.server.step().await;
        if what == "begin chunk" {
            // What happens between a floor and its ticket is worth a look.
            pause(self.server.draw(|c| c.time(10, 3, 120))).await;
        }
        self.server.count(self.runner).await;
        let is_lost = matches!(fault, Fault::After) || !self.is_alive();
        let answered = match &result {
            Ok(Ok(_)) => "done",
            Ok(Err(_)) | Err(_) => "failed",
        };
        self.server.with(|w| w.trace((what, self.id, answered, is_lost)));
        tracing::debug!(connection = self.id, what, answered, is_lost, "call");
        match result {
            Ok(result) if !is_lost => result,
            Ok(_) | Err(_) => Err(self.broken()),
        }
    }

    /// Has the server begin it, whatever becomes of us.
    fn send<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> oneshot::Receiver<Result<T>> {
        let (answer, answered) = oneshot::channel();
        let (server, id) = (self.server.clone(), self.id);
        let busy = move |server: &Server, is_busy: bool| {
            server.with(|w| {
                let connection: Option<&mut Connection> = w.connections.get_mut(&id);
                let is_orphan = connection.map(|c| {
                    c.is_busy = is_busy;
                    c.is_orphan
                });
                is_orphan == Some(true)
            })
        };
        busy(&server, true);
        tokio::spawn(async move {
            let result = work.await;
            drop(answer.send(result));
            let is_orphan = busy(&server, false);
            if is_orphan {
                server.with(|w| w.end(id));
                server.tell();
            }
        });
        answered
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.server.abandon(self.id);
    }
}

/// An answer to a commit that was lost, where it has to be told apart.
pub fn ambiguous(e: Error) -> Error {
    if e.is_transient() { Error { kind: Kind::Ambiguous, ..e } } else { e }
}
