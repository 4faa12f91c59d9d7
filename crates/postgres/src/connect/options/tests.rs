use super::*;

/// An environment of these variables, in a home that has none of libpq's files.
fn parse(url: &str, env: &[(&str, &str)]) -> Result<ConnectOptions, ConnectError> {
    let env = |name: &str| match env.iter().find(|(n, _)| *n == name) {
        Some((_, value)) => Some((*value).to_owned()),
        None if name == "HOME" => Some("/nonexistent".to_owned()),
        None => None,
    };
    ConnectOptions::parse(Some(url), &env)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("shadowswap-options-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn tcp(host: &str) -> Place {
    Place::Tcp { host: host.into(), address: None }
}

fn password(options: &ConnectOptions, at: usize) -> Option<&str> {
    options.hosts[at].password.as_ref().map(Secret::reveal)
}

#[test]
fn defaults_are_those_of_libpq() {
    let options = parse("", &[]).unwrap();
    assert_eq!((options.hosts.len(), options.hosts[0].port), (1, 5432));
    assert!(matches!(options.hosts[0].place, Place::Unix(_)));
    assert_eq!(options.database, options.user);
    assert_eq!((options.ssl_mode, options.channel_binding), (SslMode::Prefer, ChannelBinding::Prefer));
    assert_eq!(options.target, Target::Any);
    assert_eq!(password(&options, 0), None);
}

#[test]
fn url_goes_before_service_before_environment() {
    let folder = folder("precedence");
    let file = folder.join("services");
    std::fs::write(&file, "[shop]\nhost=from-service\nport=2\nuser=from-service\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    let env = [
        ("PGSERVICEFILE", file.as_str()),
        ("PGSERVICE", "shop"),
        ("PGPORT", "3"),
        ("PGUSER", "from-env"),
        ("PGDATABASE", "from-env"),
    ];
    let options = parse("postgres://from-url", &env).unwrap();
    assert_eq!(options.hosts[0].place, tcp("from-url"));
    assert_eq!(options.hosts[0].port, 2);
    assert_eq!(options.user, "from-service");
    assert_eq!(options.database, "from-env");
    let missing = parse("service=absent", &env).unwrap_err();
    assert!(missing.to_string().contains("\"absent\" is not defined"), "{missing}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn hosts_and_ports_pair_up() {
    let options = parse("postgres://a:1,b:2/d", &[]).unwrap();
    let places: Vec<_> = options.hosts.iter().map(|h| (h.place.clone(), h.port)).collect();
    assert_eq!(places, [(tcp("a"), 1), (tcp("b"), 2)]);
    let options = parse("host=a,b port=7", &[]).unwrap();
    assert_eq!((options.hosts[0].port, options.hosts[1].port), (7, 7));
    assert!(parse("host=a,b,c port=1,2", &[]).is_err());
    assert!(parse("host=a port=0", &[]).is_err());
    assert!(parse("host=a port=70000", &[]).is_err());
    let options = parse("host=db hostaddr=10.0.0.1", &[]).unwrap();
    assert_eq!(options.hosts[0].place, Place::Tcp { host: "db".into(), address: "10.0.0.1".parse().ok() });
}

#[test]
fn unknown_parameters_are_named() {
    let error = parse("postgres://a/?sslmod=require", &[]).unwrap_err();
    assert!(error.to_string().contains("\"sslmod\""), "{error}");
    assert!(parse("host=a require_auth=none", &[]).is_err());
    assert!(parse("host=a gssencmode=require", &[]).is_err());
    assert!(parse("host=a gssencmode=disable keepalives=1", &[]).is_ok());
    assert_eq!(parse("postgres://a/?ssl=true", &[]).unwrap().ssl_mode, SslMode::Require);
}

#[test]
fn illegal_values_name_what_is_legal() {
    let error = parse("sslmode=strict", &[]).unwrap_err().to_string();
    assert!(error.contains("verify-full"), "{error}");
    assert!(parse("", &[("PGSSLMODE", "on")]).is_err());
    assert!(parse("connect_timeout=soon", &[]).is_err());
    assert_eq!(parse("connect_timeout=1", &[]).unwrap().connect_timeout, Duration::from_secs(2));
}

#[test]
fn roots_of_the_system_ask_for_the_name() {
    assert_eq!(parse("sslrootcert=system", &[]).unwrap().ssl_mode, SslMode::VerifyFull);
    assert!(parse("sslrootcert=system sslmode=require", &[]).is_err());
}

#[test]
fn password_file_serves_each_host_its_own() {
    let home = folder("home");
    let file = home.join(".pgpass");
    std::fs::write(&file, "a:*:*:*:for-a\nlocalhost:*:*:*:for-local\n/run/pg:*:*:*:for-socket\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let env = [("HOME", home.to_str().unwrap())];
    let options = parse("host=a,b,/run/pg,/tmp user=u", &env).unwrap();
    let found: Vec<_> = (0..4).map(|at| password(&options, at)).collect();
    assert_eq!(found, [Some("for-a"), None, Some("for-socket"), Some("for-local")]);
    let options = parse("host=a password=given", &env).unwrap();
    assert_eq!(password(&options, 0), Some("given"));

    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let options = parse("host=a user=u", &env).unwrap();
    assert_eq!(password(&options, 0), None);
    assert_eq!(options.warnings.len(), 1);
    std::fs::remove_dir_all(home).unwrap();
}

#[test]
fn password_is_never_shown() {
    let options =
        parse("postgres://app:hunter2@db/shop?application_name=x", &[("PGOPTIONS", "-c a=b")]).unwrap();
    assert_eq!(password(&options, 0), Some("hunter2"));
    let shown = format!("{options:?} {}", options.hosts[0].password.as_ref().unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("***"));
}
