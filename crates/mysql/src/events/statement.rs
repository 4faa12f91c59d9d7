//! What a statement in the binlog means for the source.
//!
//! Nothing here parses SQL. A statement is cut into words, quoted names and symbols; names are looked for only where the grammar has a
//! table's name. What cannot be told is taken to concern the source, since stopping is safe and going on is not.

use std::iter::Peekable;

/// The comment that our own statements carry.
const OURS: &[u8] = b" shadowswap ";

/// The names of the source, and how names are compared.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub schema: String,
    pub table: String,
    /// `lower_case_table_names` is not 0.
    pub ignores_case: bool,
}

impl Names {
    fn same(&self, ours: &str, other: &str) -> bool {
        ours == other || (self.ignores_case && ours.to_lowercase() == other.to_lowercase())
    }

    /// Whether this is the source.
    pub(crate) fn is_source(&self, schema: &str, table: &str) -> bool {
        self.same(&self.schema, schema) && self.same(&self.table, table)
    }
}

/// How the session that sent a statement reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dialect {
    /// `ANSI_QUOTES`: double quotes are around names.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES`.
    pub no_backslashes: bool,
}

/// What a statement means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Begin,
    Commit,
    Rollback,
    /// To a savepoint.
    RollbackTo,
    XaStart,
    /// The statement that tells the name of a transaction which is prepared next; XA START is not in every binlog.
    XaEnd,
    /// Of a transaction that was prepared before.
    XaCommit,
    /// It changes the source's definition, or all its rows at once.
    Definition,
    /// It ties something to the source that writes none of its rows behind the binlog's back: a trigger, or another table's foreign key.
    Ties,
    /// It names the source and is none of the statements known here: it may write rows.
    Writes,
    /// It does not matter.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word without quotes: a keyword or a name.
    Word(String),
    /// A name in quotes.
    Name(String),
    /// A text.
    Text,
    Symbol(u8),
}

impl Token {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Name(name) => Some(name),
            Token::Text | Token::Symbol(_) => None,
        }
    }
}

/// The meaning of a statement whose session has this default database.
pub(crate) fn meaning(sql: &[u8], database: &str, dialect: Dialect, names: &Names) -> Meaning {
    let is_name = |word: &str| names.same(&names.schema, word) || names.same(&names.table, word);
    let (tokens, comments) = tokens(sql, dialect, is_name);
    let is_ours = comments.contains(&OURS);
    let s = Statement { tokens: &tokens, database, names };
    let found = s.meaning();
    match found {
        Meaning::Definition | Meaning::Ties | Meaning::Writes if is_ours => Meaning::Other,
        _ => found,
    }
}

/// Whether this is a RENAME with this comment.
pub(crate) fn is_rename_with(sql: &[u8], dialect: Dialect, comment: &[u8]) -> bool {
    let (tokens, comments) = tokens(sql, dialect, |_| false);
    tokens.first().is_some_and(|t| t.is("rename")) && comments.contains(&comment)
}

/// The name of the XA transaction that a statement of the server's own is about: `X'01',X'',1`.
pub(crate) fn xid(sql: &[u8]) -> Vec<u8> {
    let words = sql.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    words.skip(2).flatten().map(u8::to_ascii_uppercase).collect()
}

struct Statement<'a> {
    tokens: &'a [Token],
    database: &'a str,
    names: &'a Names,
}

