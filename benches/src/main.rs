//! Side-by-side measurements, and the demo.
//!
//! Each bench prints a table and writes `target/bench/NAME-SERVER.json`. Figures that are ratios or clients' latencies come from
//! one run on one server: what is compared stood side by side. Only the built binary is measured, never the crates behind it.

mod apply;
mod back;
mod client;
mod demo;
mod felt;
mod figure;
mod foreground;
mod held;
mod load;
mod memory;
mod migration;
mod server;
mod stall;
mod table;
mod total;

use clap::{Parser, ValueEnum};
use figure::Record;
use server::{Kind, Server};
use shadowswap_testkit::load::Report;
use shadowswap_testkit::{Product, Version};
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
    #[arg(long, value_enum, default_value_t = Choice::Apt)]
    server: Choice,
    /// The server's own default settings, but for what decoding its log needs and for syncing, in place of an operator's
    #[arg(long)]
    stock: bool,
    /// Rows of the table that `load` (a million unless said) and `foreground` (200,000) change
    #[arg(long)]
    rows: Option<u64>,
    /// Only those parts of `load` (`closed`, `defaults`, `gentle`) and `foreground` (`defaults`, `off`) whose names contain this, or those cases
    /// of `memory` (`transaction`, `backlog`, `rows`)
    #[arg(long)]
    only: Option<String>,
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
    /// What clients feel of a run at its defaults, and of one without a throttle
    Foreground,
    /// How long clients wait around 20 roll backs
    RollbackStall,
    /// How long clients wait while somebody holds the table at cutover for minutes
    Held,
    /// Memory of the process: a transaction of every row, a backlog of millions, rows of 50 MB
    Memory,
    /// The demo
    Demo,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// The distribution's PostgreSQL
    Apt,
    /// PostgreSQL 18, from the wheel
    Pip,
    /// One PostgreSQL after the other
    All,
    /// MySQL
    Mysql,
    /// The distribution's MariaDB
    Mariadb,
}

impl Choice {
    fn kinds(self) -> Vec<Kind> {
        match self {
            Choice::Apt => vec![Kind::Postgres(Version::Apt)],
            Choice::Pip => vec![Kind::Postgres(Version::Pip)],
            Choice::All => vec![Kind::Postgres(Version::Apt), Kind::Postgres(Version::Pip)],
            Choice::Mysql => vec![Kind::Mysql(Product::MySql)],
            Choice::Mariadb => vec![Kind::Mysql(Product::MariaDb)],
        }
    }
}

/// What every bench gets.
struct Setting {
    server: Server,
    is_quick: bool,
    rows: Option<u64>,
    only: Option<String>,
}

impl Setting {
    /// The numbers that count, or those of a smoke run.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }

    /// Statements that gave way in a deadlock or waited too long for a lock: where they happen, clients must expect them of the server.
    fn conflicts(&self, record: &mut Record, prefix: &str, report: &Report) {
        if matches!(self.server, Server::Mysql(_)) {
            let many: u64 = report.conflicts.values().sum();
            record.note(format!("{prefix}statements that gave way"), many as f64, "");
        }
    }
}

async fn measure(bench: Bench, setting: &Setting) -> Record {
    match bench {
        Bench::Stall => stall::measure(setting).await,
        Bench::Total => total::measure(setting).await,
        Bench::Apply => apply::measure(setting).await,
        Bench::Load => load::measure(setting).await,
        Bench::Foreground => foreground::measure(setting).await,
        Bench::RollbackStall => back::measure(setting).await,
        Bench::Held => held::measure(setting).await,
        Bench::Memory => memory::measure(setting).await,
        Bench::Demo => unreachable!("the demo is no bench"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.names.contains(&Bench::Demo) {
        return match cli.server.kinds()[..] {
            [kind] => demo::run(kind, cli.quick).await,
            _ => {
                eprintln!("bench: the demo runs on one server");
                ExitCode::FAILURE
            }
        };
    }
    let all = vec![
        Bench::Stall,
        Bench::RollbackStall,
        Bench::Held,
        Bench::Total,
        Bench::Apply,
        Bench::Load,
        Bench::Foreground,
        Bench::Memory,
    ];
    let benches = if cli.names.is_empty() { all } else { cli.names };
    let mut are_met = true;
    for kind in cli.server.kinds() {
        for bench in &benches {
            let server = Server::start(kind, cli.stock).await;
            let setting = Setting { server, is_quick: cli.quick, rows: cli.rows, only: cli.only.clone() };
            let record = measure(*bench, &setting).await;
            println!("{record}");
            record.save(cli.quick);
            are_met &= record.is_met();
        }
    }
    // A smoke run shows that everything runs; its numbers mean nothing.
    if are_met || cli.quick { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
