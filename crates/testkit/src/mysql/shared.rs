//! One server of each product for all tests of a process, and a database for each.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{Mysql, MysqlBuilder, Product};
use crate::process::blocking;

static MARIADB: OnceLock<Mysql> = OnceLock::new();
static MYSQL: OnceLock<Mysql> = OnceLock::new();

/// The server that the tests of this process share. It is never stopped by us: it ends with the process.
#[derive(Clone, Copy)]
pub struct Shared(&'static Mysql);

/// Starts the shared server of a product, or finds it started. Do not stop or kill it; such tests start their own.
///
/// # Panics
/// If the server is not installed or does not start.
pub async fn shared(product: Product) -> Shared {
    let cell = match product {
        Product::MariaDb => &MARIADB,
        Product::MySql => &MYSQL,
    };
    let start = move || MysqlBuilder::new(product).start_blocking().unwrap_or_else(|e| panic!("{e}"));
    Shared(blocking(move || cell.get_or_init(start)).await)
}

impl Deref for Shared {
    type Target = Mysql;

    fn deref(&self) -> &Mysql {
        self.0
    }
}

impl Shared {
    /// Creates a fresh database, which is dropped soon after the value, together with its clients' connections.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn database(self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.create_database(&name).await;
        Database { server: self.0, name }
    }
}

/// A test's own database on the shared server.
pub struct Database {
    server: &'static Mysql,
    name: String,
}

impl Database {
    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is on.
    pub fn server(&self) -> &'static Mysql {
        self.server
    }

    /// Its address by TCP.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Its address by unix socket.
    pub fn socket_url(&self) -> String {
        self.server.socket_url(&self.name)
    }

    /// A new connection, by socket.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self) -> Conn {
        self.server.connect(&self.name).await
    }
}

impl Drop for Database {
    /// Does not wait until it is done: the connections that it ends may be of this very runtime, which would then not go on.
    fn drop(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        // The test's own runtime may be ending, so this has a thread and a runtime of its own.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Err(e) = runtime.expect("a runtime can be built").block_on(remove(server, &name)) {
                eprintln!("database {name} stays behind: {e}");
            }
        });
    }
}

/// A database is dropped only after every transaction that read from it has ended.
async fn remove(server: &Mysql, name: &str) -> Result<(), mysql_async::Error> {
    let mut conn = server.connect("").await;
    let sessions = "select id from information_schema.processlist where db = ?";
    let ids: Vec<u64> = conn.exec(sessions, (name,)).await?;
    for id in ids {
        // It may have ended by itself.
        conn.query_drop(format!("kill {id}")).await.ok();
    }
    conn.query_drop(format!("drop database if exists `{name}`")).await?;
    conn.disconnect().await
}
