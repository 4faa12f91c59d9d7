//! The process dies at each place that the program knows, and the same command is given again until it is done.

use futures_util::{StreamExt, stream};
use shadowswap_testkit::binary::Run;
use shadowswap_testkit::mysql::Product;
use shadowswap_testkit::{Binary, Signal, Version};

use super::in_place::TWO;
use super::{Clients, Host, Kind, Table, is_long};
use crate::operator::{LONG, SOON, tell};

/// Tables at a time.
const AT_ONCE: usize = 5;

/// What a product has no such step for.
fn is_elsewhere(kind: Kind, place: &str) -> bool {
    const POSTGRES: [&str; 8] = [
        "IdentitySet",
        "Published",
        "PublishedBack",
        "SlotMade",
        "TrimSet",
        "TurnBegun",
        "Unpublished",
        "SlotDropped",
    ];
    const MYSQL: [&str; 5] = ["MakingNoted", "PartMade", "CounterCarried", "DroppingNoted", "InPlaceNoted"];
    const MARIADB: [&str; 5] = ["SentryMade", "RenameWaits", "LetGo", "FollowerNamed", "OldNamed"];
    match kind {
        Kind::Postgres(_) => MYSQL.contains(&place) || MARIADB.contains(&place),
        Kind::Mysql(Product::MySql) => POSTGRES.contains(&place) || MARIADB.contains(&place),
        // Two sessions swap: the statement that is sent waits.
        Kind::Mysql(Product::MariaDb) => POSTGRES.contains(&place) || place == "SwapSent",
    }
}

/// Which way a table goes to meet a place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Journey {
    /// A run without a guard that drops the old table.
    Forward,
    /// With a guard whose time is up soon.
    Guarded,
    /// There, back, there again, and ended by an operator, with nobody running it in between.
    ThereAndBack,
    /// There and back, and ended so.
    Back,
    /// Given up.
    Abort,
    /// Without a shadow.
    InPlace,
}

fn journeys(place: &str) -> &'static [Journey] {
    use Journey::{Abort, Back, Forward, Guarded, InPlace, ThereAndBack};
    match place {
        "PublishedBack" | "GuardBegun" | "Ending" => &[Guarded],
        "Locked" | "Swapped" | "TurnBegun" | "FollowerNamed" | "EpochRaised" => &[ThereAndBack],
        "SwapSent" | "RenameWaits" | "LetGo" | "TurnNoting" | "BatchWritten" | "Locking" | "LockReady"
        | "Drained" | "TurnNoted" | "TurnOpened" | "SentryMade" | "CounterCarried" | "BatchReady"
        | "BatchApplied" | "Taken"
            if is_long() =>
        {
            &[Guarded, ThereAndBack]
        }
        "EndNoted" | "Unpublished" | "SlotDropped" | "OldNamed" | "DroppingNoted" | "OldDropped"
        | "CleanedUp" | "Saved-done" | "Closed"
            if is_long() =>
        {
            &[Guarded, ThereAndBack]
        }
        "TurnOpened" | "EndNoted" | "TurnNoted" => &[Guarded],
        "Saving-rolledback" | "Saved-rolledback" => &[Back],
        "GivingUp" | "GivenUp" | "ShadowDropped" | "Saving-aborted" | "Saved-aborted" => &[Abort],
        "InPlaceNoted" | "InPlaceMade" | "ChangedInPlace" => &[InPlace],
        _ => &[Forward],
    }
}

struct Traveller {
    table: Table,
    place: String,
    /// Deaths so far.
    deaths: u32,
}

impl Traveller {
    fn what(&self) -> String {
        format!("{:?} {}", self.table.host.kind, self.place)
    }

    fn mortal(&self, binary: Binary) -> Binary {
        binary.env("SHADOWSWAP_TEST_DIE_AT", &self.place)
    }

    /// Whether it died at the place; it must not have ended in another way than this.
    async fn died(&mut self, run: Run, codes: &[i32]) -> bool {
        let output = run.wait(LONG).await;
        if output.signal() == Some(Signal::SIGABRT) {
            self.deaths += 1;
            return true;
        }
        let is_expected = output.code().is_some_and(|code| codes.contains(&code));
        assert!(is_expected, "{}: {}\n{}{}", self.what(), output.status, output.stdout, output.stderr);
        false
    }

