//! The lock, the swap, and what became of it.
//!
//! Where the server renames under `LOCK TABLES` (MySQL 8.0.13 and later) one session does everything. Elsewhere a second session's
//! RENAME waits for the first one's lock on the source; the lock is let go only when that wait is proven, and the RENAME then goes before
//! every client's read or write (what else may have queued before it: `queued.rs`). A sentry table keeps it from doing anything if the first session dies before. Proof: RENAME takes the
//! tables' locks in the order of their names, and the source's is the first of them; so a RENAME that waits for a table at all waits for
//! the source, before it has any other. For that the shadow's and the sentry's names must sort behind the source's.

mod state;
mod swappers;

pub use state::{obstacles, outcome};
pub use swappers::Swappers;

use crate::{
    Floor, MySql, Position,
    catalog::counter,
    error::{QUERY_INTERRUPTED, server},
    flavor::Server,
    marks::{Mark, Marks},
    plan::Detail,
    queued,
    session::Session,
    sql::{NAME_BYTES_MAX, table},
    stream::Changes,
};
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{
    Apply, Error, Kind, Locked as CoreLocked, Result,
    batch::Batch,
    failpoint::{self, Place},
    name::TableName,
    plan::Plan,
};
use state::still_fits;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The part of the stall budget that waiting for the lock may take; the rest is for draining and the swap.
const LOCK_SHARE: f64 = 0.5;
/// Less than this is not worth trying to rename.
const SWAP_MIN: Duration = Duration::from_millis(2);
/// Between two interruptions of the same statement.
const KILL_EVERY: Duration = Duration::from_millis(20);
/// A statement ends within milliseconds of that.
const KILL_FOR: Duration = Duration::from_secs(10);
/// What is tried.
const CARRYING: &str = "carrying the counter of AUTO_INCREMENT over";
/// The comment by which a sentry table is known as ours.
pub const SENTRY: &str = "shadowswap: keeps a swap from happening too early";
/// The state of a RENAME that waits for a table.
const WAITING: &str = "Waiting for table metadata lock";

/// The source, locked against everybody.
pub struct Locked {
    session: Session,
    marker: Session,
    killer: Conn,
    renamer: Option<Conn>,
    since: Instant,
    plan: Plan,
    /// Which swap it will be.
    comment: String,
    control: String,
    migration: i64,
    epoch: i64,
    counts: bool,
    marks: Arc<Marks>,
    swappers: Swappers,
    name: String,
    server: Server,
}

/// What the lock needs to know.
pub struct Request<'a> {
    /// The control database.
    pub name: &'a str,
    /// The plan.
    pub plan: &'a Plan,
    /// Its part for this engine.
    pub detail: &'a Detail,
    /// The quoted control database.
    pub control: &'a str,
    /// The migration's number.
    pub migration: i64,
    /// The runner's epoch.
    pub epoch: i64,
    /// The stall budget.
    pub budget: Duration,
    /// Where the stream is asked for markers.
    pub marks: Arc<Marks>,
    /// Where sessions are noted that were sent a RENAME.
    pub swappers: Swappers,
}

/// The sessions of a cutover.
pub struct Sessions {
    /// Locks, applies the last changes, and swaps.
    pub lock: Session,
    /// Sends the marker and takes floors.
    pub marker: Session,
    /// Ends what waits too long.
    pub killer: Conn,
    /// Renames, where the session with the lock cannot.
    pub renamer: Option<Conn>,
}

/// What the source is called between the swap and the cleaning up after it, where the sentry has been; its name while it stands there.
pub fn sentry(source: &TableName) -> TableName {
    source.sibling(behind(&source.name, "_swapped", NAME_BYTES_MAX))
}

/// A name of at most so many bytes that sorts behind `name`, if any does.
pub fn behind(name: &str, suffix: &str, limit: usize) -> String {
    let derived = shadowswap_core::name::derived("", name, suffix, limit);
    if derived.as_bytes() > name.as_bytes() {
        return derived;
    }
    // A tilde is behind everything that ASCII has.
    let cut = derived.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    let (head, tail) = derived.split_at(cut);
    format!("{head}~{}", tail.get(1..).unwrap_or_default())
}

