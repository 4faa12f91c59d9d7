//! Servers that are killed and come back, at once or later, and sessions that an administrator ends.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use shadowswap_testkit::mysql::Product;
use shadowswap_testkit::{
    Signal, Version,
    binary::{Output, Run},
};
use tokio::time::sleep;

use super::{Clients, Db, Hold, Host, Kind, PATIENT, Server, Table, is_long};
use crate::operator::LONG;

/// A server that comes back later stays away for so long.
const AWAY: Duration = Duration::from_secs(3);

/// While it copies, applies, builds, has the lock, swaps, and keeps in step.
fn places(kind: Kind) -> [&'static str; 6] {
    let sent = if kind == Kind::Mysql(Product::MariaDb) { "LetGo" } else { "SwapSent" };
    ["ChunkWritten", "BatchWritten", "IndexBegins", "Locked", sent, "TurnOpened"]
}

async fn ended(run: Run, table: &mut Table, what: &str) {
    let output = run.wait(LONG * 2).await;
    assert!(output.code() == Some(0), "{what}: {}\n{}{}", output.status, output.stdout, output.stderr);
    table.db = table.host.connect(&table.name).await;
    table.is_changed(what, true).await;
    println!("{what}: {:?}", output.elapsed);
}

async fn servers_die(kind: Kind, turn: usize) {
    let host = Host::start(kind).await;
    for (n, place) in places(kind).into_iter().enumerate() {
        for is_slow in [false, true] {
            if !is_long() && (n + turn) % 2 != usize::from(is_slow) {
                continue;
            }
            let what = format!("{kind:?} {place} {}", if is_slow { "slowly" } else { "at once" });
            let mut table = Table::new(&host, &format!("die_{n}_{is_slow}"), Clients::FEW, false).await;
            let hold = Hold::at(place);
            let mut run = hold.on(table.run().args(["--guard", "2s", "--drop-old", "-v"])).spawn();
            hold.reached(&mut run).await;
            host.kill9().await;
            hold.let_go();
            if is_slow {
                sleep(AWAY).await;
            }
            host.restart().await;
            ended(run, &mut table, &what).await;
        }
    }
}

#[tokio::test]
async fn server_that_is_killed_in_any_phase_is_waited_for_on_postgres() {
    servers_die(Kind::Postgres(Version::Apt), 0).await;
}

#[tokio::test]
async fn server_that_is_killed_in_any_phase_is_waited_for_on_mysql() {
    servers_die(Kind::Mysql(Product::MySql), 1).await;
}

#[tokio::test]
async fn server_that_is_killed_in_any_phase_is_waited_for_on_mariadb() {
    servers_die(Kind::Mysql(Product::MariaDb), 0).await;
}

/// Ends all sessions of the program, and says how many they were.
async fn end_sessions(table: &Table) -> usize {
    match &table.db {
        Db::Postgres(client) => {
            let text = "select pg_terminate_backend(pid)::text from pg_stat_activity where application_name like 'shadowswap/%' and datname = current_database()";
            client.query(text, &[]).await.unwrap().len()
        }
        Db::Mysql(conn) => {
            let mut conn = conn.lock().await;
            let text = "select id from information_schema.processlist where user = 'runner'";
            let ids: Vec<u64> = conn.query(text).await.unwrap();
            for id in &ids {
                // It may be gone by itself.
                drop(conn.query_drop(format!("kill {id}")).await);
            }
            ids.len()
        }
    }
}

async fn sessions_end(kind: Kind) {
    let host = Host::start(kind).await;
    if let Server::Mysql(server) = &*host.server {
        server.create_user("runner", "secret1", &["all on *.*"]).await;
    }
    for (n, place) in places(kind).into_iter().enumerate() {
        let what = format!("{kind:?} {place} terminated");
        let mut table = Table::new(&host, &format!("end_{n}"), Clients::FEW, false).await;
        let url = match &*host.server {
            Server::Postgres(_) => table.url(),
            Server::Mysql(server) => server.url_as("runner", "secret1", &table.name),
        };
        let hold = Hold::at(place);
        let mut run =
            hold.on(table.run_at(&url).args(PATIENT).args(["--guard", "2s", "--drop-old", "-v"])).spawn();
        hold.reached(&mut run).await;
        assert!(end_sessions(&table).await > 0, "{what}: there were none");
        hold.let_go();
        ended(run, &mut table, &what).await;
    }
}

#[tokio::test]
async fn sessions_that_are_ended_in_any_phase_are_opened_again() {
    for kind in [Kind::Postgres(Version::Pip), Kind::Mysql(Product::MySql), Kind::Mysql(Product::MariaDb)] {
        sessions_end(kind).await;
    }
}

/// While a synchronous standby is away no commit ends, nobody's: the run waits like its clients, and goes on with them.
#[tokio::test]
async fn synchronous_standby_that_fails_is_waited_for() {
    let host = Host::start(Kind::Postgres(Version::Apt)).await;
    let Server::Postgres(primary) = &*host.server else { unreachable!() };
    let standby = primary.replica("standby").await;
    let setting = |names: &str| {
        [format!("alter system set synchronous_standby_names = '{names}'"), "select pg_reload_conf()".into()]
    };
    for place in ["ChunkWritten", "BatchWritten", "Locked"] {
        let mut table = Table::new(&host, &format!("away_{place}").to_lowercase(), Clients::FEW, false).await;
        for text in setting("ANY 1 (standby)") {
            table.db.sql(&text).await;
        }
        let hold = Hold::at(place);
        let mut run = hold.on(table.run().args(["--guard", "2s", "--drop-old", "-v"])).spawn();
        hold.reached(&mut run).await;
        standby.kill9().await;
        hold.let_go();
        sleep(AWAY).await;
        standby.restart().await;
        ended(run, &mut table, &format!("standby away at {place}")).await;
    }
    // Everybody who streams would be a standby: clients would wait for our own stream.
    let table = Table::new(&host, "everybody", Clients::FEW, false).await;
    let refuses = |output: &Output, what: &str| {
        let text = crate::operator::printed(output);
        assert!(text.contains("would count as a synchronous standby"), "{what}: {text}");
    };
    let mut run = table.run().args(["--cutover", "manual"]).spawn();
    assert!(table.until(&mut run, |phase, _| phase == "ready").await);
    run.signal(Signal::SIGKILL);
    run.wait(LONG).await;
    for text in setting("FIRST 1 (*)") {
        table.db.sql(&text).await;
    }
    refuses(&table.run().run(LONG).await.expect_code(1), "resumed");
    table.call(&["abort", "--yes"]).run(LONG).await.expect_code(0);
    refuses(&table.run().run(LONG).await.expect_code(3), "planned");
}