impl Statement<'_> {
    fn meaning(&self) -> Meaning {
        let keyword = match self.tokens.first() {
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            Some(_) => String::new(),
            None => return Meaning::Other,
        };
        let definition = |concerns: bool| if concerns { Meaning::Definition } else { Meaning::Other };
        match keyword.as_str() {
            "BEGIN" => Meaning::Begin,
            "START" if self.is(1, "transaction") => Meaning::Begin,
            "COMMIT" => Meaning::Commit,
            "ROLLBACK" if self.tokens.iter().any(|t| t.is("to")) => Meaning::RollbackTo,
            "ROLLBACK" => Meaning::Rollback,
            "XA" if self.is(1, "start") || self.is(1, "begin") => Meaning::XaStart,
            "XA" if self.is(1, "end") => Meaning::XaEnd,
            "XA" if self.is(1, "commit") => Meaning::XaCommit,
            "TRUNCATE" => definition(self.source_at(1 + usize::from(self.is(1, "table")))),
            "RENAME" => definition(self.is_tables(1) && self.in_list(2)),
            "DROP" => definition(self.drops()),
            "CREATE" if self.creates() => Meaning::Definition,
            "CREATE" if self.creates_tie() => Meaning::Ties,
            "CREATE" => Meaning::Other,
            "ALTER" if self.alters() => Meaning::Definition,
            "ALTER" if self.is_of_table() && self.references_source() => Meaning::Ties,
            "ALTER" => Meaning::Other,
            // MariaDB logs the statement behind the settings with them.
            "SET" if self.is(1, "statement") => definition(self.is_named()),
            // They change no row and no definition, or only that of users, sessions and the server.
            "ANALYZE" | "CHECK" | "FLUSH" | "GRANT" | "OPTIMIZE" | "RELEASE" | "REPAIR" | "REVOKE"
            | "SAVEPOINT" | "SET" | "START" | "USE" | "XA" => Meaning::Other,
            _ if self.is_named() => Meaning::Writes,
            // By way of a view or a trigger it may write to the table without naming it.
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" | "CALL" if self.is_in_schema() => {
                Meaning::Writes
            }
            _ => Meaning::Other,
        }
    }

    fn is(&self, at: usize, keyword: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is(keyword))
    }

    /// Whether the statement runs in the source's database, or names it.
    fn is_in_schema(&self) -> bool {
        let names_it = |t: &Token| t.name().is_some_and(|name| self.names.same(&self.names.schema, name));
        self.names.same(&self.names.schema, self.database) || self.tokens.iter().any(names_it)
    }

    fn is_tables(&self, at: usize) -> bool {
        self.is(at, "table") || self.is(at, "tables")
    }

    fn is_symbol(&self, at: usize, symbol: u8) -> bool {
        self.tokens.get(at) == Some(&Token::Symbol(symbol))
    }

    /// Past `IF [NOT] EXISTS`.
    fn past_if(&self, at: usize) -> usize {
        if !self.is(at, "if") {
            return at;
        }
        at + if self.is(at + 1, "not") { 3 } else { 2 }
    }

    /// Whether the source's name is here, with its database or without.
    fn source_at(&self, at: usize) -> bool {
        let at = self.past_if(at);
        let Some(first) = self.tokens.get(at).and_then(Token::name) else { return false };
        if self.is_symbol(at + 1, b'.') {
            let second = self.tokens.get(at + 2).and_then(Token::name);
            return second.is_some_and(|table| self.names.is_source(first, table));
        }
        self.names.is_source(self.database, first)
    }

    /// Whether the source is in a list of names that begins here: after `,` and `TO` comes another.
    fn in_list(&self, at: usize) -> bool {
        self.source_at(at)
            || (at..self.tokens.len())
                .any(|i| (self.is_symbol(i, b',') || self.is(i, "to")) && self.source_at(i + 1))
    }

    /// Whether the word is here and the source's name behind it.
    fn source_after(&self, at: usize, keyword: &str) -> bool {
        self.is(at, keyword) && self.source_at(at + 1)
    }

    fn schema_at(&self, at: usize) -> bool {
        let name = self.tokens.get(self.past_if(at)).and_then(Token::name);
        name.is_some_and(|name| self.names.same(&self.names.schema, name))
    }

    fn drops(&self) -> bool {
        if self.is_tables(1) {
            return self.in_list(self.past_if(2));
        }
        match self.is(1, "database") || self.is(1, "schema") {
            true => self.schema_at(2),
            false => self.has_index() && self.is_on_source(),
        }
    }

    /// `[ONLINE] INDEX` behind the first word.
    fn has_index(&self) -> bool {
        (1..5).any(|at| self.is(at, "index"))
    }

    fn is_on_source(&self) -> bool {
        (0..self.tokens.len()).any(|at| self.source_after(at, "on"))
    }

    fn references_source(&self) -> bool {
        (0..self.tokens.len()).any(|at| self.source_after(at, "references"))
    }

    /// What a CREATE makes, and where it says so.
    fn created(&self) -> Option<usize> {
        const OBJECTS: [&str; 12] = [
            "table",
            "index",
            "trigger",
            "database",
            "schema",
            "view",
            "procedure",
            "function",
            "event",
            "user",
            "role",
            "server",
        ];
        (1..self.tokens.len()).find(|at| OBJECTS.iter().any(|o| self.is(*at, o)))
    }

    fn creates(&self) -> bool {
        let replaces = self.is(1, "or") && self.is(2, "replace");
        let Some(at) = self.created() else { return false };
        if self.is(at, "table") {
            // `IF NOT EXISTS` is logged even though the table was there and nothing happened.
            let is_new = !self.is(at + 1, "if") && self.source_at(at + 1);
            return !self.is_temporary(at) && is_new;
        }
        if self.is(at, "database") || self.is(at, "schema") {
            return replaces && self.schema_at(at + 1);
        }
        self.is(at, "index") && self.is_on_source()
    }

    /// Whether a CREATE makes a trigger on the source, or a table with a foreign key to it.
    fn creates_tie(&self) -> bool {
        let Some(at) = self.created() else { return false };
        (self.is(at, "table") && !self.is_temporary(at) && self.references_source())
            || (self.is(at, "trigger") && self.is_on_source())
    }

    fn is_temporary(&self, table: usize) -> bool {
        (1..table).any(|i| self.is(i, "temporary"))
    }

    /// Whether an ALTER is of a table.
    fn is_of_table(&self) -> bool {
        (1..4).any(|at| self.is(at, "table"))
    }

    fn alters(&self) -> bool {
        let Some(at) = (1..4).find(|at| self.is(*at, "table")) else { return false };
        // MariaDB moves a table into a partition with CONVERT TABLE, MySQL exchanges it: its rows go without an event.
        self.source_at(at + 1)
            || (at + 1..self.tokens.len()).any(|i| {
                self.source_after(i, "table")
                    || (self.is(i, "rename")
                        && (self.source_at(i + 1)
                            || ["to", "as"].iter().any(|k| self.source_after(i + 1, k))
                            || (self.is_symbol(i + 1, b'=') && self.source_at(i + 2))))
            })
    }

    /// Whether the source's name is anywhere.
    fn is_named(&self) -> bool {
        (0..self.tokens.len()).any(|at| {
            let is_second = at > 0 && self.is_symbol(at - 1, b'.');
            !is_second && self.source_at(at)
        })
    }
}

