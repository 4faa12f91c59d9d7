//! Finds a few words in the body of an ALTER TABLE: which columns it names anew, and what is never carried out.
//!
//! It knows the lexical rules and very little of the grammar. What a column becomes, the server says; this file only tells apart a
//! column that was renamed from one that was dropped beside one that was added. `plan/mapping.rs` holds each of its answers against
//! what the server did, and refuses where they do not agree.

pub mod lex;

use lex::{Lexeme, Token, lex};
use shadowswap_core::error::{Error, Result};

/// What was found in one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The body without a semicolon and comments at its ends.
    pub text: String,
    /// `CHANGE old new` and `RENAME COLUMN old TO new`, also where both names are the same.
    pub renames: Vec<(String, String)>,
    /// `ADD [COLUMN] name`.
    pub added: Vec<String>,
    /// `DROP [COLUMN] name`.
    pub dropped: Vec<String>,
    /// What is never carried out, and what to do instead.
    pub refused: Vec<(String, String)>,
    /// It does nothing but drop and rename indexes: the server touches no row.
    pub only_drops_indexes: bool,
}

/// Reads one body.
///
/// # Errors
/// `Usage` if it is not one body: empty, with the words `ALTER TABLE`, or with a quote or bracket left open.
pub fn read(body: &str) -> Result<Body> {
    let lexed = lex(body)?;
    let mut lexemes = lexed.lexemes;
    while lexemes.last().is_some_and(|l| l.is_sign(';')) {
        lexemes.pop();
    }
    let hint = "give what follows the table's name: --alter 'ADD COLUMN note TEXT'";
    let (Some(first), Some(last)) = (lexemes.first(), lexemes.last()) else {
        return Err(Error::usage("--alter is empty").next(hint));
    };
    let text = body.get(first.place.start..last.place.end).unwrap_or_default().to_string();
    let begins_statement =
        is(&lexemes, 0, "alter") && ["table", "online", "ignore"].iter().any(|word| is(&lexemes, 1, word));
    if begins_statement {
        return Err(Error::usage(format!("--alter {text:?} begins with ALTER TABLE")).next(hint));
    }
    if lexemes.iter().any(|l| l.is_sign(';')) {
        return Err(Error::usage(format!("--alter {text:?} has more than one statement"))
            .next("give --alter once for each"));
    }
    let mut found = Body { text, only_drops_indexes: true, ..Body::default() };
    if lexed.has_executable_comment {
        found
            .refuse("has a comment that only some servers execute", "write its contents without the comment");
    }
    if lexemes.iter().any(|l| l.is("references")) {
        found.refuse("adds a foreign key", FOREIGN_KEY);
    }
    if names_default_charset(&lexemes) {
        found.refuse(
            "takes the database's default character set",
            "name the character set: copies are tried in another database",
        );
    }
    for action in lexemes.split(|l| l.depth == 0 && l.is_sign(',')) {
        found.only_drops_indexes &= drops_index(action);
        read_action(action, &mut found);
    }
    Ok(found)
}

const FOREIGN_KEY: &str =
    "leave it out; foreign keys are not carried: add or drop it by itself, after the run";
const CHOOSES: &str = "leave it out: how the table is changed is what the plan decides";
const PARTITIONS: &str = "run it by itself: it takes rows away at once, and needs no shadow";

impl Body {
    fn refuse(&mut self, what: &str, next: &str) {
        self.refused.push((format!("`{}` {what}", self.text), next.to_string()));
    }
}

fn is(action: &[Lexeme], at: usize, word: &str) -> bool {
    action.get(at).is_some_and(|l| l.is(word))
}

fn is_any(action: &[Lexeme], at: usize, words: &[&str]) -> bool {
    words.iter().any(|word| is(action, at, word))
}

