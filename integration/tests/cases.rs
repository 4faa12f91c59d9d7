//! Runs the folders of `cases/` on PostgreSQL. What a case is: [`crate::case`].

use std::collections::BTreeSet;

use shadowswap_testkit::binary::Run;
use shadowswap_testkit::{Database, Version, shared};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::case::{Home, Session, every_case};
use crate::catalog;
use crate::operator::{reached, sql};

/// Roles that cases may name.
const ROLES: [&str; 3] = ["keeper", "reader", "scribe"];

impl Home for Database {
    type Session = Client;

    fn address(&self) -> String {
        self.url()
    }

    async fn session(&self) -> Client {
        self.connect().await
    }
}

impl Session for Client {
    async fn run(&mut self, text: &str) -> Result<(), String> {
        self.batch_execute(text).await.map_err(|e| format!("{text}: {e:?}"))
    }

    async fn query(&mut self, text: &str) -> Result<Vec<Vec<String>>, String> {
        let found = self.simple_query(text).await.map_err(|e| format!("{text}: {e:?}"))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect())
            }
            _ => None,
        };
        Ok(found.into_iter().filter_map(row).collect())
    }

    async fn facts(&mut self, table: &str) -> BTreeSet<String> {
        catalog::facts(self, table).await
    }

    async fn rows(&mut self, table: &str, without: &[String]) -> Vec<String> {
        catalog::rows(self, table, without).await
    }

    async fn next_values(&mut self, table: &str) -> Vec<(String, i64)> {
        catalog::next_values(self, table).await
    }

    async fn whole(&mut self) -> BTreeSet<String> {
        catalog::whole(self).await
    }

    async fn traces(&mut self) -> Vec<String> {
        catalog::traces(self).await
    }

    async fn reached(&mut self, run: &mut Run, phases: &[&str]) {
        reached(self, run, phases).await;
    }
}

async fn on(version: Version, name: &'static str) {
    let server = shared(version).await;
    println!("PostgreSQL {}", server.version());
    let client = server.connect("postgres").await;
    for role in ROLES {
        sql(&client, &format!("create role {role}")).await;
    }
    every_case("cases", name, move || async move { shared(version).await.database().await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apt_every_case_ends_as_expected() {
    on(Version::Apt, "apt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pip_every_case_ends_as_expected() {
    on(Version::Pip, "pip").await;
}