/// So many tokens are kept as they are; of more, nothing that cannot be a name: a statement may have millions of values.
const TOKENS_MAX: usize = 10_000;
/// So many comments are looked at.
const COMMENTS_MAX: usize = 1_000;

/// The tokens of a statement.
struct Tokens<F> {
    kept: Vec<Token>,
    is_name: F,
}

impl<F: Fn(&str) -> bool> Tokens<F> {
    /// What cannot matter among very many others becomes one comma: a name may follow it, and what cannot be told concerns the source.
    fn push(&mut self, token: Token) {
        const COMMA: Token = Token::Symbol(b',');
        let is_behind_value = self.kept.last() == Some(&COMMA);
        let is_behind_symbol = matches!(self.kept.last(), Some(Token::Symbol(_)));
        let matters = self.kept.len() < TOKENS_MAX
            || match &token {
                Token::Word(word) | Token::Name(word) => !self.is_write() || (self.is_name)(word),
                Token::Text => false,
                Token::Symbol(symbol) => matches!(symbol, b'.' | b'=') && !is_behind_symbol,
            };
        if matters {
            self.kept.push(token);
        } else if !is_behind_value {
            self.kept.push(COMMA);
        }
    }

    /// Of statements that write rows only the names of tables are looked for.
    fn is_write(&self) -> bool {
        const WRITES: [&str; 7] = ["insert", "replace", "update", "delete", "load", "with", "call"];
        self.kept.first().is_some_and(|first| WRITES.iter().any(|word| first.is(word)))
    }
}

