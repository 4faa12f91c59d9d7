//! Unique indexes that both tables have, and the rows that give way by them.
//!
//! A row of the shadow (the holder) may own a unique value that an image of another key brings. Both are of different times, for the
//! source never had both. Why the holder may be removed:
//!
//! 1. The source has the index too, over columns that are taken over as they are; so at the image's time the holder did not have the
//!    value there.
//! 2. An image that is applied is of the batch's time. Everything before it is applied or in the batch, which holds the holder's key no
//!    more; so the holder is of a later time, and the change that gave it the value is still to come.
//! 3. A row that a chunk reads is of a time that its floor is part of, and while its ticket stands nothing behind that floor is applied.
//!    If the holder is older, the change that took the value from it is not applied; if it is younger, the one that gave it is not.
//!    (Where reads give no floor, the rows are locked before they are looked at.)
//! 4. Every change is a full image or a deletion; so what is removed now comes back as it should be.
//!
//! By an index that the *change* adds none of this holds: there a duplicate ends the run. So it does, which is more than is needed, by
//! indexes over beginnings of columns, expressions and hashes (MariaDB's over long texts), by which a holder is not found without
//! looking at every row; and where images are applied, by those over generated columns.

use super::{Statements, every, list};
use crate::{
    catalog::{Index, same_name},
    plan::Detail,
    sql::quote,
};
use shadowswap_core::{Bound, Error, Result, plan::Link};

/// A unique index that both tables have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// Its name on the shadow.
    name: String,
    /// Its columns: names in the source and in the shadow.
    columns: Vec<(String, String)>,
}

/// The unique indexes that both tables have, without those that the key implies.
pub(super) fn shared(link: &Link, detail: &Detail) -> Vec<Shared> {
    let indexes = detail.shadow.indexes.iter().filter(|i| i.unique && i.kind.eq_ignore_ascii_case("btree"));
    let found = indexes.filter_map(|index| {
        let columns = columns(link, index)?;
        let existed = match detail.late.iter().find(|l| l.name == index.name) {
            Some(late) => late.existed_on_source,
            None => existed(link, detail, &columns),
        };
        existed.then(|| Shared { name: index.name.clone(), columns })
    });
    let is_implied =
        |s: &Shared| detail.shadow.indexes.iter().any(|i| i.name == s.name && holds_key(i, link));
    found.filter(|s| !is_implied(s)).collect()
}

/// Whether two rows that collide by this index have the same key.
fn holds_key(index: &Index, link: &Link) -> bool {
    let has = |to: &str| index.parts.iter().any(|p| p.prefix.is_none() && p.column.as_deref() == Some(to));
    index.unique && link.key.iter().all(|k| has(&k.to))
}

/// The shadow's unique indexes while rows are copied, without those that the key implies.
pub(super) fn kept(link: &Link, detail: &Detail) -> Vec<String> {
    let is_late = |i: &Index| detail.late.iter().any(|l| l.name == i.name);
    let kept = detail.shadow.indexes.iter().filter(|i| i.unique && !is_late(i) && !holds_key(i, link));
    kept.map(|i| i.name.clone()).collect()
}

/// The shadow's unique indexes that hold the key.
pub(super) fn of_key(link: &Link, detail: &Detail) -> Vec<String> {
    detail.shadow.indexes.iter().filter(|i| holds_key(i, link)).map(|i| i.name.clone()).collect()
}

fn columns(link: &Link, index: &Index) -> Option<Vec<(String, String)>> {
    let parts = index.parts.iter().map(|part| {
        let to = part.column.clone().filter(|_| part.prefix.is_none())?;
        let from = link.columns.iter().find(|m| m.column == to)?.from.clone()?;
        Some((from, to))
    });
    parts.collect()
}

/// Whether the source has a unique index over these columns, each of which is taken over as it is.
fn existed(link: &Link, detail: &Detail, columns: &[(String, String)]) -> bool {
    let is_same = |(from, to): &(String, String)| {
        let plain = quote(from);
        let is_plain =
            link.columns.iter().any(|m| m.column == *to && m.expression.as_deref() == Some(plain.as_str()));
        let shapes = (detail.source.column(from), detail.shadow.column(to));
        is_plain && matches!(shapes, (Some(from), Some(to)) if from.shape() == to.shape())
    };
    let is_over = |index: &Index| {
        index.unique
            && index.whole_columns().is_some_and(|names| {
                names.len() == columns.len()
                    && names.iter().zip(columns).all(|(n, (from, _))| same_name(n, from))
            })
    };
    columns.iter().all(is_same) && detail.source.indexes.iter().any(is_over)
}

