use super::*;
use crate::{
    args::Choices,
    command::fake,
    config::{Intent, intent},
};
use jiff::Timestamp;
use shadowswap_core::{control::LoggedEvent, plan::Finding};

fn settings() -> Intent {
    let flags = Choices {
        table: Some("orders".into()),
        stall_budget: Some("80ms".into()),
        log_directory: Some("/tmp".into()),
        ..Choices::default()
    };
    intent(flags, Choices::default()).unwrap()
}

fn now() -> Timestamp {
    "2026-01-05T10:10:00Z".parse().unwrap()
}

fn copying() -> Progress {
    Progress {
        rows_copied: 430_000,
        rows_total: 1_000_000,
        rows_per_second: 52_000.4,
        chunk_ms: 180.2,
        lag_ms: 40.0,
        backlog: 1200,
        eta_s: Some(11.0),
        changes: 12_345,
        changes_per_second: 300.0,
        retained_bytes: 12 << 20,
        ..Progress::new(Phase::Copy)
    }
}

#[test]
fn plan_shows_everything_on_one_page() {
    let mut p = fake::plan(&fake::request("orders"), "public");
    p.id = "3f9a1c20d4be".into();
    p.findings.insert(0, Finding::warning("replicas", "a replica is 3 s behind", "say --max-replica-lag"));
    let text = plan(&p, &settings().settings, Style::PLAIN);
    let expected = include_str!("tests/plan.txt");
    assert_eq!(text, expected.trim_end(), "\n{text}");
}

#[test]
fn refused_plan_says_so_at_its_end() {
    let mut p = fake::plan(&fake::request("orders"), "public");
    p.findings.push(Finding::refused("wal-level", "wal_level is replica", "set it to logical"));
    let style = Style { is_unicode: true, has_color: false };
    let text = plan(&p, &[], style);
    assert!(text.ends_with(&format!("plan {}: refused by one check", p.id)), "{text}");
    assert!(
        text.contains("  ✗ wal-level  wal_level is replica\n               next: set it to logical"),
        "{text}"
    );
    assert!(text.contains("← id integer"), "{text}");
}

#[test]
fn status_shows_phase_progress_runner_and_events() {
    let mut s = fake::status("public", "orders", Phase::Copy);
    s.progress = Some(Progress { throttled: Some("paused by an operator".into()), ..copying() });
    s.paused = true;
    s.events.push(LoggedEvent { at: "not a time".into(), who: "ann@web1".into(), what: "pause".into() });
    let text = status(&[s], now(), Style::PLAIN);
    for line in [
        "public.orders  copy 43%, paused  (migration 3, plan 3f9a1c20d4be)",
        "  change    ADD COLUMN note text",
        "  runner    web1:4121, last heard of 2 s ago",
        "  progress  430,000 of 1,000,000 rows, 52,000 rows/s, 11 s left, lag 40 ms, backlog 1,200, chunk 180 ms",
        "  applied   12,345 changes, 300/s; 1,200 wait; the server keeps 12 MiB for us",
        "  held      paused by an operator",
        "  events    not a time ann@web1  pause",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.contains("10 min ago"), "{text}");
    assert_eq!(status(&[], now(), Style::PLAIN), "no migrations");
}

#[test]
fn abandoned_migration_says_how_to_go_on() {
    let mut s = fake::status("public", "orders", Phase::Ready);
    (s.runner, s.error) = (None, Some("the connection was lost".into()));
    let text = status(&[s], now(), Style::PLAIN);
    assert!(text.contains("none since 2 s ago: run the same command again to go on, or `shadowswap abort --table public.orders`"), "{text}");
    assert!(text.contains("  error     the connection was lost"), "{text}");
}

#[test]
fn state_never_claims_a_swap_that_was_not() {
    for phase in [
        Phase::Prepare,
        Phase::Copy,
        Phase::Index,
        Phase::Verify,
        Phase::Ready,
        Phase::Cutover,
        Phase::Aborted,
    ] {
        let text = state(&fake::status("public", "orders", phase));
        assert!(text.contains("in use and unchanged") && !text.contains("swap is done"), "{text}");
    }
    for phase in [Phase::Guard, Phase::Done] {
        assert!(state(&fake::status("public", "orders", phase)).contains("swap is done"));
    }
}

#[test]
fn progress_is_one_line() {
    assert_eq!(
        progress_line(&copying()),
        "copy      43%  430,000 of 1,000,000 rows, 52,000 rows/s, 11 s left, lag 40 ms, backlog 1,200, chunk 180 ms"
    );
    let ready = Progress { detail: Some("in step; waiting".into()), ..Progress::new(Phase::Ready) };
    assert_eq!(progress_line(&ready), "ready    in step; waiting, lag 0.0 ms");
    assert_eq!(progress_line(&Progress::new(Phase::Guard)), "guard");
}

#[test]
fn hundred_per_cent_means_all_of_it() {
    let p = |rows_copied, rows_total| {
        percent(&Progress { rows_copied, rows_total, ..Progress::new(Phase::Copy) })
    };
    assert_eq!((p(999_999, 1_000_000), p(1_000_000, 1_000_000), p(0, 0)), (Some(99), Some(100), Some(100)));
    assert_eq!(percent(&Progress::new(Phase::Index)), None);
}

#[test]
fn report_tells_stall_and_names() {
    let mut r = Report {
        migration: 3,
        plan_id: "3f9a1c20d4be".into(),
        table: "public.orders".into(),
        strategy: "shadow".into(),
        old_table: Some("public._orders_old".into()),
        shadow_table: "public._orders_shadow".into(),
        rows_copied: 1_200_000,
        changes_applied: 1,
        rows_verified: 1_200_001,
        chunks_verified: 24,
        stall_ms: 6.04,
        stall_steps: vec![
            ("lock".into(), 1.5),
            ("halt".into(), 0.4),
            ("drain".into(), 2.1),
            ("swap".into(), 2.04),
        ],
        swapped_at: "2026-03-01T02:00:00.006Z".into(),
        attempts: 1,
        guard: None,
        elapsed_s: 61.2,
        phases: vec![("copy".into(), 40.0), ("verify".into(), 12.0)],
    };
    assert_eq!(
        report(&r, Style::PLAIN),
        "ok public.orders is changed\n  copied     1,200,000 rows, 1 change applied here\n  verified   1,200,001 rows in 24 chunks, none differs\n  \
         was        public._orders_shadow until the swap\n  stall      6.0 ms at the first attempt (lock 1.5 ms, halt 0.4 ms, drain 2.1 ms, swap 2.0 ms)\n  \
         old table  kept as public._orders_old; drop it when nobody needs it any more\n  took       1 min 1 s (copy 40 s, verify 12 s)"
    );
    (r.strategy, r.old_table, r.attempts) = ("direct".into(), None, 3);
    let text = report(&r, Style::PLAIN);
    assert!(!text.contains("dropped") && text.contains("after 3 attempts"), "{text}");
}