    /// Gives the command until it ends well; the first one may die.
    async fn done(&mut self, call: impl Fn() -> Binary, codes: &[i32]) {
        let first = self.mortal(call()).spawn();
        if self.died(first, codes).await {
            let again = call().spawn();
            assert!(!self.died(again, codes).await, "{}: died without being told to", self.what());
        }
    }

    /// Gives the command until so many swaps are made and changes are followed; what runs then is ended. `said` is told to it meanwhile.
    async fn turned(&mut self, call: impl Fn() -> Binary, turn: i64, said: Option<&str>) {
        let follows = move |phase: &str, now: i64| {
            now == turn && phase == if turn % 2 == 1 { "guard" } else { "ready" }
        };
        for is_first in [true, false] {
            let mut run = if is_first { self.mortal(call()) } else { call() }.spawn();
            if let Some(command) = said
                && self.table.until(&mut run, |phase, now| now == turn || phase == "ready").await
                && self.table.state().await.is_some_and(|(_, now)| now < turn)
            {
                // It may be lost with the process.
                tell(&self.table.url(), command, "t").await;
            }
            if self.table.until(&mut run, follows).await {
                let load = self.table.load.as_ref().unwrap();
                load.reached(5, SOON).await;
                // It may be just about to die.
                if !run.is_over() {
                    run.signal(Signal::SIGKILL);
                }
                let output = run.wait(SOON).await;
                self.deaths += u32::from(output.signal() == Some(Signal::SIGABRT));
                return;
            }
            assert!(self.died(run, &[]).await && is_first, "{}: died again", self.what());
            // The death came after what was wanted.
            if self.table.state().await.is_some_and(|(_, now)| now == turn) {
                let mut run = self.table.guarded().spawn();
                assert!(self.table.until(&mut run, follows).await, "{}: {}", self.what(), run.stderr());
                run.signal(Signal::SIGKILL);
                run.wait(SOON).await;
                return;
            }
        }
    }

    async fn travel(&mut self, journey: Journey) {
        let url = self.table.url();
        let rollback = || {
            let words = ["rollback", "--yes", "--table", "t", "--progress", "none", "--stall-budget", "2s"];
            crate::operator::shadowswap(&url).args(words)
        };
        let (run, guarded) = (self.table.run(), self.table.guarded());
        match journey {
            Journey::Forward => self.done(|| run.clone().arg("--drop-old"), &[0]).await,
            Journey::Guarded => {
                let short = || run.clone().args(["--guard", "1s", "--drop-old"]);
                self.done(short, &[0]).await;
            }
            Journey::ThereAndBack => {
                self.turned(|| guarded.clone(), 1, None).await;
                self.turned(rollback, 2, None).await;
                self.turned(|| guarded.clone(), 3, Some("cutover")).await;
                let finish = self.table.call(&["finish", "--drop-old"]);
                self.done(|| finish.clone(), &[0]).await;
            }
            Journey::Back => {
                self.turned(|| guarded.clone(), 1, None).await;
                let mut back = self.mortal(rollback()).spawn();
                let is_back = self.table.until(&mut back, |phase, now| now == 2 && phase == "ready").await;
                assert!(is_back, "{}: {}", self.what(), back.stderr());
                tell(&url, "finish", "t").await;
                assert!(self.died(back, &[6]).await, "{}: did not die", self.what());
                self.table.call(&["finish"]).run(SOON).await;
                let state = self.table.state().await.unwrap();
                assert_eq!(state, ("rolledback".to_string(), 2), "{}", self.what());
            }
            Journey::InPlace => {
                let in_place = self.table.in_place(&url, &TWO);
                self.done(|| in_place.clone(), &[0]).await;
            }
            Journey::Abort => {
                let mut first = run.clone().args(["--cutover", "manual"]).spawn();
                assert!(self.table.until(&mut first, |phase, _| phase == "ready").await);
                first.signal(Signal::SIGKILL);
                first.wait(SOON).await;
                let abort = self.table.call(&["abort", "--yes"]);
                if self.died(self.mortal(abort.clone()).spawn(), &[0]).await {
                    // Once it is noted, whoever goes on does the rest of it. What is aborted by then cannot be aborted.
                    let is_half_done = ["GivenUp", "ShadowDropped", "Saving-aborted"].contains(&&*self.place);
                    let (again, codes) = if is_half_done { (run, [6, 6]) } else { (abort, [0, 3]) };
                    assert!(!self.died(again.spawn(), &codes).await, "{}: died again", self.what());
                }
                assert_eq!(self.table.state().await.unwrap().0, "aborted", "{}", self.what());
            }
        }
    }
}

