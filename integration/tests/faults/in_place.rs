//! The change made in place: locks that are not to be had, answers that are lost, runners that are suspended or die between two statements.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use shadowswap_testkit::mysql::Product;
use shadowswap_testkit::{Binary, Flow, Loss, Proxy, Signal, Version};

use super::network::{AT_ONCE, hundredths, patience};
use super::{Clients, Hold, Host, Kind, PATIENT, Table};
use crate::operator::{LONG, SOON, printed, shadowswap};

const KINDS: [Kind; 3] =
    [Kind::Postgres(Version::Apt), Kind::Mysql(Product::MySql), Kind::Mysql(Product::MariaDb)];

/// Two statements; neither can be made twice without being noticed, or undone by a second time.
pub const TWO: [&str; 2] = ["alter column n set default 7", "add column remark varchar(20)"];

impl Table {
    pub fn in_place(&self, url: &str, alters: &[&str]) -> Binary {
        let run = ["run", "--yes", "--progress", "none", "--strategy", "direct", "--table", "t"];
        let run = shadowswap(url).args(run);
        alters.iter().fold(run, |run, alter| run.args(["--alter", alter]))
    }

    /// The default of `n`, and the new column, as far as they are there.
    pub async fn changed_in_place(&self) -> Vec<String> {
        let schema = if let Kind::Postgres(_) = self.host.kind { "'public'" } else { "database()" };
        let of =
            format!("from information_schema.columns where table_schema = {schema} and table_name = 't'");
        let (text, like) = match self.host.kind {
            Kind::Postgres(_) => ("column_default::text", "column_name::text"),
            Kind::Mysql(_) => ("column_default", "column_name"),
        };
        let default = format!("select {text} {of} and column_name = 'n' and column_default <> 'NULL'");
        let column = format!("select {like} {of} and column_name = 'remark'");
        [self.db.texts(&default).await, self.db.texts(&column).await].concat()
    }
}

async fn lost(host: &Host, bytes: &str, loss: Loss) {
    let what = format!("{:?} {bytes} {loss:?}", host.kind);
    let name = bytes.replace(' ', "_");
    let mut table =
        Table::new(host, &format!("in_place_{name}_{loss:?}").to_lowercase(), Clients::FEW, false).await;
    let proxy = Proxy::start(host.port()).await;
    proxy.lose(loss, "shadowswap/direct", bytes);
    let run = table.in_place(&table.url_through(&proxy), &TWO).args(PATIENT);
    let output = run.env("SHADOWSWAP_TEST_PATIENCE", hundredths()).run(patience()).await;
    assert_eq!(output.code(), Some(0), "{what}: {}", printed(&output));
    assert_eq!(proxy.lost(), 1, "{what}: nothing was lost\n{}", printed(&output));
    assert_eq!(table.changed_in_place().await, ["7", "remark"], "{what}");
    assert_eq!(table.state().await.unwrap().0, "done", "{what}");
    assert_eq!(table.migrations().await, "1", "{what}");
    table.holds(&what, false).await;
}

#[tokio::test]
async fn answers_that_are_lost_are_found_out() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let questions: &[&str] = match kind {
            Kind::Postgres(_) => &["commit"],
            Kind::Mysql(_) => &["set default", "add column"],
        };
        let losses = [Loss::Answer, Loss::Request, Loss::Everything];
        let all = questions.iter().flat_map(|q| losses.iter().map(move |loss| (*q, *loss)));
        let all = all.map(|(question, loss)| lost(&host, question, loss));
        stream::iter(all).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }
}

/// Nobody answers on the session that has the lock, or is about to ask for it: clients wait for the budget and no longer, and the change
/// is made on another session.
#[tokio::test]
async fn session_that_says_nothing_costs_clients_no_more_than_the_budget() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let mut table = Table::new(&host, "mute", Clients::FEW, false).await;
        let proxy = Proxy::start(host.port()).await;
        let hold = Hold::at("InPlaceMade");
        let run = table.in_place(&table.url_through(&proxy), &TWO).args(PATIENT);
        let beside = table.beside(Clients::FEW).await;
        let mut run = hold.on(run).env("SHADOWSWAP_TEST_PATIENCE", hundredths()).spawn();
        beside.begins(&table);
        hold.reached(&mut run).await;
        for link in proxy.links().iter().filter(|link| link.opening().contains("shadowswap/direct")) {
            link.set(Flow::Stalled);
        }
        hold.let_go();
        let output = run.wait(patience()).await;
        assert_eq!(output.code(), Some(0), "{kind:?}: {}", printed(&output));
        // The budget is two seconds here.
        let limit = Duration::from_secs(5);
        beside.no_longer_than(limit, &table, &format!("{kind:?} mute"), &output).await;
        assert_eq!(table.changed_in_place().await, ["7", "remark"], "{kind:?}");
        table.holds(&format!("{kind:?} mute"), false).await;
    }
}

