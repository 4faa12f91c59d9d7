//! Ways in: TLS, sockets, kinds of accounts, option files and variables. What is refused says why, and nothing ever shows a password.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use mysql_async::Conn;
use shadowswap_testkit::Binary;
use shadowswap_testkit::binary::Output;
use shadowswap_testkit::mysql::{Mysql, Product, shared};
use shadowswap_testkit::postgres::Authority;
use tempfile::TempDir;

use super::{PRODUCTS, sql, texts, traces};
use crate::operator::{LONG, SOON, run, shadowswap};

/// No other text of a run has this in it.
const SECRET: &str = "s3cretWord";

/// What our sessions need, on every database of these servers.
const GRANTS: &str = "all on *.*";

/// A server with a certificate for 127.0.0.1, and what clients need to check it.
struct Guarded {
    server: Mysql,
    authority: Authority,
    papers: TempDir,
}

impl Guarded {
    async fn start(product: Product) -> Guarded {
        let papers = tempfile::tempdir().unwrap();
        let authority = Authority::new(papers.path()).unwrap();
        let (key, certificate) = authority.issue(papers.path(), "server", "server", &["127.0.0.1"]).unwrap();
        // The server runs as another user.
        let readable = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        readable(papers.path(), 0o755);
        let server = Mysql::builder(product)
            .setting("ssl_ca", &readable(authority.certificate(), 0o644))
            .setting("ssl_cert", &readable(&certificate, 0o644))
            .setting("ssl_key", &readable(&key, 0o644))
            .start()
            .await;
        server.create_database("shop").await;
        Guarded { server, authority, papers }
    }

    /// The address by TCP, with more parameters.
    fn tcp(&self, user: &str, more: &str) -> String {
        format!("mysql://{user}:{SECRET}@127.0.0.1:{}/shop?{more}", self.server.port())
    }

    /// The server presents another certificate from now on.
    async fn present(&self, name: &str, hosts: &[&str]) {
        let (key, certificate) = self.authority.issue(self.papers.path(), name, name, hosts).unwrap();
        for (from, to) in [(key, "server.key"), (certificate, "server.crt")] {
            // Into the same file: its owner and rights stay.
            fs::write(self.papers.path().join(to), fs::read(from).unwrap()).unwrap();
        }
        let reload = match self.server.product() {
            Product::MySql => "alter instance reload tls",
            Product::MariaDb => "flush ssl",
        };
        sql(&mut self.server.connect("").await, reload).await;
    }

    fn verified(&self) -> String {
        format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={}", self.authority.certificate().display())
    }
}

/// Nothing that was printed has the password in it, nor has the control database.
async fn is_silent(output: &Output, conn: &mut Conn) {
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains(SECRET), "the password is shown: {text}");
    }
    let kept = texts(conn, "select plan, runner, progress, error from shadowswap.migration").await;
    let told = texts(conn, "select who, what from shadowswap.event").await;
    assert!(
        !kept.iter().chain(&told).any(|text| text.contains(SECRET)),
        "the password is kept: {kept:?} {told:?}"
    );
}

/// A whole run on a table of its own.
async fn leads_in(server: &Mysql, url: &str, name: &str) {
    let mut conn = server.connect("shop").await;
    let make = format!(
        "create table {name} (id int primary key, n int, key (n)); insert into {name} values (1, 1), (2, 2), (3, 3)"
    );
    sql(&mut conn, &make).await;
    let output = run(url, name, "modify n bigint").args(["--stall-budget", "2s"]).run(LONG).await;
    let output = output.expect_code(0);
    is_silent(&output, &mut conn).await;
    assert_eq!(
        texts(&mut conn, &format!("select id, n from {name} order by id")).await,
        ["1|1", "2|2", "3|3"]
    );
    let changed = format!(
        "select 1 from information_schema.columns where table_schema = 'shop' and table_name = '{name}' and data_type = 'bigint'"
    );
    assert_eq!(texts(&mut conn, &changed).await, ["1"], "{name}");
    assert_eq!(traces(&mut conn).await, Vec::<String>::new());
}

/// Who these tests run as, to the operating system.
fn own_name() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

/// Accounts of every kind that the server has, with how they identify themselves.
async fn accounts(server: &Mysql, conn: &mut Conn) -> Vec<&'static str> {
    let mut names = vec!["usual"];
    let mut statements = vec![format!("create user usual@'%' identified by '{SECRET}'")];
    match server.product() {
        Product::MySql => {}
        Product::MariaDb => {
            names.push("native");
            statements.push(format!(
                "create user native@'%' identified via mysql_native_password using password('{SECRET}')"
            ));
            // Debian has it in a package of its own, which need not be there.
            if server_has(conn, "auth_ed25519.so").await {
                names.push("curved");
                statements.push("install soname 'auth_ed25519'".into());
                statements.push(format!(
                    "create user curved@'%' identified via ed25519 using password('{SECRET}')"
                ));
            }
        }
    }
    statements.extend(names.iter().map(|name| format!("grant {GRANTS} to {name}@'%'")));
    for text in statements {
        sql(conn, &text).await;
    }
    names
}

