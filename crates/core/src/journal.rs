//! `--spool durable`: the change stream is written to a journal on this machine's disk, so that the server may forget it before it is
//! applied; after a restart it is read from there.
//!
//! Owns: which journal belongs to the migration, what of it counts, and what the server may be told. Why nothing is lost:
//!
//! 1. The server is told only what [`Syncing`](shadowswap_changelog::Syncing) says is on the disk, and not before the control tables
//!    say that this journal exists (its token, folder and host).
//! 2. A journal is a prefix of the stream that was read in this turn, from some position on. If the position applied last, `P`, is in it,
//!    what comes after `P` is given to the applier, and the stream is opened at the journal's last whole transaction. If `P` is not in it
//!    (applied before it was synced; damaged; of another version; not there), it counts for nothing, and the stream is opened at `P`.
//! 3. Whatever position the stream was opened at, the server is then asked whether it still has everything from there on
//!    ([`Engine::keeps`]), while no other reader can move it. If not, changes are missing: the run ends, and says so.
//!
//! So damage anywhere, a lost folder, a torn end, or a runner on another machine lead to 3, which never passes over a gap. A journal of
//! changes that the server has lost itself (it was replaced by a replica that was behind) is refused, as one of another version is: the
//! server's identity and the format are part of the journal's. Two processes cannot have it at a time: it is locked, and the lock is held until its owner ends.
//!
//! Only for turn 0. During the guard nothing is paused for long, and the server's retention is watched (`--guard-retention`).

use crate::{
    apply::Opener,
    config::Config,
    control::{Control, Migration},
    engine::Engine,
    error::{Error, Kind, Result, Tried},
    feed::Record,
    patience,
};
use serde::{Deserialize, Serialize};
use shadowswap_changelog::{Error as LogError, Found, Journal, Place, Replay, Synced};
use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};

/// Of the records; raised when [`Record`] changes.
const FORMAT: u32 = 2;
/// Space comes back a file at a time.
const SEGMENT_BYTES: u64 = 32 << 20;
/// Read again at once; one record may be larger.
const REPLAY_BYTES: usize = 1 << 20;
/// The setting that says which journal a migration has.
pub(crate) const SETTING: &str = "spool";

/// What the control tables say of a migration's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    token: String,
    host: String,
    folder: PathBuf,
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durable {} on {} in {}", self.token, self.host, self.folder.display())
    }
}

impl FromStr for Noted {
    type Err = ();

    fn from_str(text: &str) -> Result<Noted, ()> {
        let read = || {
            let (token, rest) = text.strip_prefix("durable ")?.split_once(" on ")?;
            let (host, folder) = rest.split_once(" in ")?;
            Some(Noted { token: token.to_string(), host: host.to_string(), folder: folder.into() })
        };
        read().ok_or(())
    }
}

/// The journal that the control tables know of.
async fn noted<E: Engine>(control: &E::Control, migration: i64) -> Result<Option<Noted>> {
    let settings = control.settings(migration).await?;
    let Some((_, value)) = settings.into_iter().rfind(|(name, _)| name == SETTING) else { return Ok(None) };
    value.parse().map(Some).map_err(|()| {
        Error::corrupt(format!("the control tables say of the change log what cannot be read: {value:?}"))
    })
}

/// Removes the journal of a migration that needs it no more, if it is on this machine.
pub(crate) async fn forget<E: Engine>(control: &E::Control, migration: i64) {
    let noted = match noted::<E>(control, migration).await {
        Ok(Some(noted)) => noted,
        Ok(None) => return,
        Err(e) => return warn!(error = %e, "could not look for the durable change log"),
    };
    // Its name says whose it is: the same path on another machine has none of this token.
    if noted.folder.is_dir()
        && let Err(e) = std::fs::remove_dir_all(&noted.folder)
    {
        warn!(folder = %noted.folder.display(), error = %e, "could not remove the durable change log");
    }
}

fn folder_name(migration: i64, token: &str) -> String {
    format!("shadowswap-journal-{migration}-{token}")
}

/// Whose records a journal has. The first record of each of its files.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Identity {
    format: u32,
    token: String,
    migration: i64,
    table: String,
    server: String,
}

