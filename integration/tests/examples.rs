//! The examples in `scripts/examples`, checked by those who read them: systemd, Kubernetes' own types, the shell, and our own arguments.

use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_yaml_ng::Value;
use shadowswap_testkit::Binary;

use crate::operator::SOON;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/examples")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The arguments are understood: nothing is wrong with them but that the migration file is not there, or the table not named.
async fn is_understood(args: &[&str]) {
    let args: Vec<&str> = args.iter().copied().skip_while(|word| *word != "run").collect();
    let mut args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let file = args.iter().position(|a| a == "--file").expect("it names a migration file") + 1;
    let migration = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(migration.path(), "table = \"orders\"\nalter = [\"ALTER COLUMN id TYPE bigint\"]\n")
        .unwrap();
    args[file] = migration.path().display().to_string();
    // Nobody listens there.
    let call = Binary::shadowswap().env("SHADOWSWAP_URL", "postgres://x@127.0.0.1:1/x").args(args.clone());
    let output = call.arg("--url=postgres://x@127.0.0.1:1/x").run(SOON).await;
    assert_eq!(output.code(), Some(1), "{args:?}\n{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("127.0.0.1") || output.stdout.contains("127.0.0.1"), "{}", output.stderr);
}

/// Read into its type and written again, nothing is lost: every field has a name that Kubernetes knows.
fn read<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let read: T = serde_yaml_ng::from_value(value.clone()).unwrap_or_else(|e| panic!("{e}:\n{value:?}"));
    assert_eq!(&serde_yaml_ng::to_value(&read).unwrap(), value, "a field is not known, or has another form");
    read
}

async fn pod(spec: &PodSpec) {
    let container = &spec.containers[0];
    let args: Vec<&str> = container.args.iter().flatten().map(String::as_str).collect();
    is_understood(&args).await;
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    let mounts = container.volume_mounts.iter().flatten().map(|m| &m.name);
    let volumes: Vec<_> = spec.volumes.iter().flatten().map(|v| &v.name).collect();
    assert!(mounts.clone().count() > 0 && mounts.into_iter().all(|name| volumes.contains(&name)));
}

#[tokio::test]
async fn kubernetes_knows_every_field_and_we_every_argument() {
    let documents = serde_yaml_ng::Deserializer::from_str(&text("kubernetes.yaml"))
        .map(|document| Value::deserialize(document).unwrap())
        .collect::<Vec<_>>();
    let of_kind =
        |kind: &str| documents.iter().find(|d| d["kind"] == *kind).unwrap_or_else(|| panic!("no {kind}"));
    assert_eq!(documents.len(), 3);
    let map: ConfigMap = read(of_kind("ConfigMap"));
    let night: CronJob = read(of_kind("CronJob"));
    let whole: Job = read(of_kind("Job"));
    let night = night.spec;
    assert_eq!(night.concurrency_policy.as_deref(), Some("Forbid"));
    let job = night.job_template.spec.unwrap();
    assert!(job.active_deadline_seconds.is_some(), "what ends the night");
    pod(&job.template.spec.unwrap()).await;
    pod(&whole.spec.unwrap().template.spec.unwrap()).await;
    // The migration file within is one.
    let file = map.data.unwrap()["migration.toml"].clone();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.toml"), file).unwrap();
    let call = Binary::shadowswap().dir(folder.path()).args([
        "plan",
        "--file",
        "m.toml",
        "--url=postgres://x@127.0.0.1:1/x",
    ]);
    call.run(SOON).await.expect_code(1);
}

#[tokio::test]
async fn systemd_finds_nothing_wrong_with_the_units() {
    // It wants to find the program, and reads instances by their whole name.
    let folder = tempfile::tempdir().unwrap();
    let service = text("shadowswap@.service");
    for (name, text) in [
        ("shadowswap@.service", service.replace("/usr/local/bin/shadowswap", "/bin/true")),
        ("shadowswap@.timer", text("shadowswap@.timer")),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let verify = |unit: &str| {
        let mut command = Command::new("systemd-analyze");
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
        let output = command.args(["verify", "--man=no"]).arg(folder.path().join(unit)).output();
        let output = output.expect("systemd-analyze is installed (apt-get install systemd)");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // What it says of other units of this machine is not ours.
        let ours: Vec<_> =
            said.lines().filter(|line| line.contains("shadowswap")).map(str::to_string).collect();
        (output.status.success(), ours)
    };
    for unit in ["shadowswap@0042.service", "shadowswap@0042.timer"] {
        assert_eq!(verify(unit), (true, Vec::new()), "{unit}");
    }
    // It does look: a misspelt setting is found.
    std::fs::write(
        folder.path().join("shadowswap@.service"),
        service.replace("TimeoutStopSec", "TimeoutStopSecs"),
    )
    .unwrap();
    assert!(!verify("shadowswap@0042.service").1.is_empty());
    let line = service.lines().find_map(|l| l.strip_prefix("ExecStart=")).unwrap();
    is_understood(&line.split_whitespace().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn crontab_has_lines_that_cron_and_the_shell_understand() {
    let text = text("crontab");
    let jobs: Vec<&str> =
        text.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit() || c == '*')).collect();
    assert_eq!(jobs.len(), 1);
    for job in jobs {
        let words: Vec<&str> = job.split_whitespace().collect();
        let (times, command) = (&words[..5], &words[6..]);
        for (time, most) in times.iter().zip([59, 23, 31, 12, 7]) {
            assert!(*time == "*" || time.parse::<u32>().is_ok_and(|n| n <= most), "{time}");
        }
        assert!(!job.contains('%'), "cron makes a line's end of it");
        let shell = Command::new("sh").args(["-n", "-c", &command.join(" ")]).output().unwrap();
        assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
        let ours: Vec<&str> = command.iter().copied().take_while(|word| *word != ">>").collect();
        let without_url: Vec<&str> =
            ours.iter().copied().filter(|w| *w != "--url" && !w.starts_with("postgres://")).collect();
        is_understood(&without_url).await;
    }
}