/// The tokens of a statement, and what is in its comments.
fn tokens(sql: &[u8], dialect: Dialect, is_name: impl Fn(&str) -> bool) -> (Vec<Token>, Vec<&[u8]>) {
    let mut out = Tokens { kept: Vec::new(), is_name };
    let mut comments = Vec::new();
    let mut bytes = sql.iter().copied().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        let rest = sql.get(at..).unwrap_or_default();
        match byte {
            b'`' => out.push(Token::Name(quoted(&mut bytes, b'`', false))),
            b'"' if dialect.ansi_quotes => out.push(Token::Name(quoted(&mut bytes, b'"', false))),
            b'\'' | b'"' => {
                quoted(&mut bytes, byte, !dialect.no_backslashes);
                out.push(Token::Text);
            }
            b'#' => skip_line(&mut bytes),
            b'-' if rest.starts_with(b"--") && rest.get(2).is_none_or(u8::is_ascii_whitespace) => {
                skip_line(&mut bytes);
            }
            // What is between /*! and */ is executed, so its tokens count; the number is a version.
            b'/' if rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") => {
                while bytes.next_if(|(_, b)| matches!(b, b'*' | b'M' | b'!')).is_some() {}
                while bytes.next_if(|(_, b)| b.is_ascii_digit()).is_some() {}
            }
            b'*' if rest.starts_with(b"*/") => drop(bytes.next()),
            b'/' if rest.starts_with(b"/*") => {
                let body = rest.get(2..).unwrap_or_default();
                let size = body.windows(2).position(|w| w == b"*/").unwrap_or(body.len());
                if comments.len() < COMMENTS_MAX {
                    comments.extend(body.get(..size));
                }
                let end = at + 2 + size + 2;
                while bytes.next_if(|(i, _)| *i < end).is_some() {}
            }
            _ if is_word(byte) => {
                let size = rest.iter().position(|b| !is_word(*b)).unwrap_or(rest.len());
                while bytes.next_if(|(i, _)| *i < at + size).is_some() {}
                out.push(Token::Word(text(rest.get(..size).unwrap_or_default())));
            }
            _ if byte.is_ascii_whitespace() || byte == 0 => {}
            _ => out.push(Token::Symbol(byte)),
        }
    }
    (out.kept, comments)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// What is between quotes, a doubled quote being one; the first is already read.
fn quoted(bytes: &mut Peekable<impl Iterator<Item = (usize, u8)>>, quote: u8, backslashes: bool) -> String {
    let mut out = Vec::new();
    while let Some((_, byte)) = bytes.next() {
        if byte == b'\\' && backslashes {
            out.extend(bytes.next().map(|(_, b)| b));
        } else if byte != quote || bytes.next_if(|(_, b)| *b == quote).is_some() {
            out.push(byte);
        } else {
            break;
        }
    }
    text(&out)
}

fn skip_line(bytes: &mut Peekable<impl Iterator<Item = (usize, u8)>>) {
    while bytes.next_if(|(_, b)| *b != b'\n').is_some() {}
}

