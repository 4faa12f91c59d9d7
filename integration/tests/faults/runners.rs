//! Two runners of one migration: at the same moment, and one that was suspended and goes on when another has taken over.

use std::time::Duration;

use shadowswap_testkit::binary::Run;
use shadowswap_testkit::mysql::Product;
use shadowswap_testkit::{Flow, Proxy, Signal, Version};

use super::{Clients, Hold, Host, Kind, PATIENT, Table};
use crate::operator::{LONG, SOON, printed, run};

/// What a machine that is busy with other tests adds.
const BUSY: Duration = Duration::from_secs(2);

const KINDS: [Kind; 3] =
    [Kind::Postgres(Version::Apt), Kind::Mysql(Product::MySql), Kind::Mysql(Product::MariaDb)];

#[tokio::test]
async fn of_two_runners_started_together_one_is_turned_away() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        for round in 0..3 {
            let what = format!("{kind:?} round {round}");
            let mut table = Table::new(&host, &format!("two_{round}"), Clients::FEW, false).await;
            let call = || table.run().args(["--drop-old"]);
            let runs = [call().spawn(), call().spawn(), call().spawn()];
            let mut codes = Vec::new();
            for run in runs {
                let output = run.wait(LONG).await;
                let text = printed(&output);
                // Whoever came when all was done, or planned while the names were swapped, is told so.
                let is_late = output.code() == Some(3) && text.contains("nothing was changed");
                let is_fine = is_late || [Some(0), Some(7)].contains(&output.code());
                assert!(is_fine, "{what}: {}\n{text}", output.status);
                codes.push(output.code());
            }
            assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{what}: {codes:?}");
            table.is_changed(&what, false).await;
        }
    }
}

/// A run with `--drop-old` that sleeps at this place, and has lost the connection that has the migration's lock.
async fn suspended(table: &Table, place: &str) -> (Run, (Proxy, Hold)) {
    let proxy = Proxy::start(table.host.port()).await;
    let url = table.url_through(&proxy);
    let hold = Hold::at(place);
    let mut run = hold.on(table.run_at(&url).args(PATIENT).args(["--drop-old", "-v"])).spawn();
    hold.reached(&mut run).await;
    run.signal(Signal::SIGSTOP);
    hold.let_go();
    for link in proxy.links().iter().filter(|link| link.opening().contains("shadowswap/control")) {
        link.set(Flow::Cut);
    }
    (run, (proxy, hold))
}

/// A machine that sleeps, or a process in a debugger: its connections are open, but for the one that has the migration's lock, which the
/// network has given up. Another runner takes over and ends the work; then the first goes on.
#[tokio::test]
async fn runner_that_was_suspended_past_its_lock_does_no_harm() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        for place in ["ChunkWritten", "BatchWritten", "IndexBegins", "Locked", "Drained", "CleaningUp"] {
            let what = format!("{kind:?} {place}");
            let mut table =
                Table::new(&host, &format!("asleep_{place}").to_lowercase(), Clients::FEW, false).await;
            let (first, _kept) = suspended(&table, place).await;
            let second = table.run().args(["--drop-old"]).run(LONG).await;
            assert!(second.code() == Some(0), "{what}: {}\n{}", second.status, printed(&second));
            table.load.as_ref().unwrap().reached(20, SOON).await;
            first.signal(Signal::SIGCONT);
            let first = first.wait(LONG).await;
            let text = printed(&first);
            // It finds the migration done, or that another has it, whatever it stumbles over first.
            assert_eq!(first.code(), Some(7), "{what}: {}\n{text}", first.status);
            table.load.as_ref().unwrap().reached(20, SOON).await;
            let count = match kind {
                Kind::Postgres(_) => "select count(*)::text from shadowswap.migration where phase = 'done'",
                Kind::Mysql(_) => {
                    "select cast(count(*) as char) from shadowswap.migration where table_schema = database() and phase = 'done'"
                }
            };
            assert_eq!(table.db.texts(count).await, ["1"], "{what}\n{text}");
            table.is_changed(&what, false).await;
        }
    }
}

