//! What a plan carries for this engine alone.

use crate::{catalog::Table, shadow::index::IndexStep};
use serde::{Deserialize, Serialize};
use shadowswap_core::{
    error::{Error, Result},
    plan::{Mapping, Plan},
};

/// The index that keeps the shadow's key unique while rows are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowKey {
    /// Its name after the swap; `None`: an extra index, dropped in the swap.
    pub index: Option<String>,
    /// Its name on the shadow.
    pub name: String,
}

/// What source and shadow both keep unique, over columns that are taken over as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedUnique {
    /// What is unique together: the shadow's columns, quoted, or expressions over them.
    pub terms: Vec<String>,
    /// The rows that it is about, if not all.
    pub predicate: Option<String>,
}

/// The PostgreSQL part of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// `pg_class.oid` of the source: what it is called may change, this does not.
    pub source_oid: u32,
    /// `server_version_num`.
    pub server_version_num: i32,
    /// The cluster's system identifier; empty: not known.
    #[serde(default)]
    pub cluster: String,
    /// The operator's `search_path`, under which all expressions are read.
    pub search_path: String,
    /// Every type's binary form is known to be faithful, and the server can stream it (14 and later).
    pub binary: bool,
    /// The same of the shadow's types, so that rows can be compared by it.
    pub shadow_binary: bool,
    /// The source as it was planned.
    pub source: Table,
    /// The source as the change leaves it: the altered twin. Its names are the final ones, its numbers mean nothing.
    pub shadow: Table,
    /// The source's index that gives the key. Empty in a plan that is refused or direct.
    pub key_index: String,
    /// Equal keys are equal in every byte. Not so for numeric, float, char(n), interval, citext, nondeterministic collations.
    pub key_is_bytewise: bool,
    /// A key column has another collation on the shadow.
    pub key_collation_changes: bool,
    /// The shadow's key.
    pub shadow_key: ShadowKey,
    /// Unique indexes that source and shadow both have, without the key's.
    pub shared_unique: Vec<SharedUnique>,
    /// What is built after the copy.
    pub index_steps: Vec<IndexStep>,
    /// Makes the source's change stream carry the key, where it does not yet.
    pub set_identity: Option<String>,
    /// Undoes that, while the source has its name.
    pub restore_identity: Option<String>,
    /// Undoes that, once the source is the old table.
    pub restore_identity_old: Option<String>,
    /// After the swap the new table's own replica identity carries the key: a guard can read it.
    pub shadow_identity_has_key: bool,
    /// A column's values are converted or computed.
    pub converts: bool,
    /// What the control schema adds to names: see [`crate::scope`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// What later turns need besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<Box<Later>>,
}

/// What a turn needs to know of the other direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Later {
    /// The detail as it was planned, where this one is turned round.
    pub planned: Option<Detail>,
    /// The source's columns over a row of the shadow.
    pub opposite: Vec<Mapping>,
    /// Each row that is not written comes out of the other direction as it went in.
    pub is_exact: bool,
}

impl Detail {
    /// Reads it from a plan.
    ///
    /// # Errors
    /// `Corrupt` if it is not there: the plan is another engine's or another version's.
    pub fn of(plan: &Plan) -> Result<Detail> {
        serde_json::from_value(plan.detail.clone()).map_err(|e| {
            Error::corrupt("the plan's PostgreSQL part cannot be read; it is another version's").because(e)
        })
    }

    /// Going back was prepared for.
    pub fn is_turned(&self) -> bool {
        self.later.as_ref().is_some_and(|later| later.planned.is_some())
    }

    /// Row images of the stream cannot be trusted, so that every touched row is read again from the source: the output of xml drops the
    /// declaration, and under a deferrable key two rows may have one key for a moment within a transaction.
    pub fn rereads(&self) -> bool {
        let has_xml =
            self.source.columns.iter().any(|c| c.type_name.contains("xml") || c.base.contains("xml"));
        let is_deferrable = self.source.indexes.iter().any(|i| i.name == self.key_index && !i.immediate);
        has_xml || is_deferrable
    }

    /// The source's columns that the change stream carries, in its order: all but generated ones.
    pub fn sent_columns(&self) -> Vec<String> {
        self.sent().map(|c| c.0).collect()
    }

    /// The same with the numbers of their types.
    pub fn sent_types(&self) -> Vec<(String, u32)> {
        self.sent().collect()
    }

    fn sent(&self) -> impl Iterator<Item = (String, u32)> {
        let columns = self.source.columns.iter().filter(|c| c.generated.is_empty());
        columns.map(|c| (c.name.clone(), c.type_oid))
    }
}
