use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

async fn one(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "still waiting: {what}");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn both_versions_start_with_logical_decoding_by_socket_and_tcp() {
    for version in Version::ALL {
        let server = Postgres::start(version).await;
        let client = server.connect("postgres").await;
        assert_eq!(one(&client, "show wal_level").await, "logical");
        assert!(one(&client, "show server_version").await.starts_with(server.version()));
        assert_eq!(one(&connect(&server.url("postgres")).await, "show fsync").await, "off");
        assert!(server.is_running());
    }
}

#[tokio::test]
async fn drop_ends_server_and_removes_its_files() {
    let server = Postgres::start(Version::Apt).await;
    let (pid, dir) = (Pid::from_raw(server.pid().unwrap()), server.socket_dir().to_owned());
    drop(server);
    assert!(!is_running(pid));
    assert!(!dir.exists());
}

#[tokio::test]
async fn kill9_and_restart_keep_committed_rows_and_address() {
    for version in Version::ALL {
        let server = Postgres::start(version).await;
        let url = server.url("postgres");
        server
            .connect("postgres")
            .await
            .batch_execute("create table t (id int); insert into t values (7)")
            .await
            .unwrap();
        server.kill9().await;
        assert!(!server.is_running());
        server.restart().await;
        assert_eq!(one(&connect(&url).await, "select id::text from t").await, "7");
        server.stop().await;
        assert!(!server.is_running());
        server.restart().await;
        assert_eq!(one(&connect(&url).await, "select id::text from t").await, "7");
        assert!(server.log().contains("not properly shut down"));
    }
}

#[tokio::test]
async fn settings_password_and_alter_system_take_effect() {
    for version in Version::ALL {
        let builder = Postgres::builder(version).fsync(true).setting("work_mem", "5MB").password("secret1");
        let server = builder.start().await;
        let client = connect(&server.url("postgres")).await;
        assert_eq!(one(&client, "show fsync").await, "on");
        assert_eq!(one(&client, "show work_mem").await, "5MB");
        let wrong = server.url("postgres").replace("secret1", "other");
        let refused = tokio_postgres::connect(&wrong, NoTls).await.err().expect("the password is demanded");
        assert_eq!(refused.code().unwrap().code(), "28P01");
        client.batch_execute("alter system set max_connections = 33").await.unwrap();
        server.restart().await;
        assert_eq!(one(&server.connect("postgres").await, "show max_connections").await, "33");
    }
}

#[tokio::test]
async fn standby_follows_and_can_be_synchronous() {
    for version in Version::ALL {
        let primary = Postgres::start(version).await;
        let standby = primary.replica("standby_one").await;
        let client = primary.connect("postgres").await;
        client.batch_execute("alter system set synchronous_standby_names = 'standby_one'").await.unwrap();
        client.batch_execute("select pg_reload_conf()").await.unwrap();
        until("the standby is synchronous", async || {
            let state = "select coalesce(max(sync_state), '') from pg_stat_replication where application_name = 'standby_one'";
            one(&client, state).await == "sync"
        })
        .await;
        client.batch_execute("set synchronous_commit = remote_apply; create table t (id int)").await.unwrap();
        let on_standby = standby.connect("postgres").await;
        assert_eq!(one(&on_standby, "select count(*)::text from t").await, "0");
        assert_eq!(one(&on_standby, "select pg_is_in_recovery()::text").await, "true");
    }
}

#[tokio::test]
async fn shared_server_is_one_and_databases_are_apart_and_dropped() {
    for version in Version::ALL {
        let (one_server, same) = (shared(version).await, shared(version).await);
        assert_eq!(one_server.port(), same.port());
        let (a, b) = (one_server.database().await, same.database().await);
        assert_ne!(a.name(), b.name());
        let client = a.connect().await;
        client
            .batch_execute("select pg_create_logical_replication_slot('left_behind', 'pgoutput')")
            .await
            .unwrap();
        drop(a);
        let slots = "select count(*)::text from pg_replication_slots where slot_name = 'left_behind'";
        let watcher = b.connect().await;
        until("the slot is gone", async || one(&watcher, slots).await == "0").await;
    }
}

#[tokio::test]
async fn tls_server_presents_leaf_signed_by_its_authority() {
    let server = Postgres::builder(Version::Apt).tls().start().await;
    let authority = server.authority().unwrap().certificate().display().to_string();
    let psql = |port: u16, rest: &str| {
        let address =
            format!("host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres {rest}");
        let mut command = Command::new(server.bin_dir().join("psql"));
        command
            .args(["-Atc", "select ssl from pg_stat_ssl where pid = pg_backend_pid()", &address])
            .output()
            .unwrap()
    };
    let verified = psql(server.port(), &format!("sslmode=verify-full sslrootcert={authority}"));
    assert_eq!(String::from_utf8_lossy(&verified.stdout), "t\n", "{verified:?}");
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::new(other.path()).unwrap();
    let refused =
        psql(server.port(), &format!("sslmode=verify-full sslrootcert={}", stranger.certificate().display()));
    assert!(!refused.status.success());
}

/// Not a test of its own: the one below runs it in another process and kills that.
#[tokio::test]
async fn child_that_starts_server_and_waits() {
    let Some(report) = std::env::var_os("TESTKIT_CHILD_REPORT") else { return };
    let server = Postgres::start(Version::Pip).await;
    let text = format!("{} {} end", server.pid().unwrap(), server.socket_dir().display());
    std::fs::write(report, text).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn server_and_its_files_go_when_the_test_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "postgres::tests::child_that_starts_server_and_waits"])
        .env("TESTKIT_CHILD_REPORT", &report);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let read = || std::fs::read_to_string(&report).unwrap_or_default();
    until("the child has started its server", async || read().ends_with(" end")).await;
    let text = read();
    let words: Vec<&str> = text.split(' ').collect();
    let (pid, server_dir) = (Pid::from_raw(words[0].parse().unwrap()), Path::new(words[1]));
    assert!(is_running(pid));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    until("the server is gone", async || !is_running(pid)).await;
    until("its files are gone", async || !server_dir.exists()).await;
}

/// `DROP DATABASE` waits for every session of the server to answer a signal; one that is sending to a client which does not read does
/// not. If dropping the value waited for it on the client's own runtime, neither would ever go on.
#[tokio::test]
async fn dropped_database_does_not_wait_for_a_client_that_does_not_read() {
    for version in Version::ALL {
        let server = shared(version).await;
        let (reading, dropped) = (server.database().await, server.database().await);
        let client = reading.connect().await;
        let text = "select repeat('x', 10000) from generate_series(1, 3000)";
        let rows = client.query_raw(text, std::iter::empty::<&str>()).await.unwrap();
        let watcher = server.connect("postgres").await;
        let is_sending =
            "select exists (select from pg_stat_activity where wait_event = 'ClientWrite')::text";
        until("the session is sending", async || one(&watcher, is_sending).await == "true").await;
        let name = dropped.name().to_owned();
        drop(dropped);
        drop(rows);
        let is_gone = format!("select (not exists (select from pg_database where datname = '{name}'))::text");
        until("the database is gone", async || one(&watcher, &is_gone).await == "true").await;
    }
}
