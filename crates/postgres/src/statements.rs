//! The texts of the statements that copy, apply and compare, worked out once from the plan.

pub mod kept;

use crate::{
    plan::{Detail, SharedUnique},
    sql::{literal, quote, table},
};
use kept::Kept;
use shadowswap_core::plan::{Link, Mapping, Plan};

/// The staging tables, of each applying session's own.
const ROWS: &str = "pg_temp.shadowswap_row";
const GONE: &str = "pg_temp.shadowswap_gone";
const REREAD: &str = "pg_temp.shadowswap_reread";

/// Where a batch's rows and keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the session's staging tables.
    Staged,
    /// In the statement's parameters: rows as an array of the source's row type, keys as an array for each column of the key.
    Inline,
}

/// All texts for one link.
#[derive(Clone, Debug)]
pub struct Statements {
    link: Link,
    /// The row images come in COPY's binary format, else in its text format.
    pub binary: bool,
    /// Rows are compared by their binary form, else as text.
    compares_binary: bool,
    /// Rows can be parameters: their bytes are binary, and no column is left out of them.
    pub can_be_inline: bool,
    /// Ranges of the source's key are ranges of the shadow's key.
    pub keeps_order: bool,
    /// What source and shadow both keep unique, without the key.
    unique: Vec<SharedUnique>,
    /// The source's columns as the stream sends them.
    sent: Vec<String>,
    /// Columns of the shadow that are given a value when a row comes, and keep what they have when it changes.
    first_only: Vec<String>,
    /// The source's columns over the shadow's rows, under the alias that those expressions know: where a row that was not written in this
    /// turn is equal the other way round, it is as the other turn left it.
    opposite: Vec<Mapping>,
    /// A swap came before.
    pub is_later: bool,
    /// Columns whose values stay where rows are deleted and written again.
    pub kept: Option<Kept>,
}

fn list<T>(items: impl IntoIterator<Item = T>, show: impl FnMut(T) -> String) -> String {
    items.into_iter().map(show).collect::<Vec<_>>().join(", ")
}

impl Statements {
    /// The texts for this plan. `control` is the quoted control schema.
    pub fn new(plan: &Plan, detail: &Detail, control: &str, migration: i64) -> Statements {
        let is_forward_again = plan.turn > 0 && !plan.is_turned();
        let is_first_only = |m: &&Mapping| is_forward_again && m.from.is_none() && m.note == "new";
        let first_only: Vec<String> =
            plan.link.columns.iter().filter(is_first_only).map(|m| m.column.clone()).collect();
        let written: Vec<&str> = plan
            .link
            .columns
            .iter()
            .filter(|m| m.expression.is_some() && !first_only.contains(&m.column))
            .map(|m| m.column.as_str())
            .collect();
        let later = detail.later.as_ref().filter(|later| !later.is_exact);
        Statements {
            is_later: plan.turn > 0,
            kept: Kept::of(plan, &written, control, migration),
            opposite: later.map(|later| later.opposite.clone()).unwrap_or_default(),
            first_only,
            link: plan.link.clone(),
            binary: detail.binary,
            compares_binary: detail.shadow_binary,
            can_be_inline: detail.binary && detail.source.columns.iter().all(|c| c.generated.is_empty()),
            keeps_order: plan.link.key.iter().all(|k| same_order(&k.from_type, &k.to_type))
                && !detail.key_collation_changes,
            unique: detail.shared_unique.clone(),
            sent: detail.sent_columns(),
        }
    }

    /// The columns of the source as the stream sends them.
    pub fn sent(&self) -> &[String] {
        &self.sent
    }

    /// Whether this column of the source belongs to the key.
    pub fn is_of_key(&self, column: &str) -> bool {
        self.link.key.iter().any(|k| k.from == column)
    }

    fn alias(&self) -> String {
        quote(&self.link.from.name)
    }

    fn source_key(&self) -> Vec<String> {
        self.link.key.iter().map(|k| format!("{}.{}", self.alias(), quote(&k.from))).collect()
    }

