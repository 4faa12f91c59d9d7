//! Private MariaDB and MySQL servers: one command to start, and gone when the test is, even if the test is killed.

mod builder;
mod install;
mod shared;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::{POLL, Supervised, blocking, is_running};
pub use builder::MysqlBuilder;
use install::Install;
pub use shared::{Database, Shared, shared};

/// How long a start may take; MariaDB takes 0.3 s and MySQL 0.9 s, more when the machine is busy or a crash is recovered from.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Which server to run. Both are installed by `scripts/install`; the version is found out, not assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// MariaDB of the distribution: 10.11 on Debian 12. `SHADOWSWAP_MARIADB_BIN` names another folder of `mariadbd`.
    MariaDb,
    /// MySQL of Debian unstable, unpacked. `SHADOWSWAP_MYSQL_BIN` names another folder of `mysqld`.
    MySql,
}

impl Product {
    /// Every product that tests run against.
    pub const ALL: [Product; 2] = [Product::MariaDb, Product::MySql];
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Product::MariaDb => "mariadb",
            Product::MySql => "mysql",
        })
    }
}

/// A private server with its own data folder, socket and TCP port. Dropping it kills it and removes its files.
///
/// The superuser is `root`, without a password, by socket and by TCP from this machine.
pub struct Mysql {
    inner: Arc<Inner>,
}

struct Inner {
    install: &'static Install,
    server: Mutex<Option<Supervised>>,
    port: u16,
    // Last, so that the server has ended before its folder is removed.
    dir: TempDir,
}

impl Mysql {
    /// Starts a server with the defaults of [`MysqlBuilder`].
    ///
    /// # Panics
    /// If the server is not installed or does not start; the message says what to run or what it logged.
    pub async fn start(product: Product) -> Mysql {
        MysqlBuilder::new(product).start().await
    }

    /// The options of a server to be started.
    pub fn builder(product: Product) -> MysqlBuilder {
        MysqlBuilder::new(product)
    }

    /// The address of a database by TCP, as an application would use it.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.inner.port)
    }

    /// The same for a user that [`Mysql::create_user`] made.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", self.inner.port)
    }

    /// The address of a database by unix socket. `mysql_async` reads it; the port in it is only there for whoever asks.
    pub fn socket_url(&self, database: &str) -> String {
        let socket = self.socket().display().to_string().replace('/', "%2F");
        format!("mysql://root@localhost:{}/{database}?socket={socket}", self.inner.port)
    }

    /// Connects to a database by socket; an empty name is none.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self, database: &str) -> Conn {
        connect(&self.socket_url(database)).await
    }

    /// Creates an empty database.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn create_database(&self, name: &str) {
        self.run(&format!("create database `{name}`")).await;
    }

    /// Creates a user who may connect from anywhere, and gives it each of the grants: `select, insert on shop.*`. Letters and digits
    /// only in both words: they go into URLs.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn create_user(&self, name: &str, password: &str, grants: &[&str]) {
        for word in [name, password] {
            let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(is_plain, "a test's user and password have letters and digits only");
        }
        self.run(&format!("create user `{name}`@'%' identified by '{password}'")).await;
        for grant in grants {
            self.run(&format!("grant {grant} to `{name}`@'%'")).await;
        }
    }

    async fn run(&self, sql: &str) {
        let mut conn = self.connect("").await;
        conn.query_drop(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        // What was asked for has been done.
        conn.disconnect().await.ok();
    }

    /// Stops the server as an operator would: clients are disconnected, everything is written. Keeps its files.
    pub async fn stop(&self) {
        self.end(|server| server.stop(Signal::SIGTERM)).await;
    }

    /// Kills the server at once. Keeps its files; what was not synced survives, for the kernel stays.
    pub async fn kill9(&self) {
        self.end(Supervised::kill9).await;
    }

    /// Stops the server if it runs and starts it on the same files and port, recovering from a crash if there was one.
    ///
    /// # Panics
    /// If the server does not come up; the message has its log.
    pub async fn restart(&self) {
        self.try_restart().await.unwrap_or_else(|e| panic!("cannot restart: {e}"));
    }

    /// The same.
    ///
    /// # Errors
    /// Its log, if the server does not come up.
    pub async fn try_restart(&self) -> Result<(), String> {
        let inner = Arc::clone(&self.inner);
        let started = blocking(move || {
            let mut server = inner.server();
            if let Some(running) = server.take() {
                running.stop(Signal::SIGTERM);
            }
            inner.launch(inner.port).map(|started| server.insert(started).pid())
        });
        started.await.map(drop)
    }

    async fn end(&self, how: impl FnOnce(Supervised) + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.server().take().map(how)).await;
    }

    /// Whether the server runs now.
    pub fn is_running(&self) -> bool {
        self.inner.server().as_ref().is_some_and(|server| is_running(server.pid()))
    }

    /// The server's process id, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.inner.server().as_ref().map(|server| server.pid().as_raw())
    }

    /// Which server it is.
    pub fn product(&self) -> Product {
        self.inner.install.product
    }

    /// The TCP port on 127.0.0.1; stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("socket")
    }

    /// The folder of everything that is the server's: its data, socket, settings and log.
    pub fn dir(&self) -> &Path {
        self.inner.dir.path()
    }

    /// The data folder, with the binary logs `bin.000001` and so on.
    pub fn data_dir(&self) -> PathBuf {
        self.inner.data()
    }

    /// The whole version, such as `10.11.19`.
    pub fn version(&self) -> &str {
        &self.inner.install.version
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

    fn settings(&self) -> PathBuf {
        self.dir.path().join("my.cnf")
    }

    /// Starts the server and waits until it takes connections.
    fn launch(&self, port: u16) -> Result<Supervised, String> {
        let logged_before = fs::metadata(self.log()).map_or(0, |m| m.len());
        let program = &self.install.program;
        let file = format!("--defaults-file={}", self.settings().display());
        let command = [program.display().to_string(), file, format!("--port={port}")];
        // An abandoned server loses its files in the same moment: there is nothing for it to write before it ends.
        let server = Supervised::start(&command, self.dir.path(), &self.log(), Signal::SIGKILL)?;
        let start = Instant::now();
        loop {
            let log = fs::read(self.log()).unwrap_or_default();
            let new = String::from_utf8_lossy(log.get(logged_before as usize..).unwrap_or_default());
            // It says so in its log when it begins to answer; a connection to find out would count as one that failed.
            if new.contains("ready for connections") {
                return Ok(server);
            }
            if !is_running(server.pid()) || start.elapsed() > START_TIMEOUT {
                // Ends what may still run, without letting the shell take the folder for abandoned.
                server.stop(Signal::SIGKILL);
                return Err(format!("{} did not start; it logged:\n{new}", program.display()));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(server) = self.server().take() {
            server.stop(Signal::SIGKILL);
        }
    }
}

/// Connects without TLS, by TCP unless the URL names a socket.
///
/// # Panics
/// If the URL is none or the server refuses.
pub async fn connect(url: &str) -> Conn {
    let opts = options(url).unwrap_or_else(|e| panic!("{e}"));
    Conn::new(opts).await.unwrap_or_else(|e| panic!("cannot connect to {url}: {e}"))
}

/// Unasked, the driver leaves TCP for the socket when both ends are on one machine, and so goes around whatever is between them.
pub(crate) fn options(url: &str) -> Result<OptsBuilder, String> {
    let opts = Opts::from_url(url).map_err(|e| format!("{url}: {e}"))?;
    Ok(OptsBuilder::from_opts(opts).prefer_socket(false))
}

#[cfg(test)]
mod tests;