impl Table {
    fn guarded(&self) -> Binary {
        self.run().args(["--guard", "1h"])
    }
}

/// Travels with a table of its own; says whether it died.
async fn visit(host: &Host, place: &str, journey: Journey) -> bool {
    let name = format!("{}_{journey:?}", place.replace('-', "_")).to_lowercase();
    let table = Table::new(host, &name, Clients::FEW, place == "IdentitySet").await;
    let mut traveller = Traveller { table, place: place.to_string(), deaths: 0 };
    traveller.travel(journey).await;
    let what = format!("{} {journey:?}", traveller.what());
    match journey {
        Journey::Back | Journey::Abort => {
            traveller.table.holds(&what, false).await;
            assert!(!traveller.table.has_new_type().await, "{what}");
        }
        Journey::InPlace => {
            traveller.table.holds(&what, false).await;
            assert_eq!(traveller.table.changed_in_place().await, ["7", "remark"], "{what}");
            assert_eq!(traveller.table.state().await.unwrap().0, "done", "{what}");
        }
        Journey::Forward | Journey::Guarded | Journey::ThereAndBack => {
            traveller.table.is_changed(&what, false).await;
            assert_eq!(traveller.table.state().await.unwrap().0, "done", "{what}");
            let old = traveller.table.db.texts("select table_name from information_schema.tables where table_name like '%t_old' or table_name like '%guarded'").await;
            let of_mine = matches!(host.kind, Kind::Postgres(_)) && !old.is_empty();
            assert!(!of_mine, "{what}: {old:?}");
        }
    }
    traveller.deaths > 0
}

async fn dies_everywhere(kind: Kind) {
    let list = Binary::shadowswap().env("SHADOWSWAP_TEST_LIST_PLACES", "1").arg("status").run(SOON).await;
    let only = std::env::var("SHADOWSWAP_PLACE").ok();
    let places: Vec<&str> =
        list.stdout.lines().filter(|place| only.as_ref().is_none_or(|o| o == place)).collect();
    assert!(only.is_some() || places.len() > 50, "build with --features mutations\n{}", list.stdout);
    let host = Host::start(kind).await;
    let here = places.iter().filter(|place| !is_elsewhere(kind, place));
    let visits = here.flat_map(|place| journeys(place).iter().map(move |journey| (*place, *journey)));
    let visits = visits.map(|(place, journey)| {
        let host = &host;
        async move {
            let start = std::time::Instant::now();
            let died = visit(host, place, journey).await;
            println!("{place} {journey:?}: {} {:?}", if died { "died" } else { "lived" }, start.elapsed());
            (place, died)
        }
    });
    let met: Vec<(&str, bool)> = stream::iter(visits).buffer_unordered(AT_ONCE).collect().await;
    let missed: Vec<&str> = places
        .iter()
        .copied()
        .filter(|place| !is_elsewhere(kind, place) && !met.contains(&(*place, true)))
        .collect();
    assert!(missed.is_empty(), "{kind:?}: nothing came by {missed:?}");
}

#[tokio::test]
async fn death_at_any_place_is_recovered_from_on_postgres() {
    dies_everywhere(Kind::Postgres(Version::Apt)).await;
}

#[tokio::test]
async fn death_at_any_place_is_recovered_from_on_mysql() {
    dies_everywhere(Kind::Mysql(Product::MySql)).await;
}

#[tokio::test]
async fn death_at_any_place_is_recovered_from_on_mariadb() {
    dies_everywhere(Kind::Mysql(Product::MariaDb)).await;
}
