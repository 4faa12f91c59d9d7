//! The lexical rules of MySQL and MariaDB: quotes, comments, brackets. Nothing of the grammar.
//!
//! Double quotes enclose text here, and backslashes escape: our sessions set `sql_mode` so.

use shadowswap_core::error::{Error, Result};
use std::ops::Range;

/// One token, without comments and white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A word or a number, as written.
    Word(String),
    /// A name in backquotes, without them.
    Quoted(String),
    /// A string constant of any kind.
    Text,
    /// Anything else, one character.
    Sign(char),
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lexeme {
    /// What it is.
    pub token: Token,
    /// Its bytes in the text.
    pub place: Range<usize>,
    /// How many brackets are open around it.
    pub depth: u32,
}

impl Lexeme {
    /// Whether it is this word, in whatever case.
    pub fn is(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(w) if w.eq_ignore_ascii_case(word))
    }

    /// Whether it is this sign.
    pub fn is_sign(&self, sign: char) -> bool {
        self.token == Token::Sign(sign)
    }

    /// The name that it may be.
    pub fn name(&self) -> Option<&str> {
        match &self.token {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Text | Token::Sign(_) => None,
        }
    }
}

/// A text in tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lexed {
    /// In order.
    pub lexemes: Vec<Lexeme>,
    /// There is a comment that some servers execute: `/*!…*/`, `/*M!…*/`, or one that holds a hint.
    pub has_executable_comment: bool,
}

/// Reads a text.
///
/// # Errors
/// `Usage` if a quote, a comment or a bracket is left open, or a bracket is closed that was not open.
pub fn lex(text: &str) -> Result<Lexed> {
    let mut lexed = Lexed::default();
    let mut depth: u32 = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(c) = rest.chars().next() else { break };
        let open = |what: &str| Error::usage(format!("{what} is not closed in {text:?}"));
        let (length, token) = match c {
            c if c.is_ascii_whitespace() || c == '\u{b}' => (1, None),
            '#' => (line(rest), None),
            '-' if is_dash_comment(rest) => (line(rest), None),
            '/' if rest.starts_with("/*") => {
                let length = rest.get(2..).and_then(|r| r.find("*/")).ok_or_else(|| open("a comment"))? + 4;
                lexed.has_executable_comment |=
                    ["/*!", "/*M!", "/*m!", "/*+"].iter().any(|start| rest.starts_with(start));
                (length, None)
            }
            '\'' | '"' => (string(rest, c).ok_or_else(|| open("a quote"))?, Some(Token::Text)),
            '`' => {
                let length = quoted(rest).ok_or_else(|| open("a backquote"))?;
                let inner = rest.get(1..length - 1).unwrap_or_default();
                (length, Some(Token::Quoted(inner.replace("``", "`"))))
            }
            c if is_word(c) => {
                let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                (length, Some(Token::Word(rest.get(..length).unwrap_or_default().to_string())))
            }
            c => (c.len_utf8(), Some(Token::Sign(c))),
        };
        if token == Some(Token::Sign(')')) {
            depth = depth
                .checked_sub(1)
                .ok_or_else(|| Error::usage(format!("a bracket is closed but not open in {text:?}")))?;
        }
        let opens = token == Some(Token::Sign('('));
        if let Some(token) = token {
            lexed.lexemes.push(Lexeme { token, place: at..at + length, depth });
        }
        depth += u32::from(opens);
        at += length;
    }
    if depth > 0 {
        return Err(Error::usage(format!("a bracket is not closed in {text:?}")));
    }
    Ok(lexed)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// `--` begins a comment only before white space, a control character or the end.
fn is_dash_comment(rest: &str) -> bool {
    rest.strip_prefix("--")
        .is_some_and(|r| r.chars().next().is_none_or(|c| c.is_ascii_whitespace() || c.is_ascii_control()))
}

fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

fn string(text: &str, quote: char) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = u8::try_from(quote).ok()?;
    let mut at = 1;
    loop {
        match (*bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', Some(_)) => at += 2,
            (b, Some(&next)) if b == quote && next == quote => at += 2,
            (b, _) if b == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn quoted(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'`', Some(b'`')) => at += 2,
            (b'`', _) => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let lexed = lex(text).unwrap();
        lexed
            .lexemes
            .iter()
            .map(|l| match &l.token {
                Token::Word(w) => w.clone(),
                Token::Quoted(q) => format!("[{q}]"),
                Token::Text => "T".to_string(),
                Token::Sign(s) => s.to_string(),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn every_kind_of_quote_and_comment_is_passed_over() {
        assert_eq!(shown("a 'it''s \\' , ' \"b\"\"\\\"\" `c``,d`"), "a T T [c`,d]");
        assert_eq!(shown("a # , '\nb -- , \"\nc--1 /* , ' */ d --"), "a b c - - 1 d");
        assert_eq!(shown("é_1$ 10.5"), "é_1$ 10 . 5");
    }

    #[test]
    fn what_is_left_open_is_refused() {
        for text in ["'a", "\"a", "`a", "/* a", "(a", "a)", "'a\\'", "/*/"] {
            assert!(lex(text).is_err(), "{text}");
        }
    }

    #[test]
    fn comments_that_servers_execute_are_reported() {
        for text in ["/*!50000 x */", "/*M! x */", "/*+ x */"] {
            assert!(lex(text).unwrap().has_executable_comment, "{text}");
        }
        assert!(!lex("/* ! */ '/*! */'").unwrap().has_executable_comment);
    }
}