/// `CHARACTER SET [=] DEFAULT`, `CHARSET [=] DEFAULT`.
fn names_default_charset(lexemes: &[Lexeme]) -> bool {
    let without_sign: Vec<&Lexeme> = lexemes.iter().filter(|l| !l.is_sign('=')).collect();
    without_sign.windows(2).enumerate().any(|(n, w)| match w {
        [first, second] if second.is("default") => {
            let before = n.checked_sub(1).and_then(|n| without_sign.get(n));
            first.is("charset")
                || first.is("set") && before.is_some_and(|l| l.is("character") || l.is("char"))
        }
        _ => false,
    })
}

fn drops_index(action: &[Lexeme]) -> bool {
    is_any(action, 0, &["drop", "rename"]) && is_any(action, 1, &["index", "key"])
}

/// Words that make of `ADD` or `DROP` something else than a column. All are reserved, so that a column of that name is quoted.
const NO_COLUMN: [&str; 13] = [
    "index",
    "key",
    "unique",
    "fulltext",
    "spatial",
    "primary",
    "constraint",
    "foreign",
    "check",
    "partition",
    "default",
    "column",
    "references",
];

fn read_action(action: &[Lexeme], found: &mut Body) {
    let Some(Token::Word(first)) = action.first().map(|l| &l.token) else {
        found.refuse("has a part that does not begin with a word", "write one change after each comma");
        return;
    };
    match first.to_ascii_lowercase().as_str() {
        "add" => add(action, found),
        "drop" => drop(action, found),
        "change" => change(action, found),
        "rename" => rename(action, found),
        "algorithm" | "lock" => found.refuse(&format!("has {}=", first.to_ascii_uppercase()), CHOOSES),
        "wait" | "nowait" | "force" if action.len() > 1 => {
            found.refuse(&format!("begins with {}", first.to_ascii_uppercase()), CHOOSES);
        }
        "order" => {
            found.refuse("has ORDER BY", "leave it out: InnoDB keeps rows in the order of the primary key");
        }
        "discard" | "import" => {
            found.refuse(
                "discards or imports a tablespace",
                "it replaces the rows themselves: run it by itself",
            );
        }
        "exchange" | "truncate" => found.refuse("takes rows out of partitions", PARTITIONS),
        "convert" if is_any(action, 1, &["partition", "table"]) => {
            found.refuse("takes rows out of partitions, or into them", PARTITIONS);
        }
        _ => {}
    }
}

/// Passes over `IF EXISTS` and `IF NOT EXISTS`.
fn after_if(action: &[Lexeme], at: usize) -> usize {
    if !is(action, at, "if") {
        return at;
    }
    if is(action, at + 1, "exists") {
        return at + 2;
    }
    if is(action, at + 1, "not") && is(action, at + 2, "exists") { at + 3 } else { at }
}

/// The name at this place; a name with a table before it is not read.
fn name(action: &[Lexeme], at: usize) -> Option<String> {
    let is_path = action.get(at + 1).is_some_and(|l| l.is_sign('.'));
    action.get(at).and_then(Lexeme::name).filter(|_| !is_path).map(str::to_string)
}

fn unclear(found: &mut Body, what: &str) {
    found.refuse(
        &format!("has a {what} whose column is not clear"),
        "write the column's bare name, in backquotes",
    );
}

fn add(action: &[Lexeme], found: &mut Body) {
    let has_word = is(action, 1, "column");
    let at = after_if(action, if has_word { 2 } else { 1 });
    if action.get(at).is_some_and(|l| l.is_sign('(')) {
        let inner = action.get(at + 1..).unwrap_or_default();
        for part in inner.split(|l| l.depth == 1 && l.is_sign(',')) {
            if !is_any(part, 0, &NO_COLUMN) {
                found.added.extend(name(part, 0));
            }
        }
        return;
    }
    let is_other = is_any(action, at, &NO_COLUMN)
        || is(action, at, "period") && is(action, at + 1, "for")
        || is(action, at, "system") && is(action, at + 1, "versioning")
        || is(action, at, "vector") && is_any(action, at + 1, &["index", "key"]);
    if is_other && !has_word {
        return;
    }
    match name(action, at) {
        Some(name) => found.added.push(name),
        None => unclear(found, "ADD"),
    }
}

