//! From text to meaning: flags before file before defaults, each value with where it came from.

use crate::{
    args::Choices,
    units::{duration, duration_text, size, size_text},
    url::{self, Url},
};
use shadowswap_core::{
    Config, CutoverWhen, Error, Result,
    plan::{Indexes, Request, Strategy},
    setting::{
        CHUNK_TIME_MAX, CHUNK_TIME_MIN, GUARD_MAX, GUARD_MIN, STALL_BUDGET_MAX, WEEK, WORKERS_MAX, between,
        cutover, max_load, number, rollback, windows as windows_given,
    },
    throttle::{limit::Limit, signal::Custom},
    window::{Blackouts, Windows},
};
use std::{path::PathBuf, time::Duration};

/// The schema of the control tables where nothing else is said.
pub const CONTROL_SCHEMA: &str = "shadowswap";
/// The memory has to hold the change log's buffers.
const LOG_MEMORY_MIN: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Flag,
    File,
    Default,
}

/// One value, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// The flag's name without its dashes.
    pub name: &'static str,
    pub value: String,
    pub origin: Origin,
}

/// What the operator wants.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The table as typed.
    pub table: String,
    /// The bodies of ALTER TABLE.
    pub alters: Vec<String>,
    /// Columns and their expressions.
    pub sets: Vec<(String, String)>,
    /// The same for the way back.
    pub set_backs: Vec<(String, String)>,
    /// `None`: not said.
    pub strategy: Option<Strategy>,
    /// `None`: not said.
    pub indexes: Option<Indexes>,
    /// Replicas whose lag counts; none: those that the primary knows.
    pub replicas: Vec<String>,
    pub control_schema: String,
    pub config: Config,
    /// Every value of `config`, with its origin.
    pub settings: Vec<Setting>,
}

impl Intent {
    /// The request for the engine.
    pub fn request(&self) -> Request {
        Request {
            table: self.table.clone(),
            alters: self.alters.clone(),
            sets: self.sets.clone(),
            set_backs: self.set_backs.clone(),
            guard_s: self.config.guard.map(|guard| guard.as_secs_f64().ceil() as u64),
            strategy: self.strategy.unwrap_or(Strategy::Auto),
            indexes: self.indexes.unwrap_or_default(),
            control_schema: self.control_schema.clone(),
        }
    }

    /// No change is asked for: only going on with an unfinished one makes sense.
    pub fn is_empty(&self) -> bool {
        self.alters.is_empty() && self.sets.is_empty()
    }

    /// Whether an unfinished migration does what is asked for here. What was not said does not differ.
    pub fn matches(&self, stored: &Request) -> bool {
        let sorted = |sets: &[(String, String)]| {
            let mut sets = sets.to_vec();
            sets.sort();
            sets
        };
        self.is_empty()
            || self.alters == stored.alters
                && sorted(&self.sets) == sorted(&stored.sets)
                && (self.set_backs.is_empty() || sorted(&self.set_backs) == sorted(&stored.set_backs))
                && self.strategy.is_none_or(|s| s == stored.strategy)
                && self.indexes.is_none_or(|i| i == stored.indexes)
    }
}

/// Where the database is: the flag, else the variable, else nothing. A warning if the flag gives a password away.
///
/// # Errors
/// `Usage` for what is no URL of a known kind.
pub fn url(flag: Option<&str>, variable: Option<&str>) -> Result<(Option<Url>, Option<String>)> {
    let Some(text) = flag else {
        let url =
            variable.filter(|v| !v.trim().is_empty()).map(|v| Url::parse(v, url::VARIABLE)).transpose()?;
        return Ok((url, None));
    };
    let url = Url::parse(text, "--url")?;
    let warning = url.has_password().then(|| {
        format!(
            "the password in --url can be read by other users of this machine; put it into {} or ~/.pgpass",
            url::VARIABLE
        )
    });
    Ok((Some(url), warning))
}

