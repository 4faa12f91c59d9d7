use super::*;
use clap::CommandFactory as _;

fn help(command: &str) -> String {
    let mut cli = Cli::command();
    cli.build();
    match command {
        "" => cli.render_long_help().to_string(),
        name => cli.find_subcommand_mut(name).unwrap().render_long_help().to_string(),
    }
}

fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["shadowswap"], words].concat())
}

#[test]
fn definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn help_names_everything_in_the_contract() {
    let top = help("");
    for name in [
        "plan",
        "run",
        "status",
        "pause",
        "resume",
        "throttle",
        "history",
        "wait",
        "cleanup",
        "cutover",
        "abort",
        "rollback",
        "finish",
        "verify",
        "completions",
        "man",
    ] {
        assert!(top.contains(&format!("\n  {name} ")), "{name}:\n{top}");
    }
    for part in [
        "Examples:\n  # What would happen?",
        "Exit codes:\n  0  done\n",
        "  7  another runner holds this migration",
        "SHADOWSWAP_URL",
    ] {
        assert!(top.contains(part), "{part}:\n{top}");
    }
    let run = help("run");
    for flag in [
        "--table",
        "--alter",
        "--set ",
        "--set-back",
        "--file",
        "--strategy",
        "--indexes",
        "--cutover ",
        "--copy-window",
        "--stall-budget",
        "--cutover-attempts",
        "--max-lag",
        "--max-replica-lag",
        "--replica ",
        "--max-load",
        "--throttle ",
        "--critical ",
        "--signal ",
        "--flag-file",
        "--blackout",
        "--overload-after",
        "--hook",
        "--watch ",
        "--limit ",
        "--watch-for",
        "--rollback ",
        "--chunk-time",
        "--copy-workers",
        "--guard ",
        "--guard-retention",
        "--drop-old",
        "--no-verify",
        "--log-directory",
        "--log-memory",
        "--log-disk",
        "--spool",
        "--dry-run",
        "--progress",
        "--yes",
        "--plan-id",
        "--json",
        "--control-schema",
        "--url",
        "--defaults-file",
        "--verbose",
    ] {
        assert!(run.contains(flag), "{flag}:\n{run}");
    }
}

#[test]
fn help_groups_flags_by_what_they_are_for() {
    let run = help("run");
    let places: Vec<_> =
        ["What to change:", "When to swap:", "How gently:", "Resources:", "Running:", "Everywhere:"]
            .iter()
            .map(|heading| run.find(heading).unwrap_or_else(|| panic!("{heading}:\n{run}")))
            .collect();
    assert!(places.is_sorted(), "{run}");
    assert!(run.contains("stall-budget = \"50ms\"") && run.contains("SIGTERM"), "{run}");
}

#[test]
fn defaults_in_help_are_the_defaults() {
    use crate::units::{duration_text, size_text};
    let (run, d) = (help("run").replace('\n', " "), shadowswap_core::Config::default());
    let run = run.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        format!("attempt to swap [default: {}]", duration_text(d.stall_budget)),
        format!("exit code 5 [default: {}]", d.cutover_attempts),
        format!("the shadow is further behind than this [default: {}]", duration_text(d.max_lag)),
        format!("one chunk should take [default: {}]", duration_text(d.chunk_time)),
        format!("copy and compare [default: {}]", d.copy_workers),
        format!("Memory for changes that wait [default: {}]", size_text(d.log_memory as u64)),
        format!("change stream for it than this [default: {}]", size_text(d.guard_retention)),
        format!("Disk for changes that wait [default: {}]", size_text(d.log_disk)),
        format!("[default: {}]", crate::config::CONTROL_SCHEMA),
    ] {
        assert!(run.contains(&text), "{text}:\n{run}");
    }
}

#[test]
fn what_comes_later_is_known_and_marked() {
    let top = help("");
    assert_eq!(top.matches("(not available in this version)").count(), 0, "{top}");
    for words in [
        &["throttle", "--table", "orders", "max-lag=1s"][..],
        &["rollback", "--table", "orders", "--yes", "--stall-budget", "20ms"],
        &["finish", "--drop-old"],
        &["finish"],
    ] {
        assert!(parse(words).is_ok(), "{words:?}");
    }
    let e = parse(&["rollback", "--help"]).err().map(|e| e.kind());
    assert_eq!(e, Some(clap::error::ErrorKind::DisplayHelp));
}

#[test]
fn flags_may_stand_on_either_side_of_the_command() {
    for words in [
        &["--json", "--url", "postgres://db/shop", "status"][..],
        &["status", "--url", "postgres://db/shop", "--json"],
    ] {
        let cli = parse(words).unwrap();
        assert!(cli.common.json && cli.common.url.as_deref() == Some("postgres://db/shop"));
    }
}

#[test]
fn values_that_begin_with_a_dash_or_hold_commas_stay_whole() {
    let cli = parse(&[
        "run",
        "--table",
        "t",
        "--alter",
        "ADD COLUMN a int, ADD COLUMN b int",
        "--alter",
        "DROP COLUMN c",
    ])
    .unwrap();
    let Command::Run(run) = cli.command else { panic!("not run") };
    assert_eq!(run.choices.alter, ["ADD COLUMN a int, ADD COLUMN b int", "DROP COLUMN c"]);
}

#[test]
fn unknown_words_are_wrong_usage() {
    for words in [
        &["run", "--strategy", "magic"][..],
        &["run", "--frob"],
        &["frob"],
        &["run", "--progress", "loud"],
        &[],
    ] {
        assert_eq!(parse(words).err().map(|e| e.exit_code()), Some(2), "{words:?}");
    }
}
