//! The options of a private server, and how its data folder is made.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::install::Install;
use super::{Authority, Inner, Postgres, Version};
use crate::files::{Medium, append, new_dir};
use crate::process::{Account, PORT_ATTEMPTS, Supervised, blocking, output, pick_port};

/// What every server gets. In the file, not on the command line, so that `alter system` can override it.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
wal_level = logical
max_wal_senders = 50
max_replication_slots = 50
max_connections = 200
log_line_prefix = '%m [%p] %q%u@%d %a '
";

/// How a server is to be started. The default trusts every local client, has no TLS, and does not sync.
pub struct PostgresBuilder {
    version: Version,
    fsync: bool,
    settings: Vec<(String, String)>,
    password: Option<String>,
    hba: Option<String>,
    tls_hosts: Option<Vec<String>>,
}

impl PostgresBuilder {
    /// The defaults for a version.
    pub fn new(version: Version) -> PostgresBuilder {
        let (settings, password, hba, tls_hosts) = (Vec::new(), None, None, None);
        PostgresBuilder { version, fsync: false, settings, password, hba, tls_hosts }
    }

    /// Whether the server syncs to disk: off by default, for tests; benches and demos measure with it on.
    pub fn fsync(mut self, is_on: bool) -> PostgresBuilder {
        self.fsync = is_on;
        self
    }

    /// A setting for `postgresql.conf`; a later one of the same name wins.
    pub fn setting(mut self, name: &str, value: &str) -> PostgresBuilder {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives `postgres` this password and demands it, by SCRAM, of every TCP connection. Letters and digits only: it goes into URLs.
    pub fn password(mut self, password: &str) -> PostgresBuilder {
        assert!(
            password.chars().all(|c| c.is_ascii_alphanumeric()),
            "a test's password has letters and digits only"
        );
        self.password = Some(password.to_owned());
        self
    }

    /// The whole of `pg_hba.conf` instead of the default. Without `local all postgres trust` several functions here cannot connect.
    pub fn hba(mut self, lines: &str) -> PostgresBuilder {
        self.hba = Some(lines.to_owned());
        self
    }

    /// Turns TLS on, with a certificate for localhost and 127.0.0.1 that [`Postgres::authority`] signed. Needs [`Version::Apt`].
    pub fn tls(self) -> PostgresBuilder {
        self.tls_for(&["localhost", "127.0.0.1"])
    }

    /// Turns TLS on with a certificate for other hosts, to test that a client notices.
    pub fn tls_for(mut self, hosts: &[&str]) -> PostgresBuilder {
        self.tls_hosts = Some(hosts.iter().map(|&host| host.to_owned()).collect());
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    /// If the server is not installed or does not start; the message says what to run or what it logged.
    pub async fn start(self) -> Postgres {
        self.try_start().await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts the server, for a caller that reports errors itself.
    ///
    /// # Errors
    /// The same as what [`PostgresBuilder::start`] panics with.
    pub async fn try_start(self) -> Result<Postgres, String> {
        let password = self.password.clone();
        let server = blocking(move || self.start_blocking()).await?;
        if let Some(password) = password {
            let client = server.connect("postgres").await;
            let set = client.batch_execute(&format!("alter role postgres password '{password}'")).await;
            set.map_err(|e| format!("cannot set the password: {e:?}"))?;
        }
        Ok(server)
    }

    pub(super) fn start_blocking(self) -> Result<Postgres, String> {
        let install = Install::get(self.version)?;
        let dir = new_dir("pg", Medium::of(self.fsync))?;
        let data = dir.path().join("data");
        output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&install.template).arg(&data))?;
        append(&data.join("postgresql.conf"), SETTINGS)?;
        if !self.fsync {
            // Without syncing, torn pages cannot be repaired after a power failure anyway.
            append(&data.join("postgresql.conf"), "fsync = off\nfull_page_writes = off\n")?;
        }
        let authority = match &self.tls_hosts {
            Some(hosts) => Some(prepare_tls(dir.path(), &data, hosts)?),
            None => None,
        };
        for (name, value) in &self.settings {
            append(&data.join("postgresql.conf"), &format!("{name} = '{}'\n", value.replace('\'', "''")))?;
        }
        let hba = self.hba.unwrap_or_else(|| default_hba(self.password.is_some()));
        fs::write(data.join("pg_hba.conf"), hba).map_err(|e| format!("cannot write pg_hba.conf: {e}"))?;
        Account::for_servers().own(dir.path())?;
        launch_on_free_port(install, dir, self.password, authority)
    }
}

/// Makes a base backup of a server and starts it as a standby.
pub(super) fn start_replica(primary: &Arc<Inner>, application_name: &str) -> Result<Postgres, String> {
    let dir = new_dir("pg", Medium::Disk)?;
    let data = dir.path().join("data");
    let host = primary.dir.path().display().to_string();
    let mut backup = primary.install.program("pg_basebackup");
    backup.args(["-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync", "-h", &host, "-p"]);
    output(backup.arg(primary.port.to_string()).arg("-D").arg(&data))?;
    let link = format!("host={host} port={} user=postgres application_name={application_name}", primary.port);
    append(&data.join("postgresql.auto.conf"), &format!("primary_conninfo = '{link}'\n"))?;
    append(&data.join("standby.signal"), "")?;
    Account::for_servers().own(dir.path())?;
    launch_on_free_port(primary.install, dir, primary.password.clone(), None)
}

fn default_hba(has_password: bool) -> String {
    let method = if has_password { "scram-sha-256" } else { "trust" };
    let local = "local all all trust\nlocal replication all trust\n";
    format!("{local}host all all 127.0.0.1/32 {method}\nhost replication all 127.0.0.1/32 {method}\n")
}

fn prepare_tls(dir: &Path, data: &Path, hosts: &[String]) -> Result<Authority, String> {
    let authority = Authority::new(dir)?;
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    // In the data folder, under the names that the server looks for.
    authority.issue(data, "server", hosts.first().unwrap_or(&"localhost"), &hosts)?;
    append(&data.join("postgresql.conf"), "ssl = on\n")?;
    Ok(authority)
}

fn launch_on_free_port(
    install: &'static Install,
    dir: TempDir,
    password: Option<String>,
    authority: Option<Authority>,
) -> Result<Postgres, String> {
    let mut inner = Inner { install, server: Mutex::new(None), port: 0, password, authority, dir };
    let mut attempt = 1;
    loop {
        let port = pick_port();
        match inner.launch(port) {
            Ok(server) => {
                inner.port = port;
                return Ok(Postgres { inner: Arc::new(with_server(inner, server)) });
            }
            Err(e) if e.contains("could not bind") && attempt < PORT_ATTEMPTS => attempt += 1,
            Err(e) => return Err(e),
        }
    }
}

fn with_server(mut inner: Inner, server: Supervised) -> Inner {
    *inner.server.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(server);
    inner
}
