//! What was measured, as a table and as JSON.

use crate::server::Server;
use serde::Serialize;
use shadowswap_testkit::target_dir;
use std::{fmt, fs, thread, time::Duration};

/// One number.
#[derive(Serialize)]
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// The largest value that is good enough, or the smallest where `is_floor`.
    target: Option<f64>,
    met: Option<bool>,
    #[serde(skip)]
    is_floor: bool,
}

/// All numbers of a bench on one server.
#[derive(Serialize)]
pub struct Record {
    bench: &'static str,
    #[serde(skip)]
    file: String,
    server: String,
    machine: String,
    figures: Vec<Figure>,
}

impl Record {
    /// Without numbers yet.
    pub fn new(bench: &'static str, server: &Server) -> Record {
        let file = format!("{bench}-{}", server.short_name());
        Record { bench, file, server: server.to_string(), machine: machine(), figures: Vec::new() }
    }

    /// A number without a target.
    pub fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit,
            target: None,
            met: None,
            is_floor: false,
        });
    }

    /// A number that must not be larger.
    pub fn at_most(&mut self, name: impl Into<String>, value: f64, unit: &'static str, target: f64) {
        let met = Some(value <= target);
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit,
            target: Some(target),
            met,
            is_floor: false,
        });
    }

    /// A number that must not be smaller.
    pub fn at_least(&mut self, name: impl Into<String>, value: f64, unit: &'static str, target: f64) {
        let met = Some(value >= target);
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit,
            target: Some(target),
            met,
            is_floor: true,
        });
    }

    /// The memory of the process against its limit.
    pub fn memory(&mut self, name: impl Into<String>, bytes: u64) {
        self.at_most(name, bytes as f64 / f64::from(1 << 20), "MiB", 64.0);
    }

    /// Whether every target was met.
    pub fn is_met(&self) -> bool {
        self.figures.iter().all(|figure| figure.met != Some(false))
    }

    /// Writes the JSON. A smoke run must not replace a measurement.
    pub fn save(&self, is_quick: bool) {
        let dir = target_dir().join("bench");
        fs::create_dir_all(&dir).expect("the target folder can be written");
        let quick = if is_quick { "-quick" } else { "" };
        let path = dir.join(format!("{}{quick}.json", self.file));
        let json = serde_json::to_string_pretty(self).expect("numbers and texts can be written");
        fs::write(&path, json + "\n").expect("the target folder can be written");
        println!("  {}\n", path.display());
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}, {}", self.bench, self.server, self.machine)?;
        let width = self.figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
        for Figure { name, value, unit, target, met, is_floor } in &self.figures {
            let digits = if *value >= 1000.0 { 0 } else { 2 };
            let sign = if *is_floor { "≥" } else { "≤" };
            let target = target.map_or_else(String::new, |target| format!("{sign} {target}"));
            let met = match met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let line = format!("  {name:<width$}  {value:>12.digits$} {unit:<6} {target:<9} {met}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Cores, memory, and how busy others keep the machine: figures of a machine with much other work on it are to be read with care.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/meminfo");
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gib = kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / f64::from(1 << 20);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!("{cores} cores, {gib:.0} GiB, load before {load}")
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The middle of some numbers.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The largest of some numbers.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}
