//! What `SHOW GRANTS` says.

use crate::alter::lex::{Lexeme, Token, lex};

/// Where a grant holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Global,
    /// A database; a pattern with `%` and `_`, where a backslash takes their meaning.
    Database(String),
}

/// What we may do everywhere or in whole databases. Grants on single tables and columns are not counted: the shadow has another name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    given: Vec<(Scope, Vec<String>)>,
    /// MySQL's partial revokes.
    taken: Vec<(String, Vec<String>)>,
}

impl Grants {
    /// Reads the lines of `SHOW GRANTS`. A line that cannot be read grants nothing.
    pub fn read(lines: &[String]) -> Grants {
        let mut grants = Grants::default();
        for line in lines {
            let Ok(lexed) = lex(line) else { continue };
            let Some((first, rest)) = lexed.lexemes.split_first() else { continue };
            let Some(on) = rest.iter().position(|l| l.depth == 0 && l.is("on")) else { continue };
            let (words, target) = rest.split_at(on);
            let Some(scope) = scope(target.get(1..).unwrap_or_default()) else { continue };
            let names = privileges(words);
            if first.is("grant") {
                grants.given.push((scope, names));
            } else if let Scope::Database(pattern) = scope {
                grants.taken.push((pattern, names));
            }
        }
        grants
    }

    /// Whether one of these privileges is granted for every table of the database.
    pub fn has(&self, privileges: &[&str], database: &str) -> bool {
        let names = |list: &[String]| {
            list.iter().any(|p| privileges.iter().any(|q| p == q) || p == "ALL PRIVILEGES" || p == "ALL")
        };
        let is_taken = self.taken.iter().any(|(name, list)| name == database && names(list));
        self.given.iter().any(|(scope, list)| {
            names(list)
                && match scope {
                    Scope::Global => !is_taken,
                    Scope::Database(pattern) => matches(pattern, database),
                }
        })
    }

    /// Whether one of these privileges is granted everywhere.
    pub fn has_global(&self, privileges: &[&str]) -> bool {
        self.given.iter().any(|(scope, list)| {
            *scope == Scope::Global
                && list
                    .iter()
                    .any(|p| privileges.iter().any(|q| p == q) || p == "ALL PRIVILEGES" || p == "ALL")
        })
    }
}

fn scope(target: &[Lexeme]) -> Option<Scope> {
    match target {
        [a, dot, b, ..] if a.is_sign('*') && dot.is_sign('.') && b.is_sign('*') => Some(Scope::Global),
        [Lexeme { token: Token::Quoted(name) | Token::Word(name), .. }, dot, b, ..]
            if dot.is_sign('.') && b.is_sign('*') =>
        {
            Some(Scope::Database(name.clone()))
        }
        _ => None,
    }
}

/// Names of privileges; one that is given for some columns alone is left out.
fn privileges(words: &[Lexeme]) -> Vec<String> {
    words
        .split(|l| l.depth == 0 && l.is_sign(','))
        .filter(|part| !part.iter().any(|l| l.is_sign('(')))
        .map(|part| part.iter().filter_map(Lexeme::name).collect::<Vec<_>>().join(" ").to_ascii_uppercase())
        .collect()
}

/// Whether a database's name is of this pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    let Some(first) = rest.next() else { return name.is_empty() };
    let after = rest.as_str();
    let mut chars = name.chars();
    match first {
        '%' => matches(after, name) || (chars.next().is_some() && matches(pattern, chars.as_str())),
        '_' => chars.next().is_some() && matches(after, chars.as_str()),
        '\\' => match rest.next() {
            Some(literal) => chars.next() == Some(literal) && matches(rest.as_str(), chars.as_str()),
            None => name == "\\",
        },
        literal => chars.next() == Some(literal) && matches(after, chars.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Grants {
        Grants::read(&lines.iter().map(|l| l.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn patterns_and_escapes_are_read_as_the_server_does() {
        let grants = read(&[
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*AB, ON'",
            "GRANT SELECT, CREATE TEMPORARY TABLES ON `a\\_b`.* TO `u`@`%`",
            "GRANT ALL PRIVILEGES ON `test\\_%`.* TO `u`@`%` WITH GRANT OPTION",
            "GRANT INSERT ON `sh_p`.* TO `u`@`%`",
            "GRANT DELETE ON `a_b`.`t` TO `u`@`%`",
            "GRANT SELECT (`a`, `b`), UPDATE ON `c``d`.* TO `u`@`%`",
            "GRANT `role` TO `u`@`%`",
            "GRANT EXECUTE ON PROCEDURE `x`.`p` TO `u`@`%`",
        ]);
        assert!(grants.has(&["SELECT"], "a_b") && !grants.has(&["SELECT"], "axb"));
        assert!(grants.has(&["CREATE TEMPORARY TABLES"], "a_b") && !grants.has(&["DELETE"], "a_b"));
        assert!(grants.has(&["DROP"], "test_1") && !grants.has(&["DROP"], "test"));
        assert!(grants.has(&["INSERT"], "shop") && !grants.has(&["INSERT"], "shoop"));
        assert!(grants.has(&["UPDATE"], "c`d") && !grants.has(&["SELECT"], "c`d"));
        assert!(!grants.has_global(&["PROCESS"]));
    }

    #[test]
    fn global_grants_hold_everywhere_but_where_revoked() {
        let grants = read(&[
            "GRANT SELECT, REPLICATION SLAVE ON *.* TO `u`@`%`",
            "GRANT BINLOG_ADMIN,SYSTEM_USER ON *.* TO `u`@`%`",
            "REVOKE SELECT ON `secret`.* FROM `u`@`%`",
        ]);
        assert!(grants.has(&["SELECT"], "shop") && !grants.has(&["SELECT"], "secret"));
        assert!(grants.has_global(&["REPLICATION SLAVE"]) && grants.has_global(&["SYSTEM_USER"]));
        assert!(
            read(&["GRANT ALL PRIVILEGES ON *.* TO `r`@`l` WITH GRANT OPTION"])
                .has_global(&["REPLICATION CLIENT"])
        );
    }
}