/// Whether the two-session method can prove what it must.
pub fn can_be_proven(plan: &Plan) -> bool {
    let source = plan.source.name.as_bytes();
    plan.shadow.name.as_bytes() > source && sentry(&plan.source).name.as_bytes() > source
}

/// Runs a statement.
pub async fn run(conn: &mut Conn, text: &str, what: &str) -> Result<()> {
    conn.query_drop(text).await.map_err(|e| server(e, what))
}

/// Runs a statement that may wait; after `limit` it is interrupted. An interrupted one is a matter of the budget.
pub async fn bounded(
    conn: &mut Conn,
    killer: &mut Conn,
    text: &str,
    limit: Duration,
    what: &str,
) -> Result<()> {
    let id = conn.id();
    watched(conn.query_drop(text), killer, id, limit, what).await
}

async fn watched(
    statement: impl Future<Output = mysql_async::Result<()>>,
    killer: &mut Conn,
    id: u32,
    limit: Duration,
    what: &str,
) -> Result<()> {
    let mut statement = std::pin::pin!(statement);
    let ended = tokio::select! {
        ended = &mut statement => ended,
        () = tokio::time::sleep(limit) => interrupted(statement.as_mut(), killer, id).await,
    };
    ended.map_err(|e| {
        let error = server(e, what);
        match crate::error::code(&error) {
            Some(QUERY_INTERRUPTED | crate::error::LOCK_WAIT_TIMEOUT) => {
                Error { kind: Kind::Budget, ..error }
            }
            Some(_) | None => error,
        }
    })
}