/// Where each statement commits by itself, the lock may be had for one and not for the next.
#[tokio::test]
async fn what_was_made_is_not_made_again() {
    for product in [Product::MySql, Product::MariaDb] {
        let host = Host::start(Kind::Mysql(product)).await;
        for gives_up in [false, true] {
            let what = format!("{product:?} gives up: {gives_up}");
            let name = if gives_up { "half_left" } else { "half_done" };
            let mut table = Table::new(&host, name, Clients::FEW, false).await;
            let hold = Hold::at("InPlaceMade");
            let run = table.in_place(&table.url(), &TWO).args([
                "--stall-budget",
                "100ms",
                "--cutover-attempts",
                "2",
            ]);
            let mut run = hold.on(run).spawn();
            hold.reached(&mut run).await;
            let holder = host.connect(&table.name).await;
            holder.sql("start transaction").await;
            assert_eq!(holder.texts("select email from t limit 1").await.len(), 1, "{what}");
            hold.let_go();
            let output = run.wait(LONG).await;
            let text = printed(&output);
            assert_eq!(output.code(), Some(5), "{what}: {text}");
            assert!(text.contains("1 of 2 statements have changed"), "{what}: {text}");
            assert_eq!(table.changed_in_place().await, ["7"], "{what}");
            holder.sql("rollback").await;
            if gives_up {
                let output = table.call(&["abort", "--yes"]).run(SOON).await;
                let text = printed(&output);
                assert_eq!(output.code(), Some(0), "{what}: {text}");
                assert!(
                    text.contains("1 of 2 statements have changed") && text.contains("and stay"),
                    "{what}: {text}"
                );
                assert_eq!(table.changed_in_place().await, ["7"], "{what}");
                assert_eq!(table.state().await.unwrap().0, "aborted", "{what}");
            } else {
                table.in_place(&table.url(), &TWO).run(LONG).await.expect_code(0);
                assert_eq!(table.changed_in_place().await, ["7", "remark"], "{what}");
                assert_eq!(table.state().await.unwrap().0, "done", "{what}");
            }
            assert_eq!(table.migrations().await, "1", "{what}");
            table.holds(&what, false).await;
        }
    }
}

/// A table that is not as it was when a statement was begun may have been changed by somebody else: that is not taken for ours.
#[tokio::test]
async fn change_of_somebody_else_is_not_taken_for_ours() {
    // Whether the runner lives meanwhile, what somebody else does, how it ends, and in which phase.
    let others = [
        (false, "comment 'of somebody else'", 0, "done"),
        (true, "comment 'of somebody else'", 0, "done"),
        (false, "add column remark int", 4, "prepare"),
        (true, "add column remark int", 3, "aborted"),
    ];
    for product in [Product::MySql, Product::MariaDb] {
        let host = Host::start(Kind::Mysql(product)).await;
        for (n, (lives, alter, code, phase)) in others.into_iter().enumerate() {
            let what = format!("{product:?} lives: {lives}, {alter}");
            let mut table = Table::new(&host, &format!("mixed_{n}"), Clients::FEW, false).await;
            let run = table.in_place(&table.url(), &TWO[1..]).args(PATIENT);
            let somebody = format!("alter table t {alter}");
            let output = if lives {
                let hold = Hold::at("InPlaceNoted");
                let mut run = hold.on(run).spawn();
                hold.reached(&mut run).await;
                table.db.sql(&somebody).await;
                hold.let_go();
                run.wait(LONG).await
            } else {
                let died = run.clone().env("SHADOWSWAP_TEST_DIE_AT", "InPlaceNoted").run(LONG).await;
                assert_eq!(died.signal(), Some(Signal::SIGABRT), "{what}: {}", printed(&died));
                table.db.sql(&somebody).await;
                run.run(LONG).await
            };
            let text = printed(&output);
            assert_eq!(output.code(), Some(code), "{what}: {text}");
            assert_eq!(table.changed_in_place().await, ["remark"], "{what}");
            assert_eq!(table.state().await.unwrap().0, phase, "{what}: {text}");
            match code {
                3 => assert!(text.contains("nothing was changed"), "{what}: {text}"),
                4 => {
                    assert!(text.contains("column remark is int"), "{what}: {text}");
                    table.call(&["abort", "--yes"]).run(SOON).await.expect_code(0);
                    assert_eq!(table.state().await.unwrap().0, "aborted", "{what}");
                }
                _ => {}
            }
            table.holds(&what, false).await;
        }
    }
}

