//! The texts of the statements that copy, apply and compare, worked out once from the plan.
//!
//! Source and shadow never get an alias: the last changes go through the session that holds `LOCK TABLES`, and there every alias would
//! have to be locked by itself. Staging tables are temporary, of each session's own; they need no lock.

mod keep;
mod unique;
mod values;

pub use keep::KEPT;

use crate::{
    catalog::Column,
    literal::key_expression,
    plan::Detail,
    sql::{quote, table},
};
use shadowswap_core::{
    Bound, Error, Result,
    name::TableName,
    plan::{KeyColumn, Link, Plan},
};
use unique::Shared;
use values::{canonical, faithful};

/// An error of the server's (1242), where it comes to it: a subquery of two rows.
const ERROR: &str = "(select 1 union select 2)";

/// All texts for one link.
#[derive(Clone, Debug)]
pub struct Statements {
    link: Link,
    source: String,
    shadow: String,
    /// The source's name as a table of the projection: rows that are staged go by it.
    alias: String,
    control: String,
    /// The source's columns whose values the stream carries, in its order.
    sent: Vec<String>,
    /// The shadow's columns that an image can be written into as it is, in the image's order.
    straight: Option<Vec<String>>,
    /// For each filled column of the shadow: its name, the expression over the source, and its definition.
    filled: Vec<(String, String, Column)>,
    /// Filled columns that are not compared.
    uncompared: Vec<String>,
    /// Filled columns that stay as they are where the row is there.
    insert_only: Vec<String>,
    /// Columns of the shadow that hold values of their own: what is written over a row leaves them, and nothing deletes a row that stays.
    kept: Vec<String>,
    /// Filled columns that the server sets to the present time in every update that does not assign them.
    stamped: Vec<String>,
    /// Rounded values are looked for in what is applied.
    watches: bool,
    /// SQL that gives the key of a source row as literals, one for each column.
    key_literals: Vec<String>,
    /// The index of the source that names rows.
    key_index: String,
    /// Unique indexes that both tables have.
    shared_unique: Vec<Shared>,
    /// The shadow's unique indexes that hold the key.
    key_indexes: Vec<String>,
    /// Read rows with a shared lock: the server gives no floor.
    locks_reads: bool,
    /// The unique indexes of the shadow while rows are copied, without those that the key implies.
    kept_unique: Vec<String>,
    /// True for a row of the source that keeps every value in types that may round or cut it; `None`: no type can.
    faithful: Option<String>,
}

fn every(conditions: impl IntoIterator<Item = String>) -> String {
    conditions.into_iter().collect::<Vec<_>>().join(" and ")
}

fn list<T>(items: impl IntoIterator<Item = T>, show: impl FnMut(T) -> String) -> String {
    items.into_iter().map(show).collect::<Vec<_>>().join(", ")
}

/// A column of a key as a staging table calls it.
fn staged(column: &str, n: usize) -> String {
    format!("{} as `_k{}`", quote(column), n + 1)
}

fn lacking(what: &str) -> Error {
    Error::corrupt(format!("the plan speaks of {what}, which the table does not have"))
}

impl Statements {
    /// The texts for this plan. `control` is the control database.
    pub fn new(plan: &Plan, detail: &Detail, control: &str) -> Result<Statements> {
        let link = plan.link.clone();
        let mut filled = Vec::new();
        for mapping in &link.columns {
            let Some(expression) = &mapping.expression else { continue };
            let column = detail.shadow.columns.iter().find(|c| c.name == mapping.column);
            let column = column.ok_or_else(|| lacking(&format!("column {}", mapping.column)))?;
            filled.push((mapping.column.clone(), expression.clone(), column.clone()));
        }
        let mut key_literals = Vec::new();
        for key in &link.key {
            let column = detail.source.columns.iter().find(|c| c.name == key.from);
            key_literals
                .push(key_expression(column.ok_or_else(|| lacking(&format!("key column {}", key.from)))?));
        }
        let sent: Vec<String> =
            detail.source.columns.iter().filter(|c| !c.generated).map(|c| c.name.clone()).collect();
        let straight = straight(&link, detail, &sent, filled.len());
        Ok(Statements {
            source: table(&link.from),
            shadow: table(&link.to),
            alias: quote(&link.from.name),
            control: quote(control),
            sent,
            straight,
            filled,
            key_literals,
            key_index: quote(&detail.key_index),
            shared_unique: unique::shared(&link, detail),
            key_indexes: unique::of_key(&link, detail),
            locks_reads: !detail.server.has_gtids,
            faithful: faithful(&link, detail),
            uncompared: detail.uncompared.clone(),
            insert_only: detail.insert_only.clone(),
            kept: Vec::new(),
            stamped: Vec::new(),
            watches: false,
            kept_unique: unique::kept(&link, detail),
            link,
        })
    }