/// Names come in the client's character set: UTF-8, or else most likely Latin-1.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_database(sql: &str, database: &str) -> Meaning {
        let names = Names { schema: "shop".into(), table: "orders".into(), ignores_case: false };
        meaning(sql.as_bytes(), database, Dialect::default(), &names)
    }

    fn of(sql: &str) -> Meaning {
        of_database(sql, "shop")
    }

    #[test]
    fn definitions_of_the_source_are_seen() {
        for sql in [
            "TRUNCATE orders",
            "truncate table `shop`.`orders`",
            "ALTER TABLE orders ADD COLUMN x int",
            "/* hello */ ALTER /*!50000 ONLINE */ IGNORE TABLE IF EXISTS shop . orders ENGINE=InnoDB",
            "alter table x rename to orders",
            "alter table x rename orders",
            "ALTER TABLE p EXCHANGE PARTITION p0 WITH TABLE orders",
            "DROP TABLE a, shop.orders",
            "DROP TABLE IF EXISTS `orders` /* generated by server */",
            "DROP DATABASE IF EXISTS shop",
            "RENAME TABLE a TO b, orders TO c",
            "RENAME TABLE a TO orders",
            "CREATE UNIQUE INDEX i ON orders (a)",
            "DROP INDEX i ON shop.orders",
            "CREATE OR REPLACE TABLE orders (a int)",
            "alter table orders add foreign key (a) references orders (id)",
            "-- a comment\n# another\nTRUNCATE orders",
        ] {
            assert_eq!(of(sql), Meaning::Definition, "{sql}");
        }
        assert_eq!(of_database("alter table shop.orders force", ""), Meaning::Definition);
    }

    #[test]
    fn triggers_and_foreign_keys_are_told_from_definitions() {
        for sql in [
            "alter table x add foreign key (a) references orders (id)",
            "CREATE TABLE child (a int references orders (id))",
            "CREATE DEFINER=`root`@`%` TRIGGER tr BEFORE INSERT ON orders FOR EACH ROW SET @a = 1",
        ] {
            assert_eq!(of(sql), Meaning::Ties, "{sql}");
        }
        assert_eq!(of("CREATE TEMPORARY TABLE child (a int references orders (id))"), Meaning::Other);
        assert_eq!(
            of("CREATE TRIGGER tr BEFORE INSERT ON elsewhere FOR EACH ROW SET @a = 1"),
            Meaning::Other
        );
    }

    #[test]
    fn statements_that_may_write_by_way_of_a_view_or_a_trigger_are_writes() {
        for sql in [
            "INSERT INTO notes VALUES ('shop.orders', \"orders\", 'it\\'s orders')",
            "UPDATE a_view SET x = 1",
            "CALL p()",
        ] {
            assert_eq!(of(sql), Meaning::Writes, "{sql}");
            assert_eq!(of_database(sql, "elsewhere"), Meaning::Other, "{sql}");
        }
        assert_eq!(of_database("DELETE FROM shop.x", "elsewhere"), Meaning::Writes);
    }

    #[test]
    fn settings_in_front_hide_nothing() {
        for sql in [
            "set statement lock_wait_timeout=5 for truncate table orders",
            "SET STATEMENT max_statement_time=0 FOR ALTER TABLE shop.orders ADD COLUMN x int",
            "set statement binlog_format='STATEMENT' for update orders set v = 1",
        ] {
            assert_eq!(of(sql), Meaning::Definition, "{sql}");
        }
        assert_eq!(of("SET STATEMENT max_statement_time=0 FOR ANALYZE TABLE x"), Meaning::Other);
        assert_eq!(of("SET @x = 'orders'"), Meaning::Other);
    }

    #[test]
    fn statements_about_others_do_not_matter() {
        for sql in [
            "ALTER TABLE orders2 ADD COLUMN orders int",
            "ALTER TABLE x RENAME COLUMN orders TO y",
            "ALTER TABLE other.orders ADD COLUMN x int",
            "ALTER TABLE x COMMENT 'rename to orders'",
            "CREATE TABLE IF NOT EXISTS orders (id int)",
            "CREATE TABLE y LIKE orders",
            "CREATE TEMPORARY TABLE orders (id int)",
            "DROP TEMPORARY TABLE IF EXISTS orders",
            "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `orders`",
            "CREATE VIEW v AS SELECT * FROM orders",
            "CREATE PROCEDURE p() BEGIN DELETE FROM orders; END",
            "ANALYZE TABLE orders",
            "OPTIMIZE TABLE orders",
            "GRANT SELECT ON orders TO x",
            "FLUSH TABLES orders",
            "DROP DATABASE shop2",
            "RENAME TABLE shop.orders TO shop._orders_old /* shadowswap */",
            "",
        ] {
            assert_eq!(of(sql), Meaning::Other, "{sql}");
        }
        assert_eq!(of_database("TRUNCATE orders", "elsewhere"), Meaning::Other);
        assert_eq!(of("TRUNCATE orders -- /* shadowswap */"), Meaning::Definition);
        assert_eq!(of("ALTER TABLE orders COMMENT '/* shadowswap */'"), Meaning::Definition);
    }

    #[test]
    fn statements_that_write_the_source_are_seen() {
        for sql in
            ["UPDATE orders SET a = 1", "insert into `shop`.`orders` values (1)", "(SELECT 1 FROM orders)"]
        {
            assert_eq!(of(sql), Meaning::Writes, "{sql}");
        }
    }

    #[test]
    fn transactions_begin_and_end() {
        assert_eq!(of("BEGIN"), Meaning::Begin);
        assert_eq!(of("COMMIT"), Meaning::Commit);
        assert_eq!(of("ROLLBACK"), Meaning::Rollback);
        assert_eq!(of("ROLLBACK TO `orders`"), Meaning::RollbackTo);
        assert_eq!(of("SAVEPOINT `orders`"), Meaning::Other);
        assert_eq!(of("XA START X'01',X'',1"), Meaning::XaStart);
        assert_eq!(of("XA COMMIT X'01',X'',1"), Meaning::XaCommit);
        assert_eq!(of("XA ROLLBACK X'01',X'',1"), Meaning::Other);
        assert_eq!(of("XA END X'01',X'',1"), Meaning::XaEnd);
        assert_eq!(xid(b"XA END X'01',X'ab',1"), xid(b"XA COMMIT  X'01',X'AB',1"));
    }

    #[test]
    fn statements_of_millions_of_values_take_no_memory_for_them() {
        let values = "(1, -2.5, 'it''s', NULL, 0x0f, _binary'x', DEFAULT),".repeat(50_000);
        let many = format!("INSERT INTO notes VALUES {values} (0)");
        let (kept, _) = tokens(many.as_bytes(), Dialect::default(), |_| false);
        assert!(kept.len() < 10_010, "{} tokens", kept.len());
        assert_eq!(of_database(&many, "elsewhere"), Meaning::Other);
        let hidden = format!("{many}, ((SELECT 1 FROM shop . orders WHERE a = 5))");
        assert_eq!(of_database(&hidden, "elsewhere"), Meaning::Writes);
        let names = Names { schema: "1st".into(), table: "2nd".into(), ignores_case: false };
        let digits = format!("{many}, ((SELECT 1 FROM 1st.2nd))");
        assert_eq!(meaning(digits.as_bytes(), "", Dialect::default(), &names), Meaning::Writes);
        let symbols = format!("INSERT INTO notes VALUES {} (0)", "shop=====...==,".repeat(50_000));
        let (kept, _) = tokens(symbols.as_bytes(), Dialect::default(), |word| word == "shop");
        assert!(kept.len() < 10_000 + 50_000 * 4, "{} tokens", kept.len());
        // What is no write of rows keeps its words: they may be of the grammar.
        let renames = format!("RENAME TABLE {} a TO orders", "x TO y, ".repeat(5_000));
        assert_eq!(of(&renames), Meaning::Definition);
    }

    #[test]
    fn names_follow_the_servers_case_and_the_sessions_quotes() {
        let names = Names { schema: "Shop".into(), table: "Orders".into(), ignores_case: true };
        let ansi = Dialect { ansi_quotes: true, no_backslashes: true };
        let of = |sql: &[u8], dialect| meaning(sql, "SHOP", dialect, &names);
        assert_eq!(of(b"truncate ORDERS", ansi), Meaning::Definition);
        assert_eq!(of(b"truncate \"orders\"", ansi), Meaning::Definition);
        assert_eq!(of(b"alter table x comment 'a\\', rename orders", ansi), Meaning::Definition);
        let latin = Names { schema: "s".into(), table: "t\u{e4}".into(), ignores_case: false };
        assert_eq!(meaning(b"truncate s.t\xe4", "", ansi, &latin), Meaning::Definition);
        assert_eq!(meaning("truncate s.tä".as_bytes(), "", ansi, &latin), Meaning::Definition);
    }
}