/// Gives the flags and the file their meaning.
///
/// # Errors
/// `Usage`, naming the flag or the file's key.
pub fn intent(flags: Choices, file: Choices) -> Result<Intent> {
    let table = flags.table.clone().or_else(|| file.table.clone()).filter(|t| !t.trim().is_empty());
    let table = table
        .ok_or_else(|| Error::usage("no table is named").next("say --table orders, or -f migration.toml"))?;
    let alters = if flags.alter.is_empty() { &file.alter } else { &flags.alter };
    let sets = if flags.set.is_empty() { &file.set } else { &flags.set };
    let backs = if flags.set_back.is_empty() { &file.set_back } else { &flags.set_back };
    let control_schema = flags.control_schema.clone().or_else(|| file.control_schema.clone());
    let strategy = flags.strategy.as_deref().or(file.strategy.as_deref());
    let indexes = flags.indexes.as_deref().or(file.indexes.as_deref());
    let replicas = if flags.replica.is_empty() { &file.replica } else { &flags.replica };
    let mut intent = Intent {
        table: table.trim().to_string(),
        alters: alters.iter().map(|a| alter(a)).collect::<Result<_>>()?,
        sets: sets.iter().map(|s| assignment("--set", s)).collect::<Result<_>>()?,
        set_backs: backs.iter().map(|s| assignment("--set-back", s)).collect::<Result<_>>()?,
        strategy: strategy.map(self::strategy).transpose()?,
        indexes: indexes.map(self::indexes).transpose()?,
        replicas: replicas.clone(),
        control_schema: control_schema.unwrap_or_else(|| CONTROL_SCHEMA.to_string()),
        config: Config::default(),
        settings: Vec::new(),
    };
    let mut picks = Picks { flags, file, settings: Vec::new() };
    intent.config = picks.config()?;
    if !intent.replicas.is_empty() && !intent.config.wants("replica-lag") {
        return Err(Error::usage("--replica says whose lag counts, and nothing limits it")
            .next("say --max-replica-lag 10s, too"));
    }
    intent.settings = picks.settings;
    Ok(intent)
}

fn strategy(text: &str) -> Result<Strategy> {
    match text {
        "auto" => Ok(Strategy::Auto),
        "shadow" => Ok(Strategy::Shadow),
        "direct" => Ok(Strategy::Direct),
        other => Err(Error::usage(format!("strategy: {other:?} is none of auto, shadow, direct"))),
    }
}

fn indexes(text: &str) -> Result<Indexes> {
    match text {
        "auto" => Ok(Indexes::Auto),
        "early" => Ok(Indexes::Early),
        "late" => Ok(Indexes::Late),
        other => Err(Error::usage(format!("indexes: {other:?} is none of auto, early, late"))),
    }
}

/// The body of an ALTER TABLE, without a trailing semicolon.
fn alter(text: &str) -> Result<String> {
    let body = text.trim().trim_end_matches(';').trim_end();
    let mut words = body.split_whitespace().map(str::to_ascii_lowercase);
    match (words.next().as_deref(), words.next().as_deref()) {
        (None, _) => {
            Err(Error::usage("--alter is empty").next("write it like --alter 'ADD COLUMN note text'"))
        }
        (Some("alter"), Some("table")) => {
            Err(Error::usage("--alter takes only what follows ALTER TABLE and the name")
                .next("write it like --alter 'ADD COLUMN note text'; the name goes into --table"))
        }
        (Some(_), _) => Ok(body.to_string()),
    }
}

fn assignment(flag: &str, text: &str) -> Result<(String, String)> {
    let (column, expression) = text.split_once('=').unwrap_or((text, ""));
    let (column, expression) = (column.trim(), expression.trim());
    if column.is_empty() || expression.is_empty() {
        let e = Error::usage(format!("{flag}: {text:?} is not column=expression"));
        return Err(e.next(format!("write it like {flag} \"domain=split_part(email, '@', 2)\"")));
    }
    Ok((column.to_string(), expression.to_string()))
}

/// Chooses among flag, file and default, and remembers which.
struct Picks {
    flags: Choices,
    file: Choices,
    settings: Vec<Setting>,
}

impl Picks {
    fn note(&mut self, name: &'static str, value: String, origin: Origin) {
        self.settings.push(Setting { name, value, origin });
    }

    /// One value with a default; `None` in the default's place: there is none.
    fn pick<T>(
        &mut self,
        name: &'static str,
        field: impl Fn(&Choices) -> Option<String>,
        default: Option<(T, String)>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let (text, origin) = match (field(&self.flags), field(&self.file)) {
            (Some(text), _) => (text, Origin::Flag),
            (None, Some(text)) => (text, Origin::File),
            (None, None) => {
                let (value, text) =
                    default.map_or((None, "none".to_string()), |(value, text)| (Some(value), text));
                self.note(name, text, Origin::Default);
                return Ok(value);
            }
        };
        let value = read(&text).map_err(|e| match origin {
            Origin::File => Error::usage(format!("{name}: {e}")),
            Origin::Flag | Origin::Default => Error::usage(format!("--{name}: {e}")),
        })?;
        self.note(name, text, origin);
        Ok(Some(value))
    }

    fn time(
        &mut self,
        name: &'static str,
        field: impl Fn(&Choices) -> Option<String>,
        default: Duration,
        (least, most): (Duration, Duration),
    ) -> Result<Duration> {
        let read = |text: &str| between(duration(text)?, least, most, duration_text);
        Ok(self.pick(name, field, Some((default, duration_text(default))), read)?.unwrap_or(default))
    }