    fn bound(&self, param: usize) -> String {
        let parts = self.link.key.iter().enumerate();
        list(parts, |(i, k)| format!("((${param}::text[])[{}])::{}", i + 1, k.from_type))
    }

    fn shadow_bound(&self, param: usize) -> String {
        let parts = self.link.key.iter().enumerate();
        list(parts, |(i, k)| format!("((${param}::text[])[{}])::{}::{}", i + 1, k.from_type, k.to_type))
    }

    /// `lower < key <= upper`, with the lower bound as parameter 1 and the upper as 2. Both are always parameters.
    fn range(&self, lower: bool, upper: bool) -> String {
        let key = self.source_key().join(", ");
        // An unused parameter still needs a type.
        let mut parts = vec!["($1::text[] is null or true) and ($2::text[] is null or true)".to_string()];
        if lower {
            parts.push(format!("({key}) > ({})", self.bound(1)));
        }
        if upper {
            parts.push(format!("({key}) <= ({})", self.bound(2)));
        }
        parts.join(" and ")
    }

    fn shadow_range(&self, lower: bool, upper: bool) -> String {
        let key = list(&self.link.key, |k| format!("{}.{}", self.to_alias(), quote(&k.to)));
        let mut parts = vec!["true".to_string()];
        if lower {
            parts.push(format!("({key}) > ({})", self.shadow_bound(1)));
        }
        if upper {
            parts.push(format!("({key}) <= ({})", self.shadow_bound(2)));
        }
        parts.join(" and ")
    }

    fn filled(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let columns = self.link.columns.iter();
        columns.filter_map(|c| c.expression.as_deref().map(|e| (c.column.as_str(), e, c.data_type.as_str())))
    }

    /// What is written over a row that is there.
    fn written(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.filled().filter(|(c, _, _)| self.first_only.iter().all(|f| f != c))
    }

    /// Keys in staging, as people read them.
    pub fn gone_text(&self) -> String {
        let parts = list(&self.link.key, |k| {
            format!("{} || g.{}::text", literal(&format!("{}=", k.from)), quote(&k.from))
        });
        format!("select concat_ws(', ', {parts}) from {GONE} as g")
    }

    fn to_key(&self) -> String {
        list(&self.link.key, |k| quote(&k.to))
    }

    fn insert_head(&self) -> String {
        let columns = list(self.filled(), |(c, _, _)| quote(c));
        format!("insert into {} ({columns}) overriding system value", table(&self.link.to))
    }

    fn expressions(&self) -> String {
        list(self.filled(), |(_, e, _)| e.to_string())
    }

    /// One chunk, with its bounds as parameters 1 and 2, around the rows that applying has written already.
    pub fn copy(&self, lower: bool, upper: bool) -> String {
        format!("{}\non conflict ({}) do nothing", self.copy_alone(lower, upper), self.to_key())
    }

    /// The same where applying has written none: without looking for each row first, which takes a third of the time.
    pub fn copy_alone(&self, lower: bool, upper: bool) -> String {
        format!(
            "{}\nselect {}\nfrom {} as {}\nwhere {}\norder by {}",
            self.insert_head(),
            self.expressions(),
            table(&self.link.from),
            self.alias(),
            self.range(lower, upper),
            self.source_key().join(", "),
        )
    }

    /// Whether the shadow has no row of a chunk yet; `None` where a range of the source's key is no range of the shadow's.
    pub fn is_blank(&self, lower: bool, upper: bool) -> Option<String> {
        self.keeps_order.then(|| {
            format!(
                "select not exists (select from {} as {} where ($1::text[] is null or true) and ($2::text[] is null or true) and {})",
                table(&self.link.to),
                self.to_alias(),
                self.shadow_range(lower, upper),
            )
        })
    }

    /// The key of the row `$3` rows above the lower bound, up to the last key.
    pub fn next_bound(&self, lower: bool) -> String {
        format!(
            "select array[{}]\nfrom {} as {}\nwhere {}\norder by {}\noffset $3::bigint\nlimit 1",
            list(self.source_key(), |k| format!("{k}::text")),
            table(&self.link.from),
            self.alias(),
            self.range(lower, true),
            self.source_key().join(", "),
        )
    }

