//! The options of a private server, and how its data folder is made.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use rand::Rng;
use tempfile::TempDir;

use super::install::Install;
use super::{Inner, Mysql, Product};
use crate::files::{Medium, append, new_dir};
use crate::process::{Account, PORT_ATTEMPTS, blocking, output, pick_port};

/// What every server gets. In the file, not on the command line, so that a builder's setting can override it.
const SETTINGS: &str = "
bind_address = 127.0.0.1
skip_name_resolve = ON
max_connections = 200
character_set_server = utf8mb4
innodb_buffer_pool_size = 128M
log_bin = bin
binlog_format = ROW
binlog_row_image = FULL
";

/// The performance schema doubles MySQL's memory and makes its start slower by a quarter; MariaDB has it off by default.
const MYSQL_SETTINGS: &str = "
performance_schema = OFF
mysqlx = OFF
";

/// Loses nothing when the server is killed, and everything when the machine is. Pages are still written twice: a kill in the middle
/// of a write leaves torn ones.
const NO_SYNC: &str = "
innodb_flush_log_at_trx_commit = 2
innodb_flush_method = nosync
sync_binlog = 0
";

/// Every commit is on the disk in both logs when it is answered, which is not MariaDB's default.
const SYNC: &str = "
innodb_flush_log_at_trx_commit = 1
sync_binlog = 1
";

/// How a server is to be started. By default it writes a binary log in row format and does not sync.
pub struct MysqlBuilder {
    product: Product,
    fsync: bool,
    settings: Vec<(String, String)>,
}

impl MysqlBuilder {
    /// The defaults for a product.
    pub fn new(product: Product) -> MysqlBuilder {
        MysqlBuilder { product, fsync: false, settings: Vec::new() }
    }

    /// Whether every commit is synced to disk, in the binary log too: off by default, for tests; benches and demos measure with it on.
    pub fn fsync(mut self, is_on: bool) -> MysqlBuilder {
        self.fsync = is_on;
        self
    }

    /// A setting for the server's file; a later one of the same name wins.
    pub fn setting(mut self, name: &str, value: &str) -> MysqlBuilder {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    /// If the server is not installed or does not start; the message says what to run or what it logged.
    pub async fn start(self) -> Mysql {
        self.try_start().await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts the server, for a caller that reports errors itself.
    ///
    /// # Errors
    /// The same as what [`MysqlBuilder::start`] panics with.
    pub async fn try_start(self) -> Result<Mysql, String> {
        blocking(move || self.start_blocking()).await
    }

    pub(super) fn start_blocking(self) -> Result<Mysql, String> {
        let install = Install::get(self.product)?;
        let dir = new_dir("my", Medium::of(self.fsync))?;
        let inner = Inner { install, server: Mutex::new(None), port: 0, dir };
        let lower_case = self.settings.iter().rev().find(|(name, _)| name == "lower_case_table_names");
        let template = install.template_for(lower_case.map(|(_, value)| value.as_str()))?;
        output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(inner.data()))?;
        append(&inner.settings(), &self.file(&inner.dir))?;
        Account::for_servers().own(inner.dir.path())?;
        launch_on_free_port(inner)
    }

    fn file(&self, dir: &TempDir) -> String {
        let dir = dir.path().display();
        // A server that starts removes the temporary tables that it finds, also those of a server with which it shares the folder.
        let mut text = format!(
            "[mysqld]\ndatadir = {dir}/data\nsocket = {dir}/socket\npid_file = {dir}/pid\ntmpdir = {dir}\n"
        );
        // A replica's number must not be another's; of so many, no two are the same.
        text.push_str(&format!("server_id = {}\n", rand::rng().random_range(1..=u32::MAX)));
        text.push_str(SETTINGS);
        match self.product {
            Product::MariaDb => {}
            Product::MySql => text.push_str(MYSQL_SETTINGS),
        }
        text.push_str(if self.fsync { SYNC } else { NO_SYNC });
        for (name, value) in &self.settings {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!("{name} = \"{value}\"\n"));
        }
        text
    }
}

fn launch_on_free_port(mut inner: Inner) -> Result<Mysql, String> {
    let mut attempt = 1;
    loop {
        let port = pick_port();
        match inner.launch(port) {
            Ok(server) => {
                inner.port = port;
                *inner.server.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(server);
                return Ok(Mysql { inner: Arc::new(inner) });
            }
            Err(e) if e.contains("Bind on TCP/IP port") && attempt < PORT_ATTEMPTS => attempt += 1,
            Err(e) => return Err(e),
        }
    }
}