fn drop(action: &[Lexeme], found: &mut Body) {
    let has_word = is(action, 1, "column");
    let at = after_if(action, if has_word { 2 } else { 1 });
    if !has_word {
        if is(action, at, "partition") {
            found.refuse("drops partitions", PARTITIONS);
            return;
        }
        if is(action, at, "foreign") {
            found.refuse("drops a foreign key", FOREIGN_KEY);
            return;
        }
        let is_other = is_any(action, at, &NO_COLUMN)
            || is(action, at, "period") && is(action, at + 1, "for")
            || is(action, at, "system") && is(action, at + 1, "versioning");
        if is_other {
            return;
        }
    }
    match name(action, at) {
        Some(name) => found.dropped.push(name),
        None => unclear(found, "DROP"),
    }
}

fn change(action: &[Lexeme], found: &mut Body) {
    let at = after_if(action, if is(action, 1, "column") { 2 } else { 1 });
    match (name(action, at), name(action, at + 1)) {
        (Some(old), Some(new)) => found.renames.push((old, new)),
        _ => unclear(found, "CHANGE"),
    }
}

fn rename(action: &[Lexeme], found: &mut Body) {
    if is_any(action, 1, &["index", "key"]) {
        return;
    }
    if !is(action, 1, "column") {
        found.refuse("renames the table", "run RENAME TABLE by itself: it changes only the catalog");
        return;
    }
    let at = after_if(action, 2);
    match (name(action, at), name(action, at + 2)) {
        (Some(old), Some(new)) if is(action, at + 1, "to") => found.renames.push((old, new)),
        _ => unclear(found, "RENAME COLUMN"),
    }
}

/// An expression of the operator, without comments at its ends, and so that it means the same whatever the session's character set is:
/// string constants say that they are utf8mb4.
///
/// # Errors
/// `Usage` if it is empty, or if a quote or bracket is open: it could then not be put between brackets.
pub fn expression(text: &str) -> Result<String> {
    let lexed = lex(text)?;
    let lexemes = &lexed.lexemes;
    if lexed.has_executable_comment || lexemes.iter().any(|l| l.is_sign(';')) {
        return Err(Error::usage(format!("{text:?} is not one expression")));
    }
    let (Some(first), Some(last)) = (lexemes.first(), lexemes.last()) else {
        return Err(Error::usage("an expression is empty"));
    };
    let mut out = String::new();
    let mut done = first.place.start;
    for (n, lexeme) in lexemes.iter().enumerate() {
        let before = |back: usize| n.checked_sub(back).and_then(|n| lexemes.get(n));
        if lexeme.token == Token::Text && needs_charset(before(1), before(2), lexeme) {
            out.push_str(text.get(done..lexeme.place.start).unwrap_or_default());
            out.push_str("_utf8mb4");
            done = lexeme.place.start;
        }
    }
    out.push_str(text.get(done..last.place.end).unwrap_or_default());
    Ok(out)
}