/// What an earlier process left, looked at and not changed yet.
struct Opened<E: Engine> {
    /// Where the stream is to be opened.
    from: Option<E::Position>,
    found: Found,
    identity: Vec<u8>,
    scan: Scan,
    keeper: Keeper<E>,
    /// There was one before: the server may have forgotten what it had.
    was_noted: bool,
}

/// Opens the stream behind what is applied, or behind what is in the journal, if there is one. Whoever was told to keep one goes on with
/// it, whatever is said now.
pub(crate) async fn open_stream<E: Engine>(
    opener: &Opener<E>,
    control: &Arc<E::Control>,
    migration: &Migration<E>,
    config: &Config,
) -> Result<(E::Stream, Option<Keeper<E>>)> {
    let engine = &opener.engine;
    let wanted = config.is_durable.then_some(config.log_directory.as_path());
    let said = (config.who.as_str(), config.log_disk / 2);
    let opened = match migration.turn {
        0 => open(engine, control, migration, wanted, said).await?,
        _ => None,
    };
    let from = opened.as_ref().map_or(&migration.applied, |opened| &opened.from);
    let stream = engine.stream(&opener.plan, migration.id, from.as_ref());
    let stream = patience::work("opening the change stream", Box::pin(stream)).await;
    let stream = match (stream, opened.as_ref().filter(|opened| opened.was_noted)) {
        (Err(e), Some(opened)) if e.kind == Kind::Corrupt => {
            let at = opened.from.as_ref().map(ToString::to_string);
            let lost = gap(&opened.keeper.noted, at.as_deref(), opened.scan.why.as_deref(), migration);
            return Err(lost.because(e));
        }
        (stream, _) => stream,
    };
    let stream = stream.tried("opening the change stream")?;
    let keeper = match opened {
        Some(opened) => Some(opened.go_on(engine, migration).await?),
        None => None,
    };
    Ok((stream, keeper))
}

/// Opens the migration's journal, or a new one in the folder that is `wanted`, where there is none. `disk_bytes`: what it may take.
///
/// # Errors
/// `Interrupted` if another process holds it.
async fn open<E: Engine>(
    engine: &E,
    control: &Arc<E::Control>,
    migration: &Migration<E>,
    wanted: Option<&Path>,
    (who, disk_bytes): (&str, u64),
) -> Result<Option<Opened<E>>> {
    let before = noted::<E>(control, migration.id).await?;
    let parent = wanted.or(before.as_ref().and_then(|b| b.folder.parent()));
    let Some(parent) = parent else { return Ok(None) };
    // The host is part of `host:pid`.
    let here = who.rsplit_once(':').map_or(who, |(host, _)| host);
    // On another machine than before, one is begun under another name: the folder's has the token in it.
    let noted = match before.clone().filter(|noted| noted.folder.is_dir()) {
        Some(noted) => noted,
        None => begin(parent, migration.id, here)?,
    };
    let is_new = before.as_ref() != Some(&noted);
    let identity = Identity {
        format: FORMAT,
        token: noted.token.clone(),
        migration: migration.id,
        table: migration.plan.source.to_string(),
        server: engine.origin().await?,
    };
    forget_orphans(&noted, &identity);
    let identity = serde_json::to_vec(&identity)
        .map_err(|e| Error::corrupt("the change log's name cannot be written").because(e))?;
    let applied = applied_text(migration);
    let (folder, of) = (noted.folder.clone(), identity.clone());
    let scanned = spawn_blocking(move || scan::<E::TxId>(&folder, &of, &applied)).await;
    let (found, mut scan) = scanned.map_err(|e| Error::transient("reading the change log").because(e))??;
    if is_new && before.is_some() {
        scan.why = Some(format!("it is not on this machine ({here})"));
    }
    let from = match &scan.kept {
        Some(kept) => Some(crate::apply::position::<E>(&kept.position)?),
        None => migration.applied.clone(),
    };
    let keeper = Keeper {
        journal: None,
        replay: None,
        control: Arc::clone(control),
        migration: migration.id,
        who: who.to_string(),
        is_noted: !is_new,
        noted,
        began: from.clone(),
        last: from.clone(),
        durable: None,
        syncing: None,
        disk_bytes,
    };
    let was_noted = before.is_some();
    Ok(Some(Opened { from, found, identity, scan, keeper, was_noted }))
}