/// The same in the middle of work that is none of rows. Meanwhile another migration of the table has come as far as its guard: its tables
/// have the names that the first one was at.
#[tokio::test]
async fn runner_that_was_suspended_touches_nothing_of_the_next_migration() {
    for kind in KINDS {
        let places = match kind {
            Kind::Postgres(_) => ["SlotMade", "Unpublished"],
            Kind::Mysql(_) => ["PartMade", "DroppingNoted"],
        };
        let host = Host::start(kind).await;
        for place in places {
            let what = format!("{kind:?} {place}");
            let mut table =
                Table::new(&host, &format!("next_{place}").to_lowercase(), Clients::FEW, false).await;
            let (first, _kept) = suspended(&table, place).await;
            table.run().args(["--drop-old"]).run(LONG).await.expect_code(0);
            let next = run(&table.url(), "t", "add column note text").args(PATIENT).args(["--guard", "1h"]);
            let mut next = next.spawn();
            assert!(table.until(&mut next, |phase, _| phase == "guard").await, "{what}: {}", next.stderr());
            first.signal(Signal::SIGCONT);
            let first = first.wait(LONG).await;
            assert_eq!(first.code(), Some(7), "{what}: {}", printed(&first));
            let rollback = table.call(&["rollback", "--yes", "--progress", "none"]);
            rollback.run(LONG).await.expect_code(0);
            table.call(&["finish"]).run(SOON).await.expect_code(0);
            next.wait(LONG).await.expect_code(6);
            let is_mariadb = kind == Kind::Mysql(Product::MariaDb);
            table.db.sql(if is_mariadb { "drop table t_shadow" } else { "drop table _t_shadow" }).await;
            table.is_changed(&what, false).await;
        }
    }
}

/// Somebody holds the table for longer than all attempts take: clients wait for the budget each time and no longer, the run ends with 5,
/// and a later one finishes. (Transactions that wrote are seen beforehand and not waited for; this one has only read, or only locked.)
#[tokio::test]
async fn lock_that_is_held_costs_clients_no_more_than_the_budget() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let clients = Clients { rate: Some(200.0), ..Clients::FEW };
        let mut table = Table::new(&host, "held", clients, false).await;
        let beside = table.beside(clients).await;
        let mut run = table.run().args(["--cutover", "manual"]).spawn();
        assert!(table.until(&mut run, |phase, _| phase == "ready").await);
        let holder = host.connect(&table.name).await;
        holder.sql(if let Kind::Postgres(_) = kind { "begin" } else { "start transaction" }).await;
        drop(holder.texts("select email from t limit 1").await);
        beside.begins(&table);
        run.signal(Signal::SIGTERM);
        run.wait(SOON).await;
        let budget = Duration::from_millis(60);
        let args = ["--stall-budget", "60ms", "--cutover-attempts", "6"];
        let output = table.run_at(&table.url()).args(args).run(LONG).await;
        let text = printed(&output);
        assert_eq!(output.code(), Some(5), "{kind:?}: {text}");
        // What a busy machine adds is measured by the benches; a wait for the lock itself would be minutes.
        beside.no_longer_than(budget + BUSY, &table, &format!("{kind:?} held"), &output).await;
        table.load.as_ref().unwrap().reached(50, SOON).await;
        holder.sql("rollback").await;
        table.run().args(["--drop-old"]).run(LONG).await.expect_code(0);
        table.is_changed(&format!("{kind:?} held"), false).await;
    }
}

/// A run that went on with a migration finds that it was given up a moment ago: it begins no other, for which nobody has asked.
#[tokio::test]
async fn run_that_goes_on_begins_nothing_anew() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let mut table = Table::new(&host, "ended", Clients::FEW, false).await;
        let hold = Hold::at("Beginning");
        left_ready(&table).await;
        let mut second = hold.on(table.run()).spawn();
        hold.reached(&mut second).await;
        table.call(&["abort", "--yes"]).run(SOON).await.expect_code(0);
        hold.let_go();
        let output = second.wait(LONG).await;
        assert_eq!(output.code(), Some(6), "{kind:?}: {}", printed(&output));
        assert_eq!(table.migrations().await, "1", "{kind:?}");
        table.holds(&format!("{kind:?} ended"), false).await;
    }
}

/// Between a plan and its run another run begins a change of the same table, and dies: that one is not gone on with by mistake.
#[tokio::test]
async fn run_does_not_go_on_with_another_change() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let mut table = Table::new(&host, "other", Clients::FEW, false).await;
        let hold = Hold::at("Beginning");
        let other = run(&table.url(), "t", "add column note text").args(PATIENT);
        let mut second = hold.on(other).spawn();
        hold.reached(&mut second).await;
        left_ready(&table).await;
        hold.let_go();
        let output = second.wait(LONG).await;
        let text = printed(&output);
        assert_eq!(output.code(), Some(3), "{kind:?}: {text}");
        assert!(text.contains("another run has begun to change"), "{kind:?}: {text}");
        assert_eq!(table.state().await.unwrap(), ("ready".to_string(), 0), "{kind:?}");
        table.run().args(["--drop-old"]).run(LONG).await.expect_code(0);
        assert_eq!(table.migrations().await, "1", "{kind:?}");
        table.is_changed(&format!("{kind:?} other"), false).await;
    }
}

