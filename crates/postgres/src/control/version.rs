//! Which version the control tables have, and how they come to this one.

use super::Control;
use crate::{connect::Connection, error::server, sql::quote};
use shadowswap_core::{
    Error, Result,
    control::{SCHEMA_VERSION, SCHEMA_VERSION_MIN},
};

impl Control {
    /// Opens the tables, making them where `create` is set.
    pub async fn open(connection: Connection, schema: &str, create: bool) -> Result<Control> {
        let scope = crate::scope::of(schema);
        let mut control = Control { connection, schema: quote(schema), scope, version: SCHEMA_VERSION };
        let exists = control
            .client()
            .query_one("select to_regclass($1) is not null", &[&format!("{}.version", control.schema)])
            .await
            .map_err(|e| server(e, format_args!("looking for the control tables in schema {schema}")))?;
        if !exists.get::<_, bool>(0) {
            if !create {
                return Err(Error::refused(format!(
                    "there are no control tables in schema {schema}: nothing was ever run here"
                )));
            }
            control.create(schema).await?;
        }
        let row = control
            .one(&format!("select max(version) from {}.version", control.schema), &[], "reading the version")
            .await?;
        match row.get::<_, Option<i32>>(0) {
            Some(SCHEMA_VERSION) => Ok(control),
            Some(older) if (SCHEMA_VERSION_MIN..SCHEMA_VERSION).contains(&older) => {
                control.version = older;
                if create {
                    control.upgrade(schema).await?;
                }
                Ok(control)
            }
            other => Err(Error::refused(format!(
                "the control tables in schema {schema} have version {other:?}; this program writes version {SCHEMA_VERSION}"
            ))
            .next("use the program that made them, or another --control-schema")),
        }
    }

    async fn create(&self, schema: &str) -> Result<()> {
        let tables = concat!(include_str!("../sql/control.sql"), include_str!("../sql/steer.sql"));
        let tables = tables.replace("{control}", &self.schema);
        // Two first runs at once: the lock lets one make the tables, and the other find them.
        let text = format!(
            "begin;\nselect pg_advisory_xact_lock(hashtextextended('shadowswap control', 0));\ncreate schema if not exists {0};\n{tables}\n\
             insert into {0}.version select {SCHEMA_VERSION} where not exists (select from {0}.version);\ncommit;",
            self.schema
        );
        let made = self.client().batch_execute(&text).await;
        if made.is_err() {
            drop(self.client().batch_execute("rollback").await);
        }
        made.map_err(|e| {
            server(e, format_args!("making the control tables in schema {schema}"))
                .next("grant this role CREATE on the database, or make the schema for it and name it with --control-schema")
        })
    }

    /// Brings tables of an older version to this one, in one transaction, around whoever uses them.
    async fn upgrade(&mut self, schema: &str) -> Result<()> {
        let statements = concat!(include_str!("../sql/upgrade.sql"), include_str!("../sql/steer.sql"));
        let statements = statements.replace("{control}", &self.schema);
        // Of two at once, the second finds nothing left to do.
        let text = format!(
            "begin;\nset local lock_timeout = '10s';\nselect pg_advisory_xact_lock(hashtextextended('shadowswap control', 0));\n\
             do $shadowswap$ begin if (select max(version) from {}.version) < {SCHEMA_VERSION} then\n{statements}\nend if; end $shadowswap$;\ncommit;",
            self.schema
        );
        let done = self.client().batch_execute(&text).await;
        if done.is_err() {
            drop(self.client().batch_execute("rollback").await);
        }
        done.map_err(|e| {
            server(
                e,
                format_args!("bringing the control tables in schema {schema} to version {SCHEMA_VERSION}"),
            )
            .next("connect as the role that made them, or name another schema with --control-schema")
        })?;
        self.version = SCHEMA_VERSION;
        Ok(())
    }

    /// How many swaps took place, for a migration `m`. What wrote an older version's tables knew of one at most.
    pub(super) fn turn_text(&self) -> &'static str {
        if self.version < 2 {
            "case when m.phase in ('guard', 'done') then 1 else 0 end::bigint"
        } else {
            "case when m.turn = 0 and m.phase in ('guard', 'done') then 1 else m.turn end"
        }
    }

    /// Seconds left of the guard, for a migration `m`.
    pub(super) fn guard_left_text(&self) -> &'static str {
        if self.version < 2 {
            "null::float8"
        } else {
            "extract(epoch from m.guard_until - clock_timestamp())::float8"
        }
    }
}
