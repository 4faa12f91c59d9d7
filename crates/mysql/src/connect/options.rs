//! What to connect to and how, gathered from option files, variables and the URL; later ones win.

use ini::Ini;
use mysql_async::{Opts, OptsBuilder, SslOpts};
use percent_encoding::percent_decode_str;
use shadowswap_core::{Error, Result};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};

/// What TLS is asked for, in the words of MySQL's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// None.
    Disabled,
    /// Where the server has it; its certificate is not looked at.
    Preferred,
    /// Always; the certificate is not looked at.
    Required,
    /// Always; the certificate must be signed by a known authority.
    VerifyCa,
    /// The same, and it must be for this host.
    VerifyIdentity,
}

impl SslMode {
    fn parse(text: &str) -> Option<SslMode> {
        match text.to_ascii_uppercase().replace('-', "_").as_str() {
            "DISABLED" | "DISABLE" => Some(SslMode::Disabled),
            "PREFERRED" | "PREFER" => Some(SslMode::Preferred),
            "REQUIRED" | "REQUIRE" => Some(SslMode::Required),
            "VERIFY_CA" => Some(SslMode::VerifyCa),
            "VERIFY_IDENTITY" | "VERIFY_FULL" => Some(SslMode::VerifyIdentity),
            _ => None,
        }
    }
}

/// Everything that is needed to open a connection. Does not print its password.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The host, if there is no socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// A Unix socket.
    pub socket: Option<String>,
    /// The user.
    pub user: String,
    /// The default database.
    pub database: Option<String>,
    /// What TLS is asked for.
    pub ssl_mode: SslMode,
    /// What was found out: the server has no TLS to prefer.
    pub(super) lacks_tls: Arc<AtomicBool>,
    /// The same: for whom the server's certificate is, where only its signature counts.
    pub(super) certified: Arc<Mutex<Option<String>>>,
    pub(crate) password: Option<String>,
    pub(crate) ssl_ca: Option<PathBuf>,
    pub(crate) ssl_cert: Option<PathBuf>,
    pub(crate) ssl_key: Option<PathBuf>,
}

/// Option files that MySQL's and MariaDB's programs read, in this order.
const FILES: [&str; 2] = ["/etc/my.cnf", "/etc/mysql/my.cnf"];
/// Their sections that count for every client, and ours.
const SECTIONS: [&str; 4] = ["client", "client-server", "client-mariadb", "shadowswap"];