/// An old table that is dropped long after the end is not the next migration's.
#[tokio::test]
async fn no_migration_begins_while_an_old_table_is_dropped() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let mut table = Table::new(&host, "late", Clients::FEW, false).await;
        table.run().run(LONG).await.expect_code(0);
        let hold = Hold::at("OldDropped");
        let mut finish = hold.on(table.call(&["finish", "--drop-old", "--yes"])).spawn();
        hold.reached(&mut finish).await;
        let next = run(&table.url(), "t", "add column note text").args(PATIENT);
        let output = next.clone().run(LONG).await;
        assert_eq!(output.code(), Some(7), "{kind:?}: {}", printed(&output));
        assert_eq!(table.migrations().await, "1", "{kind:?}");
        hold.let_go();
        finish.wait(SOON).await.expect_code(0);
        next.args(["--drop-old"]).run(LONG).await.expect_code(0);
        table.is_changed(&format!("{kind:?} late"), false).await;
    }
}

/// A control database of many tables: what is unfinished is found, and the last that ended of each table, however much was begun after it.
#[tokio::test]
async fn migration_is_found_behind_hundreds_of_others() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let mut table = Table::new(&host, "behind", Clients::FEW, false).await;
        left_ready(&table).await;
        let columns = "table_schema, epoch, plan_id, plan, started_at, updated_at";
        let numbers = match kind {
            Kind::Postgres(_) => "select n::text as n from generate_series(1, 300) n",
            Kind::Mysql(_) => {
                "with recursive s as (select 1 as n union all select n + 1 from s where n < 300) select n from s"
            }
        };
        let others = format!(
            "insert into shadowswap.migration (table_name, phase, {columns})\n\
             select concat('other', s.n), 'done', {columns}\n\
             from (select * from shadowswap.migration where table_name = 't') m, ({numbers}) s"
        );
        table.db.sql(&others).await;
        let status = table.call(&["status"]).run(SOON).await.expect_code(0);
        assert!(status.stdout.contains("ready"), "{kind:?}: {}", printed(&status));
        let output = table.run().run(LONG).await.expect_code(0);
        assert!(output.stderr.contains("going on with migration 1 "), "{kind:?}: {}", printed(&output));
        table.db.sql(&others).await;
        let once = table.run().arg("--once").run(LONG).await.expect_code(0);
        assert!(printed(&once).contains("nothing is left to do"), "{kind:?}: {}", printed(&once));
        table.call(&["finish", "--drop-old", "--yes"]).run(LONG).await.expect_code(0);
        table.is_changed(&format!("{kind:?} behind"), false).await;
    }
}

/// A runner that dies after it was told something, and before it has heard of it: the command does it itself.
#[tokio::test]
async fn what_a_dying_runner_was_told_is_done_by_the_command() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        for word in ["rollback", "finish"] {
            let what = format!("{kind:?} {word}");
            let mut table = Table::new(&host, &format!("told_{word}"), Clients::FEW, false).await;
            let mut guard = table.run().args(["--guard", "1h"]).spawn();
            assert!(table.until(&mut guard, |phase, _| phase == "guard").await, "{what}: {}", guard.stderr());
            table.load.as_ref().unwrap().reached(20, SOON).await;
            guard.signal(Signal::SIGSTOP);
            let mut command = table.call(&[word, "--yes"]).spawn();
            command.saw("told ", SOON).await;
            guard.signal(Signal::SIGKILL);
            guard.wait(SOON).await;
            if word == "rollback" {
                assert!(table.until(&mut command, |_, turn| turn == 2).await, "{what}: {}", command.stderr());
                assert!(!table.has_new_type().await, "{what}: the original table is back");
                table.call(&["finish", "--yes"]).run(SOON).await.expect_code(0);
                let output = command.wait(LONG).await;
                assert_eq!(output.code(), Some(6), "{what}: {}", printed(&output));
                table.holds(&what, false).await;
                continue;
            }
            command.wait(LONG).await.expect_code(0);
            table.call(&["finish", "--drop-old", "--yes"]).run(LONG).await.expect_code(0);
            table.is_changed(&what, false).await;
        }
    }
}

/// What a run has left that was killed when it could have swapped.
async fn left_ready(table: &Table) {
    let mut first = table.run().args(["--cutover", "manual"]).spawn();
    assert!(table.until(&mut first, |phase, _| phase == "ready").await, "{}", first.stderr());
    first.signal(Signal::SIGKILL);
    first.wait(SOON).await;
}
