//! What will be done: worked out before anything is changed, shown to people, stored with the migration.

use crate::name::TableName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How the change is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Direct where the server changes only its catalog, else shadow.
    Auto,
    /// Shadow table, change stream, swap.
    Shadow,
    /// One `ALTER TABLE` with a short lock timeout and retries.
    Direct,
}

/// When the shadow's secondary indexes are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Indexes {
    /// Whichever the engine finds better.
    #[default]
    Auto,
    /// Before the copy: slower, but no single statement builds one.
    Early,
    /// After the copy.
    Late,
}

impl Indexes {
    /// Nothing was said.
    pub fn is_auto(&self) -> bool {
        matches!(self, Indexes::Auto)
    }
}

/// What the operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The table as typed: `orders`, `sales.orders`, `"Sales"."Orders"`.
    pub table: String,
    /// The bodies of `ALTER TABLE`, in order, without `ALTER TABLE <name>`.
    pub alters: Vec<String>,
    /// `--set column=expression`: the value of a column of the shadow over the source row.
    pub sets: Vec<(String, String)>,
    /// `--set-back column=expression`: the value of a column of the old table over the new table's row, while the old table is kept in
    /// step after the swap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_backs: Vec<(String, String)>,
    /// Seconds that the old table is to be kept in step after the swap; `None`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard_s: Option<u64>,
    /// How.
    pub strategy: Strategy,
    /// When secondary indexes are built. Not written where nothing was said: ids of plans stay what they were.
    #[serde(default, skip_serializing_if = "Indexes::is_auto")]
    pub indexes: Indexes,
    /// Schema (or database) of the control tables.
    pub control_schema: String,
}

/// One column of the shadow and where its values come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The shadow's column.
    pub column: String,
    /// Its type, as the server spells it.
    pub data_type: String,
    /// The source's column that it stems from.
    pub from: Option<String>,
    /// The source column's type.
    pub from_type: Option<String>,
    /// The expression over the source row; `None`: the server fills it (default, identity, generated).
    pub expression: Option<String>,
    /// What changes, for people: `same`, `type`, `renamed`, `new`, `computed`, `generated`.
    pub note: String,
}

/// "Keep `to` in step with `from`." The guard uses the same type the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where changes come from.
    pub from: TableName,
    /// Where they go.
    pub to: TableName,
    /// The key: its columns in `from` and `to`, in index order.
    pub key: Vec<KeyColumn>,
    /// The projection: one entry for each column of `to`.
    pub columns: Vec<Mapping>,
    /// The columns of `from` in the order of the table: name and type.
    pub from_columns: Vec<(String, String)>,
}

/// One column of the key on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// Its name in `from`.
    pub from: String,
    /// Its type in `from`.
    pub from_type: String,
    /// Its name in `to`.
    pub to: String,
    /// Its type in `to`.
    pub to_type: String,
}

/// How much a check's finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Checked and fine.
    Passed,
    /// Worth telling; the run goes on.
    Warning,
    /// The run is refused.
    Refused,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name, stable: `wal_level`, `replication-privilege`, `foreign-keys`.
    pub check: String,
    /// Its weight.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub next: Option<String>,
}

impl Finding {
    /// A check that passed.
    pub fn passed(check: &str, message: impl Into<String>) -> Finding {
        Finding { check: check.into(), severity: Severity::Passed, message: message.into(), next: None }
    }

    /// Worth telling.
    pub fn warning(check: &str, message: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding {
            check: check.into(),
            severity: Severity::Warning,
            message: message.into(),
            next: Some(next.into()),
        }
    }

    /// The run is refused.
    pub fn refused(check: &str, message: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding {
            check: check.into(),
            severity: Severity::Refused,
            message: message.into(),
            next: Some(next.into()),
        }
    }
}

/// One statement of the run, in order, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The phase in which it runs.
    pub phase: String,
    /// The statement.
    pub statement: String,
}

/// Sizes in bytes and what follows from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows, as the server estimates them.
    pub rows: u64,
    /// The table's heap and TOAST.
    pub table_bytes: u64,
    /// Its indexes.
    pub index_bytes: u64,
    /// Disk that the shadow will take.
    pub disk_bytes: u64,
    /// WAL or binlog that the copy will write.
    pub log_bytes: u64,
    /// A rough estimate of the whole run, in seconds.
    pub seconds: u64,
}

/// Everything that will be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// A hash of what matters in this plan: approve it with `--plan-id`.
    pub id: String,
    /// What was asked for.
    pub request: Request,
    /// The server's product and version.
    pub server: String,
    /// How it will be done.
    pub strategy: Strategy,
    /// Why, in the server's own terms.
    pub reason: String,
    /// The table's present name.
    pub source: TableName,
    /// The shadow's name.
    pub shadow: TableName,
    /// What the source is called after the swap.
    pub old: TableName,
    /// From the source to the shadow.
    pub link: Link,
    /// Indexes and constraints of the shadow, for people: what, and when it is built.
    pub indexes: Vec<String>,
    /// Objects that depend on the table, for people.
    pub dependents: Vec<String>,
    /// What the checks found.
    pub findings: Vec<Finding>,
    /// Sizes and estimates.
    pub size: Size,
    /// The statements that will run.
    pub steps: Vec<Step>,
    /// A fingerprint of the source's definition; a change of it under the run stops the run.
    pub fingerprint: String,
    /// What only the engine needs, in its own words.
    pub detail: serde_json::Value,
    /// How many swaps came before. Even: from the source to the shadow; odd: back, from what was the shadow to what was the source.
    /// Not part of the id.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn: i64,
}

fn is_zero(turn: &i64) -> bool {
    *turn == 0
}

impl Plan {
    /// Fills in the id: a hash over the request, the projection, the strategy and the source's definition.
    #[must_use]
    pub fn with_id(mut self) -> Plan {
        let mut hash = Sha256::new();
        let text = serde_json::json!([
            self.request,
            self.strategy,
            self.source,
            self.shadow,
            self.link,
            self.indexes,
            self.fingerprint
        ]);
        hash.update(text.to_string().as_bytes());
        self.id = hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect();
        self
    }

    /// Its source is what the change made, and its shadow is the table as it was before.
    pub fn is_turned(&self) -> bool {
        self.turn % 2 != 0
    }

    /// What keeps this plan from being run.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Refused)
    }
}