impl ConnectOptions {
    /// Gathers everything. `url` is `mysql://user:password@host:port/database?ssl-mode=REQUIRED` or `mariadb://…`. `defaults_file`, else
    /// the URL's, is read instead of the usual option files.
    ///
    /// # Errors
    /// `Usage` naming what cannot be read; never the text itself, which may hold a password.
    pub fn gather(
        url: &str,
        defaults_file: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnectOptions> {
        let parsed = Parsed::read(url)?;
        let mut options = ConnectOptions {
            host: "localhost".to_string(),
            port: PORT,
            socket: None,
            user: environment("USER").unwrap_or_else(|| "root".to_string()),
            database: None,
            ssl_mode: SslMode::Preferred,
            lacks_tls: Arc::default(),
            certified: Arc::default(),
            password: None,
            ssl_ca: None,
            ssl_cert: None,
            ssl_key: None,
        };
        match defaults_file.or_else(|| parsed.query("defaults-file").map(Path::new)) {
            Some(file) => options.read_file(file, true)?,
            None => {
                for file in FILES {
                    options.read_file(Path::new(file), false)?;
                }
                if let Some(home) = environment("HOME") {
                    options.read_file(&Path::new(&home).join(".my.cnf"), false)?;
                }
            }
        }
        for (variable, key) in [
            ("MYSQL_HOST", "host"),
            ("MYSQL_TCP_PORT", "port"),
            ("MYSQL_UNIX_PORT", "socket"),
            ("MYSQL_PWD", "password"),
        ] {
            if let Some(value) = environment(variable) {
                options.set(key, &value, variable)?;
            }
        }
        for (key, value) in &parsed.parts {
            if key != "defaults-file" {
                options.set(key, value, "the URL")?;
            }
        }
        // A host that was named means the network, unless a socket was named beside it in the URL. Distributions name a socket in
        // /etc/mysql: it is for whoever names no host.
        let named = |key: &str| parsed.parts.iter().any(|(k, _)| k == key);
        if !named("socket") && (named("host") || options.host != "localhost") {
            options.socket = None;
        }
        options.has_papers()?;
        Ok(options)
    }

    /// The same user, password and TLS for another server.
    ///
    /// # Errors
    /// `Usage` if this is neither `host` nor `host:port`.
    pub fn beside(&self, address: &str) -> Result<ConnectOptions> {
        let wrong =
            || Error::usage(format!("{address:?} is no address")).next("write host, host:3306 or [::1]:3306");
        let (host, port) = host_and_port(address.trim());
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| wrong()))?;
        if host.is_empty() || host.contains(['/', '@', ' ', ',']) {
            return Err(wrong());
        }
        // What was found out about the TLS of one server says nothing of another.
        Ok(ConnectOptions {
            host: host.to_string(),
            port,
            socket: None,
            database: None,
            lacks_tls: Arc::default(),
            certified: Arc::default(),
            ..self.clone()
        })
    }

    /// The driver says neither which file it could not read, nor that half of a pair is missing.
    fn has_papers(&self) -> Result<()> {
        for (key, file) in
            [("ssl-ca", &self.ssl_ca), ("ssl-cert", &self.ssl_cert), ("ssl-key", &self.ssl_key)]
        {
            let Some(file) = file else { continue };
            std::fs::File::open(file).map_err(|e| {
                Error::usage(format!("{key}: the file {} cannot be read: {e}", file.display()))
            })?;
        }
        if self.ssl_cert.is_some() != self.ssl_key.is_some() {
            return Err(Error::usage("ssl-cert and ssl-key belong together: one of them is missing"));
        }
        Ok(())
    }

    fn read_file(&mut self, file: &Path, must_exist: bool) -> Result<()> {
        let text = match read_text(file) {
            Ok(text) => text,
            Err(_) if !must_exist => return Ok(()),
            Err(e) => {
                return Err(Error::usage(format!("the option file {} cannot be read: {e}", file.display())));
            }
        };
        // `!include` and options without a value are none of ours.
        let kept: Vec<&str> = text.lines().filter(|l| !l.trim_start().starts_with('!')).collect();
        let read = ini::ParseOption { enabled_escape: false, ..ini::ParseOption::default() };
        let lines: Vec<String> = kept
            .iter()
            .map(|l| {
                let trimmed = l.trim();
                let is_bare =
                    !trimmed.is_empty() && !trimmed.starts_with(['#', ';', '[']) && !trimmed.contains('=');
                if is_bare { format!("{trimmed}=") } else { (*l).to_string() }
            })
            .collect();
        let parsed = Ini::load_from_str_opt(&lines.join("\n"), read).map_err(|e| {
            Error::usage(format!("the option file {}, line {}: it cannot be read", file.display(), e.line))
        })?;
        for section in SECTIONS {
            for (key, value) in parsed.section(Some(section)).into_iter().flat_map(|s| s.iter()) {
                let key = key.replace('_', "-");
                if KNOWN.contains(&key.as_str()) {
                    self.set(&key, value, &file.display().to_string())?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, origin: &str) -> Result<()> {
        let wrong = |what: &str| Error::usage(format!("{origin}: {key} {what}"));
        match key {
            "host" => self.host = value.to_string(),
            "port" => self.port = value.parse().map_err(|_| wrong("is no port number"))?,
            "socket" => self.socket = Some(value.to_string()),
            "user" => self.user = value.to_string(),
            "password" => self.password = Some(value.to_string()),
            "database" => self.database = Some(value.to_string()),
            "ssl-mode" => {
                self.ssl_mode = SslMode::parse(value).ok_or_else(|| {
                    wrong("is none of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY")
                })?;
            }
            "ssl-ca" => self.ssl_ca = Some(PathBuf::from(value)),
            "ssl-cert" => self.ssl_cert = Some(PathBuf::from(value)),
            "ssl-key" => self.ssl_key = Some(PathBuf::from(value)),
            _ => return Err(wrong("is not known").next(format!("known are: {}", KNOWN.join(", ")))),
        }
        Ok(())
    }

    /// The driver's options.
    pub(super) fn builder(&self, role: &str, tls: bool) -> Opts {
        let ssl = tls.then(|| {
            let mut ssl = SslOpts::default();
            if let Some(ca) = &self.ssl_ca {
                ssl = ssl.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
            }
            if let (Some(cert), Some(key)) = (&self.ssl_cert, &self.ssl_key) {
                ssl = ssl.with_client_identity(Some(mysql_async::ClientIdentity::new(
                    cert.clone().into(),
                    key.clone().into(),
                )));
            }
            match self.ssl_mode {
                SslMode::VerifyIdentity => ssl,
                // The driver's own way to leave the name out does not work: it looks for a text that rustls has changed.
                SslMode::VerifyCa => {
                    let certified = self.certified.lock().unwrap_or_else(PoisonError::into_inner);
                    ssl.with_danger_tls_hostname_override(certified.clone())
                }
                SslMode::Disabled | SslMode::Preferred | SslMode::Required => {
                    ssl.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true)
                }
            }
        });
        OptsBuilder::default()
            .ip_or_hostname(self.host.as_str())
            .tcp_port(self.port)
            .socket(self.socket.clone())
            .prefer_socket(self.socket.is_some())
            .user(Some(self.user.as_str()))
            .pass(self.password.clone())
            .db_name(self.database.clone())
            .ssl_opts(ssl)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE))
            .max_allowed_packet(Some(1 << 30))
            .connect_attribute("program_name", format!("shadowswap/{role}"))
            .into()
    }
}