/// Not after an introducer or a prefix (`_latin1'…'`, `x'…'`, `date '…'`), not the second part of a text in two, not a JSON path.
fn needs_charset(before: Option<&Lexeme>, second: Option<&Lexeme>, text: &Lexeme) -> bool {
    let Some(before) = before else { return true };
    match &before.token {
        Token::Text => false,
        Token::Word(w) => {
            let touches = before.place.end == text.place.start;
            let is_prefix = touches && ["x", "n", "b"].iter().any(|p| w.eq_ignore_ascii_case(p));
            let is_typed = ["date", "time", "timestamp"].iter().any(|p| w.eq_ignore_ascii_case(p));
            !(is_prefix || is_typed || w.starts_with('_'))
        }
        Token::Sign('>') => {
            let is_arrow = |l: &Lexeme| l.is_sign('-') || l.is_sign('>');
            !second.is_some_and(is_arrow)
        }
        Token::Quoted(_) | Token::Sign(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(body: &str) -> Vec<(String, String)> {
        let body = read(body).unwrap();
        assert_eq!(body.refused, []);
        body.renames
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.to_string(), b.to_string())
    }

    #[test]
    fn both_ways_of_renaming_are_found_between_commas() {
        let body = "change column `a b` c enum('x, change q r','y') comment 'a,b', CHANGE IF EXISTS d `e``` int, \
            rename /* , */ column f to g -- , rename column h to i\n, modify j decimal(10,2)";
        assert_eq!(pairs(body), [pair("a b", "c"), pair("d", "e`"), pair("f", "g")]);
        assert_eq!(pairs("rename index a to b, rename key c to d"), []);
        assert_eq!(pairs("change a a bigint;"), [pair("a", "a")]);
        assert_eq!(pairs("add x int default (1) comment 'rename to y'"), []);
    }

    #[test]
    fn columns_added_and_dropped_are_told_from_the_rest() {
        let body = read(
            "add a int, add column `index` int, add column if not exists b int, add (c int, d enum('x','y'), key (c)), \
             add index i (a), add unique (b), add constraint check (a > 0), add period int, add fulltext key f (x)",
        )
        .unwrap();
        assert_eq!(body.added, ["a", "index", "b", "c", "d", "period"]);
        let body = read("drop a, drop column if exists `key`, drop key k, drop primary key, drop check c, drop constraint d").unwrap();
        assert_eq!((body.dropped, body.refused), (vec!["a".to_string(), "key".to_string()], vec![]));
    }

    #[test]
    fn what_is_never_carried_out_is_refused() {
        for body in [
            "rename to x",
            "RENAME AS x",
            "rename x",
            "add a int, rename `b`",
            "algorithm=inplace, add a int",
            "add a int, LOCK = none",
            "nowait add a int",
            "order by a",
            "discard tablespace",
            "import partition p tablespace",
            "drop partition p0",
            "truncate partition p0",
            "exchange partition p with table t",
            "convert partition p to table t",
            "drop foreign key f",
            "add constraint f foreign key (a) references t (a)",
            "add a int references t (a)",
            "/*!50000 rename column a to b, */ force",
            "add a int, /*M! add b int */ add c int",
            "change t.a b int",
            "convert to character set default",
            "charset = default, add a int",
        ] {
            assert!(!read(body).unwrap().refused.is_empty(), "{body}");
        }
        for body in
            ["convert to character set utf8mb4", "force", "engine=innodb", "alter a set default 'order by'"]
        {
            assert_eq!(read(body).unwrap().refused, [], "{body}");
        }
    }

    #[test]
    fn what_is_not_one_body_is_an_error() {
        for body in [
            "",
            " ; ",
            "alter table t add x int",
            "ALTER ONLINE TABLE t add x int",
            "add x int; drop table t",
            "add x int)",
        ] {
            assert!(read(body).is_err(), "{body}");
        }
        assert!(read("alter column a set default 1").is_ok());
        assert!(!read("add x int, , add y int").unwrap().refused.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z`'\"\\\\#*/!();=. \\n,éA-]{0,40}") {
            let _ = read(&text);
            if let Ok(expression) = expression(&text) {
                proptest::prop_assert!(lex(&expression).is_ok());
            }
        }
    }

    #[test]
    fn dropping_indexes_alone_is_seen() {
        assert!(read("drop index a, DROP KEY b, rename index c to d").unwrap().only_drops_indexes);
        assert!(!read("drop index a, add b int").unwrap().only_drops_indexes);
        assert!(!read("drop primary key").unwrap().only_drops_indexes);
    }

    #[test]
    fn an_expression_says_the_character_set_of_its_texts() {
        assert_eq!(expression(" concat(a, 'é') -- more ").unwrap(), "concat(a, _utf8mb4'é')");
        assert_eq!(expression("date '2020-01-01'").unwrap(), "date '2020-01-01'");
        assert_eq!(expression("x'00' + _latin1 'a' + n'b' 'c'").unwrap(), "x'00' + _latin1 'a' + n'b' 'c'");
        assert_eq!(expression("j->>'$.a' > 'b'").unwrap(), "j->>'$.a' > _utf8mb4'b'");
        assert!(expression("1), (2").is_err());
        assert!(expression(" -- nothing").is_err());
        assert!(expression("1; drop table t").is_err());
    }
}
