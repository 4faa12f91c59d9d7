//! Where connection parameters come from: URL or `name=value` text, service file, environment, defaults; in this order.
//!
//! It owns libpq's rules of what goes before what. Nothing here touches the network; files are read only where libpq would read them.
//! Errors never repeat text of the URL, which may hold a password in a place where none belongs.
//! <https://www.postgresql.org/docs/current/libpq-connect.html>

use super::{ConnectError, Secret, text};
use crate::{
    pgpass::{self, Wanted},
    service, tls,
};
use shadowswap_core::Kind;
use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where distributions keep the server's socket, the most usual first. libpq has one of them compiled in.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// Where distributions keep `pg_service.conf`.
const SYSTEM_FOLDERS: [&str; 2] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];
/// libpq waits for ever; a run that hangs at night helps nobody.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No sane list is longer, and each host costs a timeout.
const HOSTS_MAX: usize = 64;

/// Parameters that are understood, with the environment variable of each.
const PARAMETERS: [(&str, &str); 18] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
    ("passfile", "PGPASSFILE"),
    ("service", "PGSERVICE"),
    ("servicefile", "PGSERVICEFILE"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// Parameters of libpq that change nothing here: we always probe idle connections and always speak UTF-8.
const WITHOUT_EFFECT: [&str; 9] = [
    "fallback_application_name",
    "client_encoding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "sslcompression",
    "sslsni",
];

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS if the server insists.
    Allow,
    /// TLS if the server can.
    Prefer,
    /// TLS, with whatever certificate; one that can be checked must be right.
    Require,
    /// TLS, with a certificate of a known authority.
    VerifyCa,
    /// TLS, with a certificate of a known authority for this host.
    VerifyFull,
}

/// Whether the password exchange must be bound to the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If both sides can.
    Prefer,
    /// Or no connection.
    Require,
}

/// What the server must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any.
    Any,
    /// One that takes writes.
    ReadWrite,
}

/// The place of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder with the server's socket.
    Unix(PathBuf),
    /// A name or an address; with `address`, the name only serves the certificate and the password file.
    Tcp {
        /// The name, as given.
        host: String,
        /// Where to connect instead of asking for the name's address.
        address: Option<IpAddr>,
    },
}

/// One server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its place.
    pub place: Place,
    /// Its port.
    pub port: u16,
    /// The password for it.
    pub password: Option<Secret>,
}

/// Everything that is needed to connect. Holds passwords; its `Debug` does not show them.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The servers, to be tried in this order.
    pub hosts: Vec<Host>,
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// For each host.
    pub connect_timeout: Duration,
    /// What the user set, to which the role is added.
    pub application_name: Option<String>,
    /// Settings for the server's command line.
    pub options: Option<String>,
    /// How the connection is secured.
    pub ssl_mode: SslMode,
    /// The certificates.
    pub tls: tls::Files,
    /// Whether the password exchange is bound to the connection.
    pub channel_binding: ChannelBinding,
    /// What the server must be.
    pub target: Target,
    /// What the operator should know, and what does not stop us.
    pub warnings: Vec<String>,
}

fn usage(message: impl Into<String>) -> ConnectError {
    ConnectError::new(Kind::Usage, message)
}

impl ConnectOptions {
    /// Reads the URL or `name=value` text, and what it leaves out from service file, environment and defaults.
    ///
    /// # Errors
    /// An unknown parameter, an illegal value, a service that is not defined. The text itself is never repeated.
    pub fn parse(
        url: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnectOptions, ConnectError> {
        let env = |name: &str| env(name).filter(|v| !v.is_empty());
        let home = home(&env);
        let mut found = Found::default();
        for (name, value) in text::parse(url.unwrap_or_default()).map_err(usage)? {
            found.set(&name, value, "the connection URL")?;
        }
        if let Some(service) = found.get("service").or_else(|| env("PGSERVICE")) {
            let file = found.get("servicefile").or_else(|| env("PGSERVICEFILE"));
            for (name, value) in load_service(&service, file, home.as_deref(), &env)? {
                // What the URL says goes before; so does the first of two lines.
                if !found.has(&name) {
                    found.set(&name, value, &format!("the service {service}"))?;
                }
            }
        }
        for (name, variable) in PARAMETERS {
            if !found.has(name)
                && let Some(value) = env(variable)
            {
                found.set(name, value, variable)?;
            }
        }
        found.finish(home.as_deref(), &env)
    }
}

impl ConnectOptions {
    /// Another server: by a URL, or with the same user, password and all else at another `host` or `host:port`.
    ///
    /// # Errors
    /// As [`ConnectOptions::parse`]; an address that is none.
    pub fn beside(
        &self,
        address: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnectOptions, ConnectError> {
        if address.contains("://") || address.contains('=') {
            let options = ConnectOptions::parse(Some(address), env)?;
            return Ok(ConnectOptions { target: Target::Any, ..options });
        }
        let first = self.hosts.first().ok_or_else(|| usage("there is no host"))?;
        let wrong =
            || usage(format!("{address:?} is no address; write host, host:5432, [::1]:5432 or a URL"));
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
                (host, rest.strip_prefix(':'))
            }
            None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(5432), str::parse).map_err(|_| wrong())?;
        if host.is_empty() || host.contains(['/', '@', ' ', ',']) {
            return Err(wrong());
        }
        let place = Place::Tcp { host: host.to_string(), address: None };
        let host = Host { place, port, password: first.password.clone() };
        Ok(ConnectOptions { hosts: vec![host], target: Target::Any, ..self.clone() })
    }
}