    fn size(
        &mut self,
        name: &'static str,
        field: impl Fn(&Choices) -> Option<String>,
        default: u64,
    ) -> Result<u64> {
        let read = |text: &str| between(size(text)?, LOG_MEMORY_MIN, u64::MAX, size_text);
        Ok(self.pick(name, field, Some((default, size_text(default))), read)?.unwrap_or(default))
    }

    fn switch(&mut self, name: &'static str, field: impl Fn(&Choices) -> bool) -> bool {
        let origin = match (field(&self.flags), field(&self.file)) {
            (true, _) => Origin::Flag,
            (false, true) => Origin::File,
            (false, false) => Origin::Default,
        };
        let is_on = origin != Origin::Default;
        self.note(name, if is_on { "yes" } else { "no" }.to_string(), origin);
        is_on
    }

    fn config(&mut self) -> Result<Config> {
        let default = Config::default();
        let any = (Duration::from_millis(1), Duration::MAX);
        let cutover =
            self.pick("cutover", |c| c.cutover.clone(), Some((CutoverWhen::Auto, "auto".into())), cutover)?;
        let budget = (Duration::from_millis(1), STALL_BUDGET_MAX);
        let stall_budget =
            self.time("stall-budget", |c| c.stall_budget.clone(), default.stall_budget, budget)?;
        let attempts = Some((default.cutover_attempts, default.cutover_attempts.to_string()));
        let attempts = self.pick(
            "cutover-attempts",
            |c| c.cutover_attempts.clone(),
            attempts,
            |t| number(t, 1, u32::MAX),
        )?;
        let no_verify = self.switch("no-verify", |c| c.no_verify);
        let drop_old = self.switch("drop-old", |c| c.drop_old);
        let guard = |t: &str| between(duration(t)?, GUARD_MIN, GUARD_MAX, duration_text);
        let guard = self.pick("guard", |c| c.guard.clone(), None, guard)?;
        let guard_retention =
            self.size("guard-retention", |c| c.guard_retention.clone(), default.guard_retention)?;
        let windows = |c: &Choices| (!c.copy_window.is_empty()).then(|| c.copy_window.join("; "));
        let windows =
            self.pick("copy-window", windows, Some((Windows::default(), "always".into())), windows_given)?;
        let blackouts = |c: &Choices| (!c.blackout.is_empty()).then(|| c.blackout.join("; "));
        let blackouts =
            self.pick("blackout", blackouts, Some((Blackouts::default(), "none".into())), |t: &str| {
                t.parse()
            })?;
        let max_lag = self.time("max-lag", |c| c.max_lag.clone(), default.max_lag, any)?;
        let replica = |t: &str| between(duration(t)?, any.0, WEEK, duration_text);
        let max_replica_lag = self.pick("max-replica-lag", |c| c.max_replica_lag.clone(), None, replica)?;
        self.replicas();
        let unsaid = Some((default.max_load, "auto".to_string()));
        let max_load =
            self.pick("max-load", |c| c.max_load.clone(), unsaid, max_load)?.unwrap_or(default.max_load);
        let limits = self.several("throttle", |c| &c.throttle, Limit::parse)?;
        let criticals = self.several("critical", |c| &c.critical, Limit::parse)?;
        let signals = self.several("signal", |c| &c.signal, str::parse::<Custom>)?;
        let hooks = self.several("hook", |c| &c.hook, |text| Ok(text.to_string()))?;
        known(&limits, "--throttle", &signals)?;
        known(&criticals, "--critical", &signals)?;
        let watches = self.several("watch", |c| &c.watch, str::parse::<Custom>)?;
        let watch_limits = self.several("limit", |c| &c.limit, Limit::parse)?;
        known(&watch_limits, "--limit", &[signals.as_slice(), watches.as_slice()].concat())?;
        let watch_for = (Duration::from_secs(1), WEEK);
        let watch_for = self.time("watch-for", |c| c.watch_for.clone(), default.watch_for, watch_for)?;
        let rolls_back = self
            .pick("rollback", |c| c.rollback.clone(), Some((false, "warn".into())), rollback)?
            .unwrap_or(false);
        let flag_file = self.flags.flag_file.take().or_else(|| self.file.flag_file.take());
        let overload = (Duration::from_secs(1), WEEK);
        let overload_after =
            self.time("overload-after", |c| c.overload_after.clone(), default.overload_after, overload)?;
        let chunk = (CHUNK_TIME_MIN, CHUNK_TIME_MAX);
        let chunk_time = self.time("chunk-time", |c| c.chunk_time.clone(), default.chunk_time, chunk)?;
        let workers = Some((default.copy_workers, default.copy_workers.to_string()));
        let workers =
            self.pick("copy-workers", |c| c.copy_workers.clone(), workers, |t| number(t, 1, WORKERS_MAX))?;
        let log_directory = self.log_directory(&default);
        let log_memory = self.size("log-memory", |c| c.log_memory.clone(), default.log_memory as u64)?;
        let log_disk = self.size("log-disk", |c| c.log_disk.clone(), default.log_disk)?;
        let is_durable = self.durable()?;
        Ok(Config {
            cutover: cutover.unwrap_or(CutoverWhen::Auto),
            copy_windows: windows.unwrap_or_default(),
            blackouts: blackouts.unwrap_or_default(),
            limits,
            criticals,
            signals,
            watches,
            watch_limits,
            watch_for,
            rolls_back,
            flag_file,
            overload_after,
            hooks,
            stall_budget,
            cutover_attempts: attempts.unwrap_or(default.cutover_attempts),
            max_lag,
            max_replica_lag,
            max_load,
            chunk_time,
            copy_workers: workers.unwrap_or(default.copy_workers),
            drop_old,
            guard,
            guard_set: None,
            guard_retention,
            rollback: false,
            resumes: None,
            verify: !no_verify,
            log_directory,
            log_memory: usize::try_from(log_memory).map_err(|_| Error::usage("--log-memory: too large"))?,
            log_disk,
            is_durable,
            who: crate::who::runner(),
        })
    }

