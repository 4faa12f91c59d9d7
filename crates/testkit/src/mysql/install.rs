//! Finds the installed servers and keeps one fresh data folder of each, made once, to copy from.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::unistd::Uid;
use tempfile::TempDir;

use super::Product;
use crate::files::{Medium, append, copy_out, make_once, new_dir};
use crate::process::{Account, output};
use crate::target::servers_dir;

/// Part of the template's name: raise it when the way it is made changes.
const TEMPLATE_LAYOUT: u32 = 1;

/// MySQL makes `root` for the socket alone; names are not resolved, so that the address is another host to it. Not in the binary
/// log: a server begins with an empty history.
const ROOT_BY_TCP: &str = "
set sql_log_bin = 0;
create user 'root'@'127.0.0.1' identified by '';
grant all on *.* to 'root'@'127.0.0.1' with grant option;
";

/// A server's program.
pub(super) struct Install {
    pub(super) product: Product,
    pub(super) program: PathBuf,
    pub(super) version: String,
    /// A data folder as it was made. Never started.
    pub(super) template: PathBuf,
}

impl Install {
    /// Finds a server and prepares its template, once in a process.
    pub(super) fn get(product: Product) -> Result<&'static Install, String> {
        static MARIADB: OnceLock<Result<Install, String>> = OnceLock::new();
        static MYSQL: OnceLock<Result<Install, String>> = OnceLock::new();
        let cell = match product {
            Product::MariaDb => &MARIADB,
            Product::MySql => &MYSQL,
        };
        cell.get_or_init(|| Install::prepare(product)).as_ref().map_err(Clone::clone)
    }

    fn prepare(product: Product) -> Result<Install, String> {
        let (variable, name, usual) = match product {
            Product::MariaDb => ("SHADOWSWAP_MARIADB_BIN", "mariadbd", PathBuf::from("/usr/sbin")),
            Product::MySql => ("SHADOWSWAP_MYSQL_BIN", "mysqld", servers_dir().join("mysql/bin")),
        };
        let bin = env::var_os(variable).map_or(usual, PathBuf::from);
        if !bin.join(name).is_file() {
            let bin = bin.display();
            return Err(format!(
                "there is no {name} in {bin}; run scripts/install, or set {variable} to its folder"
            ));
        }
        let text = output(Command::new(bin.join(name)).args(["--no-defaults", "--version"]))?;
        let version = version(&text).ok_or_else(|| format!("no version in {text:?}"))?.to_owned();
        let bin = reachable(&bin, name, product, &version)?;
        let template = template(product, &bin, name, &version, None)?;
        Ok(Install { product, program: bin.join(name), version, template })
    }
}

impl Install {
    /// The data folder to copy from for a server with this `lower_case_table_names`, which MySQL must be told when it makes the folder.
    pub(super) fn template_for(&self, lower_case: Option<&str>) -> Result<PathBuf, String> {
        match (self.product, lower_case, self.program.parent()) {
            (Product::MySql, Some(value), Some(bin)) => {
                template(self.product, bin, "mysqld", &self.version, Some(value))
            }
            _ => Ok(self.template.clone()),
        }
    }
}

/// The digits after `Ver`: `mysqld  Ver 9.7.4-2 for Linux on x86_64`.
fn version(text: &str) -> Option<&str> {
    let word = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1)?;
    let end = word.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(word.len());
    word.get(..end).filter(|digits| !digits.is_empty())
}

/// The folder itself, or that of a copy that the servers' account can reach.
fn reachable(bin: &Path, name: &str, product: Product, version: &str) -> Result<PathBuf, String> {
    let bin = fs::canonicalize(bin).map_err(|e| format!("{}: {e}", bin.display()))?;
    if Account::for_servers().can_reach(&bin.join(name)) {
        return Ok(bin);
    }
    let root = bin.parent().ok_or_else(|| format!("{} has no parent", bin.display()))?;
    copy_out(&bin, root, &format!("{product}-{version}"))
}

/// The data folder to copy from. Its name holds the user, for root's and a user's are not readable to each other.
fn template(
    product: Product,
    bin: &Path,
    name: &str,
    version: &str,
    lower_case: Option<&str>,
) -> Result<PathBuf, String> {
    let user = Uid::effective();
    let folds = lower_case.map(|value| format!("-case{value}")).unwrap_or_default();
    let dir = servers_dir().join(format!("template-{product}-{version}{folds}-{TEMPLATE_LAYOUT}-u{user}"));
    make_once(&dir, |partial| {
        let home = new_dir("init", Medium::Disk)?;
        let data = home.path().join("data");
        let mut init = match product {
            Product::MariaDb => init_mariadb(bin),
            Product::MySql => init_mysql(&bin.join(name), &home)?,
        };
        init.args(lower_case.map(|value| format!("--lower-case-table-names={value}")));
        init.arg("--innodb-flush-method=nosync").arg(format!("--datadir={}", data.display()));
        Account::for_servers().apply(&mut init);
        output(init.current_dir(home.path()))?;
        if product == Product::MySql {
            // The server's name towards replicas: each makes its own when it finds none.
            let file = data.join("auto.cnf");
            fs::remove_file(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        output(Command::new("cp").arg("-a").arg(&data).arg(partial)).map(|_| ())
    })?;
    Ok(dir)
}

fn init_mysql(program: &Path, home: &TempDir) -> Result<Command, String> {
    let sql = home.path().join("init.sql");
    append(&sql, ROOT_BY_TCP)?;
    Account::for_servers().own_one(&sql)?;
    let mut command = Command::new(program);
    command.args(["--no-defaults", "--initialize-insecure"]);
    command.arg(format!("--init-file={}", sql.display()));
    Ok(command)
}

/// The script lies beside the server, or in the `bin` beside its `sbin`.
fn init_mariadb(bin: &Path) -> Command {
    const SCRIPT: &str = "mariadb-install-db";
    let root = bin.parent().unwrap_or(bin);
    let folders = [bin.to_owned(), root.join("bin"), root.join("scripts")];
    let found = folders.iter().map(|folder| folder.join(SCRIPT)).find(|path| path.is_file());
    let mut command = Command::new(found.unwrap_or_else(|| SCRIPT.into()));
    command.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
    command.args(["--skip-test-db", "--skip-name-resolve"]).arg(format!("--basedir={}", root.display()));
    command
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn version_is_digits_after_ver() {
        let mysql = "/a b/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))";
        assert_eq!(version(mysql), Some("9.7.4"));
        let mariadb = "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)";
        assert_eq!(version(mariadb), Some("10.11.19"));
        assert_eq!(version("mysqld Ver"), None);
        assert_eq!(version("mysqld Ver x"), None);
    }
}