/// Interrupts a statement until it ends: an interruption that meets a session between two statements is forgotten by the server. It may
/// have ended by itself meanwhile; what it says counts. Where it says nothing for long, its answer is lost, as with its connection.
async fn interrupted<S>(
    mut statement: std::pin::Pin<&mut S>,
    killer: &mut Conn,
    id: u32,
) -> mysql_async::Result<()>
where
    S: Future<Output = mysql_async::Result<()>>,
{
    let begun = Instant::now();
    while begun.elapsed() < KILL_FOR {
        // Without a watchdog, or where the session is gone, the server's own timeouts are all there is.
        let is_told = killer.query_drop(format!("kill query {id}")).await.is_ok();
        let pause = if is_told { KILL_EVERY } else { KILL_FOR };
        if let Ok(ended) = tokio::time::timeout(pause, statement.as_mut()).await {
            return ended;
        }
    }
    let text = "it does not end, although it is interrupted";
    Err(mysql_async::Error::from(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
}

/// Takes the lock. `ready` comes just before anybody waits.
pub async fn lock(
    request: Request<'_>,
    sessions: Sessions,
    ready: impl Future<Output = Result<()>>,
) -> Result<Locked> {
    let Request { name, plan, detail, control, migration, epoch, budget, marks, swappers } = request;
    let Sessions { mut lock, marker, mut killer, mut renamer } = sessions;
    still_fits(&mut killer, plan).await?;
    lock.stage().await?;
    let counts =
        [&detail.source, &detail.shadow].iter().all(|t| t.columns.iter().any(|c| c.is_auto_increment()));
    if counts && let Some(text) = carry_counter(&mut killer, plan).await? {
        run(&mut killer, &text, CARRYING).await?;
        failpoint::at(Place::CounterCarried).await;
    }
    let (source, shadow) = (table(&plan.source), table(&plan.shadow));
    let mut text = format!("lock tables {source} write, {shadow} write");
    if renamer.is_some() {
        let sentry = sentry(&plan.source);
        remove_sentry(&mut killer, plan).await?;
        let name = table(&sentry);
        let make = format!(
            "create table {name} (n int not null primary key) engine = InnoDB comment = '{SENTRY}' /* shadowswap */"
        );
        run(&mut killer, &make, "making the sentry table").await?;
        failpoint::at(Place::SentryMade).await;
        text.push_str(&format!(", {name} write"));
    }
    // Whatever becomes of us, the server lets go by itself.
    let seconds = budget.as_secs() + 1;
    let limits = format!("set session lock_wait_timeout = {seconds}, wait_timeout = {seconds}");
    run(lock.conn(), &format!("set autocommit = 0; {limits}"), "setting up the cutover").await?;
    if let Some(renamer) = &mut renamer {
        run(renamer, &format!("set session lock_wait_timeout = {seconds}"), "setting up the cutover").await?;
    }
    ready.await?;
    let since = Instant::now();
    let what = format!("locking {}", plan.source);
    let locked = bounded(lock.conn(), &mut killer, &text, budget.mul_f64(LOCK_SHARE), &what).await;
    let mut locked_now = Locked {
        session: lock,
        marker,
        killer,
        renamer,
        since,
        plan: plan.clone(),
        comment: crate::events::swap::comment(name, migration, plan.turn + 1),
        control: control.to_string(),
        migration,
        epoch,
        counts,
        marks,
        swappers,
        name: name.to_string(),
        server: detail.server.clone(),
    };
    locked_now.session.set_locked();
    match locked {
        Ok(()) => Ok(locked_now),
        Err(e) => {
            locked_now.let_go().await;
            Err(e)
        }
    }
}

/// What makes the shadow go on counting where the source is; `None`: it does so already.
async fn carry_counter(conn: &mut Conn, plan: &Plan) -> Result<Option<String>> {
    let Some(source) = counter(conn, &plan.source).await? else { return Ok(None) };
    let is_behind = counter(conn, &plan.shadow).await?.is_none_or(|shadow| shadow < source);
    Ok(is_behind
        .then(|| format!("alter table {} auto_increment = {source} /* shadowswap */", table(&plan.shadow))))
}

/// A table's comment, if it is there.
pub async fn exists(conn: &mut Conn, name: &TableName) -> Result<Option<String>> {
    let text = "select table_comment from information_schema.tables where table_schema = ? and table_name = ? and table_type = 'BASE TABLE'";
    conn.exec_first(text, (&name.schema, &name.name))
        .await
        .map_err(|e| server(e, format_args!("looking for {name}")))
}

/// Removes a sentry that an earlier try left. Whatever else has its name stays, and is an error.
pub async fn remove_sentry(conn: &mut Conn, plan: &Plan) -> Result<()> {
    let sentry = sentry(&plan.source);
    match exists(conn, &sentry).await? {
        None => Ok(()),
        Some(comment) if comment == SENTRY => {
            run(conn, &format!("drop table {} /* shadowswap */", table(&sentry)), "removing the sentry table")
                .await
        }
        Some(_) => {
            Err(Error::refused(format!("there is a table {sentry}, whose name is needed for the swap"))
                .next("rename or drop it, and run again"))
        }
    }
}

/// The same at the end of a run, where another table of that name is nobody's trouble.
pub async fn remove_sentry_of_ours(conn: &mut Conn, plan: &Plan) -> Result<()> {
    let is_ours = exists(conn, &sentry(&plan.source)).await?.is_some_and(|comment| comment == SENTRY);
    if is_ours { remove_sentry(conn, plan).await } else { Ok(()) }
}

impl Locked {
    /// Lets go of everything. The session with the lock is ended from outside: it may be in the middle of a statement whose answer nobody
    /// waits for any more, and it is not needed again. False: a RENAME may still be on its way.
    async fn let_go(&mut self) -> bool {
        let all = async {
            let text = format!("kill {}", self.session.id());
            if self.killer.query_drop(text).await.is_err() {
                drop(self.session.conn().query_drop("rollback; unlock tables").await);
            }
            if let Some(renamer) = &self.renamer {
                // A RENAME that still waits must not find the sentry gone.
                swappers::end(&mut self.killer, &self.name, renamer.id()).await?;
                drop(remove_sentry(&mut self.killer, &self.plan).await);
            }
            Ok::<(), Error>(())
        };
        matches!(tokio::time::timeout(Duration::from_secs(2), all).await, Ok(Ok(())))
    }

    async fn swap_inner(&mut self, deadline: Instant) -> Result<()> {
        let left = |what: &str| {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < SWAP_MIN {
                Err(Error::new(Kind::Budget, format!("nothing was left of the stall budget for {what}")))
            } else {
                Ok(left)
            }
        };
        left("the swap")?;
        // Whoever takes over ends our sessions first, and with them the lock; what is left is to be sure that this has not begun.
        let epoch = format!(
            "select 1 from {}.checkpoint where migration = {} and epoch = {}",
            self.control, self.migration, self.epoch
        );
        let epoch = self.marker.conn().query_first::<u8, _>(epoch);
        // Under the lock nobody counts any more.
        let counter =
            async { if self.counts { carry_counter(&mut self.killer, &self.plan).await } else { Ok(None) } };
        let (epoch, counter) = tokio::join!(epoch, counter);
        epoch.map_err(|e| server(e, "looking at the epoch"))?.ok_or_else(Error::superseded)?;
        if let Some(text) = counter? {
            run(self.session.conn(), &text, CARRYING).await?;
        }
        mutations::hold(&mut self.killer).await;
        let limit = left("renaming")?;
        self.swappers.sent(std::iter::once(self.session.id()).chain(self.renamer.iter().map(Conn::id)));
        match self.renamer.take() {
            None => self.rename_under_lock(limit).await,
            Some(mut renamer) => {
                let swapped = self.rename_beside(&mut renamer, limit).await;
                self.renamer = Some(renamer);
                swapped
            }
        }
    }

    async fn rename_under_lock(&mut self, limit: Duration) -> Result<()> {
        let Plan { source, shadow, old, .. } = &self.plan;
        let text = format!(
            "rename table {0} to {1}, {2} to {0} /* shadowswap */ {3}; unlock tables",
            table(source),
            table(old),
            table(shadow),
            self.comment
        );
        let swap = bounded(self.session.conn(), &mut self.killer, &text, limit, "swapping the tables");
        let (swapped, ()) = tokio::join!(biased; swap, failpoint::at(Place::SwapSent));
        // The interruption may have met the statement after the RENAME.
        swapped.map_err(|e| Error { kind: Kind::Ambiguous, ..e })
    }

    async fn rename_beside(&mut self, renamer: &mut Conn, limit: Duration) -> Result<()> {
        let Plan { source, shadow, .. } = &self.plan;
        let sentry = table(&sentry(&self.plan.source));
        let text = format!(
            "rename table {0} to {sentry}, {1} to {0} /* shadowswap */ {2}",
            table(source),
            table(shadow),
            self.comment
        );
        let id = renamer.id();
        let began = Instant::now();
        let deadline = began + limit;
        let mut rename = std::pin::pin!(renamer.query_drop(text));
        let look = format!("select coalesce(state, '') from information_schema.processlist where id = {id}");
        // What it waits for is asked until it is the source. Each answer takes a round trip, so this is no busy loop of ours alone.
        loop {
            let state: mysql_async::Result<Option<String>> = tokio::select! {
                biased;
                ended = &mut rename => return Err(too_early(ended)),
                state = self.killer.query_first(&look) => state,
            };
            let state = match state {
                Ok(state) => state,
                Err(e) => {
                    // The RENAME must be over before the lock is let go and the sentry removed.
                    drop(interrupted(rename.as_mut(), self.marker.conn(), id).await);
                    return Err(server(e, "looking whether the swap waits"));
                }
            };
            if state.as_deref() == Some(WAITING) {
                break;
            }
            if Instant::now() >= deadline {
                drop(interrupted(rename.as_mut(), &mut self.killer, id).await);
                return Err(Error::new(
                    Kind::Budget,
                    "the swap could not be shown to be the next in line within the stall budget",
                ));
            }
        }
        // Whatever queues from now on is behind the RENAME, so this one look is enough; see the head of `queued.rs`.
        let first = tokio::select! {
            biased;
            ended = &mut rename => return Err(too_early(ended)),
            first = queued::none_before(&mut self.killer, source, id) => first,
        };
        if let Err(e) = first {
            drop(interrupted(rename.as_mut(), self.marker.conn(), id).await);
            return Err(e);
        }
        failpoint::at(Place::RenameWaits).await;
        let proven = Instant::now();
        let go = format!("drop table {sentry} /* shadowswap */; unlock tables");
        let gone = self.session.conn().query_drop(go).await;
        failpoint::at(Place::LetGo).await;
        let let_go = Instant::now();
        let left = deadline.saturating_duration_since(Instant::now()).max(SWAP_MIN);
        let renamed = watched(rename, &mut self.killer, id, left, "swapping the tables").await;
        tracing::debug!(
            proof_ms = (proven - began).as_secs_f64() * 1e3,
            letting_go_ms = (let_go - proven).as_secs_f64() * 1e3,
            rename_ms = let_go.elapsed().as_secs_f64() * 1e3,
            "steps of the swap"
        );
        match (gone, renamed) {
            (_, Ok(())) => Ok(()),
            (Err(e), Err(_)) => {
                Err(Error { kind: Kind::Ambiguous, ..server(e, "letting the swap go ahead") })
            }
            (Ok(()), Err(e)) => Err(Error { kind: Kind::Ambiguous, ..e }),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.marks.withdraw(self.migration);
    }
}

/// With the sentry there a RENAME can only have failed.
fn too_early(ended: mysql_async::Result<()>) -> Error {
    match ended {
        Err(e) => server(e, "swapping the tables"),
        Ok(()) => Error::corrupt("the tables were swapped before the lock was let go"),
    }
}

/// A place where tests hold a cutover up, by a lock of this name; compiled in for tests only.
mod mutations {
    use mysql_async::Conn;

    #[cfg(feature = "mutations")]
    pub(super) async fn hold(conn: &mut Conn) {
        use mysql_async::prelude::Queryable;
        if std::env::var_os("SHADOWSWAP_TEST_HOLD_SWAP").is_some() {
            let text = "do get_lock('shadowswap test', 60); do release_lock('shadowswap test')";
            drop(conn.query_drop(text).await);
        }
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_async, reason = "as the other one")]
    pub(super) async fn hold(_: &mut Conn) {}
}

impl Apply<MySql> for Locked {
    async fn floor(&mut self) -> Result<Floor> {
        // A snapshot in the session with the lock would let go of it.
        self.marker.floor().await
    }

    async fn apply(&mut self, batch: &Batch, checkpoint: Option<&Position>) -> Result<u64> {
        let began = Instant::now();
        let applied = self.session.apply(batch, checkpoint).await;
        tracing::debug!(
            keys = batch.keys(),
            since_lock_ms = (began - self.since).as_secs_f64() * 1e3,
            took_ms = began.elapsed().as_secs_f64() * 1e3,
            "applied under the lock"
        );
        applied
    }

    /// Under the lock nobody writes the source any more, and what was written is in the binlog: its end is a marker.
    async fn mark(&mut self, token: u64) -> Result<()> {
        if !self.marks.may_ask() {
            return self.marker.mark(token).await;
        }
        let conn = self.marker.conn();
        // GTIDs say it all, in one question.
        let upto = if self.server.has_gtids {
            Position { gtids: crate::reading::gtids(conn, &self.server).await?, ..Position::default() }
        } else {
            Changes::start_position(conn, &self.server).await?
        };
        self.marks.ask(Mark { migration: self.migration, upto, token });
        Ok(())
    }
}

impl CoreLocked<MySql> for Locked {
    fn since(&self) -> Instant {
        self.since
    }

    async fn swap(&mut self, deadline: Duration) -> Result<()> {
        let swapped = self.swap_inner(Instant::now() + deadline).await;
        match swapped {
            Ok(()) => {
                self.swappers.known();
                Ok(())
            }
            Err(e) => {
                let is_over = self.let_go().await;
                // Of these kinds: the RENAME was not sent, or waited with the sentry in its way.
                let is_known = is_over && matches!(e.kind, Kind::Budget | Kind::Superseded);
                Err(if is_known { e } else { Error { kind: Kind::Ambiguous, ..e } })
            }
        }
    }

    async fn release(mut self) {
        self.let_go().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_the_swap_sort_behind_the_source() {
        for name in ["orders", "Orders", "a", &"x".repeat(64), &"A".repeat(60), "täble"] {
            let derived = behind(name, "_swapped", 64);
            assert!(derived.as_bytes() > name.as_bytes() && derived.chars().count() <= 64, "{derived}");
        }
        let (one, two) = (format!("{}1", "x".repeat(63)), format!("{}2", "x".repeat(63)));
        assert_ne!(behind(&one, "_shadow", 64), behind(&two, "_shadow", 64));
    }
}