    /// A flag that may be repeated; the file's are taken where there is no flag.
    fn several<T>(
        &mut self,
        name: &'static str,
        field: impl Fn(&Choices) -> &Vec<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>> {
        let (texts, origin) = match (field(&self.flags).as_slice(), field(&self.file).as_slice()) {
            ([], []) => return Ok(Vec::new()),
            ([], file) => (file.to_vec(), Origin::File),
            (flags, _) => (flags.to_vec(), Origin::Flag),
        };
        self.note(name, texts.join("; "), origin);
        let dashes = if origin == Origin::File { "" } else { "--" };
        let read = |text: &String| read(text).map_err(|e| Error::usage(format!("{dashes}{name}: {e}")));
        texts.iter().map(read).collect()
    }

    fn replicas(&mut self) {
        let (names, origin) = match (self.flags.replica.as_slice(), self.file.replica.as_slice()) {
            ([], []) => return,
            ([], file) => (file.join(", "), Origin::File),
            (flags, _) => (flags.join(", "), Origin::Flag),
        };
        self.note("replica", names, origin);
    }

    /// Whether changes are kept on disk. The folder for temporary files is no place for them.
    fn durable(&mut self) -> Result<bool> {
        let how = |text: &str| match text {
            "durable" => Ok(true),
            "temporary" => Ok(false),
            other => Err(format!("{other:?} is neither temporary nor durable")),
        };
        let spool = self.pick("spool", |c| c.spool.clone(), Some((false, "temporary".into())), how)?;
        let is_placed =
            self.settings.iter().any(|s| s.name == "log-directory" && s.origin != Origin::Default);
        if spool == Some(true) && !is_placed {
            return Err(Error::usage(
                "--spool durable needs a folder that survives a restart of this machine",
            )
            .next("say --log-directory, too; the same machine has to run the migration to its end"));
        }
        Ok(spool == Some(true))
    }

    fn log_directory(&mut self, default: &Config) -> PathBuf {
        let (path, origin) = match (self.flags.log_directory.take(), self.file.log_directory.take()) {
            (Some(path), _) => (path, Origin::Flag),
            (None, Some(path)) => (path, Origin::File),
            (None, None) => (default.log_directory.clone(), Origin::Default),
        };
        self.note("log-directory", path.display().to_string(), origin);
        path
    }
}

/// A limit of a signal that there is not would hold the copy for ever.
fn known(limits: &[Limit], flag: &str, signals: &[Custom]) -> Result<()> {
    use shadowswap_core::throttle::limit::{BUILT_IN, unit};
    let is_known = |l: &&Limit| unit(&l.name).is_some() || signals.iter().any(|s| s.name == l.name);
    match limits.iter().find(|l| !is_known(l)) {
        None => Ok(()),
        Some(limit) => {
            let names = BUILT_IN.map(|(name, ..)| name).join(", ");
            Err(Error::usage(format!("{flag}: no signal is called {}; there are {names}", limit.name)).next(
                format!("name one of these, or say where yours is read: --signal '{}=select …'", limit.name),
            ))
        }
    }
}

#[cfg(test)]
mod tests;
