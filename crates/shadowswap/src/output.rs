//! Everything that is written. Nothing here may panic or fail a run: a reader may close its end at any time.

pub mod bar;
pub mod json;
pub mod text;

use indicatif::ProgressBar;
use std::{
    io::{self, IsTerminal as _, Write},
    sync::OnceLock,
};
use text::Style;

/// The bar on stderr, if there is one: other lines have to make it step aside.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// How to write, decided once.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON on stdout.
    pub json: bool,
    /// For stdout.
    pub style: Style,
    /// For stderr.
    pub error_style: Style,
    /// A person can be asked.
    pub is_interactive: bool,
}

impl Output {
    /// Looks at the terminal and the environment.
    pub fn new(json: bool) -> Output {
        let (out, error) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Output {
            json,
            style: Style::detect(out),
            error_style: Style::detect(error),
            is_interactive: io::stdin().is_terminal() && error,
        }
    }

    /// Tells a person something on stderr; not with `--json`.
    pub fn say(&self, text: &str) {
        if !self.json {
            err(text);
        }
    }

    /// Warns on stderr.
    pub fn warn(&self, text: &str) {
        err(&format!("{} {text}", self.error_style.yellow("warning:")));
    }

    /// Asks a question that is answered by `y` or by anything else, which is no.
    pub fn ask(&self, question: &str) -> bool {
        let mut answer = String::new();
        drop(write!(io::stderr(), "{question} [y/N] "));
        match io::stdin().read_line(&mut answer) {
            Ok(_) => matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
            Err(_) => false,
        }
    }
}

/// A line to stdout.
pub fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    drop(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// A line to stderr, above the bar.
pub fn err(text: &str) {
    // In one piece: the bar comes back after each.
    drop(Stderr.write_all(format!("{text}\n").as_bytes()));
}

/// Stderr above the bar; the log writes here.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write_all(bytes);
        match BAR.get() {
            Some(bar) => bar.suspend(write)?,
            None => write()?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The bar, made when it is first needed.
fn bar() -> &'static ProgressBar {
    BAR.get_or_init(ProgressBar::no_length)
}
