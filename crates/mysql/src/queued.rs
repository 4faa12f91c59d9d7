//! What other sessions have queued for the source before a RENAME that waits for another session's lock.
//!
//! Where two sessions swap, a client's TRUNCATE (or another statement that takes the table exclusively) may already wait for the lock when
//! the RENAME queues. It then runs first, on the table that is about to become the old one: it is acknowledged, and has no effect on the
//! new one. So the attempt is let go if any such statement is to be seen.
//!
//! Why one look is enough: (1) the RENAME is proven to be in the queue before the look, so whatever queues later is behind it and runs on
//! the new table; (2) a session's statement is shown before it asks for a table; so what stands in front is shown. Its state is not looked
//! at: the server notes that a session waits only after it has queued.
//! (MySQL's RENAME under the lock cannot be overtaken: whatever waits runs after the lock is let go, on the new table. Tried on 9.7 with
//! TRUNCATE, DROP, RENAME, ALTER, CREATE TRIGGER and DROP DATABASE.)
//!
//! What is shown (MariaDB 10.11): the statement as sent, with its comments; of several in one packet the present one; in a procedure, an
//! event, a compound or prepared statement the inner one, whose text begins with its first word. `CALL p()` itself is only shown while
//! it reads.

use crate::error::server;
use mysql_async::{Conn, prelude::Queryable};
use shadowswap_core::{Error, Kind, Result, name::TableName};

/// The longest text that the server shows.
const SHOWN_BYTES_MAX: usize = 65_535;
/// So much of a statement is shown to people.
const EXCERPT_CHARS: usize = 120;
/// Statements that change no definition and do not empty a table at once: what they wait for they write, or read, after the swap.
const HARMLESS: [&str; 31] = [
    "ANALYZE",
    "BEGIN",
    "CALL",
    "CHECK",
    "COMMIT",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DO",
    "EXPLAIN",
    "FLUSH",
    "HANDLER",
    "INSERT",
    "KILL",
    "LOAD",
    "LOCK",
    "RELEASE",
    "REPLACE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "UNLOCK",
    "UPDATE",
    "USE",
    "VALUES",
    "WITH",
    "XA",
];
/// Statements that name what they change.
const NAMING: [&str; 7] = ["ALTER", "CREATE", "DROP", "OPTIMIZE", "RENAME", "REPAIR", "TRUNCATE"];

/// Lets the attempt go if another session may have queued a change of the source's definition, or a TRUNCATE. To be called when the
/// RENAME of session `renamer` is proven to wait.
///
/// # Errors
/// `Budget` with the session and its statement; the server's.
pub async fn none_before(conn: &mut Conn, source: &TableName, renamer: u32) -> Result<()> {
    let text = format!(
        "select id, coalesce(user, ''), info from information_schema.processlist where info is not null and id not in ({renamer}, connection_id())"
    );
    let shown: Vec<(u64, String, Vec<u8>)> =
        conn.query(text).await.map_err(|e| server(e, "looking what waits for the table"))?;
    let before = shown
        .into_iter()
        .map(|(id, user, text)| (id, user, String::from_utf8_lossy(&text).into_owned()))
        .find(|(.., text)| may_define(text, source));
    let Some((id, user, text)) = before else { return Ok(()) };
    let words: String =
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXCERPT_CHARS).collect();
    Err(Error::new(
        Kind::Budget,
        format!(
            "connection {id} (user {user}) has sent a statement that may change {source}, and would be served before the swap: {words}"
        ),
    )
    .next("nothing was swapped; once that statement is over, run the same command again"))
}

/// Whether a statement may change the source's definition, or all its rows at once.
fn may_define(text: &str, source: &TableName) -> bool {
    let Some(words) = words(text) else { return true };
    let mut words = words.split(|c: char| !is_word(c)).filter(|w| !w.is_empty());
    let is =
        |word: Option<&str>, of: &[&str]| word.is_some_and(|w| of.iter().any(|o| w.eq_ignore_ascii_case(o)));
    let (first, second) = (words.next(), words.clone().next());
    // `SET STATEMENT … FOR` and another statement.
    if is(first, &HARMLESS) {
        return is(first, &["SET"]) && is(second, &["STATEMENT"]);
    }
    if !is(first, &NAMING) || text.len() >= SHOWN_BYTES_MAX || is(second, &["DATABASE", "SCHEMA"]) {
        return true;
    }
    // Other names may be written in more than one way.
    let is_plain = source.name.chars().all(|c| c.is_ascii() && is_word(c));
    !is_plain || words.any(|word| word.eq_ignore_ascii_case(&source.name))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// The statement from its first word on. `None`: it begins with a comment that is executed, or with one that does not end.
fn words(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == '\0');
        text = if text.starts_with("/*!") || text.starts_with("/*M!") {
            return None;
        } else if let Some(comment) = text.strip_prefix("/*") {
            comment.split_once("*/")?.1
        } else if text.starts_with('#') || text.starts_with("--") {
            text.split_once('\n')?.1
        } else {
            return Some(text);
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> bool {
        may_define(text, &TableName::new("shop", "orders"))
    }

    #[test]
    fn statements_that_may_define_the_source_are_told_apart() {
        for text in [
            "truncate orders",
            "/* app */ -- really\n# and\n TRUNCATE TABLE `shop`.`Orders`",
            "/*!50000 truncate orders */",
            "/*M!100000 truncate */ orders",
            "/* never ends truncate orders",
            "-- nor this",
            "set statement lock_wait_timeout=5 for truncate orders",
            "drop table a, orders",
            "drop database shop",
            "DROP SCHEMA if exists shop",
            "rename table orders to x",
            "alter table orders force",
            "create trigger tr before insert on orders for each row set @a = 1",
            "execute q",
            "",
        ] {
            assert!(of(text), "{text}");
        }
        for text in [
            "select * from orders",
            "( select 1 from orders) union select 2",
            "/* app */ insert into orders values ('it''s (')",
            "INSERT/**/INTO orders values (1)",
            "select /*!40001 SQL_NO_CACHE */ * from orders",
            "set @x = (select 1 from orders)",
            "with c as (select 1) select * from c",
            "lock tables orders write",
            "call p()",
            "truncate orders2",
            "alter table my_orders add orders_no int",
            "optimize table elsewhere",
        ] {
            assert!(!of(text), "{text}");
        }
        let long = format!("alter table a comment '{}", "x".repeat(SHOWN_BYTES_MAX));
        assert!(of(&long));
        assert!(may_define("truncate a", &TableName::new("shop", "my orders")));
        assert!(!may_define("delete from a", &TableName::new("shop", "my orders")));
    }
}
