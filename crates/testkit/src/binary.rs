//! Runs the built `shadowswap` binary as an operator would: arguments and environment in, output and exit code out.
//!
//! The binary must have been built; `cargo test -p` of another package does not do that, `scripts/test` does.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::target::{profile_dir, target_dir};

/// How often memory is sampled. The kernel keeps the peak itself, so only growth in the last moment goes unseen.
const SAMPLE: Duration = Duration::from_millis(10);

/// How often output is looked at by [`Run::saw`].
const POLL: Duration = Duration::from_millis(5);

/// A call of the binary that is being put together.
#[derive(Clone)]
pub struct Binary {
    path: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    dir: Option<PathBuf>,
    stdin: Option<String>,
}

impl Binary {
    /// The binary that was built: `SHADOWSWAP_BIN`, else the one of the profile that the caller was built with, else debug or release.
    ///
    /// # Panics
    /// If there is none.
    pub fn shadowswap() -> Binary {
        let named = ["SHADOWSWAP_BIN", "CARGO_BIN_EXE_shadowswap"].into_iter().find_map(env::var_os);
        let built = || {
            let profiles = [target_dir().join("debug"), target_dir().join("release")];
            let own = profile_dir().into_iter();
            own.chain(profiles).map(|dir| dir.join("shadowswap")).find(|path| path.is_file())
        };
        let path = named.map(PathBuf::from).or_else(built);
        Binary::at(
            path.expect("the binary is not built: run `cargo build -p shadowswap`, or set SHADOWSWAP_BIN"),
        )
    }

    /// Another program.
    pub fn at(path: impl Into<PathBuf>) -> Binary {
        Binary { path: path.into(), args: Vec::new(), env: Vec::new(), dir: None, stdin: None }
    }

    /// Where the program is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Binary {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Binary {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. Those that the test inherited and that begin with `PG`, `MYSQL_` or `SHADOWSWAP_` are not
    /// passed on.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Binary {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// The folder to run in.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Binary {
        self.dir = Some(dir.into());
        self
    }

    /// What the program reads from standard input; nothing unless said.
    pub fn stdin(mut self, text: impl Into<String>) -> Binary {
        self.stdin = Some(text.into());
        self
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// If it does not end before the deadline; the message has its output.
    pub async fn run(self, deadline: Duration) -> Output {
        self.spawn().wait(deadline).await
    }

    /// Starts in the background, on the caller's runtime. It is killed when the value is dropped.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(self) -> Run {
        let mut command = Command::new(&self.path);
        let is_ours =
            |name: &str| ["PG", "MYSQL_", "SHADOWSWAP_"].iter().any(|prefix| name.starts_with(prefix));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)) {
            command.env_remove(name);
        }
        command.args(&self.args).envs(self.env).kill_on_drop(true);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {}: {e}", self.path.display()));
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), self.stdin) {
            // It ends when the text is written or the program has gone.
            tokio::spawn(async move { pipe.write_all(text.as_bytes()).await.ok() });
        }
        let (stdout, stderr) = (Capture::default(), Capture::default());
        let out = child.stdout.take().expect("stdout is a pipe");
        let err = child.stderr.take().expect("stderr is a pipe");
        let readers = [tokio::spawn(stdout.clone().read(out)), tokio::spawn(stderr.clone().read(err))];
        let pid = child.id().expect("a child that was not waited for has an id") as i32;
        let peak = Arc::new(AtomicU64::new(0));
        let sampler = tokio::spawn(sample(pid, Arc::clone(&peak)));
        Run {
            child,
            pid: Pid::from_raw(pid),
            stdout,
            stderr,
            readers,
            peak,
            sampler,
            start,
            call: self.args.join(" "),
        }
    }
}

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    async fn read(self, mut pipe: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// Keeps the greatest resident size until the process is gone.
async fn sample(pid: i32, peak: Arc<AtomicU64>) {
    while let Some(bytes) = peak_rss(pid) {
        peak.fetch_max(bytes, Ordering::Relaxed);
        sleep(SAMPLE).await;
    }
}

fn peak_rss(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// A running call.
pub struct Run {
    child: Child,
    pid: Pid,
    stdout: Capture,
    stderr: Capture,
    readers: [JoinHandle<()>; 2],
    peak: Arc<AtomicU64>,
    sampler: JoinHandle<()>,
    start: Instant,
    call: String,
}

impl Run {
    /// The process's id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process has been waited for.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap_or_else(|e| panic!("cannot send {signal} to `{}`: {e}", self.call));
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has printed to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The greatest resident size so far, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until its output, of either kind, contains a text.
    ///
    /// # Panics
    /// If it does not before the deadline, or if the program ends without it.
    pub async fn saw(&mut self, text: &str, deadline: Duration) {
        let start = Instant::now();
        loop {
            let is_over = self.is_over();
            if self.stdout().contains(text) || self.stderr().contains(text) {
                return;
            }
            let is_late =
                start.elapsed() > deadline || (is_over && self.readers.iter().all(JoinHandle::is_finished));
            assert!(!is_late, "`{}` never printed {text:?}\n{}{}", self.call, self.stdout(), self.stderr());
            sleep(POLL).await;
        }
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If it does not before the deadline; the message has its output, and the process is killed.
    pub async fn wait(mut self, deadline: Duration) -> Output {
        let Ok(waited) = timeout(deadline, self.child.wait()).await else {
            panic!("`{}` still runs after {deadline:?}\n{}{}", self.call, self.stdout(), self.stderr());
        };
        let elapsed = self.start.elapsed();
        let status = waited.unwrap_or_else(|e| panic!("cannot wait for `{}`: {e}", self.call));
        for reader in &mut self.readers {
            // A grandchild may hold the pipe open; what the program itself wrote has been read long before.
            timeout(Duration::from_secs(1), reader).await.ok();
        }
        self.sampler.abort();
        let (stdout, stderr, peak_rss_bytes) = (self.stdout(), self.stderr(), self.peak_rss_bytes());
        Output { status, stdout, stderr, peak_rss_bytes, elapsed, call: self.call }
    }
}

/// What a call left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The greatest resident size seen, in bytes; 0 if it ended before the first look.
    pub peak_rss_bytes: u64,
    /// From start to end.
    pub elapsed: Duration,
    call: String,
}

impl Output {
    /// The exit code, if no signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<Signal> {
        self.status.signal().and_then(|number| Signal::try_from(number).ok())
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// If it is another; the message has all the output.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Output {
        let Output { status, stdout, stderr, call, .. } = &self;
        assert!(
            status.code() == Some(code),
            "`{call}` ended with {status}, not {code}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        );
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Binary {
        Binary::at("/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn output_code_environment_and_input_are_passed_through() {
        let output =
            sh("read x; echo out $x $Y; echo err >&2; exit 7").env("Y", "why").stdin("in\n").run(SOON).await;
        assert_eq!(
            (output.code(), output.stdout.as_str(), output.stderr.as_str()),
            (Some(7), "out in why\n", "err\n")
        );
        output.expect_code(7);
    }

    #[tokio::test]
    async fn signal_ends_background_run() {
        let mut run = sh("echo ready; exec sleep 100").spawn();
        run.saw("ready", SOON).await;
        assert!(!run.is_over());
        run.signal(Signal::SIGKILL);
        assert_eq!(run.wait(SOON).await.signal(), Some(Signal::SIGKILL));
    }

    #[tokio::test]
    async fn peak_memory_is_seen_after_it_was_freed() {
        let output =
            sh("x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 0.1; x=; sleep 0.1").run(SOON).await;
        assert!(output.peak_rss_bytes > 30_000_000, "{output:?}");
    }
}