/// A peer that is not there any more is looked for after so long without a word.
const KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(30);
/// Where servers listen.
const PORT: u16 = 3306;

/// `host`, `host:port`, `[::1]:port`.
fn host_and_port(address: &str) -> (&str, Option<&str>) {
    match address.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => address.split_once(':').map_or((address, None), |(h, p)| (h, Some(p))),
    }
}

/// No option file is larger; a dump or a device is not read into memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file's text; it may be a pipe.
fn read_text(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// What can be set.
const KNOWN: [&str; 10] =
    ["host", "port", "socket", "user", "password", "database", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"];

/// A URL's parts, decoded.
struct Parsed {
    parts: Vec<(String, String)>,
}

impl Parsed {
    fn read(text: &str) -> Result<Parsed> {
        let wrong = |what: &str| {
            Error::usage(format!("the URL: {what}")).next(
                "write mysql://user@host:3306/database, or mysql:///database?socket=/run/mysqld/mysqld.sock",
            )
        };
        let decode = |part: &str| {
            percent_decode_str(part)
                .decode_utf8()
                .map(|t| t.into_owned())
                .map_err(|_| wrong("a part of it is no UTF-8"))
        };
        let rest = text.split_once("://").map(|(_, rest)| rest).ok_or_else(|| wrong("it has no ://"))?;
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        let mut parts = Vec::new();
        let (account, address) = match authority.rsplit_once('@') {
            Some((account, address)) => (account, address),
            None => ("", authority),
        };
        if !account.is_empty() {
            let (user, password) = account.split_once(':').map_or((account, None), |(u, p)| (u, Some(p)));
            parts.push(("user".to_string(), decode(user)?));
            if let Some(password) = password {
                parts.push(("password".to_string(), decode(password)?));
            }
        }
        let (host, port) = host_and_port(address);
        if !host.is_empty() {
            parts.push(("host".to_string(), decode(host)?));
        }
        if let Some(port) = port {
            parts.push(("port".to_string(), decode(port)?));
        }
        if !path.is_empty() {
            parts.push(("database".to_string(), decode(path)?));
        }
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter has no value"))?;
            parts.push((decode(key)?.replace('_', "-"), decode(value)?));
        }
        Ok(Parsed { parts })
    }

    fn query(&self, key: &str) -> Option<&str> {
        self.parts.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(url: &str, variables: &[(&str, &str)]) -> Result<ConnectOptions> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        let environment = move |name: &str| variables.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        ConnectOptions::gather(url, None, &environment)
    }

    #[test]
    fn url_wins_over_variables_and_variables_over_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(".my.cnf");
        std::fs::write(&file, "!includedir /etc/nothing\n[client]\nuser=filed\npassword=\"se#cret\"\nport=3307\nskip-auto-rehash\n[mysqld]\nuser=mysql\n")
            .expect("a file");
        let home = folder.path().to_str().expect("text");
        let got = gather("mysql:///shop", &[("HOME", home)]).expect("options");
        assert_eq!((got.user.as_str(), got.port, got.database.as_deref()), ("filed", 3307, Some("shop")));
        assert_eq!(got.password.as_deref(), Some("se#cret"));
        let got =
            gather("mysql://app:p%40ss@db.example:3310/shop", &[("HOME", home), ("MYSQL_TCP_PORT", "3308")])
                .expect("options");
        assert_eq!((got.user.as_str(), got.host.as_str(), got.port), ("app", "db.example", 3310));
        assert_eq!(got.password.as_deref(), Some("p@ss"));
        let got =
            gather("mysql://app@/shop", &[("HOME", home), ("MYSQL_TCP_PORT", "3308"), ("MYSQL_PWD", "x")])
                .expect("options");
        assert_eq!((got.port, got.password.as_deref()), (3308, Some("x")));
    }

    #[test]
    fn a_named_host_is_reached_over_the_network() {
        let got = gather("mysql://root@127.0.0.1:3306/x", &[("MYSQL_UNIX_PORT", "/tmp/s")]).expect("options");
        assert_eq!(got.socket, None);
        let got = gather("mysql://root@localhost/x?socket=/tmp/s&ssl_mode=verify-ca", &[]).expect("options");
        assert_eq!((got.socket.as_deref(), got.ssl_mode), (Some("/tmp/s"), SslMode::VerifyCa));
        assert_eq!(gather("mysql://root@[::1]:3306/x", &[]).expect("options").host, "::1");
        let both = [("MYSQL_HOST", "db.example"), ("MYSQL_UNIX_PORT", "/tmp/s")];
        assert_eq!(gather("mysql:///x", &both).expect("options").socket, None);
        let got = gather("mysql:///x", &[("MYSQL_UNIX_PORT", "/tmp/s")]).expect("options");
        assert_eq!(got.socket.as_deref(), Some("/tmp/s"));
    }

    #[test]
    fn file_of_the_flag_goes_before_that_of_the_url_and_both_before_the_usual_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("[client]\nuser={name}\n")).expect("a file");
            path
        };
        let (usual, of_url, of_flag) = (file(".my.cnf"), file("url"), file("flag"));
        let home = folder.path().to_str().expect("text").to_string();
        let environment = |name: &str| (name == "HOME").then(|| home.clone());
        let url = format!("mysql://db/shop?defaults-file={}", of_url.display());
        let user = |url: &str, flag: Option<&Path>| {
            ConnectOptions::gather(url, flag, &environment).expect("options").user
        };
        assert_eq!(user("mysql://db/shop", None), ".my.cnf", "{}", usual.display());
        assert_eq!(user(&url, None), "url");
        assert_eq!(user(&url, Some(&of_flag)), "flag");
        assert_eq!(user("mysql://", Some(&of_flag)), "flag");
        let nowhere = ConnectOptions::gather("mysql://", Some(Path::new("/nowhere")), &environment).err();
        assert!(nowhere.is_some_and(|e| e.message.contains("/nowhere")));
    }

    #[test]
    fn replica_is_reached_with_the_same_account_and_over_the_network() {
        let base = gather("mysql://app:geheim@/shop?socket=/tmp/s&ssl-mode=REQUIRED", &[]).expect("options");
        let got = base.beside("replica.example:3307").expect("options");
        assert_eq!((got.host.as_str(), got.port, got.socket), ("replica.example", 3307, None));
        assert_eq!((got.user.as_str(), got.password.as_deref()), ("app", Some("geheim")));
        assert_eq!((got.ssl_mode, got.database), (SslMode::Required, None));
        assert_eq!(base.beside("[::1]:3307").expect("options").host, "::1");
        assert_eq!(base.beside("replica").expect("options").port, 3306);
        for wrong in ["", ":3306", "host:port", "mysql://host", "a@b", "a,b"] {
            let e = base.beside(wrong).err().expect(wrong);
            assert_eq!(e.kind, shadowswap_core::Kind::Usage);
            assert!(!e.message.contains("geheim"));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_without_the_password() {
        for (url, word) in [
            ("mysql://a:geheim@h:x1/db", "port"),
            ("mysql://a:geheim@h/db?tls=yes", "tls"),
            ("mysql://a:geheim@h/db?ssl-mode=maybe", "ssl-mode"),
            ("mysql://a:geheim@h/db?socket", "parameter"),
            ("mysql://a:geheim@h/db?ssl-ca=/nowhere/ca.pem", "/nowhere/ca.pem"),
            ("mysql://a:geheim@h/db?ssl-key=/dev/null", "ssl-cert"),
        ] {
            let e = gather(url, &[]).err().expect("an error");
            assert!(e.message.contains(word) && !e.message.contains("geheim"), "{e}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(url in "(mysql|mariadb)?(://)?[a-z0-9:/?@%&=\\[\\]._é-]{0,60}", file in "[a-z=\\[\\]#;!\"' \n\\\\é]{0,80}") {
            let directory = tempfile::tempdir().expect("a folder");
            let path = directory.path().join("my.cnf");
            std::fs::write(&path, file).expect("a file");
            let _ = ConnectOptions::gather(&url, Some(&path), &|_| None).map(|o| o.beside(&url).is_ok());
            let _ = ConnectOptions::gather("mysql://a/b", Some(&path), &|_| None);
        }
    }

    #[test]
    fn file_without_end_is_not_read_into_memory() {
        let e = ConnectOptions::gather("mysql://a", Some(Path::new("/dev/zero")), &|_| None)
            .err()
            .expect("refused");
        assert!(e.message.contains("more than 1048576 bytes"), "{e}");
    }
}