    /// Where changes come from, and where they go.
    pub fn names(&self) -> (&TableName, &TableName) {
        (&self.link.from, &self.link.to)
    }

    /// The columns of the key.
    pub fn key_width(&self) -> usize {
        self.link.key.len()
    }

    fn lock(&self) -> &'static str {
        // Waits for a transaction that is in the binlog and not yet committed.
        if self.locks_reads { "\nlock in share mode" } else { "" }
    }

    fn source_key(&self) -> Vec<String> {
        self.link.key.iter().map(|k| format!("{}.{}", self.source, quote(&k.from))).collect()
    }

    fn shadow_key(&self) -> Vec<String> {
        self.link.key.iter().map(|k| format!("{}.{}", self.shadow, quote(&k.to))).collect()
    }

    /// `lower < key <= upper`, in the form that every optimizer answers from the index.
    fn range(columns: &[String], lower: Option<&Bound>, upper: Option<&Bound>) -> Result<String> {
        let mut parts = Vec::new();
        if let Some(lower) = lower {
            parts.push(beyond(columns, &literals(lower)?, ">", ">"));
        }
        if let Some(upper) = upper {
            parts.push(beyond(columns, &literals(upper)?, "<", "<="));
        }
        Ok(if parts.is_empty() { "true".to_string() } else { parts.join(" and ") })
    }

    fn columns(&self) -> String {
        list(&self.filled, |(name, ..)| quote(name))
    }

    fn expressions(&self) -> String {
        list(&self.filled, |(_, expression, _)| expression.clone())
    }

    /// The row of another key is never written to: a subquery of two rows is an error, and is only looked at then. (NULL for the key would
    /// be one too, but not where the key is AUTO_INCREMENT: it becomes 0 there.)
    fn guard(&self) -> String {
        let key = &self.link.key;
        let same = key.iter().map(|k| {
            let name = quote(&k.to);
            format!("{}.{name} <=> values({name})", self.shadow)
        });
        let same = every(same);
        let first = key.first().map(|k| quote(&k.to)).unwrap_or_default();
        format!("{0}.{first} = if({same}, {0}.{first}, {ERROR})", self.shadow)
    }

    /// What becomes of a row that is there already: it is written over, or it is an error.
    fn overwrite(&self, overwrites: bool) -> String {
        if !overwrites {
            return String::new();
        }
        let is_key = |name: &String| self.link.key.iter().any(|k| k.to == *name);
        let others =
            self.filled.iter().filter(|(name, ..)| !is_key(name) && !self.insert_only.contains(name));
        let others =
            others.map(|(name, ..)| format!("{}.{} = values({})", self.shadow, quote(name), quote(name)));
        // What is kept is assigned, too: a column that the server sets to the present time would be.
        let kept = self.kept.iter().filter(|name| !is_key(name));
        let kept = kept.map(|name| format!("{0}.{1} = {0}.{1}", self.shadow, quote(name)));
        let all = std::iter::once(self.guard()).chain(others).chain(kept).collect::<Vec<_>>().join(",\n");
        format!("\non duplicate key update {all}")
    }

    /// The keys of the source's rows, read by the key's index.
    fn select_keys(&self) -> String {
        format!("select {}\nfrom {}", self.key_literals.join(", "), self.source_by_key())
    }

    fn source_by_key(&self) -> String {
        format!("{} force index ({})", self.source, self.key_index)
    }

    /// `key = _k1 and …`: rows whose keys are staged.
    fn is_staged(columns: Vec<String>) -> String {
        every(columns.into_iter().enumerate().map(|(n, k)| format!("{k} = `_k{}`", n + 1)))
    }

    /// One chunk. A row that is there already was written by the applier, and is newer: it stays. Where the shadow has another unique index
    /// while rows are copied, a row of another key that owns a unique value is an error, and no reason to leave one out.
    pub fn copy(&self, lower: Option<&Bound>, upper: Option<&Bound>) -> Result<String> {
        let first = self.link.key.first().map(|k| quote(&k.to)).unwrap_or_default();
        Ok(format!(
            "insert into {} ({})\nselect {}\nfrom {}\nwhere {}{}\non duplicate key update {}",
            self.shadow,
            self.columns(),
            self.expressions(),
            self.source_by_key(),
            Self::range(&self.source_key(), lower, upper)?,
            self.lock(),
            // (The guard is no good everywhere: MySQL finds some keys in utf16 unlike themselves.)
            if self.kept_unique.is_empty() {
                format!("{0}.{first} = {0}.{first}", self.shadow)
            } else {
                self.guard()
            },
        ))
    }

    /// The key of the last row of the next `rows` rows above `lower`, up to `last`.
    pub fn next_bound(&self, lower: Option<&Bound>, last: &Bound, rows: u64) -> Result<String> {
        Ok(format!(
            "{}\nwhere {}\norder by {}\nlimit 1 offset {}",
            self.select_keys(),
            Self::range(&self.source_key(), lower, Some(last))?,
            self.source_key().join(", "),
            rows.saturating_sub(1),
        ))
    }

    /// The keys of a range in order, `rows` at most.
    pub fn keys(&self, lower: Option<&Bound>, upper: Option<&Bound>, rows: u64) -> Result<String> {
        let order = self.source_key().join(", ");
        Ok(format!(
            "{}\nwhere {}\norder by {order}\nlimit {rows}",
            self.select_keys(),
            Self::range(&self.source_key(), lower, upper)?,
        ))
    }

    /// Keys of rows in a range of which the server would round or cut a value without an error, `rows` at most.
    pub fn unfaithful(
        &self,
        lower: Option<&Bound>,
        upper: Option<&Bound>,
        rows: u32,
    ) -> Result<Option<String>> {
        let Some(faithful) = &self.faithful else { return Ok(None) };
        Ok(Some(format!(
            "{}\nwhere {} and not ({faithful})\nlimit {rows}",
            self.select_keys(),
            Self::range(&self.source_key(), lower, upper)?,
        )))
    }

    /// The greatest key.
    pub fn last_key(&self) -> String {
        let order = list(self.source_key(), |k| format!("{k} desc"));
        format!("{}\norder by {order}\nlimit 1{}", self.select_keys(), self.lock())
    }

    /// Makes the staging tables of an applying session: images, keys of either side.
    pub fn stage(&self) -> Vec<String> {
        // On the way back of the source's types: a key that does not fit into the shadow's is deleted from it none the less.
        let side = |k: &KeyColumn| if self.watches { k.from.clone() } else { k.to.clone() };
        let gone = list(self.link.key.iter().enumerate(), |(n, k)| staged(&side(k), n));
        let of = if self.watches { &self.source } else { &self.shadow };
        let mut all = vec![
            self.temporary("_row", &list(&self.sent, |c| quote(c)), &self.source),
            self.stage_again(),
            self.temporary("_gone", &gone, of),
        ];
        all.extend(self.stage_kept());
        all
    }

    /// Makes the staging tables of a comparing session: keys, and rows as they should be.
    pub fn stage_check(&self) -> Vec<String> {
        vec![self.stage_again(), self.temporary("_check", &self.columns(), &self.shadow)]
    }

    fn stage_again(&self) -> String {
        let keys = list(self.link.key.iter().enumerate(), |(n, k)| staged(&k.from, n));
        self.temporary("_again", &keys, &self.source)
    }

    fn temporary(&self, name: &str, columns: &str, like: &str) -> String {
        format!(
            "create temporary table if not exists {}.`{name}` (`_no` int unsigned not null auto_increment primary key) engine = InnoDB\n\
             select {columns} from {like} limit 0",
            self.control
        )
    }

    /// Makes the staging tables of an applying session new.
    pub fn renew_staging(&self) -> Vec<String> {
        let kept = self.keeps().then_some(keep::KEPT);
        ["_row", "_again", "_gone"].into_iter().chain(kept).map(|name| self.renew(name)).collect()
    }

    /// Makes a staging table new: empty, with numbers from 1 on, and without what deleted rows leave behind. Ends a transaction.
    pub fn renew(&self, name: &str) -> String {
        format!("truncate table {}.`{name}`", self.control)
    }

    /// Empties a staging table within a transaction. MariaDB never purges a temporary table: its deleted rows are passed over whenever it
    /// is read, until it is made new.
    pub fn empty(&self, name: &str) -> String {
        format!("delete from {}.`{name}`", self.control)
    }

    /// What comes before the images on their way to the staging table.
    pub fn stage_rows(&self) -> String {
        format!("insert into {}.`_row` ({}) values ", self.control, list(&self.sent, |c| quote(c)))
    }

    /// What comes before the keys on their way to a staging table.
    pub fn stage_keys(&self, name: &str) -> String {
        let columns = list(1..=self.key_width(), |n| format!("`_k{n}`"));
        format!("insert into {}.`{name}` ({columns}) values ", self.control)
    }

    /// What comes before and after images that need no staging.
    pub fn straight(&self, overwrites: bool) -> Option<(String, String)> {
        let columns = list(self.straight.as_ref()?, |c| quote(c));
        let head = format!("insert into {} ({columns}) values ", self.shadow);
        Some((head, self.overwrite(overwrites)))
    }

    /// What comes before and after the keys of rows to be deleted, where the key is one column.
    pub fn delete_listed(&self) -> Option<(String, String)> {
        match self.shadow_key().as_slice() {
            [key] => Some((format!("delete from {} where {key} in (", self.shadow), ")".to_string())),
            _ => None,
        }
    }

    /// Deletes the rows whose keys are staged.
    pub fn delete_staged(&self) -> String {
        let on = Self::is_staged(self.shadow_key());
        format!("delete {0} from {1}.`_gone` straight_join {0} on {on}", self.shadow, self.control)
    }

    /// Writes the staged images.
    pub fn write_staged(&self, overwrites: bool) -> String {
        format!(
            "insert into {} ({})\nselect {}\nfrom {}.`_row` as {}{}",
            self.shadow,
            self.columns(),
            self.expressions(),
            self.control,
            self.alias,
            self.overwrite(overwrites),
        )
    }

    fn again(&self) -> String {
        let on = Self::is_staged(self.source_key());
        format!("{}.`_again` straight_join {} on {on}", self.control, self.source)
    }

    /// Writes the rows whose keys are staged, as they are in the source by now.
    pub fn write_again(&self, overwrites: bool) -> String {
        format!(
            "insert into {} ({})\nselect {}\nfrom {}{}{}",
            self.shadow,
            self.columns(),
            self.expressions(),
            self.again(),
            self.lock(),
            self.overwrite(overwrites),
        )
    }

    /// Rows and a checksum of one range of the source, as the shadow should have them.
    pub fn sum_source(&self, lower: Option<&Bound>, upper: Option<&Bound>) -> Result<String> {
        let range = Self::range(&self.source_key(), lower, upper)?;
        let hash = self.hash(|(_, expression, column)| canonical(column, expression));
        Ok(format!(
            "select count(*), coalesce(bit_xor({hash}), 0) from {} where {range}",
            self.source_by_key()
        ))
    }

    /// The same of the shadow.
    pub fn sum_shadow(&self, lower: Option<&Bound>, upper: Option<&Bound>) -> Result<String> {
        let range = Self::range(&self.shadow_key(), lower, upper)?;
        let hash = self.hash(|(name, _, column)| canonical(column, &quote(name)));
        Ok(format!("select count(*), coalesce(bit_xor({hash}), 0) from {} where {range}", self.shadow))
    }

    /// Hash and key of each row of one range of the source.
    pub fn rows_source(&self, lower: Option<&Bound>, upper: Option<&Bound>) -> Result<String> {
        let range = Self::range(&self.source_key(), lower, upper)?;
        let hash = self.hash(|(_, expression, column)| canonical(column, expression));
        let keys = self.key_literals.join(", ");
        Ok(format!("select {hash}, {keys} from {} where {range}", self.source_by_key()))
    }

    /// The same of the shadow; the key's literals are the source's.
    pub fn rows_shadow(
        &self,
        lower: Option<&Bound>,
        upper: Option<&Bound>,
        source: &[Column],
    ) -> Result<String> {
        let range = Self::range(&self.shadow_key(), lower, upper)?;
        let hash = self.hash(|(name, _, column)| canonical(column, &quote(name)));
        let keys = self.link.key.iter().map(|k| {
            let column = source.iter().find(|c| c.name == k.from).ok_or_else(|| lacking(&k.from))?;
            Ok(key_expression(&Column { name: k.to.clone(), ..column.clone() }))
        });
        let keys = keys.collect::<Result<Vec<_>>>()?.join(", ");
        Ok(format!("select {hash}, {keys} from {} where {range}", self.shadow))
    }

    /// The columns that are compared.
    fn compared(&self) -> impl Iterator<Item = &(String, String, Column)> {
        self.filled.iter().filter(|(name, ..)| !self.uncompared.contains(name))
    }

    fn hash(&self, canonical: impl FnMut(&(String, String, Column)) -> String) -> String {
        let columns = list(self.compared(), canonical);
        // The guard stands where texts are: beside a number it would make a DECIMAL, which BIT_XOR cuts to one value for all.
        let text = format!("ifnull(concat_ws(',', {columns}), {ERROR})");
        format!("cast(conv(left(sha2({text}, 256), 16), 16, 10) as unsigned)")
    }

    /// Writes the rows whose keys are staged as they should be into `_check`.
    pub fn fill_check(&self) -> String {
        format!(
            "insert into {}.`_check` ({})\nselect {}\nfrom {}",
            self.control,
            self.columns(),
            self.expressions(),
            self.again()
        )
    }

    /// The numbers of the staged keys whose rows differ, and how.
    pub fn recheck(&self) -> String {
        let same = self.compared().map(|(name, _, column)| {
            let name = quote(name);
            let of = |table: &str| canonical(column, &format!("{table}.{name}"));
            format!("{} <=> {}", of("c"), of(&self.shadow))
        });
        let same = same.collect::<Vec<_>>().join("\nand ");
        let on = |table: &str| {
            let parts = self.link.key.iter().enumerate();
            parts
                .map(|(n, k)| format!("{table}.{} = a.`_k{}`", quote(&k.to), n + 1))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        let first = self.link.key.first().map(|k| quote(&k.to)).unwrap_or_default();
        format!(
            "select a.`_no`, c.{first} is null, {shadow}.{first} is null\n\
             from {control}.`_again` a left join {control}.`_check` c on {} left join {shadow} on {}\n\
             where (c.{first} is null) <> ({shadow}.{first} is null)\nor (c.{first} is not null and not ({same}))\norder by a.`_no`",
            on("c"),
            on(&self.shadow),
            shadow = self.shadow,
            control = self.control,
        )
    }
}