/// The position applied last as records have it; empty: the stream's beginning.
fn applied_text<E: Engine>(migration: &Migration<E>) -> String {
    migration.applied.as_ref().map_or_else(String::new, ToString::to_string)
}

/// A new one.
fn begin(parent: &Path, migration: i64, host: &str) -> Result<Noted> {
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Error::new(Kind::Interrupted, "/dev/urandom cannot be read").because(e))?;
    let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let parent = std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned());
    let folder = parent.join(folder_name(migration, &token));
    Ok(Noted { token, host: host.to_string(), folder })
}

fn segment_bytes(disk_bytes: u64) -> u64 {
    SEGMENT_BYTES.min(disk_bytes / 4)
}

/// Removes journals of this migration that its control tables do not know of: of runs that were killed before they had noted them.
fn forget_orphans(noted: &Noted, ours: &Identity) {
    let prefix = folder_name(ours.migration, "");
    let entries = noted.folder.parent().and_then(|parent| std::fs::read_dir(parent).ok());
    for folder in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_other = folder != noted.folder
            && folder.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(&prefix));
        // Somebody who is at work holds it.
        let Some(found) = is_other.then(|| Found::open_idle(&folder, b"").ok()).flatten() else { continue };
        let is_orphan = match found.written_by().map(|by| serde_json::from_slice::<Identity>(&by)) {
            // What was never written to was never noted.
            None => found.is_blank(),
            Some(Ok(other)) => other.server == ours.server && other.table == ours.table,
            Some(Err(_)) => false,
        };
        if is_orphan && let Err(e) = std::fs::remove_dir_all(&folder) {
            warn!(folder = %folder.display(), error = %e, "could not remove a durable change log that nobody knows");
        }
    }
}

/// What a journal has for us.
#[derive(Default)]
struct Scan {
    /// The part that counts, if any does.
    kept: Option<Kept>,
    /// Why it is not all of it, or not what it should be.
    why: Option<String>,
}

struct Kept {
    /// Behind the position applied last.
    from: Place,
    /// Behind the last whole transaction.
    end: Place,
    /// The position there.
    position: String,
    /// Ends in between.
    ends: u64,
}

/// Reads all of it. Changes nothing.
fn scan<T>(folder: &Path, identity: &[u8], applied: &str) -> Result<(Found, Scan)>
where
    T: bincode::Encode + bincode::Decode<()>,
{
    let mut found = Found::open(folder, identity)?;
    if let Some(other) = found.written_by().filter(|other| other != identity) {
        return Err(foreign(folder, &other, identity));
    }
    let mut scan = Scan::default();
    let mut is_empty = true;
    while let Some((bytes, place)) = found.next()? {
        is_empty = false;
        let record = match Record::<T>::decode(&bytes) {
            Ok(record) => record,
            Err(e) => {
                scan.why = Some(e.message);
                break;
            }
        };
        let Some(position) = record.end() else { continue };
        match &mut scan.kept {
            Some(kept) => {
                (kept.end, kept.position) = (place, position.to_string());
                kept.ends += 1;
            }
            None if position == applied => {
                let position = position.to_string();
                scan.kept = Some(Kept { from: place, end: place, position, ends: 0 });
            }
            None => {}
        }
    }
    let damage = found.why_it_ends().map(ToString::to_string);
    scan.why = scan.why.or(damage);
    if scan.kept.is_none() && scan.why.is_none() {
        let what = if is_empty { "it is empty" } else { "what was applied last is not in it" };
        scan.why = Some(what.to_string());
    }
    Ok((found, scan))
}

/// A journal that is whole, and not ours to go on with.
fn foreign(folder: &Path, other: &[u8], ours: &[u8]) -> Error {
    let read = |bytes: &[u8]| serde_json::from_slice::<Identity>(bytes).ok();
    let what = match (read(other), read(ours)) {
        (Some(other), Some(ours)) if other.format != ours.format => format!(
            "was written by another version of this program: format {}, not {}. Go on with that version",
            other.format, ours.format
        ),
        (Some(other), Some(ours)) if other.server != ours.server => {
            format!("has changes of another server: {}, not {}. Go on there", other.server, ours.server)
        }
        _ => "belongs to another migration".to_string(),
    };
    Error::refused(format!("the durable change log in {} {what}", folder.display())).next(
        "nothing was swapped, and nothing in the change log was touched. If this server has taken the other's place, or the version cannot be had, move that folder away: what is not applied is then read from this server, if it still has it",
    )
}

