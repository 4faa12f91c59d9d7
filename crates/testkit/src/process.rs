//! Server processes that cannot outlive us.
//!
//! A server is started under a small shell that reads a pipe whose other end we hold. When we end, however we end (SIGKILL
//! too), the kernel closes the pipe; the shell then ends the server and removes its folder. A parent-death signal would not
//! do: it fires when the *thread* that spawned the server ends, and every test has its own thread.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User};
use rand::Rng;
use tokio::task::spawn_blocking;

/// How long a server gets to end before it is killed; an immediate shutdown takes milliseconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a condition is looked at while we wait for it.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// A port that is taken between picking and binding it is picked anew, so many times.
pub(crate) const PORT_ATTEMPTS: u32 = 10;

/// Below the range that the kernel takes ports of outgoing connections from: none of those can sit on ours during a restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A word on stdin means that the server has been stopped by us; end of file means that we are gone.
const SUPERVISE: &str = r#"
dir=$1 log=$2 signal=$3
shift 3
"$@" </dev/null >>"$log" 2>&1 &
server=$!
echo "$server"
exec >/dev/null 2>&1
if read -r _; then
    wait "$server"
    exit
fi
kill -s "$signal" "$server"
wait "$server"
rm -rf "$dir"
"#;

/// The user that servers run as: none of them runs as root willingly, so root hands its servers to `nobody`.
#[derive(Clone, Copy)]
pub(crate) struct Account(Option<(Uid, Gid)>);

impl Account {
    pub(crate) fn for_servers() -> Account {
        if !Uid::effective().is_root() {
            return Account(None);
        }
        let nobody = User::from_name("nobody").ok().flatten();
        let ids = nobody.map(|user| (user.uid, user.gid));
        Account(Some(ids.expect("there is a user `nobody` to run servers as")))
    }

    pub(crate) fn apply(self, command: &mut Command) {
        if let Some((uid, gid)) = self.0 {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
    }

    /// Gives a folder and all in it to the account.
    pub(crate) fn own(self, path: &Path) -> Result<(), String> {
        let Some((uid, gid)) = self.0 else { return Ok(()) };
        let owner = format!("{uid}:{gid}");
        output(Command::new("chown").arg("-R").arg(owner).arg(path)).map(|_| ())
    }

    /// Gives one file or folder, not what is in it, to the account.
    pub(crate) fn own_one(self, path: &Path) -> Result<(), String> {
        let Some((uid, gid)) = self.0 else { return Ok(()) };
        chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
            .map_err(|e| format!("chown {}: {e}", path.display()))
    }

    /// Whether the account can walk to this path; a checkout below /root is closed to `nobody`.
    pub(crate) fn can_reach(self, path: &Path) -> bool {
        let others_may_enter =
            |dir: &Path| fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
        self.0.is_none() || path.ancestors().skip(1).all(others_may_enter)
    }
}

/// A folder for temporary files that the servers' account can reach, short enough for a socket's path (107 bytes).
pub(crate) fn temp_base() -> PathBuf {
    const LONGEST: usize = 60;
    let dir = std::env::temp_dir();
    let is_fit = dir.as_os_str().len() <= LONGEST && Account::for_servers().can_reach(&dir.join("x"));
    if is_fit { dir } else { PathBuf::from("/tmp") }
}

/// A port that nobody listens on now. Another process may take it before the server does; the caller then picks again.
pub(crate) fn pick_port() -> u16 {
    loop {
        let port = rand::rng().random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs blocking work off the runtime, so that a test's other tasks go on.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("the blocking work panicked; its message is above")
}

/// Runs a command to its end and returns its standard output; anything but success is an error with what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() {
        return Ok(text(&done.stdout));
    }
    Err(format!("{command:?}: {}\n{}{}", done.status, text(&done.stdout), text(&done.stderr)))
}

/// Whether a process runs; one that has ended but was not waited for does not.
pub(crate) fn is_running(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name in parentheses may hold anything, parentheses too; the state is the first word after the last one.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// A running server with the shell that watches over it. Dropping it ends the server and removes its folder.
pub(crate) struct Supervised {
    shell: Child,
    pipe: Option<ChildStdin>,
    pid: Pid,
}

impl Supervised {
    /// Starts `server`, which writes its output to the end of `log`. When the server is abandoned, it gets the signal `last` and `dir`
    /// is removed.
    pub(crate) fn start(
        server: &[String],
        dir: &Path,
        log: &Path,
        last: Signal,
    ) -> Result<Supervised, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SUPERVISE, "supervise"]).arg(dir).arg(log);
        command.arg(last.as_str().trim_start_matches("SIG")).args(server);
        // A group of its own: an interrupt typed at the terminal, or a test runner that kills the test's group, must not
        // end the shell before the server. It does its job when our end of the pipe closes.
        command.current_dir(dir).process_group(0);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("MYSQL") || text.starts_with("MARIADB") {
                command.env_remove(name);
            }
        }
        Account::for_servers().apply(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let pipe = shell.stdin.take();
        let mut word = String::new();
        let stdout = shell.stdout.take().ok_or("the shell has no output")?;
        BufReader::new(stdout)
            .read_line(&mut word)
            .map_err(|e| format!("cannot read the server's pid: {e}"))?;
        let pid = word.trim().parse().map_err(|e| format!("the shell printed {word:?} for a pid: {e}"))?;
        Ok(Supervised { shell, pipe, pid: Pid::from_raw(pid) })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal that ends the server, waits until it has ended, and keeps its folder.
    pub(crate) fn stop(mut self, signal: Signal) {
        // It may have ended by itself, which is what we want.
        kill(self.pid, signal).ok();
        let start = Instant::now();
        while is_running(self.pid) {
            if start.elapsed() > STOP_TIMEOUT {
                kill(self.pid, Signal::SIGKILL).ok();
            }
            sleep(POLL);
        }
        if let Some(mut pipe) = self.pipe.take() {
            pipe.write_all(b"stopped\n").ok();
        }
        self.shell.wait().ok();
    }

    /// Kills the server and its children at once, as the kernel does when memory runs out, and keeps its folder.
    pub(crate) fn kill9(self) {
        // Children first listed, then killed after the parent: none of them gets the time to react to its end.
        let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap_or_default();
        let children: Vec<Pid> =
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect();
        kill(self.pid, Signal::SIGKILL).ok();
        for child in children {
            kill(child, Signal::SIGKILL).ok();
        }
        self.stop(Signal::SIGKILL);
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.pipe.take().is_some() {
            self.shell.wait().ok();
        }
    }
}
