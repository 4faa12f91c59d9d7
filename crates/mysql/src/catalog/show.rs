//! The server's own text of a definition, taken apart at its commas.

use crate::alter::lex::{Lexeme, Token, lex};
use shadowswap_core::error::Result;

/// `SHOW CREATE TABLE`, in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Columns, indexes and constraints: each a text without the comma.
    pub elements: Vec<String>,
    /// What comes after the closing bracket: engine, character set, partitions.
    pub options: String,
}

/// Takes a `CREATE TABLE` apart.
///
/// # Errors
/// If it has quotes or brackets left open, which no server writes.
pub fn parts(create: &str) -> Result<Parts> {
    let lexemes = lex(create)?.lexemes;
    let mut parts = Parts::default();
    let open = lexemes.iter().find(|l| l.depth == 0 && l.is_sign('('));
    let close = lexemes.iter().find(|l| l.depth == 0 && l.is_sign(')'));
    let (Some(open), Some(close)) = (open, close) else { return Ok(parts) };
    let mut start = open.place.end;
    let ends = lexemes.iter().filter(|l| l.depth == 1 && l.is_sign(',')).map(|l| l.place.start);
    for end in ends.filter(|end| *end < close.place.start).chain([close.place.start]) {
        parts.elements.push(create.get(start..end).unwrap_or_default().trim().to_string());
        start = end + 1;
    }
    parts.options = create.get(close.place.end..).unwrap_or_default().trim().to_string();
    Ok(parts)
}

/// The text without the counter of AUTO_INCREMENT, which is no part of a definition.
///
/// # Errors
/// As [`parts`].
pub fn without_counter(create: &str) -> Result<String> {
    let lexemes = lex(create)?.lexemes;
    let Some([first, .., last]) = counter_tokens(&lexemes) else { return Ok(create.to_string()) };
    let before = create.get(..first.place.start).unwrap_or_default().trim_end_matches(' ');
    Ok(format!("{before}{}", create.get(last.place.end..).unwrap_or_default()))
}

fn counter_tokens(lexemes: &[Lexeme]) -> Option<&[Lexeme]> {
    lexemes
        .windows(3)
        .find(|w| matches!(w, [a, eq, _] if a.depth == 0 && a.is("auto_increment") && eq.is_sign('=')))
}

/// The counter of AUTO_INCREMENT; the server leaves it out while it is 1.
///
/// # Errors
/// As [`parts`].
pub fn counter(create: &str) -> Result<Option<u64>> {
    let lexemes = lex(create)?.lexemes;
    Ok(counter_tokens(&lexemes).and_then(|w| w.last()?.name()?.parse().ok()))
}

/// The text with another table's name in it.
///
/// # Errors
/// As [`parts`].
pub fn renamed(create: &str, name: &str) -> Result<String> {
    let lexemes = lex(create)?.lexemes;
    let found = lexemes
        .iter()
        .take_while(|l| l.depth == 0 && !l.is_sign('('))
        .find(|l| matches!(l.token, Token::Quoted(_)));
    let Some(found) = found else { return Ok(create.to_string()) };
    let before = create.get(..found.place.start).unwrap_or_default();
    Ok(format!("{before}{}{}", crate::sql::quote(name), create.get(found.place.end..).unwrap_or_default()))
}

/// The name of an index, if the element is one.
pub fn index_name(element: &str) -> Option<String> {
    let lexemes = lex(element).ok()?.lexemes;
    let mut words = lexemes.iter();
    let first = words.next()?;
    if first.is("primary") {
        return Some("PRIMARY".to_string());
    }
    let key = if ["unique", "fulltext", "spatial", "vector"].iter().any(|w| first.is(w)) {
        words.next()?
    } else {
        first
    };
    if !key.is("key") && !key.is("index") {
        return None;
    }
    match &words.next()?.token {
        Token::Quoted(name) => Some(name.clone()),
        Token::Word(_) | Token::Text | Token::Sign(_) => None,
    }
}

/// The name of a column, if the element is one.
pub fn column_name(element: &str) -> Option<String> {
    match lex(element).ok()?.lexemes.into_iter().next()?.token {
        Token::Quoted(name) => Some(name),
        Token::Word(_) | Token::Text | Token::Sign(_) => None,
    }
}

/// A constraint that is no index: its name, and the rest of its text.
pub fn constraint(element: &str) -> Option<(String, String)> {
    let lexemes = lex(element).ok()?.lexemes;
    match lexemes.as_slice() {
        [first, Lexeme { token: Token::Quoted(name), .. }, third, ..] if first.is("constraint") => {
            Some((name.clone(), element.get(third.place.start..)?.to_string()))
        }
        _ => None,
    }
}

/// Whether the element is a foreign key.
pub fn is_foreign_key(element: &str) -> bool {
    constraint(element)
        .is_some_and(|(_, rest)| rest.get(..7).is_some_and(|w| w.eq_ignore_ascii_case("foreign")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = "CREATE TABLE `a(b` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `k,\nx` enum('a,','b)') DEFAULT 'a,' COMMENT 'AUTO_INCREMENT=3',\n  \
        PRIMARY KEY (`id`),\n  FULLTEXT KEY `f` (`k,\nx`) /*!50100 WITH PARSER `ngram` */ ,\n  KEY `i``j` (`id`) /*!80000 INVISIBLE */,\n  \
        CONSTRAINT `c` CHECK ((`id` > 0))\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";

    #[test]
    fn elements_end_at_their_own_commas() {
        let parts = parts(CREATE).unwrap();
        assert_eq!(parts.elements.len(), 6);
        let named: Vec<_> =
            parts.elements.iter().filter_map(|e| index_name(e).map(|n| (n, e.as_str()))).collect();
        assert_eq!(named[0], ("PRIMARY".to_string(), "PRIMARY KEY (`id`)"));
        assert_eq!(named[1].1, "FULLTEXT KEY `f` (`k,\nx`) /*!50100 WITH PARSER `ngram` */");
        assert_eq!(named[2], ("i`j".to_string(), "KEY `i``j` (`id`) /*!80000 INVISIBLE */"));
        assert_eq!(constraint(&parts.elements[5]), Some(("c".into(), "CHECK ((`id` > 0))".into())));
        assert!(!is_foreign_key(&parts.elements[5]));
        assert!(is_foreign_key("CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `b` (`c`)"));
        assert_eq!(column_name(&parts.elements[1]), Some("k,\nx".to_string()));
    }

    #[test]
    fn the_counter_goes_and_nothing_else() {
        let bare = without_counter(CREATE).unwrap();
        assert!(bare.ends_with(") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"), "{bare}");
        assert!(bare.contains("COMMENT 'AUTO_INCREMENT=3'"));
        assert_eq!(without_counter(&bare).unwrap(), bare);
        assert_eq!((counter(CREATE).unwrap(), counter(&bare).unwrap()), (Some(17), None));
        assert!(renamed(CREATE, "x`y").unwrap().starts_with("CREATE TABLE `x``y` (\n"));
    }
}
