//! The server that is measured, and what differs between them: addresses, SQL texts, and what is good enough.

use crate::client::Client;
use shadowswap_testkit::{Mysql, Postgres, Product, Version};
use std::fmt;

/// The database of MySQL and MariaDB; PostgreSQL has one already.
const DATABASE: &str = "bench";

/// Which server to start.
#[derive(Clone, Copy)]
pub enum Kind {
    Postgres(Version),
    Mysql(Product),
}

impl Kind {
    /// The setting without which nothing can be migrated.
    pub fn needs(self) -> &'static str {
        match self {
            Kind::Postgres(_) => "wal_level = logical",
            Kind::Mysql(_) => "binlog_format = ROW",
        }
    }
}

/// A private server.
pub enum Server {
    Postgres(Postgres),
    Mysql(Mysql),
}

/// The figures that are good enough on a server.
pub struct Goals {
    /// Milliseconds that clients wait around a cutover: the median of many, and the longest.
    pub stall: (f64, f64),
    /// Whole runs without verify and with it, in blocking ALTERs.
    pub total: (f64, Option<f64>),
    /// Changes applied a second.
    pub apply: f64,
}

impl Server {
    /// Starts a server as an operator would run it on this machine: it syncs, and its caches are large.
    pub async fn start(kind: Kind, is_stock: bool) -> Server {
        match kind {
            Kind::Postgres(version) => Server::Postgres(start_postgres(version, is_stock).await),
            Kind::Mysql(product) => Server::Mysql(start_mysql(product, is_stock).await),
        }
    }

    /// Stops it as an operator would.
    pub async fn stop(&self) {
        match self {
            Server::Postgres(server) => server.stop().await,
            Server::Mysql(server) => server.stop().await,
        }
    }

    /// The address of the database with our tables.
    pub fn url(&self) -> String {
        match self {
            Server::Postgres(server) => server.url("postgres"),
            Server::Mysql(server) => server.url(DATABASE),
        }
    }

    pub async fn connect(&self) -> Client {
        match self {
            Server::Postgres(server) => Client::Postgres(server.connect("postgres").await),
            Server::Mysql(server) => Client::Mysql(server.connect(DATABASE).await, server.product()),
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Server::Postgres(server) => server.port(),
            Server::Mysql(server) => server.port(),
        }
    }

    /// The name and first number of its version, for file names: `postgres15`.
    pub fn short_name(&self) -> String {
        let (name, version) = match self {
            Server::Postgres(server) => ("postgres".to_owned(), server.version()),
            Server::Mysql(server) => (server.product().to_string(), server.version()),
        };
        format!("{name}{}", version.split('.').next().unwrap_or("0"))
    }

    /// A table as in SQL and on our command line.
    pub fn table(&self, name: &str) -> String {
        match self {
            Server::Postgres(_) => format!("public.{name}"),
            Server::Mysql(_) => name.to_owned(),
        }
    }

    /// The change: the server rewrites the table for it. Every other time it goes back, so that a table can be changed again and again.
    pub fn change(&self, round: usize) -> String {
        let there = round.is_multiple_of(2);
        match self {
            Server::Postgres(_) if there => "alter column n type bigint, add column note text",
            Server::Postgres(_) => "alter column n type integer, drop column note",
            Server::Mysql(_) if there => "modify n bigint, add column note varchar(100)",
            Server::Mysql(_) => "modify n int, drop column note",
        }
        .to_owned()
    }

    /// The statement that we are compared with: it makes the change while everybody waits.
    pub fn blocking(&self, table: &str, change: &str) -> String {
        match self {
            Server::Postgres(_) => format!("alter table {table} {change}"),
            Server::Mysql(_) => format!("alter table {table} {change}, algorithm = copy"),
        }
    }

    /// An expression that gives `pad`, which no index has, another value every time.
    pub fn other_pad(&self) -> &'static str {
        match self {
            Server::Postgres(_) => "md5(pad)",
            // MySQL 9 has no md5 any more.
            Server::Mysql(_) => "reverse(pad)",
        }
    }

    pub fn goals(&self) -> Goals {
        match self {
            Server::Postgres(_) => Goals { stall: (10.0, 40.0), total: (1.0, Some(1.4)), apply: 50_000.0 },
            Server::Mysql(server) => match server.product() {
                Product::MySql => Goals { stall: (20.0, 60.0), total: (0.7, None), apply: 25_000.0 },
                Product::MariaDb => Goals { stall: (20.0, 60.0), total: (1.1, None), apply: 35_000.0 },
            },
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, version) = match self {
            Server::Postgres(server) => ("PostgreSQL", server.version()),
            Server::Mysql(server) => match server.product() {
                Product::MySql => ("MySQL", server.version()),
                Product::MariaDb => ("MariaDB", server.version()),
            },
        };
        write!(f, "{name} {version}")
    }
}

async fn start_postgres(version: Version, is_stock: bool) -> Postgres {
    let settings: &[(&str, &str)] = &[
        ("shared_buffers", "1GB"),
        ("max_wal_size", "8GB"),
        ("maintenance_work_mem", "256MB"),
        ("checkpoint_timeout", "15min"),
    ];
    let settings = if is_stock { &settings[..0] } else { settings };
    let builder = Postgres::builder(version).fsync(true);
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

async fn start_mysql(product: Product, is_stock: bool) -> Mysql {
    let builder = Mysql::builder(product).fsync(true);
    let builder = match product {
        // The server's own default, which tests do without.
        Product::MySql => builder.setting("performance_schema", "ON"),
        Product::MariaDb => builder,
    };
    // As large as PostgreSQL's log may grow here. With its default of 100 MB, MySQL has all writers wait for 100 ms now and then.
    let log = match product {
        Product::MySql => "innodb_redo_log_capacity",
        Product::MariaDb => "innodb_log_file_size",
    };
    let builder =
        if is_stock { builder } else { builder.setting("innodb_buffer_pool_size", "1G").setting(log, "4G") };
    let server = builder.start().await;
    server.create_database(DATABASE).await;
    server
}
