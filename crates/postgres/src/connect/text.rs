//! The two spellings of connection parameters: `postgres://…` URLs and `name=value` text.
//!
//! It owns their grammar and no meaning. Errors say where, never what: the text may hold a password anywhere.

/// Nothing sane is longer.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The parameters of the text, in its order.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the connection text is longer than {TEXT_BYTES_MAX} bytes"));
    }
    if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
        return url(rest);
    }
    if let Some((scheme, _)) = text.split_once("://")
        && !scheme.is_empty()
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    {
        return Err(format!("{scheme}:// is not a PostgreSQL URL, which begins with postgres://"));
    }
    words(text)
}

/// What follows the scheme: `[user[:password]@][host[:port],…][/database][?name=value&…]`.
fn url(rest: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
    let (authority, database) = rest.split_once('/').map_or((rest, None), |(a, b)| (a, Some(b)));
    // The last `@`, since a host has none: a password with a bare `@` in it works too.
    let hosts = match authority.rsplit_once('@') {
        None => authority,
        Some((user, hosts)) => {
            let (user, password) = user.split_once(':').map_or((user, None), |(a, b)| (a, Some(b)));
            push(&mut found, "user", user, "the user")?;
            push(&mut found, "password", password.unwrap_or_default(), "the password")?;
            hosts
        }
    };
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(bracketed) => {
                let (name, after) = bracketed
                    .split_once(']')
                    .ok_or("the URL has an IPv6 address without its closing bracket")?;
                match after.strip_prefix(':') {
                    Some(port) => (name, port),
                    None if after.is_empty() => (name, ""),
                    None => {
                        return Err("the URL has something other than a port after an IPv6 address".into());
                    }
                }
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        let name = decoded(name, "a host")?;
        if name.contains(',') {
            return Err("the URL has a comma inside a host".into());
        }
        names.push(name);
        ports.push(decoded(port, "a port")?);
    }
    if names.iter().any(|n| !n.is_empty()) {
        found.push(("host".into(), names.join(",")));
    }
    if ports.iter().any(|p| !p.is_empty()) {
        found.push(("port".into(), ports.join(",")));
    }
    push(&mut found, "dbname", database.unwrap_or_default(), "the database")?;
    for pair in query.into_iter().flat_map(|q| q.split('&')).filter(|p| !p.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or("the URL has a parameter without a value after its question mark")?;
        let name = decoded(name, "a parameter's name")?;
        let value = decoded(value, "a parameter's value")?;
        found.retain(|(earlier, _)| *earlier != name);
        found.push((name, value));
    }
    Ok(found)
}

fn push(found: &mut Vec<(String, String)>, name: &str, value: &str, what: &str) -> Result<(), String> {
    if !value.is_empty() {
        found.push((name.to_owned(), decoded(value, what)?));
    }
    Ok(())
}

fn decoded(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit(), digit());
        let byte = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match byte {
            Some(0) | None => {
                return Err(format!(
                    "the URL has a percent sign in {what} that two hexadecimal digits do not follow (write %25)"
                ));
            }
            Some(byte) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("the URL has bytes in {what} that are not UTF-8"))
}

/// `name = value` pairs, where values may be quoted and escaped.
fn words(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut rest = text.char_indices().peekable();
    loop {
        while rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some((start, _)) = rest.peek().copied() else { return Ok(found) };
        let mut name = String::new();
        while let Some((_, c)) = rest.next_if(|(_, c)| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        while rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        if rest.next_if(|(_, c)| *c == '=').is_none() || name.is_empty() {
            return Err(format!(
                "the connection text is neither a postgres:// URL nor name=value pairs (at byte {start})"
            ));
        }
        while rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let quoted = rest.next_if(|(_, c)| *c == '\'').is_some();
        let mut value = String::new();
        loop {
            match rest.next() {
                Some((_, '\'')) if quoted => break,
                Some((_, c)) if c.is_whitespace() && !quoted => break,
                Some((_, '\\')) => value.extend(rest.next().map(|(_, c)| c)),
                Some((_, c)) => value.push(c),
                None if quoted => return Err(format!("the value of {name} has no closing quote")),
                None => break,
            }
        }
        found.retain(|(earlier, _)| *earlier != name);
        found.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn urls_are_taken_apart_and_decoded() {
        let expected = [
            ("user", "app"),
            ("password", "p@:/ss"),
            ("host", "db1"),
            ("port", "5433"),
            ("dbname", "shop"),
            ("sslmode", "require"),
        ];
        assert_eq!(pairs("postgres://app:p%40%3A%2Fss@db1:5433/shop?sslmode=require"), owned(&expected));
        assert_eq!(pairs("postgresql://"), owned(&[]));
        assert_eq!(pairs("postgres:///shop"), owned(&[("dbname", "shop")]));
        assert_eq!(
            pairs("postgres://u@/d?host=/tmp&port=1"),
            owned(&[("user", "u"), ("dbname", "d"), ("host", "/tmp"), ("port", "1")])
        );
    }

    #[test]
    fn hosts_may_be_many_ipv6_and_sockets() {
        let text = "postgres://a:1,[2001:db8::1]:2,%2Frun%2Fpg,[::1]/d";
        assert_eq!(
            pairs(text),
            owned(&[("host", "a,2001:db8::1,/run/pg,::1"), ("port", "1,2,,"), ("dbname", "d")])
        );
    }

    #[test]
    fn later_parameters_win() {
        assert_eq!(pairs("postgres://a/d?dbname=e&dbname=f"), owned(&[("host", "a"), ("dbname", "f")]));
    }

    #[test]
    fn words_may_be_quoted_and_escaped() {
        let text = r"host = db1 password='it\'s a \\' dbname=a\ b user=''";
        assert_eq!(
            pairs(text),
            owned(&[("host", "db1"), ("password", r"it's a \"), ("dbname", "a b"), ("user", "")])
        );
        assert_eq!(pairs("  "), owned(&[]));
    }

    #[test]
    fn errors_never_repeat_the_text() {
        for text in [
            "postgres://app:hunter2%zz@db/x",
            "postgres://app:hunter2@[::1/x",
            "hunter2",
            "password='hunter2",
            "host=a hunter2",
            "postgres://a/?hunter2",
            "postgres://hunter2%00@a",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(parse("mysql://root:hunter2@x").unwrap_err().starts_with("mysql:// is not"));
    }
}
