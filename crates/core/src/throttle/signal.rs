//! What a signal is, and where the operator's own come from.

use super::board::{Read, STALE_AFTER};
use crate::engine::Load;
use std::{fmt, future::Future, pin::Pin, str::FromStr, time::Duration};
use tokio::{sync::watch, time::Instant};

/// A reading under way. Dropping it must be harmless.
pub type Sampling<'a> = Pin<Box<dyn Future<Output = Read> + Send + 'a>>;

/// One thing that may speak against copying. Its limit and recovery level are the operator's: see [`super::limit::Limit`].
pub trait Signal: Send + 'static {
    /// The name under which it has a limit, and is shown while it holds the run.
    fn name(&self) -> &str;
    /// Reads it. Cancel-safe; bounded by the sampler.
    fn sample(&mut self) -> Sampling<'_>;
    /// How often it is read.
    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// What was read of the server is looked at this often.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the engine read of the server last, and when.
#[derive(Clone, Debug)]
pub struct Loads(pub(crate) watch::Receiver<Option<(Instant, Result<Load, String>)>>);

impl Loads {
    /// A value of the newest reading; waits for the first.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn read(&self, name: &str, value: impl FnOnce(&Load) -> Read) -> Read {
        let mut loads = self.0.clone();
        // The reader is gone only when everything ends.
        drop(loads.wait_for(Option::is_some).await);
        let latest = self.0.borrow();
        let Some((at, load)) = latest.as_ref() else { return Err("no reading yet".to_string()) };
        if at.elapsed() > STALE_AFTER {
            return Err(format!("no reading for {} s", at.elapsed().as_secs()));
        }
        let load = load.as_ref().map_err(Clone::clone)?;
        match load.unreadable.get(name) {
            Some(why) => Err(why.clone()),
            None => value(load),
        }
    }
}

/// What only some servers have.
pub(super) fn given(value: Option<f64>) -> Read {
    value.map(Some).ok_or_else(|| "this server has no such reading".to_string())
}

/// Where a signal of the operator's own is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A query that gives one number.
    Sql(String),
    /// A URL that answers with a number, or with nothing.
    Url(String),
    /// A command that prints a number, or nothing.
    Command(String),
}

impl FromStr for Source {
    type Err = String;

    /// `select …`, `with …` and `show …` are SQL, `http://…` and `https://…` a URL, everything else a command for the shell. `sql:` and
    /// `command:` in front leave no doubt.
    fn from_str(text: &str) -> Result<Source, String> {
        let text = text.trim();
        let begins = |word: &str| {
            text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
                && text.get(word.len()..).is_some_and(|rest| rest.starts_with(char::is_whitespace))
        };
        let source = match text {
            _ if text.starts_with("http://") || text.starts_with("https://") => Source::Url(text.into()),
            _ if ["select", "with", "show", "values"].iter().any(|word| begins(word)) => {
                Source::Sql(text.into())
            }
            _ => match (text.strip_prefix("sql:"), text.strip_prefix("command:")) {
                (Some(sql), _) => Source::Sql(sql.trim().into()),
                (None, Some(command)) => Source::Command(command.trim().into()),
                (None, None) => Source::Command(text.into()),
            },
        };
        let (Source::Sql(inner) | Source::Url(inner) | Source::Command(inner)) = &source;
        if inner.is_empty() { Err("there is nothing to read".into()) } else { Ok(source) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Sql(text) => write!(f, "sql:{text}"),
            Source::Url(text) => f.write_str(text),
            Source::Command(text) => write!(f, "command:{text}"),
        }
    }
}

/// A signal of the operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// Its name.
    pub name: String,
    /// Where it is read.
    pub source: Source,
}

impl FromStr for Custom {
    type Err = String;

    fn from_str(text: &str) -> Result<Custom, String> {
        let wrong = || {
            format!(
                "{text:?} is not NAME=SOURCE; write it like \"queue=select count(*) from jobs\" or pager=https://…"
            )
        };
        let (name, source) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.trim();
        if !super::limit::is_name(name) {
            return Err(wrong());
        }
        if super::limit::unit(name).is_some() || name == super::limit::FLAG_FILE {
            return Err(format!("{name} is the name of a signal that is there already; choose another"));
        }
        Ok(Custom { name: name.to_string(), source: source.parse().map_err(|e| format!("{name}: {e}"))? })
    }
}

/// What a query, a page or a command said: a number, `true` or `false`, or nothing, which is 0.
pub fn number(text: &str) -> Result<f64, String> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(first) = first else { return Ok(0.0) };
    match first.to_ascii_lowercase().as_str() {
        "t" | "true" | "on" | "yes" => Ok(1.0),
        "f" | "false" | "off" | "no" | "ok" => Ok(0.0),
        _ => first.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(|| {
            let shown: String = first.chars().take(60).collect();
            format!("{shown:?} is no number")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let source = |text: &str| text.parse::<Source>().unwrap();
        assert_eq!(source("SELECT count(*) from jobs"), Source::Sql("SELECT count(*) from jobs".into()));
        assert_eq!(source("https://a.b/c?d=e"), Source::Url("https://a.b/c?d=e".into()));
        assert_eq!(source("selector --run"), Source::Command("selector --run".into()));
        assert_eq!(source("sql: table jobs"), Source::Sql("table jobs".into()));
        assert_eq!(source("command:select me"), Source::Command("select me".into()));
        for text in ["select 1", "https://a/b", "test -e x"] {
            assert_eq!(source(&source(text).to_string()), source(text));
        }
        let custom: Custom = "queue=select n from q where a=1".parse().unwrap();
        assert_eq!(
            (custom.name.as_str(), custom.source),
            ("queue", Source::Sql("select n from q where a=1".into()))
        );
        for text in ["queue", "=select 1", "queue=", "a b=select 1", "lag=select 1", "x=sql:"] {
            assert!(text.parse::<Custom>().is_err(), "{text}");
        }
    }

    #[test]
    fn answers_are_numbers_or_refused() {
        assert_eq!(number("\n 12.5\nmore"), Ok(12.5));
        assert_eq!((number(""), number("true"), number("f")), (Ok(0.0), Ok(1.0), Ok(0.0)));
        assert!(number("<html>").is_err() && number("NaN").is_err());
    }
}
