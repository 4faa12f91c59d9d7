//! Progress while a run goes on: a bar, plain lines, or JSON.

use super::{bar, err, json, out, text};
use crate::{args, units::human_seconds};
use indicatif::{ProgressDrawTarget, ProgressStyle};
use shadowswap_core::{Phase, progress::Progress};
use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// A line this often, if nothing else happens.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// A JSON object this often.
const JSON_EVERY: Duration = Duration::from_secs(1);
/// The bar is redrawn this often, so that it is alive even where the numbers stand still.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// How progress is shown in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    Bar,
    Plain,
    Json,
    Nothing,
}

impl Show {
    /// What was asked for, or what fits.
    pub fn choose(asked: args::Progress, is_json: bool) -> Show {
        match asked {
            args::Progress::Auto if is_json => Show::Nothing,
            args::Progress::Auto if io::stderr().is_terminal() => Show::Bar,
            args::Progress::Auto | args::Progress::Plain => Show::Plain,
            args::Progress::Bar => Show::Bar,
            args::Progress::Json => Show::Json,
            args::Progress::None => Show::Nothing,
        }
    }
}

/// Shows progress until the run has dropped its end.
pub async fn follow(mut progress: watch::Receiver<Progress>, show: Show, style: text::Style) {
    let every = match show {
        Show::Bar => BAR_EVERY,
        Show::Plain => PLAIN_EVERY,
        Show::Json => JSON_EVERY,
        Show::Nothing => return,
    };
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut watched = Watched::new(show, style);
    let mut is_news = false;
    loop {
        tokio::select! {
            changed = progress.changed() => {
                if changed.is_err() {
                    break;
                }
                is_news = true;
                let now = progress.borrow_and_update().clone();
                if watched.phase(&now) {
                    tick.reset();
                }
            }
            _ = tick.tick() => {
                let now = progress.borrow().clone();
                // Before the runner's first report there are no numbers to show.
                if is_news {
                    watched.show(&now);
                }
            }
        }
    }
    watched.end();
}

struct Watched {
    /// The phase shown last, and since when. `None`: the runner has not reported yet.
    phase: Option<(Phase, Instant)>,
    show: Show,
    style: text::Style,
}

impl Watched {
    fn new(show: Show, style: text::Style) -> Watched {
        if show == Show::Bar {
            bar().set_draw_target(ProgressDrawTarget::stderr());
        }
        Watched { phase: None, show, style }
    }

    /// A new phase is told at once. Returns whether it is new.
    fn phase(&mut self, now: &Progress) -> bool {
        if self.phase.is_some_and(|(phase, _)| phase == now.phase) {
            return false;
        }
        let ended = self.phase.replace((now.phase, Instant::now()));
        if self.show == Show::Bar {
            if let Some((phase, since)) = ended {
                let took = human_seconds(since.elapsed().as_secs_f64());
                err(&format!("{} {:<8} {took}", self.style.passed(), phase.name()));
            }
            bar().set_style(look(now.phase, self.style));
        }
        self.show(now);
        true
    }

    fn show(&self, now: &Progress) {
        match self.show {
            Show::Bar => {
                let (done, total) = text::done(now).unwrap_or((0, 0));
                bar().set_length(total.max(1));
                bar().set_position(done);
                bar().set_prefix(now.phase.name());
                bar().set_message(text::numbers(now).join(", "));
                bar().tick();
            }
            Show::Plain => err(&text::progress_line(now)),
            Show::Json => out(&json::named("progress", now)),
            Show::Nothing => {}
        }
    }

    fn end(&self) {
        match self.show {
            Show::Bar => bar().finish_and_clear(),
            Show::Plain | Show::Json | Show::Nothing => {}
        }
    }
}

/// Only phases that go through rows have a length.
fn look(phase: Phase, style: text::Style) -> ProgressStyle {
    let template = match phase {
        Phase::Copy | Phase::Verify => {
            "{spinner} {prefix:8} {bar:30} {percent:>3}%  {human_pos} of {human_len} rows\n  {wide_msg}"
        }
        Phase::Prepare
        | Phase::Index
        | Phase::Ready
        | Phase::Cutover
        | Phase::Guard
        | Phase::Done
        | Phase::Aborted
        | Phase::RolledBack => "{spinner} {prefix:8} {wide_msg}",
    };
    let look = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    if style.is_unicode {
        look.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
    } else {
        look.progress_chars("#>-").tick_chars("|/-\\ ")
    }
}
