//! Columns that only the table has which is kept in step: their values stay, whatever is written to the rows.
//!
//! An upsert leaves them alone. Where rows are deleted and written again, to let unique values wander, what they had is set aside in a
//! table, in the same transaction, and comes back with the row: also a batch or a crash later.

use super::{GONE, Statements, list};
use crate::sql::{quote, table};
use shadowswap_core::plan::Plan;

/// Where values are set aside.
#[derive(Clone, Debug)]
pub struct Kept {
    columns: Vec<String>,
    aside: String,
}

impl Kept {
    /// `None` if there are no such columns, or nothing of them can be lost. `control` is the quoted control schema.
    pub fn of(plan: &Plan, written: &[&str], control: &str, migration: i64) -> Option<Kept> {
        if plan.turn == 0 {
            return None;
        }
        let is_kept = |m: &&shadowswap_core::plan::Mapping| {
            m.note != "generated"
                && !written.contains(&m.column.as_str())
                && plan.link.key.iter().all(|k| k.to != m.column)
        };
        let columns: Vec<String> =
            plan.link.columns.iter().filter(is_kept).map(|m| m.column.clone()).collect();
        let aside = format!("{control}.{}", quote(&format!("{}{}", prefix(migration), plan.turn)));
        (!columns.is_empty()).then_some(Kept { columns, aside })
    }
}

/// How the names begin of what a migration sets values aside in.
pub fn prefix(migration: i64) -> String {
    format!("kept_{migration}_")
}

impl Statements {
    fn aside_names(&self, kept: &Kept) -> (Vec<String>, Vec<String>) {
        let named = |letter: char, n: usize| (1..=n).map(|i| format!("{letter}{i}")).collect();
        (named('k', self.link.key.len()), named('c', kept.columns.len()))
    }

    /// Makes the table, with nothing in it.
    pub fn make_aside(&self, kept: &Kept) -> String {
        let (keys, values) = self.aside_names(kept);
        let keys = list(self.link.key.iter().zip(&keys), |(k, n)| format!("s.{} as {n}", quote(&k.to)));
        let values = list(kept.columns.iter().zip(&values), |(c, n)| format!("s.{} as {n}", quote(c)));
        format!(
            "create table if not exists {} as select {keys}, {values} from {} as s with no data",
            kept.aside,
            table(&self.link.to)
        )
    }

    /// Whether anything is set aside.
    pub fn has_aside(&self, kept: &Kept) -> String {
        format!("select exists (select from {})", kept.aside)
    }

    /// Sets aside what a `delete` removes.
    pub fn set_aside(&self, kept: &Kept, delete: &str) -> String {
        let (keys, values) = self.aside_names(kept);
        let gone = list(&self.link.key, |k| format!("s.{}", quote(&k.to)));
        let what = list(&kept.columns, |c| format!("s.{}", quote(c)));
        format!(
            "with g as ({delete}\nreturning {gone}, {what})\ninsert into {} ({}, {}) select * from g",
            kept.aside,
            keys.join(", "),
            values.join(", ")
        )
    }

    /// Gives rows that are there again what was set aside of them.
    pub fn give_back(&self, kept: &Kept) -> String {
        let (keys, values) = self.aside_names(kept);
        let same = |alias: &str| {
            let parts =
                self.link.key.iter().zip(&keys).map(|(k, n)| format!("s.{} = {alias}.{n}", quote(&k.to)));
            parts.collect::<Vec<_>>().join(" and ")
        };
        let set = list(kept.columns.iter().zip(&values), |(c, n)| format!("{} = a.{n}", quote(c)));
        let to = table(&self.link.to);
        format!(
            "with a as (delete from {} as x using {to} as s where {} returning x.*)\nupdate {to} as s set {set} from a where {}",
            kept.aside,
            same("x"),
            same("a"),
        )
    }

    /// Forgets what was set aside of rows that are gone for good: their keys are staged, and they did not come back.
    pub fn forget_aside(&self, kept: &Kept) -> String {
        let (keys, _) = self.aside_names(kept);
        let parts = self.link.key.iter().zip(&keys);
        let same =
            parts.map(|(k, n)| format!("x.{n} = (g.{})::{}", quote(&k.from), k.to_type)).collect::<Vec<_>>();
        format!("delete from {} as x using {GONE} as g where {}", kept.aside, same.join(" and "))
    }
}