impl<E: Engine> Opened<E> {
    /// Once the stream is open, so that nobody else can move it: is everything there from where it begins? If so, goes on writing.
    ///
    /// # Errors
    /// `Corrupt` if changes are missing; nothing was changed then.
    async fn go_on(self, engine: &E, migration: &Migration<E>) -> Result<Keeper<E>> {
        let Opened { from, found, identity, scan, mut keeper, was_noted } = self;
        if was_noted && !engine.keeps(&migration.plan, migration.id, from.as_ref()).await? {
            return Err(gap(
                &keeper.noted,
                from.map(|f| f.to_string()).as_deref(),
                scan.why.as_deref(),
                migration,
            ));
        }
        let text = match (&scan.kept, &scan.why) {
            (Some(kept), why) => format!(
                "going on from the durable change log: {} transactions wait in it{}",
                kept.ends,
                why.as_ref()
                    .map_or_else(String::new, |why| format!("; its end was lost, and is read again: {why}"))
            ),
            (None, why) => format!(
                "the durable change log is begun anew, and its changes are read again: {}",
                why.as_deref().unwrap_or("it has none")
            ),
        };
        if was_noted {
            info!("{text}");
            keeper.control.note(migration.id, &keeper.who, &text).await?;
        }
        let segment_bytes = segment_bytes(keeper.disk_bytes);
        let places = scan.kept.as_ref().map(|kept| (kept.from, kept.end));
        keeper.replay = places.map(|(from, end)| Replay::new(&keeper.noted.folder, &identity, from, end));
        let ends = scan.kept.as_ref().map_or(0, |kept| kept.ends);
        let base = scan.kept.is_none().then(|| applied_text(migration));
        let journal = spawn_blocking(move || {
            let mut journal = found.go_on(places, ends, segment_bytes)?;
            if let Some(position) = base {
                // Where it begins: until more is applied, that is what is looked for.
                journal.append(&Record::<E::TxId>::Progress { position }.encode()?, false)?;
            }
            Ok::<_, Error>(journal)
        });
        keeper.journal =
            Some(journal.await.map_err(|e| Error::transient("opening the change log").because(e))??);
        Ok(keeper)
    }
}

fn gap<E: Engine>(noted: &Noted, at: Option<&str>, why: Option<&str>, migration: &Migration<E>) -> Error {
    let (host, folder) = (&noted.host, noted.folder.display());
    let (at, why) = (at.unwrap_or("its beginning"), why.unwrap_or("it ends too early"));
    Error::corrupt(format!(
        "changes are missing, so the shadow cannot be trusted any more: the server has been told that they are in the durable change log, and has forgotten them, but the one in {folder} on {host} does not have all of them ({why}); the change stream would go on behind {at} with a gap"
    ))
    .next(format!(
        "nothing was swapped. If the change log is still whole on another machine, or was moved, run the same command there or put it back. Else begin anew: `shadowswap abort --table {}` removes the shadow, then run again",
        migration.plan.source
    ))
}

/// Writes the journal while the stream is read.
pub(crate) struct Keeper<E: Engine> {
    /// None only between its parts' being made, and after a failed sync.
    journal: Option<Journal>,
    replay: Option<Replay>,
    control: Arc<E::Control>,
    migration: i64,
    who: String,
    noted: Noted,
    /// The control tables know of it.
    is_noted: bool,
    /// Where the stream was opened.
    began: Option<E::Position>,
    /// The last end that was appended.
    last: Option<E::Position>,
    /// What the server may forget.
    durable: Option<E::Position>,
    syncing: Option<Sync<E::Position>>,
    disk_bytes: u64,
}

/// A sync under way, and the position that is on the disk once it is over.
struct Sync<P> {
    task: JoinHandle<std::result::Result<Synced, LogError>>,
    upto: Option<P>,
}

