use std::process::Command;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;

async fn one(conn: &mut Conn, sql: &str) -> String {
    conn.query_first(sql).await.expect(sql).expect(sql)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "still waiting: {what}");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn both_products_start_with_row_binlog_by_socket_and_tcp() {
    let mut ids = Vec::new();
    for product in Product::ALL {
        let server = Mysql::start(product).await;
        let mut conn = server.connect("").await;
        assert_eq!(
            one(&mut conn, "select concat(if(@@log_bin, 1, 0), @@binlog_format, @@binlog_row_image)").await,
            "1ROWFULL"
        );
        assert!(one(&mut conn, "select version()").await.starts_with(server.version()));
        assert_eq!(one(&mut conn, "select @@character_set_server").await, "utf8mb4");
        let mut by_tcp = connect(&server.url("mysql")).await;
        assert_eq!(one(&mut by_tcp, "select @@sync_binlog").await, "0");
        assert_eq!(one(&mut by_tcp, "select if(@@performance_schema, 1, 0)").await, "0");
        let host = "select substring_index(host, ':', 1) from information_schema.processlist where id = connection_id()";
        assert_eq!(one(&mut conn, host).await, "localhost");
        assert_eq!(one(&mut by_tcp, host).await, "127.0.0.1");
        ids.push(one(&mut conn, "select @@server_id").await);
        if product == Product::MySql {
            assert_eq!(one(&mut conn, "select @@global.gtid_executed").await, "", "a server has no history");
        }
        assert!(server.is_running() && server.product() == product);
        let (pid, dir) = (Pid::from_raw(server.pid().unwrap()), server.dir().to_owned());
        drop((conn, by_tcp, server));
        assert!(!is_running(pid));
        assert!(!dir.exists());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn killed_and_stopped_servers_come_back_with_committed_rows() {
    for product in Product::ALL {
        let server = Mysql::start(product).await;
        server.create_database("shop").await;
        let url = server.url("shop");
        let mut conn = server.connect("shop").await;
        conn.query_drop("create table t (id int primary key)").await.unwrap();
        conn.query_drop("insert into t values (7)").await.unwrap();
        server.kill9().await;
        assert!(!server.is_running());
        server.restart().await;
        assert_eq!(one(&mut connect(&url).await, "select id from t").await, "7");
        server.stop().await;
        assert!(!server.is_running());
        server.restart().await;
        assert_eq!(one(&mut connect(&url).await, "select id from t").await, "7");
        assert!(server.log().to_lowercase().contains("crash recovery"), "{}", server.log());
    }
}

#[tokio::test]
async fn settings_and_users_take_effect() {
    for product in Product::ALL {
        let builder = Mysql::builder(product).fsync(true).setting("max_connections", "33");
        let server = builder.setting("init_connect", "set @a = '\"x\\\\y#'").start().await;
        server.create_database("shop").await;
        server.create_user("app", "secret1", &["select, create on shop.*", "reload on *.*"]).await;
        let mut conn = connect(&server.url_as("app", "secret1", "shop")).await;
        let synced = "select concat(@@sync_binlog, @@innodb_flush_log_at_trx_commit, @@max_connections)";
        assert_eq!(one(&mut conn, synced).await, "1133");
        assert_eq!(one(&mut conn, "select @a").await, "\"x\\y#");
        conn.query_drop("create table t (id int primary key)").await.unwrap();
        let refused = conn.query_drop("insert into t values (1)").await.unwrap_err();
        assert!(matches!(&refused, mysql_async::Error::Server(e) if e.code == 1142), "{refused}");
        let wrong = options(&server.url_as("app", "other", "shop")).unwrap();
        let refused = Conn::new(wrong).await.err().unwrap();
        assert!(matches!(&refused, mysql_async::Error::Server(e) if e.code == 1045), "{refused}");
        let mistaken = Mysql::builder(product).setting("no_such_setting", "1").try_start().await;
        assert!(mistaken.err().unwrap().contains("no_such_setting"));
    }
}

#[tokio::test]
async fn shared_server_is_one_and_databases_are_apart_and_dropped() {
    for product in Product::ALL {
        let (one_server, same) = (shared(product).await, shared(product).await);
        assert_eq!(one_server.port(), same.port());
        let (a, b) = (one_server.database().await, same.database().await);
        assert_ne!(a.name(), b.name());
        let mut reading = a.connect().await;
        reading.query_drop("create table t (id int primary key)").await.unwrap();
        reading.query_drop("begin; select * from t").await.unwrap();
        let is_there =
            format!("select count(*) from information_schema.schemata where schema_name = '{}'", a.name());
        let mut watcher = b.connect().await;
        assert_eq!(one(&mut watcher, &is_there).await, "1");
        drop(a);
        until("the database is gone", async || one(&mut watcher, &is_there).await == "0").await;
    }
}

/// Not a test of its own: the one below runs it in another process and kills that.
#[tokio::test]
async fn child_that_starts_server_and_waits() {
    let Some(report) = std::env::var_os("TESTKIT_CHILD_REPORT") else { return };
    let server = Mysql::start(Product::MariaDb).await;
    std::fs::write(report, format!("{} {} end", server.pid().unwrap(), server.dir().display())).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn server_and_its_files_go_when_the_test_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "mysql::tests::child_that_starts_server_and_waits"]);
    let mut child =
        command.env("TESTKIT_CHILD_REPORT", &report).stdout(std::process::Stdio::null()).spawn().unwrap();
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
