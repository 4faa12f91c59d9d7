use super::*;

fn options(text: &str) -> ConnectOptions {
    let env = |name: &str| (name == "HOME").then(|| "/nonexistent".to_owned());
    ConnectOptions::parse(Some(text), &env).unwrap()
}

#[test]
fn name_keeps_the_role_whole() {
    assert_eq!(options("host=a").name("copy #7"), "shadowswap/copy #7");
    assert_eq!(options("host=a application_name=billing").name("copy #7"), "shadowswap/billing/copy #7");
    let long = options(&format!("host=a application_name={}", "ä".repeat(60))).name("copy #7");
    assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("?/copy #7"), "{long}");
    assert_eq!(options("host=a application_name=Büro").name("copy #7"), "shadowswap/B?ro/copy #7");
}

fn refused(code: &str) -> ConnectError {
    let server = ServerError { code: code.into(), message: "no".into(), ..ServerError::default() };
    ConnectError::wire(WireError::Server(Box::new(server)), "test")
}

#[test]
fn allow_goes_from_clear_to_tls_only_when_the_server_insists() {
    let allow = options("host=a sslmode=allow");
    let mut tries = Tries::new(&allow);
    assert_eq!(tries.current().1, Secure::Never);
    assert!(tries.go_on(refused("28P01")).is_err());
    let mut tries = Tries::new(&allow);
    assert!(tries.go_on(refused("28000")).is_ok());
    assert_eq!(tries.current().1, Secure::Must);
    let no_tls = ConnectError::new(Kind::Refused, "no TLS here").without_tls();
    let error = tries.go_on(no_tls).unwrap_err();
    assert_eq!(error.server().map(|s| s.code.as_str()), Some("28000"));
}

#[test]
fn modes_that_demand_tls_never_go_without() {
    for mode in ["require", "verify-ca", "verify-full"] {
        let options = options(&format!("host=a sslmode={mode}"));
        let mut tries = Tries::new(&options);
        assert_eq!(tries.current().1, Secure::Must);
        assert!(tries.go_on(ConnectError::new(Kind::Refused, "no").without_tls()).is_err());
    }
}

#[test]
fn unreachable_servers_are_passed_over_and_all_named() {
    let options = options("host=a,b sslmode=disable");
    let mut tries = Tries::new(&options);
    tries.go_on(ConnectError::new(Kind::Transient, "a is away").elsewhere()).unwrap();
    assert_eq!(tries.current().0.place, Place::Tcp { host: "b".into(), address: None });
    let error = tries.go_on(ConnectError::new(Kind::Transient, "b is away").elsewhere()).unwrap_err();
    assert_eq!(error.to_string(), "no server of 2 let us in: a is away; b is away");
}

#[test]
fn wrong_password_is_not_tried_elsewhere() {
    let options = options("host=a,b");
    assert!(Tries::new(&options).go_on(refused("28P01")).is_err());
}

#[tokio::test]
async fn missing_socket_says_what_to_look_at() {
    let error = options("host=/nonexistent port=9").connect("test").await.err().unwrap();
    let error = shadowswap_core::Error::from(error);
    assert_eq!(error.kind, Kind::Transient);
    assert!(error.message.contains("/nonexistent port 9"), "{error}");
    assert!(error.next.unwrap().contains("/nonexistent/.s.PGSQL.9"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(postgres(ql)?://)?[a-z0-9:/?@%&=\\[\\]._,' \\\\é-]{0,80}", pgpass in "[a-z0-9:*\\\\#\n é]{0,80}") {
        let _ = ConnectOptions::parse(Some(&text), &|_| None);
        let _ = ConnectOptions::parse(Some(&format!("postgres://u@h/d?{text}")), &|name| (name == "PGOPTIONS").then(|| text.clone()));
        let wanted = crate::pgpass::Wanted { host: "h", port: 5432, database: "d", user: "u" };
        let _ = crate::pgpass::find(&pgpass, wanted);
        let _ = text.parse::<crate::Lsn>();
        let _ = crate::Snapshot::parse(&text);
    }
}

#[test]
fn service_file_without_end_is_not_read_into_memory() {
    let e = crate::service::read(std::path::Path::new("/dev/zero"), "s").unwrap_err();
    assert!(e.contains("larger than 1048576 bytes"), "{e}");
}