impl<E: Engine> Keeper<E> {
    fn journal(&mut self) -> Result<&mut Journal> {
        self.journal.as_mut().ok_or_else(|| Error::corrupt("the durable change log is closed"))
    }

    /// What the server may forget.
    pub fn durable(&self) -> Option<&E::Position> {
        self.durable.as_ref()
    }

    /// Records that are in the journal and not applied, some at a time; empty: there are no more. They are in the journal already.
    pub async fn replay(&mut self) -> Result<Vec<Vec<u8>>> {
        let Some(mut replay) = self.replay.take() else { return Ok(Vec::new()) };
        let read = spawn_blocking(move || {
            let (mut records, mut bytes) = (Vec::new(), 0);
            while bytes < REPLAY_BYTES {
                let Some(record) = replay.next()? else { break };
                bytes += record.len();
                records.push(record);
            }
            Ok::<_, LogError>((replay, records))
        });
        let (replay, records) =
            read.await.map_err(|e| Error::transient("reading the change log").because(e))??;
        self.replay = (!records.is_empty()).then_some(replay);
        Ok(records)
    }

    /// Whether another record may be appended, with so many ends applied, and so many of them saved.
    ///
    /// # Errors
    /// `Interrupted` if there will never be room, since one transaction fills it.
    pub fn has_room(&mut self, (applied, saved): (u64, u64)) -> Result<bool> {
        let limit = self.disk_bytes;
        let journal = self.journal()?;
        journal.forget(saved)?;
        let bytes = journal.bytes();
        // Where all that is whole is applied, a little more is taken: the checkpoint moves only with what comes next.
        if bytes < limit || applied < journal.ends() {
            return Ok(bytes < limit);
        }
        if bytes < limit + 2 * segment_bytes(limit) {
            return Ok(true);
        }
        Err(Error::new(
            Kind::Interrupted,
            format!("a transaction is larger than the durable change log may be ({} MiB are in use)", bytes >> 20),
        )
        .next("give it more room (half of --log-disk is for it), and run the same command again to go on from here"))
    }

    /// Appends a record; `end` is the position that it ends at, if a transaction ends with it.
    pub fn append(&mut self, record: &[u8], end: Option<E::Position>) -> Result<()> {
        self.journal()?.append(record, end.is_some())?;
        self.last = end.or(self.last.take());
        Ok(())
    }

    /// Begins and ends syncs, and forgets what is applied and saved. Called now and then.
    ///
    /// # Errors
    /// `Interrupted` for a full disk.
    pub async fn tick(&mut self, saved: u64) -> Result<()> {
        if let Some(sync) = self.syncing.take_if(|sync| sync.task.is_finished()) {
            match sync.task.await {
                Ok(Ok(synced)) => self.is_on_disk(synced, sync.upto).await?,
                Ok(Err(e)) => {
                    if let Some(journal) = self.journal.take() {
                        journal.distrust();
                    }
                    return Err(e.into());
                }
                Err(e) => return Err(Error::transient("syncing the change log").because(e)),
            }
        }
        if self.syncing.is_none()
            && let Some(syncing) = self.journal()?.sync()?
        {
            let upto = self.last.clone();
            self.syncing = Some(Sync { task: spawn_blocking(move || syncing.run()), upto });
        }
        self.journal()?.forget(saved)?;
        Ok(())
    }

    async fn is_on_disk(&mut self, synced: Synced, upto: Option<E::Position>) -> Result<()> {
        self.journal()?.synced(&synced);
        // A new one with nothing in it is not noted in the place of one that may still be found.
        if upto.is_none() || (!self.is_noted && upto == self.began) {
            return Ok(());
        }
        if !self.is_noted {
            // Before the server is told anything: whoever comes next must know that there is a journal, and where. If the answer is
            // lost, it may be known.
            self.is_noted = true;
            self.control.set(self.migration, &self.who, SETTING, &self.noted.to_string()).await?;
        }
        self.durable = upto;
        Ok(())
    }
}

impl<E: Engine> Drop for Keeper<E> {
    fn drop(&mut self) {
        if !self.is_noted {
            // Nobody would ever look for it.
            drop(std::fs::remove_dir_all(&self.noted.folder));
        }
    }
}

#[cfg(test)]
mod tests;
