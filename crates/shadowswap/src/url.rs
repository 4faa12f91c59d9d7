//! Where the database is: a text that may hold a password, and therefore never shows itself.

use shadowswap_core::{Error, Result};
use std::fmt;

/// The variable that names the database.
pub const VARIABLE: &str = "SHADOWSWAP_URL";

/// A `postgres://` or `mysql://` URL, or a list of libpq's `key=value` pairs; prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Url {
    /// Reads what `origin` (a flag, a variable) says. The errors never repeat the text.
    ///
    /// # Errors
    /// `Usage` if it is nothing that this version connects to.
    pub fn parse(text: &str, origin: &str) -> Result<Url> {
        let text = text.trim();
        let example = "write postgres://user@host:5432/database or mysql://user@host:3306/database, or host=… dbname=… pairs, or leave it out and use PGHOST and its like";
        match text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("postgres" | "postgresql" | "mysql" | "mariadb") => Ok(Url(text.to_string())),
            Some(scheme) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
                Err(Error::usage(format!("{origin}: nothing is known about databases of {scheme}://"))
                    .next(example))
            }
            Some(_) | None if text.contains('=') => Ok(Url(text.to_string())),
            Some(_) | None => {
                Err(Error::usage(format!("{origin}: that is neither a URL nor a list of key=value pairs"))
                    .next(example))
            }
        }
    }

    /// The text itself, for the driver alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is for MySQL or MariaDB.
    pub fn is_mysql(&self) -> bool {
        let scheme = self.0.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        matches!(scheme.as_deref(), Some("mysql" | "mariadb"))
    }

    /// Whether a password is in it: other users of the machine can read it then in the list of processes.
    pub fn has_password(&self) -> bool {
        if let Some((_, rest)) = self.0.split_once("://") {
            let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
            let authority = authority.split('/').next().unwrap_or_default();
            let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
            // A password with an unescaped slash or question mark in it reaches into what looks like the path.
            let odd = rest.rsplit_once('@').map_or("", |(user, _)| user);
            let in_query = query.split('&').any(|p| p.to_ascii_lowercase().starts_with("password="));
            let has = |user: &str| user.split_once(':').is_some_and(|(_, password)| !password.is_empty());
            return has(user) || has(odd) || in_query;
        }
        let pairs = self.0.to_ascii_lowercase().replace(" =", "=");
        pairs.split_whitespace().any(|p| p.starts_with("password="))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowswap_core::Kind;

    #[test]
    fn password_never_shows() {
        let url = Url::parse("postgres://app:s3cret@db/shop", "--url").unwrap();
        assert_eq!(format!("{url:?}"), "***");
        for text in ["redis://app:s3cret@db", "s3cret", "x:s3cret@y://"] {
            let e = Url::parse(text, "--url").unwrap_err();
            assert_eq!(e.kind, Kind::Usage);
            assert!(!format!("{e:?}").contains("s3cret"), "{e:?}");
        }
    }

    #[test]
    fn passwords_are_found_wherever_they_may_stand() {
        let has = |text: &str| Url::parse(text, "--url").unwrap().has_password();
        assert!(has("postgres://app:s3cret@db/shop"));
        assert!(has("postgresql://db/shop?user=app&password=x"));
        assert!(has("host=db password=x"));
        assert!(has("host=db Password = x"));
        assert!(has("postgres://app:a/b@db/shop"));
        assert!(!has("postgres://app@db:5432/shop"));
        assert!(!has("postgres://app:@db/shop?passfile=x"));
        assert!(!has("postgres:///shop?host=/run/postgresql"));
        assert!(!has("host=db passfile=x"));
    }

    #[test]
    fn scheme_tells_the_engine() {
        let is_mysql = |text: &str| Url::parse(text, "--url").unwrap().is_mysql();
        assert!(is_mysql("mysql://db/shop") && is_mysql("MariaDB://app:s3cret@db/shop"));
        assert!(!is_mysql("postgres://db/shop") && !is_mysql("host=db"));
        assert!(Url::parse("mysql://app:s3cret@db/shop", "--url").unwrap().has_password());
    }
}