    /// The greatest key.
    pub fn last_key(&self) -> String {
        format!(
            "select array[{}]\nfrom {} as {}\norder by {}\nlimit 1",
            list(self.source_key(), |k| format!("{k}::text")),
            table(&self.link.from),
            self.alias(),
            list(self.source_key(), |k| format!("{k} desc")),
        )
    }

    /// Makes a session's staging tables.
    pub fn stage(&self) -> String {
        let from = table(&self.link.from);
        let key = list(&self.link.key, |k| format!("{}.{}", self.alias(), quote(&k.from)));
        let keys = |name: &str| {
            let name = name.trim_start_matches("pg_temp.");
            format!(
                "create temp table {name} on commit delete rows as select {key} from {from} as {} with no data;\n",
                self.alias()
            )
        };
        format!(
            "create temp table {} (like {from} including generated) on commit delete rows;\n{}{}",
            ROWS.trim_start_matches("pg_temp."),
            keys(GONE),
            keys(REREAD),
        )
    }

    fn format(&self) -> &'static str {
        if self.binary { "binary" } else { "text" }
    }

    /// Row images into staging.
    pub fn copy_rows(&self) -> String {
        format!("copy {ROWS} ({}) from stdin (format {})", list(&self.sent, |c| quote(c)), self.format())
    }

    /// Keys of rows that are gone into staging.
    pub fn copy_gone(&self) -> String {
        format!("copy {GONE} from stdin (format {})", self.format())
    }

    /// Keys of rows to read again into staging.
    pub fn copy_reread(&self) -> String {
        format!("copy {REREAD} from stdin (format {})", self.format())
    }

    fn match_shadow(&self, staged: &str) -> String {
        let parts = self.link.key.iter();
        parts
            .map(|k| format!("s.{} = ({staged}.{})::{}", quote(&k.to), quote(&k.from), k.to_type))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// Deletes these keys.
    pub fn delete(&self, place: Place) -> String {
        let keys = match place {
            Place::Staged => format!("{GONE} as g"),
            Place::Inline => {
                let arrays =
                    list(self.link.key.iter().enumerate(), |(i, k)| format!("${}::{}[]", i + 1, k.from_type));
                format!("unnest({arrays}) as g({})", list(&self.link.key, |k| quote(&k.from)))
            }
        };
        format!("delete from {} as s\nusing {keys}\nwhere {}", table(&self.link.to), self.match_shadow("g"))
    }

    /// Reads the source's present rows for the staged keys into staging.
    pub fn reread(&self) -> String {
        let columns = list(&self.sent, |c| quote(c));
        let values = list(&self.sent, |c| format!("t.{}", quote(c)));
        let matched = self.link.key.iter();
        let matched =
            matched.map(|k| format!("t.{0} = r.{0}", quote(&k.from))).collect::<Vec<_>>().join(" and ");
        format!(
            "insert into {ROWS} ({columns})\nselect {values}\nfrom {REREAD} as r\njoin {} as t on {matched}",
            table(&self.link.from)
        )
    }

    fn rows(&self, place: Place) -> String {
        match place {
            Place::Staged => format!("{ROWS} as {}", self.alias()),
            Place::Inline => format!("unnest($1::{}[]) as {}", table(&self.link.from), self.alias()),
        }
    }

    fn select_images(&self, place: Place) -> String {
        format!(
            "select {}\nfrom {}\norder by {}",
            self.expressions(),
            self.rows(place),
            self.source_key().join(", ")
        )
    }

    /// Writes the images, over what is there.
    pub fn upsert(&self, place: Place) -> String {
        let is_key = |c: &str| self.link.key.iter().any(|k| k.to == c);
        let set = list(self.written().filter(|(c, _, _)| !is_key(c)), |(c, _, _)| {
            format!("{0} = excluded.{0}", quote(c))
        });
        let action = if set.is_empty() { "do nothing".to_string() } else { format!("do update set {set}") };
        format!(
            "{}\n{}\non conflict ({}) {action}",
            self.insert_head(),
            self.select_images(place),
            self.to_key()
        )
    }

    /// Writes the staged images over rows that are there; `None` if a row is nothing but its key. Where all are there, this is cheaper than
    /// [`Statements::upsert`], which locks each row before it updates it.
    pub fn update(&self) -> Option<String> {
        let is_key = |c: &str| self.link.key.iter().any(|k| k.to == c);
        let set =
            list(self.written().filter(|(c, _, _)| !is_key(c)), |(c, _, _)| format!("{0} = p.{0}", quote(c)));
        let same_row = self
            .link
            .key
            .iter()
            .map(|k| format!("s.{0} = p.{0}", quote(&k.to)))
            .collect::<Vec<_>>()
            .join(" and ");
        (!set.is_empty()).then(|| {
            format!(
                "update {} as s\nset {set}\nfrom (select {} from {}) as p\nwhere {same_row}",
                table(&self.link.to),
                self.images(),
                self.rows(Place::Staged),
            )
        })
    }

    fn images(&self) -> String {
        list(self.filled(), |(c, e, t)| format!("({e})::{t} as {}", quote(c)))
    }

    /// Writes the staged images where all touched keys were deleted before.
    pub fn insert(&self) -> String {
        format!("{}\n{}", self.insert_head(), self.select_images(Place::Staged))
    }

    /// Removes the rows that own a unique value which the image of another row brings: such a row has an image in this batch too,
    /// or a later change in the stream, and every change is a full image. Only for indexes that the source has too.
    pub fn give_way(&self, place: Place) -> Vec<String> {
        let keys = self.link.key.iter().enumerate();
        let brought_keys = list(keys.clone(), |(i, k)| format!("{} as \"brought key {i}\"", quote(&k.to)));
        let same_row = keys.map(|(i, k)| format!("s.{} = p.\"brought key {i}\"", quote(&k.to)));
        let same_row = same_row.collect::<Vec<_>>().join(" and ");
        let owners = self.unique.iter().map(|unique| {
            let values = brought(&unique.terms);
            // Unqualified: no column of `p` has such a name.
            let equal = unique.terms.iter().enumerate().map(|(i, t)| format!("({t}) = p.\"brought {i}\""));
            let equal = equal.chain(unique.predicate.iter().map(|p| format!("({p})"))).collect::<Vec<_>>().join(" and ");
            format!(
                "delete from {} as s\nusing (select {values}, {brought_keys} from (select {} from {}) as i{}) as p\nwhere {equal} and not ({same_row})",
                table(&self.link.to),
                self.images(),
                self.rows(place),
                only(unique),
            )
        });
        owners.collect()
    }

    /// Removes staged images that claim a unique value of a row which was read again, one for each shared unique index. That row is of
    /// a later time, when it had the value and the image's row had it no more: so the image's row has a later change in the stream.
    pub fn drop_stale(&self) -> Vec<String> {
        let alias = self.alias();
        let keys = self.link.key.iter().map(|k| format!("r.{0} = {alias}.{0}", quote(&k.from)));
        let is_reread =
            format!("exists (select from {REREAD} as r where {})", keys.collect::<Vec<_>>().join(" and "));
        let losers = self.unique.iter().map(|unique| {
            let values = brought(&unique.terms);
            let equal = (0..unique.terms.len()).map(|i| format!("a.\"brought {i}\" = b.\"brought {i}\""));
            format!(
                "with p as materialized (select \"row ctid\", \"row is reread\", {values}\n\
                 from (select {alias}.ctid as \"row ctid\", {is_reread} as \"row is reread\", {} from {}) as i{})\n\
                 delete from {ROWS} as x\nusing p as a, p as b\n\
                 where x.ctid = a.\"row ctid\" and not a.\"row is reread\" and b.\"row is reread\" and {}",
                self.images(),
                self.rows(Place::Staged),
                only(unique),
                equal.collect::<Vec<_>>().join(" and "),
            )
        });
        losers.collect()
    }

    /// The source's row as the shadow should have it, as one value that is equal only for equal rows: in the binary form, which takes the
    /// server less time, or as text with NULL, empty and separators kept apart by the record's own syntax.
    fn source_value(&self) -> String {
        self.value(&list(self.written(), |(_, e, t)| format!("({e})::{t}")))
    }

    fn shadow_value(&self) -> String {
        self.value(&list(self.written(), |(c, _, _)| format!("{}.{}", self.to_alias(), quote(c))))
    }

    /// What the shadow is called where it is compared: expressions of the other direction know its rows under the source's name.
    fn to_alias(&self) -> String {
        if self.opposite.is_empty() { "s".to_string() } else { self.alias() }
    }

    /// The columns that the other direction writes, of a row of the source and of one of the shadow.
    fn opposite_values(&self) -> (String, String) {
        let filled = || self.opposite.iter().filter_map(|m| m.expression.as_deref().map(|e| (m, e)));
        let own = list(filled(), |(m, _)| format!("{}.{}", self.alias(), quote(&m.column)));
        let other = list(filled(), |(m, e)| format!("({e})::{}", m.data_type));
        (format!("(row({own}))::text"), format!("(row({other}))::text"))
    }

    /// Further columns of both sides, and when rows differ though these are equal.
    fn beside(&self) -> (String, String, &'static str) {
        if self.opposite.is_empty() {
            return (String::new(), String::new(), "a.v is distinct from b.v");
        }
        let (own, other) = self.opposite_values();
        (
            format!(", {own} as o"),
            format!(", {other} as o"),
            "a.v is distinct from b.v and (a.v is null or b.v is null or a.o is distinct from b.o)",
        )
    }

    fn value(&self, row: &str) -> String {
        if self.compares_binary { format!("record_send(row({row}))") } else { format!("(row({row}))::text") }
    }

    fn hash(&self) -> &'static str {
        // There is no other way to bytea's own hash before version 18.
        if self.compares_binary {
            "hash_record_extended(row(v), 0)"
        } else {
            "hashtextextended(v collate \"C\", 0)"
        }
    }

    /// Counts and checksums of a range on both sides, in one snapshot.
    pub fn compare(&self, lower: bool, upper: bool) -> String {
        let sum = format!("count(*) as n, coalesce(sum({}), 0) as h", self.hash());
        format!(
            "select a.n, b.n, a.h = b.h\nfrom (select {sum} from (select {} as v from {} as {} where {}) x) a,\n(select {sum} from (select {} as v from {} as {} where {}) y) b",
            self.source_value(),
            table(&self.link.from),
            self.alias(),
            self.range(lower, upper),
            self.shadow_value(),
            table(&self.link.to),
            self.to_alias(),
            self.shadow_range(lower, upper),
        )
    }

    fn what() -> &'static str {
        "case when a.v is null then 'extra in the shadow' when b.v is null then 'missing in the shadow' else 'different' end"
    }

    fn key_names(&self) -> Vec<String> {
        (1..=self.link.key.len()).map(|i| format!("k{i}")).collect()
    }

    fn source_side(&self, condition: &str) -> String {
        let keys = list(self.source_key().iter().zip(self.key_names()), |(k, n)| format!("{k} as {n}"));
        format!(
            "select {keys}, {} as v{} from {} as {} where {condition}",
            self.source_value(),
            self.beside().0,
            table(&self.link.from),
            self.alias()
        )
    }

    fn shadow_side(&self, condition: &str) -> String {
        let keys = list(self.link.key.iter().zip(self.key_names()), |(k, n)| {
            format!("({}.{})::{} as {n}", self.to_alias(), quote(&k.to), k.from_type)
        });
        format!(
            "select {keys}, {} as v{} from {} as {} where {condition}",
            self.shadow_value(),
            self.beside().1,
            table(&self.link.to),
            self.to_alias(),
        )
    }

    /// The keys of a range that differ now: the key as text, what differs, and the key's columns. Parameter 3 is the limit.
    pub fn differing(&self, lower: bool, upper: bool) -> String {
        let names = self.key_names();
        let both = list(&names, |n| format!("coalesce(a.{n}, b.{n}) as {n}"));
        let on = names.iter().map(|n| format!("a.{n} = b.{n}")).collect::<Vec<_>>().join(" and ");
        format!(
            "select array[{}], w, {}\nfrom (select {both}, {} as w\nfrom ({}) a\nfull join ({}) b on {on}\nwhere {}) d\nlimit $3::bigint",
            list(&names, |n| format!("{n}::text")),
            list(&names, |n| if self.binary { n.clone() } else { format!("{n}::text") }),
            Self::what(),
            self.source_side(&self.range(lower, upper)),
            self.shadow_side(&self.shadow_range(lower, upper)),
            self.beside().2,
        )
    }

    /// Of the keys in parameter 1 (JSON arrays of texts), the places in it of those that differ now, and what differs.
    pub fn recheck(&self) -> String {
        let keys = list(self.link.key.iter().enumerate(), |(i, k)| {
            format!("(w.b ->> {i})::{} as k{}", k.from_type, i + 1)
        });
        let names = self.key_names();
        let source = self.source_key();
        let a_on =
            names.iter().zip(&source).map(|(n, k)| format!("{k} = w.{n}")).collect::<Vec<_>>().join(" and ");
        let b_on = self
            .link
            .key
            .iter()
            .zip(&names)
            .map(|(k, n)| format!("{}.{} = (w.{n})::{}", self.to_alias(), quote(&k.to), k.to_type));
        let b_on = b_on.collect::<Vec<_>>().join(" and ");
        format!(
            "select w.n, {}\nfrom (select w.n, {keys} from (select t.n, t.b::jsonb as b from unnest($1::text[]) with ordinality as t(b, n)) w) w\n\
             left join lateral (select {} as v{} from {} as {} where {a_on}) a on true\n\
             left join lateral (select {} as v{} from {} as {} where {b_on}) b on true\n\
             where {}",
            Self::what(),
            self.source_value(),
            self.beside().0,
            table(&self.link.from),
            self.alias(),
            self.shadow_value(),
            self.beside().1,
            table(&self.link.to),
            self.to_alias(),
            self.beside().2,
        )
    }
}