impl Host {
    /// The place, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.place {
            Place::Unix(folder) => format!("{} port {}", folder.display(), self.port),
            Place::Tcp { host, address: Some(address) } if host != &address.to_string() => {
                format!("{host} ({address}) port {}", self.port)
            }
            Place::Tcp { host, .. } => format!("{host} port {}", self.port),
        }
    }
}

#[derive(Default)]
struct Found(HashMap<&'static str, String>);

impl Found {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|v| !v.is_empty()).cloned()
    }

    fn set(&mut self, name: &str, value: String, place: &str) -> Result<(), ConnectError> {
        if let Some((name, _)) = PARAMETERS.iter().find(|(known, _)| *known == name) {
            self.0.insert(name, value);
            return Ok(());
        }
        match (name, value.as_str()) {
            // As in other drivers' URLs; libpq knows it too.
            ("ssl", "true") => drop(self.0.insert("sslmode", "require".into())),
            ("gssencmode", "disable" | "prefer") => {}
            (name, _) if WITHOUT_EFFECT.contains(&name) => {}
            _ => {
                let names: Vec<&str> = PARAMETERS.iter().map(|(name, _)| *name).collect();
                return Err(usage(format!(
                    "{place} has the parameter {name:?}, which is not known or not supported"
                ))
                .next(format!("known are {}", names.join(", "))));
            }
        }
        Ok(())
    }

    fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)], default: T) -> Result<T, ConnectError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            usage(format!("{name} cannot be {value:?}; it is one of {}", words.join(", ")))
        })
    }

    fn finish(
        &self,
        home: Option<&Path>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnectOptions, ConnectError> {
        let user = self.get("user").or_else(|| system_user(env)).ok_or_else(|| {
            usage("no user is given and the system does not tell who we are")
                .next("put user= into the URL or set PGUSER")
        })?;
        let database = self.get("dbname").unwrap_or_else(|| user.clone());
        let tls = self.tls_files(home)?;
        let modes = [
            ("disable", SslMode::Disable),
            ("allow", SslMode::Allow),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ];
        let by_system = tls.roots == tls::Roots::System;
        let ssl_mode =
            self.choice("sslmode", &modes, if by_system { SslMode::VerifyFull } else { SslMode::Prefer })?;
        // Anybody can get a certificate from a public authority, so that only the name makes it worth something.
        if by_system && ssl_mode != SslMode::VerifyFull {
            return Err(usage("sslrootcert=system goes with sslmode=verify-full only"));
        }
        let bindings = [
            ("disable", ChannelBinding::Disable),
            ("prefer", ChannelBinding::Prefer),
            ("require", ChannelBinding::Require),
        ];
        let targets =
            [("any", Target::Any), ("read-write", Target::ReadWrite), ("primary", Target::ReadWrite)];
        let mut options = ConnectOptions {
            hosts: self.hosts()?,
            user,
            database,
            connect_timeout: self.timeout()?,
            application_name: self.get("application_name"),
            options: self.get("options"),
            ssl_mode,
            tls,
            channel_binding: self.choice("channel_binding", &bindings, ChannelBinding::Prefer)?,
            target: self.choice("target_session_attrs", &targets, Target::Any)?,
            warnings: Vec::new(),
        };
        self.passwords(&mut options, home);
        Ok(options)
    }

    fn timeout(&self) -> Result<Duration, ConnectError> {
        let Some(text) = self.get("connect_timeout") else { return Ok(CONNECT_TIMEOUT) };
        let wrong = || usage(format!("connect_timeout is a number of seconds, not {text:?}"));
        match text.trim().parse::<i32>().map_err(|_| wrong())? {
            // Zero and less mean for ever, as in libpq; a day is that, and still a limit.
            ..=0 => Ok(Duration::from_secs(86_400)),
            // A second may be nearly over when it begins; libpq has the same minimum.
            seconds => Ok(Duration::from_secs(seconds.max(2).unsigned_abs().into())),
        }
    }

    fn tls_files(&self, home: Option<&Path>) -> Result<tls::Files, ConnectError> {
        let default = |name: &str| home.map(|h| h.join(".postgresql").join(name)).filter(|p| p.exists());
        let roots = match self.get("sslrootcert") {
            Some(word) if word == "system" => tls::Roots::System,
            Some(path) => tls::Roots::File(path.into()),
            None => default("root.crt").map_or(tls::Roots::None, tls::Roots::File),
        };
        let certificate = self.get("sslcert").map(PathBuf::from).or_else(|| default("postgresql.crt"));
        let key = self.get("sslkey").map(PathBuf::from).or_else(|| default("postgresql.key"));
        if let (Some(certificate), None) = (&certificate, &key) {
            return Err(usage(format!(
                "there is a client certificate, {}, and no key for it",
                certificate.display()
            ))
            .next("name the key with sslkey, or put it into ~/.postgresql/postgresql.key"));
        }
        Ok(tls::Files { roots, client: certificate.zip(key) })
    }

    fn hosts(&self) -> Result<Vec<Host>, ConnectError> {
        let list = |name: &str| -> Vec<String> {
            self.get(name).map(|v| v.split(',').map(|s| s.trim().to_owned()).collect()).unwrap_or_default()
        };
        let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
        let count = names.len().max(addresses.len()).max(1);
        if count > HOSTS_MAX {
            return Err(usage(format!("{count} hosts are given; {HOSTS_MAX} are the most")));
        }
        if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
            return Err(usage(format!(
                "{} hosts are given and {} host addresses",
                names.len(),
                addresses.len()
            )));
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(usage(format!("{} ports are given for {count} hosts", ports.len())));
        }
        let mut hosts = Vec::with_capacity(count);
        for at in 0..count {
            let port = match ports.get(at).or_else(|| ports.first()).filter(|p| !p.is_empty()) {
                None => 5432,
                Some(text) => {
                    let port = text.parse().ok().filter(|p| *p > 0);
                    port.ok_or_else(|| usage("a port is not a number from 1 to 65535"))?
                }
            };
            let address = match addresses.get(at).filter(|a| !a.is_empty()) {
                None => None,
                Some(text) => Some(
                    text.parse::<IpAddr>()
                        .map_err(|_| usage(format!("hostaddr is an IP address, not {text:?}")))?,
                ),
            };
            let place = match (names.get(at).map_or("", String::as_str), address) {
                ("", Some(address)) => Place::Tcp { host: address.to_string(), address: Some(address) },
                ("", None) => Place::Unix(default_folder(port)),
                (name, _) if name.starts_with('/') => Place::Unix(name.into()),
                (name, _) if name.starts_with('@') => {
                    return Err(usage("sockets in the abstract namespace are not supported"));
                }
                (name, address) => Place::Tcp { host: name.to_owned(), address },
            };
            hosts.push(Host { place, port, password: None });
        }
        Ok(hosts)
    }

    fn passwords(&self, options: &mut ConnectOptions, home: Option<&Path>) {
        if let Some(password) = self.get("password") {
            for host in &mut options.hosts {
                host.password = Some(Secret::new(password.clone()));
            }
            return;
        }
        let path = self.get("passfile").map(PathBuf::from).or_else(|| home.map(|h| h.join(".pgpass")));
        let text = match path.as_deref().map(pgpass::read) {
            Some(Ok(Some(text))) => text,
            Some(Err(warning)) => return options.warnings.push(warning),
            Some(Ok(None)) | None => return,
        };
        for host in &mut options.hosts {
            let name = match &host.place {
                Place::Unix(folder) if SOCKET_FOLDERS.iter().any(|f| Path::new(f) == folder) => {
                    "localhost".into()
                }
                Place::Unix(folder) => folder.to_string_lossy().into_owned(),
                Place::Tcp { host, .. } => host.clone(),
            };
            let wanted =
                Wanted { host: &name, port: host.port, database: &options.database, user: &options.user };
            host.password = pgpass::find(&text, wanted);
        }
    }
}

