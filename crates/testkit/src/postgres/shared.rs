//! One server for all tests of a process, and a database for each.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::Client;

use super::{Postgres, PostgresBuilder, Version};
use crate::process::blocking;

static APT: OnceLock<Postgres> = OnceLock::new();
static PIP: OnceLock<Postgres> = OnceLock::new();

/// The server that the tests of this process share. It is never stopped by us: it ends with the process.
#[derive(Clone, Copy)]
pub struct Shared(&'static Postgres);

/// Starts the shared server of a version, or finds it started. Do not stop or kill it; such tests start their own.
///
/// # Panics
/// If the server is not installed or does not start.
pub async fn shared(version: Version) -> Shared {
    let cell = match version {
        Version::Apt => &APT,
        Version::Pip => &PIP,
    };
    let start = move || PostgresBuilder::new(version).start_blocking().unwrap_or_else(|e| panic!("{e}"));
    Shared(blocking(move || cell.get_or_init(start)).await)
}

impl Deref for Shared {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        self.0
    }
}

impl Shared {
    /// Creates a fresh database, which is dropped soon after the value, together with its slots and its clients' connections.
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
    server: &'static Postgres,
    name: String,
}

impl Database {
    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is on.
    pub fn server(&self) -> &'static Postgres {
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

    /// A new connection, by socket, on the caller's runtime.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self) -> Client {
        self.server.connect(&self.name).await
    }
}

impl Drop for Database {
    /// A slot left behind would keep WAL and count against the server's limit for all tests after this one.
    ///
    /// Does not wait until it is done: the server ends a database only after every session has answered a signal, also one that is
    /// sending to a client of this very runtime.
    fn drop(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        // The test's own runtime may be ending, so this has a thread and a runtime of its own.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Err(e) = runtime.expect("a runtime can be built").block_on(remove(server, &name)) {
                eprintln!("database {name} stays behind: {e:?}");
            }
        });
    }
}

async fn remove(server: &Postgres, name: &str) -> Result<(), tokio_postgres::Error> {
    const RELEASE_SLOTS: &str = "
        select pg_terminate_backend(active_pid, 5000)
        from pg_replication_slots
        where database = $1 and active_pid is not null";
    let client = server.connect("postgres").await;
    client.execute(RELEASE_SLOTS, &[&name]).await?;
    let drop_slots =
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1";
    client.execute(drop_slots, &[&name]).await?;
    client.batch_execute(&format!("drop database if exists \"{name}\" with (force)")).await
}