async fn server_has(conn: &mut Conn, library: &str) -> bool {
    let folder = texts(conn, "select @@plugin_dir").await.remove(0);
    Path::new(&folder).join(library).is_file()
}

#[tokio::test]
async fn every_way_in_carries_a_whole_run() {
    for product in PRODUCTS {
        let guarded = Guarded::start(product).await;
        let server = &guarded.server;
        let mut conn = server.connect("").await;
        for name in accounts(server, &mut conn).await {
            // The server has seen no password of this user yet: it asks for all of it, and only later for a proof.
            sql(&mut conn, "flush privileges").await;
            leads_in(server, &guarded.tcp(name, "ssl-mode=DISABLED"), &format!("{name}_plain")).await;
            sql(&mut conn, "flush privileges").await;
            leads_in(server, &guarded.tcp(name, &guarded.verified()), &format!("{name}_tls")).await;
            let socket =
                format!("mysql://{name}:{SECRET}@localhost/shop?socket={}", server.socket().display());
            sql(&mut conn, "flush privileges").await;
            leads_in(server, &socket, &format!("{name}_socket")).await;
        }
        // Who asks for nothing gets TLS where the account demands it, on every one of our connections.
        sql(&mut conn, "alter user usual@'%' require ssl").await;
        leads_in(server, &guarded.tcp("usual", ""), "demanded").await;
        leads_in(server, &guarded.tcp("usual", "ssl-mode=REQUIRED"), "required").await;
        // A certificate of the client.
        sql(&mut conn, "alter user usual@'%' require x509").await;
        let (key, certificate) =
            guarded.authority.issue(guarded.papers.path(), "client", "usual", &[]).unwrap();
        let shown =
            format!("{}&ssl-cert={}&ssl-key={}", guarded.verified(), certificate.display(), key.display());
        leads_in(server, &guarded.tcp("usual", &shown), "certified").await;
        // The operating system answers for the user.
        let us = own_name();
        let (plugin, via) = match product {
            Product::MySql => {
                ("install plugin auth_socket soname 'auth_socket.so'", "identified with auth_socket")
            }
            Product::MariaDb => ("do 1", "identified via unix_socket"),
        };
        for text in [
            plugin.to_string(),
            format!("create user if not exists `{us}`@localhost"),
            format!("alter user `{us}`@localhost {via}"),
            format!("grant {GRANTS} to `{us}`@localhost"),
        ] {
            sql(&mut conn, &text).await;
        }
        let socket = format!("mysql://{us}@localhost/shop?socket={}", server.socket().display());
        leads_in(server, &socket, "by_socket").await;
    }
}

fn plan(url: &str) -> Binary {
    shadowswap(url).args(["plan", "--table", "t", "--alter", "modify n bigint"])
}

