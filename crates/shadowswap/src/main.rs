//! shadowswap changes the schema of a large, hot table without anybody noticing.
//!
//! `args` is what can be typed; `config` gives it meaning; `command` carries it out with the core and an engine; `output` shows it;
//! `exit` turns errors into text and exit codes. There is no migration logic here.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod command;
mod config;
mod environment;
mod exit;
mod file;
mod output;
mod signals;
use shadowswap_core::units;
mod url;
mod who;

use crate::{
    args::Cli,
    exit::Failure,
    output::{Output, Stderr},
};
use clap::Parser as _;
use shadowswap_core::Error;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Two threads carry all tasks: the work is the server's, and each thread costs memory.
const THREADS: usize = 2;

fn main() -> ExitCode {
    environment::settle();
    let cli = Cli::parse();
    let output = Output::new(cli.common.json);
    #[cfg(feature = "mutations")]
    if std::env::var_os("SHADOWSWAP_TEST_LIST_PLACES").is_some() {
        shadowswap_core::failpoint::Place::all().for_each(|place| output::out(&place.name()));
        return exit::DONE.into();
    }
    log(cli.common.verbose, output);
    let ended = runtime().and_then(|runtime| {
        let ended = runtime.block_on(command::dispatch(cli, output));
        // A task that waits for a server which does not answer must not keep the process.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(code) => code.into(),
        Err(failure) => {
            if output.json {
                output::out(&failure.json());
            } else {
                output::err(&failure.text(output.error_style));
            }
            failure.code().into()
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // Fails only if a provider is installed already, and then there is one.
    drop(rustls::crypto::ring::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|e| Error::transient("could not start").because(e).into())
}

/// The log goes to stderr; RUST_LOG goes before `-v`.
fn log(verbose: u8, output: Output) {
    let level = match verbose {
        0 => "warn",
        1 => "warn,shadowswap=info",
        2 => "info,shadowswap=debug",
        3.. => "debug,shadowswap=trace",
    };
    let wanted = std::env::var("RUST_LOG").ok().filter(|v| !v.trim().is_empty());
    let filter =
        wanted.as_deref().and_then(|v| EnvFilter::try_new(v).ok()).unwrap_or_else(|| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(output.error_style.has_color)
        .with_target(verbose > 1)
        .with_writer(|| Stderr)
        .init();
}
