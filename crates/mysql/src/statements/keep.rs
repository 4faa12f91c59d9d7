//! Columns of the shadow that nothing of the source's goes into, once they hold values of their own: after a swap, the columns that only
//! one of the tables has.
//!
//! Writing over a row leaves them as they are. But a batch in which unique values move from row to row deletes its rows before it writes
//! them: so these columns are set aside before, and put back after. Rows that are read again are deleted beforehand only if the source has
//! none of that key any more.

use super::{Statements, list};
use crate::{plan::Detail, sql::quote};

/// The staging table of the columns that are kept.
pub const KEPT: &str = "_kept";

impl Statements {
    /// From now on the columns that are not filled hold values of their own.
    #[must_use]
    pub fn keeping(mut self, detail: &Detail) -> Statements {
        let is_filled = |name: &String| {
            self.filled.iter().any(|(filled, ..)| filled == name) && !self.insert_only.contains(name)
        };
        let columns = detail.shadow.columns.iter().filter(|c| !c.generated && !is_filled(&c.name));
        self.kept = columns.map(|c| c.name.clone()).collect();
        let stamped = detail.shadow.columns.iter().filter(|c| !c.generated && c.is_stamped());
        self.stamped = stamped.map(|c| c.name.clone()).filter(|name| !self.kept.contains(name)).collect();
        self
    }

    /// Whether there are such columns.
    pub fn keeps(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Makes the staging table for them.
    pub(super) fn stage_kept(&self) -> Option<String> {
        let keys = self.link.key.iter().enumerate().map(|(n, k)| super::staged(&k.to, n));
        let kept = self.kept.iter().enumerate().map(|(n, c)| format!("{} as `_c{}`", quote(c), n + 1));
        self.keeps().then(|| self.temporary(KEPT, &list(keys.chain(kept), |c| c), &self.shadow))
    }

    /// Sets aside what the rows keep whose keys are staged in `_gone`.
    pub fn set_aside(&self) -> String {
        let names = (1..=self.key_width()).map(|n| format!("`_k{n}`"));
        let columns = (1..=self.kept.len()).map(|n| format!("`_c{n}`"));
        let kept = self.kept.iter().map(|c| format!("{}.{}", self.shadow, quote(c)));
        format!(
            "insert into {0}.`{KEPT}` ({1})\nselect {2}\nfrom {0}.`_gone` straight_join {3} on {4}",
            self.control,
            list(names.chain(columns), |c| c),
            list(self.shadow_key().into_iter().chain(kept), |c| c),
            self.shadow,
            Self::is_staged(self.shadow_key()),
        )
    }

    /// Puts it back into those of the rows that are there again.
    pub fn put_back(&self) -> String {
        let set = self.kept.iter().enumerate();
        let set = set.map(|(n, c)| format!("{}.{} = `_c{}`", self.shadow, quote(c), n + 1));
        // What is assigned, the server does not set to the present time.
        let same = self.stamped.iter().map(|c| format!("{0}.{1} = {0}.{1}", self.shadow, quote(c)));
        let set = set.chain(same);
        format!(
            "update {}.`{KEPT}` straight_join {} on {}\nset {}",
            self.control,
            self.shadow,
            Self::is_staged(self.shadow_key()),
            list(set, |c| c),
        )
    }

    /// Stages in `_gone` the keys staged in `_again` that the source does not have any more. A row that goes after this look has its
    /// deletion still to come; one that comes after it is written anew. No join that deletes: that would lock the source's rows.
    pub fn stage_gone(&self) -> String {
        let names = list(1..=self.key_width(), |n| format!("`_k{n}`"));
        let first = self.source_key().into_iter().next().unwrap_or_default();
        format!(
            "insert into {control}.`_gone` ({names})\nselect {names}\nfrom {control}.`_again` left join {} on {}\nwhere {first} is null{}",
            self.source,
            Self::is_staged(self.source_key()),
            self.lock(),
            control = self.control,
        )
    }
}

impl Statements {
    /// From now on values that the server would round or cut without a word are looked for in what is applied, too: nobody compares rows
    /// after a swap until the next one.
    #[must_use]
    pub fn watching(mut self) -> Statements {
        self.watches = true;
        self
    }

    fn watched(&self) -> Option<&str> {
        self.faithful.as_deref().filter(|_| self.watches)
    }

    /// Keys of staged images that do not keep their values, `rows` at most.
    pub fn unfaithful_staged(&self, rows: u32) -> Option<String> {
        let keys = self.key_literals.join(", ");
        let from = format!("{}.`_row` as {}", self.control, self.alias);
        self.watched().map(|f| format!("select {keys} from {from} where not ({f}) limit {rows}"))
    }

    /// The same of rows that are read again.
    pub fn unfaithful_again(&self, rows: u32) -> Option<String> {
        let keys = self.key_literals.join(", ");
        self.watched().map(|f| format!("select {keys} from {} where not ({f}) limit {rows}", self.again()))
    }
}