/// What a new reader is sure to see.
pub const FLOOR: &str = "select pg_current_snapshot()::text";

/// Takes the turn at applying.
pub fn turn_text(control: &str) -> String {
    format!(
        "update {control}.checkpoint set writer = writer + 1 where migration = $1 and epoch = $2 returning writer"
    )
}

/// Locks the checkpoint, if the turn is still ours.
pub fn fence_text(control: &str) -> String {
    format!(
        "select writer from {control}.checkpoint where migration = $1 and epoch = $2 and writer = $3 for no key update"
    )
}

/// Moves the checkpoint.
pub fn checkpoint_text(control: &str) -> String {
    format!(
        "update {control}.checkpoint\nset position = coalesce($2, position), changes = changes + $3, applied_at = clock_timestamp()\nwhere migration = $1"
    )
}

/// Terms under names that no column has.
fn brought(terms: &[String]) -> String {
    list(terms.iter().enumerate(), |(i, t)| format!("({t}) as \"brought {i}\""))
}

/// The condition on the rows that an index is about, if it is not about all.
fn only(unique: &SharedUnique) -> String {
    unique.predicate.as_ref().map(|p| format!(" where ({p})")).unwrap_or_default()
}

/// Whether both types sort alike, so that a range of one is a range of the other.
fn same_order(from: &str, to: &str) -> bool {
    const NUMBERS: [&str; 4] = ["smallint", "integer", "bigint", "numeric"];
    let number = |t: &str| {
        NUMBERS.iter().any(|n| t == *n || t.strip_prefix(n).is_some_and(|rest| rest.starts_with('(')))
    };
    let text = |t: &str| t == "text" || t == "character varying" || t.starts_with("character varying(");
    from == to || (number(from) && number(to)) || (text(from) && text(to))
}