/// The folder that has the socket of this port, else the most usual one.
fn default_folder(port: u16) -> PathBuf {
    let socket = format!(".s.PGSQL.{port}");
    let folder = SOCKET_FOLDERS.iter().find(|folder| Path::new(folder).join(&socket).exists());
    PathBuf::from(folder.unwrap_or(&SOCKET_FOLDERS[0]))
}

fn load_service(
    service: &str,
    file: Option<String>,
    home: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, ConnectError> {
    let own = file.map(PathBuf::from).or_else(|| home.map(|h| h.join(".pg_service.conf")));
    let system = match env("PGSYSCONFDIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => SYSTEM_FOLDERS.map(PathBuf::from).to_vec(),
    };
    let files: Vec<PathBuf> =
        own.into_iter().chain(system.into_iter().map(|f| f.join("pg_service.conf"))).collect();
    for file in &files {
        if let Some(parameters) = service::read(file, service).map_err(usage)? {
            return Ok(parameters);
        }
    }
    let looked: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    Err(usage(format!("the service {service:?} is not defined"))
        .next(format!("looked into {}", looked.join(", "))))
}

/// The line of `/etc/passwd` for the user that this process runs as: its name and home.
fn passwd() -> Option<(String, PathBuf)> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str())).then_some(())?;
        Some(((*fields.first()?).to_owned(), PathBuf::from(fields.get(5)?)))
    })
}

/// Who we are for the system. Users of a directory service are not in the file; the environment names them.
fn system_user(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    passwd().map(|(name, _)| name).or_else(|| env("USER")).or_else(|| env("LOGNAME"))
}

fn home(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    env("HOME").map(PathBuf::from).or_else(|| passwd().map(|(_, home)| home))
}

#[cfg(test)]
mod tests;
