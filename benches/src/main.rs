//! Side-by-side measurements, and the demo.
//!
//! Each bench prints a table and writes `target/bench/NAME-SERVER.json`. Figures that are ratios or clients' latencies come from
//! one run on one server: what is compared stood side by side. Only the built binary is measured, never the crates behind it.

mod apply;
mod demo;
mod figure;
mod load;
mod memory;
mod migration;
mod stall;
mod table;
mod total;

use clap::{Parser, ValueEnum};
use figure::Record;
use shadowswap_testkit::{Postgres, Version};
use std::process::ExitCode;

/// Measure shadowswap beside what it replaces, on private servers.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// What to measure; all of it unless said. `demo` is only run by name
    #[arg(value_enum)]
    names: Vec<Bench>,
    /// Small numbers: shows that it runs, measures nothing
    #[arg(long)]
    quick: bool,
    /// Which server
    #[arg(long, value_enum, default_value_t = Server::Apt)]
    server: Server,
    /// The server's own default settings, but for logical decoding, in place of an operator's
    #[arg(long)]
    stock: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// How long clients wait around 20 cutovers
    Stall,
    /// The whole run on an idle server beside a blocking ALTER
    Total,
    /// Changes applied a second
    Apply,
    /// What clients feel while a table of a million rows is changed
    Load,
    /// Memory of the process while one transaction changes every row
    Memory,
    /// The demo
    Demo,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// The distribution's
    Apt,
    /// 18, from the wheel
    Pip,
    /// One after the other
    All,
}

/// What every bench gets.
struct Setting {
    server: Postgres,
    is_quick: bool,
}

impl Setting {
    /// The numbers that count, or those of a smoke run.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }
}

/// A server as an operator would run it on this machine: it syncs, and checkpoints do not come thick and fast.
async fn server(version: Version, is_stock: bool) -> Postgres {
    let settings: &[(&str, &str)] = &[
        ("shared_buffers", "1GB"),
        ("max_wal_size", "8GB"),
        ("maintenance_work_mem", "256MB"),
        ("checkpoint_timeout", "15min"),
    ];
    let settings = if is_stock { &settings[..0] } else { settings };
    let builder = Postgres::builder(version).fsync(true);
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

async fn measure(bench: Bench, setting: &Setting) -> Record {
    match bench {
        Bench::Stall => stall::measure(setting).await,
        Bench::Total => total::measure(setting).await,
        Bench::Apply => apply::measure(setting).await,
        Bench::Load => load::measure(setting).await,
        Bench::Memory => memory::measure(setting).await,
        Bench::Demo => unreachable!("the demo is no bench"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.names.contains(&Bench::Demo) {
        return demo::run(cli.quick).await;
    }
    let all = vec![Bench::Stall, Bench::Total, Bench::Apply, Bench::Load, Bench::Memory];
    let benches = if cli.names.is_empty() { all } else { cli.names };
    let versions = match cli.server {
        Server::Apt => vec![Version::Apt],
        Server::Pip => vec![Version::Pip],
        Server::All => vec![Version::Apt, Version::Pip],
    };
    let mut are_met = true;
    for version in versions {
        for bench in &benches {
            let setting = Setting { server: server(version, cli.stock).await, is_quick: cli.quick };
            let record = measure(*bench, &setting).await;
            println!("{record}");
            record.save(cli.quick);
            are_met &= record.is_met();
        }
    }
    // A smoke run shows that everything runs; its numbers mean nothing.
    if are_met || cli.quick { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