#[tokio::test]
async fn option_files_and_variables_are_read() {
    for product in PRODUCTS {
        let database = shared(product).await.database().await;
        let server = database.server();
        let mut conn = database.connect().await;
        sql(&mut conn, "create table t (id int primary key, n int)").await;
        let user = format!("filed_{}", database.name());
        server.create_user(&user, SECRET, &[GRANTS]).await;
        let home = tempfile::tempdir().unwrap();
        let (port, socket) = (server.port(), server.socket().display().to_string());
        let text = format!(
            "[client]\nuser = {user}\npassword = \"{SECRET}\"\nhost = 127.0.0.1\nport = {port}\n[mysqld]\nport = 1\n"
        );
        fs::write(home.path().join(".my.cnf"), &text).unwrap();
        let elsewhere = home.path().join("other.cnf");
        fs::write(&elsewhere, &text).unwrap();
        let empty = tempfile::tempdir().unwrap();
        let (home, empty) = (home.path().display().to_string(), empty.path().display().to_string());
        let url = format!("mysql:///{}", database.name());
        let named = format!("{url}?defaults-file={}", elsewhere.display());
        let with_user = format!("mysql://{user}@/{}", database.name());
        let calls = [
            plan(&url).env("HOME", &home),
            plan(&named).env("HOME", &empty),
            plan(&with_user)
                .env("HOME", &empty)
                .env("MYSQL_HOST", "127.0.0.1")
                .env("MYSQL_TCP_PORT", port.to_string())
                .env("MYSQL_PWD", SECRET),
            plan(&with_user).env("HOME", &empty).env("MYSQL_UNIX_PORT", &socket).env("MYSQL_PWD", SECRET),
        ];
        for call in calls {
            let output = call.run(SOON).await.expect_code(0);
            assert!(!output.stdout.contains(SECRET) && !output.stderr.contains(SECRET));
        }
        let missing = format!("{url}?defaults-file={empty}/none.cnf");
        let output = plan(&missing).env("HOME", &home).run(SOON).await.expect_code(2);
        assert!(output.stderr.contains("none.cnf"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn refusals_say_why_and_never_the_password() {
    for product in PRODUCTS {
        let guarded = Guarded::start(product).await;
        let server = &guarded.server;
        let mut conn = server.connect("shop").await;
        sql(&mut conn, "create table t (id int primary key, n int)").await;
        server.create_user("usual", SECRET, &[GRANTS]).await;
        server.create_user("other", "another", &[GRANTS]).await;
        server.create_user("guarded", SECRET, &[GRANTS]).await;
        sql(&mut conn, "alter user guarded@'%' require ssl").await;
        let elsewhere = tempfile::tempdir().unwrap();
        let stranger = Authority::new(elsewhere.path()).unwrap();
        let unknown = format!("ssl-mode=VERIFY_CA&ssl-ca={}", stranger.certificate().display());
        let misnamed = guarded.tcp("usual", &guarded.verified()).replace("127.0.0.1", "localhost");
        let cases = [
            (guarded.tcp("usual", &unknown), 3, "check ssl-ca"),
            (misnamed, 3, "check ssl-ca"),
            (guarded.tcp("usual", "ssl-mode=VERIFY_CA&ssl-ca=/nowhere/ca.pem"), 2, "/nowhere/ca.pem"),
            (guarded.tcp("other", ""), 3, "1045"),
            // MySQL asks those whom it does not know for any kind of proof, so that nobody learns whom it knows.
            (guarded.tcp("nobody_known", ""), 3, "nobody_known@"),
            (guarded.tcp("guarded", "ssl-mode=DISABLED"), 3, "1045"),
            (guarded.tcp("usual", "").replace("/shop", "/no_such_database"), 3, "1049"),
        ];
        for (url, code, says) in cases {
            let output = plan(&url).run(SOON).await.expect_code(code);
            assert!(output.stderr.contains(says), "{product} {says}: {}", output.stderr);
            assert!(!output.stdout.contains(SECRET) && !output.stderr.contains(SECRET), "{}", output.stderr);
        }
        if product == Product::MySql {
            let make = format!("create user foreign_kind@'%' identified with sha256_password by '{SECRET}'");
            sql(&mut conn, &make).await;
            let output = plan(&guarded.tcp("foreign_kind", "")).run(SOON).await.expect_code(3);
            assert!(output.stderr.contains("sha256_password"), "{}", output.stderr);
        }
        // The authority alone is asked for: the name may be any.
        let any_name = format!("ssl-mode=VERIFY_CA&ssl-ca={}", guarded.authority.certificate().display());
        let url = guarded.tcp("usual", &any_name).replace("127.0.0.1", "localhost");
        plan(&url).run(SOON).await.expect_code(0);
        // A certificate for many names, and one for none, which cannot be checked.
        let (wild, nameless) = (["*.example.org"], []);
        for (name, hosts, code) in [("wild", &wild[..], 0), ("nameless", &nameless[..], 3)] {
            guarded.present(name, hosts).await;
            plan(&guarded.tcp("usual", &any_name)).run(SOON).await.expect_code(code);
            plan(&guarded.tcp("usual", &unknown)).run(SOON).await.expect_code(3);
            plan(&guarded.tcp("usual", "ssl-mode=REQUIRED")).run(SOON).await.expect_code(0);
        }
        // A server without TLS.
        let bare = match product {
            Product::MySql => Mysql::builder(product).setting("tls_version", "").start().await,
            Product::MariaDb => Mysql::builder(product).setting("skip_ssl", "1").start().await,
        };
        bare.create_database("shop").await;
        sql(&mut bare.connect("shop").await, "create table t (id int primary key, n int)").await;
        bare.create_user("usual", SECRET, &[GRANTS]).await;
        let url = bare.url_as("usual", SECRET, "shop");
        let output = plan(&format!("{url}?ssl-mode=REQUIRED")).run(SOON).await.expect_code(3);
        assert!(output.stderr.contains("the server has no TLS"), "{}", output.stderr);
        plan(&url).run(SOON).await.expect_code(0);
    }
}