/// `a > x or (a = x and (b > y or (…)))`: `strict` for all but the last column, `last` for that.
pub fn beyond(columns: &[String], values: &[String], strict: &str, last: &str) -> String {
    match (columns, values) {
        ([column], [value, ..]) => format!("{column} {last} {value}"),
        ([column, columns @ ..], [value, values @ ..]) if !columns.is_empty() => {
            let rest = beyond(columns, values, strict, last);
            format!("({column} {strict} {value} or ({column} = {value} and {rest}))")
        }
        _ => "true".to_string(),
    }
}

/// The literals of a bound.
pub fn literals(bound: &Bound) -> Result<Vec<String>> {
    serde_json::from_str(&bound.0)
        .map_err(|e| Error::corrupt(format!("a stored key cannot be read: {:?}", bound.0)).because(e))
}

/// The shadow's columns for the columns of an image, if each of them goes into one as it is, and nothing else is filled.
fn straight(link: &Link, detail: &Detail, sent: &[String], filled: usize) -> Option<Vec<String>> {
    let columns = sent.iter().map(|name| {
        let mut to = link.columns.iter().filter(|m| {
            m.expression.as_deref() == Some(quote(name).as_str()) && m.from.as_deref() == Some(name.as_str())
        });
        let first = to.next()?;
        to.next().is_none().then(|| first.column.clone())
    });
    let columns = columns.collect::<Option<Vec<_>>>()?;
    (detail.is_plain && !detail.rereads && columns.len() == filled).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_composite_keys_are_nested_by_column() {
        let columns = ["a".to_string(), "b".to_string(), "c".to_string()];
        let values = ["1".to_string(), "2".to_string(), "3".to_string()];
        assert_eq!(
            beyond(&columns, &values, ">", ">"),
            "(a > 1 or (a = 1 and (b > 2 or (b = 2 and c > 3))))"
        );
        assert_eq!(beyond(&columns[..1], &values[..1], "<", "<="), "a <= 1");
        let bound = Bound(r#"["1","_utf8mb4 x'41'"]"#.to_string());
        assert_eq!(literals(&bound).expect("a bound"), vec!["1", "_utf8mb4 x'41'"]);
        let range = Statements::range(&columns[..2], Some(&bound), Some(&bound)).expect("a range");
        assert_eq!(
            range,
            "(a > 1 or (a = 1 and b > _utf8mb4 x'41')) and (a < 1 or (a = 1 and b <= _utf8mb4 x'41'))"
        );
    }
}