/// An operator gives up what is half made, while its runner waits for the lock. Or the table is gone: that can be given up, too.
#[tokio::test]
async fn half_made_change_can_be_given_up() {
    for product in [Product::MySql, Product::MariaDb] {
        let host = Host::start(Kind::Mysql(product)).await;
        let mut table = Table::new(&host, "given_up", Clients::FEW, false).await;
        let hold = Hold::at("InPlaceMade");
        let mut run = hold.on(table.in_place(&table.url(), &TWO)).spawn();
        hold.reached(&mut run).await;
        let holder = host.connect(&table.name).await;
        holder.sql("start transaction").await;
        assert_eq!(holder.texts("select email from t limit 1").await.len(), 1, "{product:?}");
        hold.let_go();
        let output = table.call(&["abort", "--yes"]).run(LONG).await.expect_code(0);
        assert!(
            printed(&output).contains("1 of 2 statements have changed"),
            "{product:?}: {}",
            printed(&output)
        );
        run.wait(LONG).await.expect_code(6);
        holder.sql("rollback").await;
        assert_eq!(table.changed_in_place().await, ["7"], "{product:?}");
        assert_eq!(table.state().await.unwrap().0, "aborted", "{product:?}");
        table.holds(&format!("{product:?} given up"), false).await;

        let died = table.in_place(&table.url(), &TWO[1..]).env("SHADOWSWAP_TEST_DIE_AT", "InPlaceNoted");
        assert_eq!(died.run(LONG).await.signal(), Some(Signal::SIGABRT), "{product:?}");
        table.db.sql("rename table t to elsewhere").await;
        let output = table.call(&["abort", "--yes"]).run(SOON).await.expect_code(0);
        assert!(printed(&output).contains("is gone"), "{product:?}: {}", printed(&output));
    }
}

/// What is made and not noted yet can be ended by a run, and not be given up.
#[tokio::test]
async fn change_that_is_made_is_not_aborted() {
    for kind in KINDS {
        let host = Host::start(kind).await;
        let mut table = Table::new(&host, "made", Clients::FEW, false).await;
        let run = table.in_place(&table.url(), &TWO);
        let died = run.clone().env("SHADOWSWAP_TEST_DIE_AT", "ChangedInPlace").run(LONG).await;
        assert_eq!(died.signal(), Some(Signal::SIGABRT), "{kind:?}: {}", printed(&died));
        let output = table.call(&["abort", "--yes"]).run(SOON).await.expect_code(3);
        assert!(
            printed(&output).contains("is made; there is nothing to abort"),
            "{kind:?}: {}",
            printed(&output)
        );
        run.run(LONG).await.expect_code(0);
        assert_eq!(table.state().await.unwrap().0, "done", "{kind:?}");
        assert_eq!(table.migrations().await, "1", "{kind:?}");
        table.holds(&format!("{kind:?} made"), false).await;
    }
}

/// A runner sleeps before, or between two statements, and has lost the migration's lock. Another brings it to its end, and the next
/// migration changes the same thing in another way; then the first wakes.
#[tokio::test]
async fn runner_that_was_suspended_does_not_undo_what_came_after() {
    for kind in KINDS {
        let places: &[&str] = match kind {
            Kind::Postgres(_) => &["Taken"],
            Kind::Mysql(_) => &["Taken", "InPlaceNoted"],
        };
        let host = Host::start(kind).await;
        for place in places {
            let what = format!("{kind:?} {place}");
            let mut table =
                Table::new(&host, &format!("slept_{place}").to_lowercase(), Clients::FEW, false).await;
            let proxy = Proxy::start(host.port()).await;
            let hold = Hold::at(place);
            let mut first = hold.on(table.in_place(&table.url_through(&proxy), &TWO)).spawn();
            hold.reached(&mut first).await;
            first.signal(Signal::SIGSTOP);
            hold.let_go();
            for link in proxy.links().iter().filter(|link| link.opening().contains("shadowswap/control")) {
                link.set(Flow::Cut);
            }
            table.in_place(&table.url(), &TWO).run(LONG).await.expect_code(0);
            table.in_place(&table.url(), &["alter column n set default 8"]).run(LONG).await.expect_code(0);
            first.signal(Signal::SIGCONT);
            let first = first.wait(LONG).await;
            assert_eq!(first.code(), Some(7), "{what}: {}", printed(&first));
            assert_eq!(table.changed_in_place().await, ["8", "remark"], "{what}");
            assert_eq!(table.migrations().await, "2", "{what}");
            table.holds(&what, false).await;
        }
    }
}
