//! What the engine needs of its own plan.

use crate::{catalog::Table, flavor::Server};
use serde::{Deserialize, Serialize};
use shadowswap_core::{Error, Result, plan::Plan};

/// The plan's part that only this engine reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The server that was asked.
    pub server: Server,
    /// The source.
    pub source: Table,
    /// The table after the change, under the source's name.
    pub shadow: Table,
    /// The source's index that names rows: `PRIMARY`, or a unique index of columns that are NOT NULL.
    pub key_index: String,
    /// Statements that make the empty shadow, with its key and without `late` indexes.
    pub create: Vec<String>,
    /// Indexes that are built after the copy.
    pub late: Vec<LateIndex>,
    /// Row images of the stream cannot be written as literals (JSON, geometry, vector and so on): every touched row is read again from
    /// the source.
    pub rereads: bool,
    /// Every column of the shadow that is filled is a column of the source of the very same type: images can be written as they are.
    pub is_plain: bool,
    /// Ranges of the source's key are ranges of the shadow's key.
    pub keeps_order: bool,
    /// For the strategy `direct`: `ALGORITHM=INSTANT`, what the server agreed to on the twin.
    pub direct: Option<String>,
    /// Some value is converted or computed, so that the data may be at fault if copying fails.
    pub converts: bool,
    /// This is the way back: the source is the new table.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_back: bool,
    /// Columns of the shadow that are not compared: on the way back what is computed for them need not be what they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncompared: Vec<String>,
    /// Columns of the shadow that get their value with a new row only. After a swap forward and back they hold values of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub insert_only: Vec<String>,
}

/// An index that is built after the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateIndex {
    /// Its name.
    pub name: String,
    /// What `ALTER TABLE` does: ``ADD UNIQUE KEY `x` (`a`)``.
    pub clause: String,
    /// Keeps its values apart.
    pub unique: bool,
    /// The source has it too, over the same columns taken over as they are.
    pub existed_on_source: bool,
}

impl Detail {
    /// The detail of a plan.
    ///
    /// # Errors
    /// `Corrupt` if the plan is another version's.
    pub fn of(plan: &Plan) -> Result<Detail> {
        serde_json::from_value(plan.detail.clone()).map_err(|e| {
            Error::corrupt("the plan's MySQL part cannot be read; it is another version's").because(e)
        })
    }
}
