//! Finds a few words in the body of an ALTER TABLE: the text of `USING`, which the catalogs do not keep, and what is never carried.
//!
//! It knows the lexical rules (quotes, comments, brackets) and nothing of the grammar. What a column becomes, the server says; where
//! this file is not sure whose a `USING` is, the caller refuses and asks for `--set`.

use shadowswap_core::error::{Error, Result};
use std::ops::Range;

/// One token of SQL, without comments and white space.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A word as the server folds it.
    Word(String),
    /// A quoted identifier, without its quotes.
    Quoted(String),
    /// A string constant of any kind.
    Text,
    /// Anything else, one character.
    Sign(char),
}

#[derive(Clone, Debug)]
struct Lexeme {
    token: Token,
    place: Range<usize>,
    /// How many brackets are open around it.
    depth: u32,
}

/// `ALTER [COLUMN] column [SET DATA] TYPE … USING expression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Using {
    /// The column's name as the catalog spells it.
    pub column: String,
    /// The expression's text.
    pub expression: String,
}

/// What was found in one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The body without a semicolon and comments at its ends.
    pub text: String,
    /// Conversions.
    pub usings: Vec<Using>,
    /// A `USING` that might be a conversion, and whose column is not known.
    pub has_stray_using: bool,
    /// Columns with `ALTER COLUMN … SET DEFAULT`.
    pub set_defaults: Vec<String>,
    /// `REFERENCES`: a foreign key is added.
    pub has_references: bool,
    /// `RESTART`: an identity's sequence is set.
    pub has_restart: bool,
    /// Every action is `VALIDATE CONSTRAINT`.
    pub only_validates: bool,
}

/// Reads one body.
///
/// # Errors
/// `Usage` if it is not one body: empty, with the words `ALTER TABLE`, or with a quote or bracket left open.
pub fn read(body: &str) -> Result<Body> {
    let mut lexemes = lex(body)?;
    while lexemes.last().is_some_and(|l| l.token == Token::Sign(';')) {
        lexemes.pop();
    }
    let (Some(first), Some(last)) = (lexemes.first(), lexemes.last()) else {
        return Err(Error::usage("--alter is empty")
            .next("give what follows the table's name: --alter 'ADD COLUMN note text'"));
    };
    let text = body.get(first.place.start..last.place.end).unwrap_or_default().to_string();
    if is_word(&lexemes, 0, "alter") && is_word(&lexemes, 1, "table") {
        return Err(Error::usage(format!("--alter {text:?} begins with ALTER TABLE"))
            .next("give only what follows the table's name: --alter 'ADD COLUMN note text'"));
    }
    if lexemes.iter().any(|l| l.depth == 0 && l.token == Token::Sign(';')) {
        return Err(Error::usage(format!("--alter {text:?} has more than one statement"))
            .next("give --alter once for each"));
    }
    let mut found = Body { text, ..Body::default() };
    let is = |l: &Lexeme, word: &str| matches!(&l.token, Token::Word(w) if w == word);
    found.has_references = lexemes.iter().any(|l| is(l, "references"));
    found.has_restart = lexemes.iter().any(|l| l.depth == 0 && is(l, "restart"));
    let actions = lexemes.split(|l| l.depth == 0 && l.token == Token::Sign(','));
    found.only_validates = true;
    for action in actions {
        found.only_validates &= is_word(action, 0, "validate") && is_word(action, 1, "constraint");
        read_action(body, action, &mut found);
    }
    Ok(found)
}

fn is_word(lexemes: &[Lexeme], at: usize, word: &str) -> bool {
    matches!(lexemes.get(at).map(|l| &l.token), Some(Token::Word(w)) if w == word)
}

fn read_action(body: &str, action: &[Lexeme], found: &mut Body) {
    let using =
        action.iter().position(|l| l.depth == 0 && matches!(&l.token, Token::Word(w) if w == "using"));
    if !is_word(action, 0, "alter") {
        // `ADD CONSTRAINT … USING INDEX` and `EXCLUDE USING gist` convert nothing.
        found.has_stray_using |= using.is_some() && !is_word(action, 0, "add");
        return;
    }
    // A column may itself be called `column`, or `type`: the word after it tells.
    let follows =
        |at: usize| ["type", "set", "drop", "add", "restart"].iter().any(|word| is_word(action, at, word));
    let name_at = if is_word(action, 1, "column") && (!follows(2) || follows(3)) { 2 } else { 1 };
    let name = match action.get(name_at).map(|l| &l.token) {
        Some(Token::Word(name) | Token::Quoted(name)) => name.clone(),
        Some(Token::Text | Token::Sign(_)) | None => {
            found.has_stray_using |= using.is_some();
            return;
        }
    };
    let rest = name_at + 1;
    if is_word(action, rest, "set") && is_word(action, rest + 1, "default") {
        found.set_defaults.push(name);
        return;
    }
    let Some(using) = using else { return };
    let type_at =
        if is_word(action, rest, "set") && is_word(action, rest + 1, "data") { rest + 2 } else { rest };
    let expression =
        action.get(using + 1).zip(action.last()).and_then(|(a, b)| body.get(a.place.start..b.place.end));
    match expression {
        Some(expression) if is_word(action, type_at, "type") && using > type_at + 1 => {
            found.usings.push(Using { column: name, expression: expression.to_string() });
        }
        Some(_) | None => found.has_stray_using = true,
    }
}

