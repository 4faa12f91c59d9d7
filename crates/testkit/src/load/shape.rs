//! Which table, which columns, and what to put into them.

use rand::Rng;
use rand::rngs::StdRng;

use super::driver::{Dialect, Store};

/// Makes a column's next value. The number is never the same twice in the life of a ledger, for columns that must be unique.
pub type Make = fn(&mut StdRng, u64) -> Option<String>;

/// A value column that the load writes.
#[derive(Clone)]
pub struct Column {
    pub(super) name: String,
    pub(super) sql_type: String,
    /// On MySQL and MariaDB, if it is another there.
    mysql_type: Option<String>,
    pub(super) is_unique: bool,
    pub(super) make: Make,
}

impl Column {
    /// A column of any type. `make` must give each value in the server's own spelling (`1.50` for a `numeric(9,2)`), for
    /// the check compares text.
    pub fn new(name: &str, sql_type: &str, make: Make) -> Column {
        let (name, sql_type) = (name.to_owned(), sql_type.to_owned());
        Column { name, sql_type, mysql_type: None, is_unique: false, make }
    }

    /// The type on MySQL and MariaDB, where it is another.
    pub fn on_mysql(mut self, sql_type: &str) -> Column {
        self.mysql_type = Some(sql_type.to_owned());
        self
    }

    /// Says that values are unique: writers then also swap them between two rows of one transaction.
    pub fn unique(mut self) -> Column {
        self.is_unique = true;
        self
    }

    /// A small integer, sometimes NULL.
    pub fn int(name: &str) -> Column {
        Column::new(name, "integer", |rng, _| {
            rng.random_bool(0.95).then(|| rng.random_range(-1000..1000).to_string())
        })
    }

    /// Short text, sometimes NULL, empty or awkward.
    pub fn text(name: &str) -> Column {
        Column::new(name, "text", |rng, _| match rng.random_range(0..20) {
            0 => None,
            1 => Some(String::new()),
            2 => Some("tab\t, line\n, back\\slash, \\N, quote' and ü€😀".into()),
            _ => Some(random_text(rng, 8..80)),
        })
    }

    /// Text that is different in every row. MySQL and MariaDB want its length limited, for the index.
    pub fn unique_text(name: &str) -> Column {
        let column = Column::new(name, "text", |_, stamp| Some(format!("user{stamp}@example.org")));
        column.on_mysql("varchar(100)").unique()
    }

    pub(super) fn type_in(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => &self.sql_type,
            Dialect::Mysql => self.mysql_type.as_ref().unwrap_or(&self.sql_type),
        }
    }

    /// Text that is stored out of line (TOAST) most of the time: too long, and too random to be compressed below the limit.
    pub fn large_text(name: &str) -> Column {
        Column::new(name, "text", |rng, _| Some(random_text(rng, 1000..12_000)))
    }
}

fn random_text(rng: &mut StdRng, length: std::ops::Range<usize>) -> String {
    let length = rng.random_range(length);
    (0..length).map(|_| char::from(rng.random_range(b' '..=b'~'))).collect()
}

/// A column of the key.
#[derive(Clone)]
pub struct KeyColumn {
    pub(super) name: String,
    pub(super) sql_type: String,
    pub(super) make: fn(u64) -> String,
}

impl KeyColumn {
    /// A key column of any type; different numbers must make different keys, taking all key columns together.
    pub fn new(name: &str, sql_type: &str, make: fn(u64) -> String) -> KeyColumn {
        KeyColumn { name: name.to_owned(), sql_type: sql_type.to_owned(), make }
    }

    /// A `bigint` that is the number itself.
    pub fn bigint(name: &str) -> KeyColumn {
        KeyColumn::new(name, "bigint", |number| number.to_string())
    }
}

/// The table that a load writes to: its key and those of its columns that the load knows.
#[derive(Clone)]
pub struct TableShape {
    pub(super) table: String,
    pub(super) key: Vec<KeyColumn>,
    pub(super) columns: Vec<Column>,
}

impl TableShape {
    /// The usual one: `id bigint primary key, email text unique, body text, n integer`. The name is as in SQL: `public.orders`.
    pub fn standard(table: &str) -> TableShape {
        let columns = vec![Column::unique_text("email"), Column::text("body"), Column::int("n")];
        TableShape::new(table, vec![KeyColumn::bigint("id")], columns)
    }

    /// A table of any shape. Names are as in SQL, quoted where they need it.
    pub fn new(table: &str, key: Vec<KeyColumn>, columns: Vec<Column>) -> TableShape {
        assert!(!key.is_empty() && !columns.is_empty(), "a shape has a key column and a value column");
        TableShape { table: table.to_owned(), key, columns }
    }

    /// The name as in SQL.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The statement that creates the table with exactly these columns.
    pub fn create_sql(&self, dialect: Dialect) -> String {
        let key = self.key.iter().map(|column| format!("{} {} not null", column.name, column.sql_type));
        let unique = |column: &Column| if column.is_unique { " unique" } else { "" };
        let values = self
            .columns
            .iter()
            .map(|column| format!("{} {}{}", column.name, column.type_in(dialect), unique(column)));
        let columns: Vec<String> = key.chain(values).collect();
        format!(
            "create table {} ({}, primary key ({}))",
            self.table,
            columns.join(", "),
            self.key_names().join(", ")
        )
    }

    /// Creates the table.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn create<C: Store>(&self, mut client: C) {
        let sql = self.create_sql(C::DIALECT);
        client.run(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    pub(super) fn key_names(&self) -> Vec<&str> {
        self.key.iter().map(|column| column.name.as_str()).collect()
    }

    pub(super) fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }
}