impl Statements {
    /// Removes rows that own a unique value which a row that is read again brings; their own later change brings them back.
    pub fn give_way(&self) -> Vec<String> {
        let statement = |shared: &Shared| {
            let on = self.holds(shared, &self.source);
            format!("delete {0} from {1} straight_join {0} on {on}", self.shadow, self.again())
        };
        self.shared_unique.iter().map(statement).collect()
    }

    /// Removes rows that own a unique value which a staged image of another key brings. Why they may go: the head of this file. It is the delete
    /// itself that looks whether a row still owns the value: the applier may just have taken it away.
    pub fn give_way_to_staged(&self) -> Vec<String> {
        let staged = format!("{}.`_row`", self.control);
        let statement = |shared: &Shared| {
            format!(
                "delete {0} from {staged} straight_join {0} on {1} where not ({2})",
                self.shadow,
                self.holds(shared, &staged),
                self.is_same_row(&staged)
            )
        };
        self.staged_unique().map(statement).collect()
    }

    /// Stages the rows of a range that bring a unique value which a row of another key owns. A plain read, and no join that deletes: that
    /// would lock the source's rows.
    pub fn stage_colliding(&self, lower: Option<&Bound>, upper: Option<&Bound>) -> Result<Vec<String>> {
        let range = Self::range(&self.source_key(), lower, upper)?;
        let statement = |shared: &Shared| {
            format!(
                "insert into {}.`_row` ({})\nselect {}\nfrom {} force index ({}) straight_join {} on {}\nwhere {range} and not ({})",
                self.control,
                list(&self.sent, |c| quote(c)),
                list(&self.sent, |c| format!("{}.{}", self.source, quote(c))),
                self.source,
                self.key_index,
                self.shadow,
                self.holds(shared, &self.source),
                self.is_same_row(&self.source)
            )
        };
        let mut statements = Vec::new();
        if self.locks_reads {
            // What is in the binlog may be applied before it is visible: so these rows wait for it, here as in the copying statement.
            statements.push(format!(
                "select count(*) from (select 1 from {} force index ({}) where {range}{}) as waits",
                self.source,
                self.key_index,
                self.lock()
            ));
        }
        statements.extend(self.staged_unique().map(statement));
        Ok(statements)
    }

    /// Those that staged images have all columns of.
    fn staged_unique(&self) -> impl Iterator<Item = &Shared> {
        self.shared_unique.iter().filter(|s| s.columns.iter().all(|(from, _)| self.sent.contains(from)))
    }

    fn holds(&self, shared: &Shared, brought: &str) -> String {
        let on = shared.columns.iter();
        let on = on.map(|(from, to)| format!("{}.{} = {brought}.{}", self.shadow, quote(to), quote(from)));
        every(on)
    }

    fn is_same_row(&self, brought: &str) -> String {
        let key = self.link.key.iter();
        let same = key.map(|k| format!("{}.{} <=> {brought}.{}", self.shadow, quote(&k.to), quote(&k.from)));
        every(same)
    }

    /// Whether rows of two times can be at fault for this duplicate: rows give way by this index, or it is the one that names rows.
    pub fn is_of_two_times(&self, duplicate: &Error) -> bool {
        let names =
            self.staged_unique().map(|s| s.name.as_str()).chain(self.key_indexes.iter().map(String::as_str));
        names_one_of(&duplicate.message, names)
    }

    /// The index that the change adds by which rows of a chunk may collide, if there is one: no row gives way by it.
    pub fn added_while_copying(&self) -> Option<&str> {
        let gives_way = |name: &str| self.shared_unique.iter().any(|s| s.name == name);
        self.kept_unique.iter().map(String::as_str).find(|name| !gives_way(name))
    }
}

/// Whether the server speaks of one of these indexes in `Duplicate entry 'x' for key 'name'`.
fn names_one_of<'a>(message: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
    let Some((_, key)) = message.rsplit_once(" for key '") else { return false };
    let key = key.split_once('\'').map_or(key, |(key, _)| key);
    // MySQL puts the table's name in front.
    names.any(|name| key == name || key.strip_suffix(name).is_some_and(|table| table.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_of_a_duplicate_is_read_off_the_message() {
        let of = |message: &str| names_one_of(message, ["u", "PRIMARY"].into_iter());
        assert!(of("Duplicate entry '1' for key 'u'"));
        assert!(of("writing rows: error 1062 (23000) Duplicate entry 'it's for key ' for key '_t_shadow.u'"));
        assert!(of("Duplicate entry '1-2' for key '_t_shadow.PRIMARY'"));
        assert!(!of("Duplicate entry 'u' for key 'v'"));
        assert!(!of("Duplicate entry 'u' for key '_t_shadow.uu'"));
        assert!(!of("something else"));
    }
}