/// An expression of the operator, without comments at its ends.
///
/// # Errors
/// `Usage` if it is empty, or if a quote or bracket is open: it could then not be put between brackets.
pub fn expression(text: &str) -> Result<String> {
    let lexemes = lex(text)?;
    if lexemes.iter().any(|l| l.token == Token::Sign(';')) {
        return Err(Error::usage(format!("{text:?} is not one expression")));
    }
    let range = lexemes.first().zip(lexemes.last()).map(|(a, b)| a.place.start..b.place.end);
    let inner = range.and_then(|r| text.get(r)).ok_or_else(|| Error::usage("an expression is empty"))?;
    Ok(inner.to_string())
}

fn lex(text: &str) -> Result<Vec<Lexeme>> {
    let mut lexemes = Vec::new();
    let mut depth: u32 = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(c) = rest.chars().next() else { break };
        let open = |what: &str| Error::usage(format!("{what} is not closed in {text:?}"));
        let (length, token) = match c {
            c if c.is_whitespace() => (c.len_utf8(), None),
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), None),
            '/' if rest.starts_with("/*") => (comment(rest).ok_or_else(|| open("a comment"))?, None),
            '\'' => (string(rest, false).ok_or_else(|| open("a quote"))?, Some(Token::Text)),
            'e' | 'E' if rest[1..].starts_with('\'') => {
                (1 + string(&rest[1..], true).ok_or_else(|| open("a quote"))?, Some(Token::Text))
            }
            '"' => {
                let length = quoted(rest).ok_or_else(|| open("a quote"))?;
                (length, Some(Token::Quoted(rest[1..length - 1].replace("\"\"", "\""))))
            }
            '$' if dollar(rest).is_some() => {
                (dollar(rest).flatten().ok_or_else(|| open("a dollar quote"))?, Some(Token::Text))
            }
            c if c.is_alphabetic() || c == '_' || !c.is_ascii() => {
                let length =
                    rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()));
                let length = length.unwrap_or(rest.len());
                // The server folds ASCII only, in UTF-8.
                (length, Some(Token::Word(rest[..length].to_ascii_lowercase())))
            }
            c => (c.len_utf8(), Some(Token::Sign(c))),
        };
        if matches!(token, Some(Token::Sign(')' | ']'))) {
            depth = depth
                .checked_sub(1)
                .ok_or_else(|| Error::usage(format!("a bracket is closed but not open in {text:?}")))?;
        }
        let opens = matches!(token, Some(Token::Sign('(' | '[')));
        if let Some(token) = token {
            lexemes.push(Lexeme { token, place: at..at + length, depth });
        }
        depth += u32::from(opens);
        at += length;
    }
    if depth > 0 {
        return Err(Error::usage(format!("a bracket is not closed in {text:?}")));
    }
    Ok(lexemes)
}

/// The length of a block comment; they nest.
fn comment(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next()?.len_utf8();
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

fn string(text: &str, has_escapes: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', Some(_)) if has_escapes => at += 2,
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn quoted(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'"', Some(b'"')) => at += 2,
            (b'"', _) => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// `None`: no dollar quote begins here. `Some(None)`: one begins and does not end.
fn dollar(text: &str) -> Option<Option<usize>> {
    let tag = text.get(1..)?.find('$')?;
    let name = &text[1..=tag];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    let mark = &text[..tag + 2];
    is_tag.then(|| text[mark.len()..].find(mark).map(|end| end + 2 * mark.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn using(body: &str) -> Vec<(String, String)> {
        let body = read(body).unwrap();
        assert!(!body.has_stray_using);
        body.usings.into_iter().map(|u| (u.column, u.expression)).collect()
    }

    #[test]
    fn the_text_of_using_ends_at_the_next_action() {
        let found = using(
            "alter column \"A b\" set data type int using (f(a, ',') + 1), ALTER Note TYPE numeric(10, 2) USING note::numeric;",
        );
        assert_eq!(
            found,
            [("A b".into(), "(f(a, ',') + 1)".into()), ("note".into(), "note::numeric".into())]
        );
    }

    #[test]
    fn commas_in_quotes_comments_and_brackets_end_nothing() {
        let body = "alter c type text using E'a\\',b' || $x$,$x$ || \"q,\"\"r\" /* , /* , */ */ || a[1,2] -- , using\n || 'z' -- end";
        let expected = body.trim_start_matches("alter c type text using ").trim_end_matches(" -- end");
        assert_eq!(using(body), [("c".into(), expected.into())]);
    }

    #[test]
    fn other_usings_convert_nothing() {
        assert!(
            using("add constraint x unique using index y, add exclude using gist (r with &&)").is_empty()
        );
        assert!(using("alter c set default 'using'").is_empty());
    }

    #[test]
    fn a_using_of_nobody_is_reported() {
        assert!(read("alter U&\"c\" type int using 1").unwrap().has_stray_using);
    }

    #[test]
    fn what_is_not_one_body_is_refused() {
        for body in [
            "",
            " ; ",
            "alter table t add x int",
            "add x int; drop table t",
            "add x text default 'a",
            "add x int)",
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_column_called_column_or_type_is_found() {
        assert_eq!(using("alter column type text using 1"), [("column".into(), "1".into())]);
        assert_eq!(using("alter column \"type\" type text using 1"), [("type".into(), "1".into())]);
        assert_eq!(using("alter column type type text using 1"), [("type".into(), "1".into())]);
        assert_eq!(using("alter column set set data type text using 1"), [("set".into(), "1".into())]);
        assert_eq!(using("alter \"type\" set data type text using 1"), [("type".into(), "1".into())]);
    }

    #[test]
    fn defaults_set_for_columns_are_seen() {
        assert_eq!(read("add column x int, alter x set default 5").unwrap().set_defaults, ["x"]);
    }

    #[test]
    fn an_expression_must_fit_between_brackets() {
        assert_eq!(expression(" a + 1 -- more ").unwrap(), "a + 1");
        assert!(expression("1), (2").is_err());
        assert!(expression(" -- nothing").is_err());
    }
}
