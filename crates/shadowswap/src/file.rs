//! The migration file: the flags' names in TOML. Unknown keys are errors.

use crate::args::Choices;
use serde::{Deserialize, Deserializer, de};
use shadowswap_core::{Error, Result};
use std::{collections::BTreeMap, io::Read, path::Path};

/// More than any migration needs; the wrong file (a dump, a device) is not read into memory.
const BYTES_MAX: u64 = 1 << 20;

/// Reads the file.
///
/// # Errors
/// `Usage`, with the place in the file.
pub fn read(path: &Path) -> Result<Choices> {
    let shown = path.display();
    let failed = |e: std::io::Error| Error::usage(format!("could not read {shown}: {e}"));
    let mut text = String::new();
    // A device says that it has no size.
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(Error::usage(format!(
            "{shown} is no migration file: it has more than {BYTES_MAX} bytes"
        )));
    }
    parse(&text).map_err(|e| {
        Error::usage(format!("{shown} could not be understood\n{}", indent(&e)))
            .next("`shadowswap run --help` shows an example")
    })
}

fn parse(text: &str) -> Result<Choices, String> {
    toml::from_str(text).map_err(|e| e.to_string())
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// `"a"` or `["a", "b"]`.
pub fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    })
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a number")]
enum TextOrNumber {
    Text(String),
    Number(u64),
}

/// `"4"` or `4`.
pub fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(match TextOrNumber::deserialize(from)? {
        TextOrNumber::Text(text) => text,
        TextOrNumber::Number(n) => n.to_string(),
    }))
}

/// A table of columns and expressions, as the flags spell them: `column=expression`.
pub fn assignments<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    BTreeMap::<String, String>::deserialize(from)?
        .into_iter()
        .map(|(column, expression)| match column.contains('=') {
            true => {
                Err(de::Error::custom(format!("the name of a column must not have a = in it: {column:?}")))
            }
            false => Ok(format!("{column}={expression}")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_the_names_of_the_flags() {
        let choices = parse(
            r#"
            table = "sales.orders"
            alter = ["ADD COLUMN domain text", "ALTER COLUMN id TYPE bigint"]
            strategy = "shadow"
            drop-old = true
            cutover = "manual"
            copy-window = "daily 01:00-05:00 UTC"
            stall-budget = "80ms"
            cutover-attempts = 5
            copy-workers = "3"
            max-load = 40
            control-schema = "ops"
            log-directory = "/var/tmp"
            [set]
            domain = "split_part(email, '@', 2)"
            "#,
        )
        .unwrap();
        assert_eq!(choices.table.as_deref(), Some("sales.orders"));
        assert_eq!(choices.alter, ["ADD COLUMN domain text", "ALTER COLUMN id TYPE bigint"]);
        assert_eq!(choices.set, ["domain=split_part(email, '@', 2)"]);
        assert_eq!(choices.copy_window, ["daily 01:00-05:00 UTC"]);
        assert_eq!(
            (choices.cutover_attempts.as_deref(), choices.copy_workers.as_deref()),
            (Some("5"), Some("3"))
        );
        assert!(choices.drop_old && !choices.no_verify);
        assert_eq!(parse("alter = 'ADD COLUMN a int'").unwrap().alter, ["ADD COLUMN a int"]);
    }

    #[test]
    fn unknown_keys_are_errors_that_name_the_key_and_the_line() {
        let said = parse("table = 'orders'\nstall_budget = '50ms'").unwrap_err();
        assert!(
            said.contains("line 2") && said.contains("stall_budget") && said.contains("stall-budget"),
            "{said}"
        );
        assert!(parse("url = 'postgres://db'").is_err());
        assert!(parse("alter = 7").unwrap_err().contains("a text or a list of texts"));
        assert!(parse("[set]\n'a=b' = '1'").unwrap_err().contains("must not have a ="));
    }

    #[test]
    fn file_that_is_not_there_is_wrong_usage() {
        let e = read(Path::new("/nowhere/at-all.toml")).unwrap_err();
        assert_eq!(e.kind, shadowswap_core::Kind::Usage);
        assert!(e.message.starts_with("could not read /nowhere/at-all.toml"));
    }

    #[test]
    fn file_without_end_is_not_read_into_memory() {
        let e = read(Path::new("/dev/zero")).unwrap_err();
        assert!(e.message.contains("more than 1048576 bytes"), "{e}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(
            key in proptest::sample::select(vec!["table", "alter", "set.a", "cutover", "guard", "max-load", "copy-window", "blackout",
                "throttle", "critical", "signal", "watch", "limit", "stall-budget", "log-memory", "log-disk", "spool", "chunk-time"]),
            value in "[a-zA-Z0-9:=.,;%+ \\-/é]{0,40}",
            raw in "[a-z\"'=\\[\\]{}.,# \n0-9é-]{0,60}",
        ) {
            let _ = parse(&raw);
            if let Ok(choices) = parse(&format!("table = 't'\n{key} = '{value}'")) {
                let _ = crate::config::intent(Choices::default(), choices);
            }
            let _ = crate::url::Url::parse(&raw, "--url").map(|url| (url.has_password(), url.is_mysql()));
            let _ = crate::url::Url::parse(&format!("postgres://{value}"), "--url").map(|url| url.has_password());
        }

        /// As windows and times are written, or nearly: these go through a calendar.
        #[test]
        fn no_window_makes_it_panic(
            days in "(Mon|Tue-Fri|daily|Sun-Mon|Fri,Sat|Xyz)?",
            from in "[0-9]{1,3}:[0-9]{1,3}", to in "[0-9]{1,3}:[0-9]{1,3}",
            zone in "(UTC|Europe/Berlin|Nowhere/Else|[+-][0-9]{1,3})?",
            date in "[0-9]{1,5}-[0-9]{1,3}-[0-9]{1,3}", time in "[0-9]{1,20}(ms|s|m|h|d|w|KiB|GiB|e9)?",
        ) {
            let set = |name: &str, value: &str| shadowswap_core::setting::parse(&format!("{name}={value}"));
            let now = jiff::Timestamp::UNIX_EPOCH;
            if let Ok(windows) = format!("{days} {from}-{to} {zone}").parse::<shadowswap_core::window::Windows>() {
                let _ = (windows.is_open(now), windows.closes_at(now), windows.next_open(now));
            }
            let _ = (set("blackout", &format!("{date}..{date}")), set("chunk-time", &time), set("retained", &time));
            let _ = (set("max-lag", &format!("{time}..{time}")), set("cutover", &format!("{days} {from}-{to}")), set("max-load", &time));
        }
    }
}
