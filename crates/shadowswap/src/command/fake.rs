//! An engine without a server: it has statuses and plans, and remembers what it was told. For tests of the commands alone.

use crate::{
    command::find,
    output::{Output, text::Style},
};
use shadowswap_core::{
    Apply, Bound, Caps, Chunk, Compared, Copied, Engine, Error, Event, Fate, Floor, InPlace, Load, Locked,
    Obstacle, Outcome, Phase, Position, Result, Session, Stream, Suspect, TxId,
    batch::Batch,
    control::{Command, Control, Migration, Status},
    engine::Leftover,
    name::TableName,
    plan::{Finding, Indexes, KeyColumn, Link, Mapping, Plan, Request, Size, Step, Strategy},
    progress::Progress,
};
use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// Nobody to ask, nothing coloured, and nothing said on stderr.
pub const OUTPUT: Output =
    Output { json: true, style: Style::PLAIN, error_style: Style::PLAIN, is_interactive: false };

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    statuses: Option<Vec<Status>>,
    told: Arc<Mutex<Vec<String>>>,
    /// Added to each new plan.
    pub findings: Vec<Finding>,
    /// The schema in which unqualified names are found.
    pub schema: Option<String>,
}

impl Fake {
    pub fn with(statuses: Vec<Status>) -> Fake {
        Fake { statuses: Some(statuses), ..Fake::default() }
    }

    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn tell(&self, what: &str) {
        self.told.lock().unwrap().push(what.to_string());
    }
}

/// A migration with a runner.
pub fn status(schema: &str, name: &str, phase: Phase) -> Status {
    Status {
        id: 3,
        table: TableName::new(schema, name),
        phase,
        turn: i64::from(phase.is_swapped()),
        guard_left_s: None,
        plan_id: "3f9a1c20d4be".into(),
        alters: vec!["ADD COLUMN note text".into()],
        paused: false,
        started_at: "2026-01-05T10:00:00Z".into(),
        updated_at: "2026-01-05T10:09:58Z".into(),
        ended_at: None,
        runner: Some("web1:4121".into()),
        progress: None,
        error: None,
        stall_ms: None,
        events: Vec::new(),
    }
}

/// What is asked for in the tests.
pub fn request(table: &str) -> Request {
    Request {
        table: table.into(),
        alters: vec!["ADD COLUMN domain text".into(), "ALTER COLUMN id TYPE bigint".into()],
        sets: vec![("domain".into(), "split_part(email, '@', 2)".into())],
        set_backs: Vec::new(),
        guard_s: None,
        strategy: Strategy::Auto,
        indexes: Indexes::Auto,
        control_schema: "shadowswap".into(),
    }
}

/// Its plan.
pub fn plan(request: &Request, schema: &str) -> Plan {
    let name = request.table.rsplit('.').next().unwrap_or_default();
    let (source, shadow) = (TableName::new(schema, name), TableName::new(schema, format!("_{name}_shadow")));
    let column =
        |column: &str, data_type: &str, from: Option<(&str, &str)>, expression: Option<&str>, note: &str| {
            Mapping {
                column: column.into(),
                data_type: data_type.into(),
                from: from.map(|f| f.0.into()),
                from_type: from.map(|f| f.1.into()),
                expression: expression.map(Into::into),
                note: note.into(),
            }
        };
    let key = KeyColumn {
        from: "id".into(),
        from_type: "integer".into(),
        to: "id".into(),
        to_type: "bigint".into(),
    };
    let columns = vec![
        column("id", "bigint", Some(("id", "integer")), Some("\"id\""), "type"),
        column("email", "text", Some(("email", "text")), Some("\"email\""), "same"),
        column("domain", "text", None, Some("split_part(email, '@', 2)"), "computed"),
        column("seen", "timestamp with time zone", None, None, "new"),
    ];
    let plan = Plan {
        id: String::new(),
        request: request.clone(),
        server: "PostgreSQL 18.1".into(),
        strategy: Strategy::Shadow,
        reason: "the server would rewrite the table".into(),
        source: source.clone(),
        shadow: shadow.clone(),
        old: source.sibling(format!("_{name}_old")),
        link: Link { from: source, to: shadow, key: vec![key], columns, from_columns: Vec::new() },
        indexes: vec!["primary key (id), with the shadow".into(), "index on (email), after the copy".into()],
        dependents: vec!["view v_orders".into()],
        findings: vec![Finding::passed("wal-level", "logical")],
        size: Size {
            rows: 1_200_000,
            table_bytes: 3 << 30,
            index_bytes: 1 << 30,
            disk_bytes: 4 << 30,
            log_bytes: 5 << 30,
            seconds: 184,
        },
        steps: vec![
            Step {
                phase: "prepare".into(),
                statement: "create table _orders_shadow (\n  id bigint\n)".into(),
            },
            Step { phase: "cutover".into(), statement: "lock table orders in exclusive mode".into() },
        ],
        fingerprint: "f".into(),
        detail: serde_json::Value::Null,
        turn: 0,
    };
    plan.with_id()
}

impl Engine for Fake {
    type Position = Never;
    type TxId = Never;
    type Floor = Never;
    type Stream = Never;
    type Session = Never;
    type Locked = Never;
    type Control = Fake;

    fn caps(&self) -> Caps {
        Caps {
            builds_indexes_late: true,
            drains_through_lock: false,
            spelling: shadowswap_core::Spelling { quote: '"', folds: true, ignores_case: false },
            log: "WAL",
        }
    }

    async fn control(&self, _: bool) -> Result<Fake> {
        match self.statuses {
            Some(_) => Ok(self.clone()),
            None => Err(Error::refused(
                "there are no control tables in schema shadowswap: nothing was ever run here",
            )),
        }
    }

    async fn plan(&self, request: &Request) -> Result<Plan> {
        self.tell("plan");
        let schema = self.schema.as_deref().unwrap_or("public");
        let mut plan = plan(
            request,
            if find::is_qualified(self.caps().spelling, &request.table) { "sales" } else { schema },
        );
        plan.findings.extend(self.findings.clone());
        Ok(plan)
    }

    async fn prepare(&self, _: &Plan, _: i64, _: impl Future<Output = Result<()>> + Send) -> Result<()> {
        absent()
    }

    async fn reverse(&self, _: &Plan, _: i64, _: impl Future<Output = Result<()>> + Send) -> Result<Plan> {
        absent()
    }

    async fn stream(&self, _: &Plan, _: i64, _: Option<&Never>) -> Result<Never> {
        absent()
    }

    async fn session(&self, _: &Plan, _: i64, _: i64, _: &str) -> Result<Never> {
        absent()
    }

    async fn finish_shadow(
        &self,
        _: &Plan,
        _: i64,
        _: bool,
        _: impl Future<Output = Result<()>> + Send,
        _: impl Fn(String) + Send + Sync,
    ) -> Result<()> {
        absent()
    }

    async fn obstacles(&self, _: &Plan, _: i64) -> Result<Vec<Obstacle>> {
        absent()
    }

    async fn lock(
        &self,
        _: &Plan,
        _: i64,
        _: i64,
        _: Duration,
        _: impl Future<Output = Result<()>> + Send,
    ) -> Result<Never> {
        absent()
    }

    async fn outcome(&self, _: &Plan, _: i64) -> Result<Outcome> {
        absent()
    }

    async fn lacks(&self, _: &Plan) -> Result<Vec<String>> {
        absent()
    }

    async fn drop_old(&self, _: &Plan, _: i64) -> Result<bool> {
        absent()
    }

    async fn clean_up(
        &self,
        _: &Plan,
        _: i64,
        _: bool,
        _: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        absent()
    }

    async fn abort(&self, _: &Plan, _: i64, _: impl Future<Output = Result<()>> + Send) -> Result<()> {
        absent()
    }

    async fn direct(&self, _: &Plan, _: i64, _: i64, _: Duration) -> Result<()> {
        absent()
    }

    async fn made(&self, _: &Plan, _: i64) -> Result<InPlace> {
        absent()
    }

    async fn load(&self, _: &Plan, _: i64, _: bool) -> Result<Load> {
        absent()
    }

    async fn probe_commit(&self, _: i64) -> Result<Duration> {
        absent()
    }

    async fn ask(&self, _: &str) -> Result<Option<String>> {
        absent()
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &Leftover) -> Result<()> {
        absent()
    }
}

impl Control<Fake> for Fake {
    async fn find(&self, table: &TableName) -> Result<Option<(i64, Phase, Plan)>> {
        let found = self.statuses.iter().flatten().find(|s| s.table == *table && !s.phase.is_over());
        Ok(found.map(|s| (s.id, s.phase, plan(&request(&table.name), &table.schema))))
    }

    async fn finished(&self, _: &TableName) -> Result<Option<(i64, Plan, String)>> {
        absent()
    }

    async fn begin(&self, _: &Plan, _: &str) -> Result<Migration<Fake>> {
        absent()
    }

    async fn resume(&self, _: &TableName, _: &str) -> Result<Option<Migration<Fake>>> {
        absent()
    }

    async fn is_ours(&self, _: i64, _: i64) -> Result<bool> {
        absent()
    }

    async fn save_phase(&self, _: i64, _: i64, _: Phase) -> Result<()> {
        absent()
    }

    async fn turn(&self, _: i64, _: i64, _: i64, _: Phase, _: Option<f64>) -> Result<()> {
        absent()
    }

    async fn guard_left(&self, _: i64, _: i64, _: Duration, _: bool) -> Result<Duration> {
        absent()
    }

    async fn end_guard(&self, _: i64, _: i64) -> Result<()> {
        absent()
    }

    async fn begin_copy(&self, _: i64, _: i64, _: Option<&Bound>) -> Result<()> {
        absent()
    }

    async fn claim(&self, _: i64, _: i64, _: &Chunk) -> Result<()> {
        absent()
    }

    async fn copied(&self, _: i64) -> Result<(u64, u64)> {
        absent()
    }

    async fn report(&self, _: i64, _: i64, _: &Progress) -> Result<(Vec<Command>, bool)> {
        absent()
    }

    async fn note(&self, _: i64, _: &str, _: &str) -> Result<()> {
        absent()
    }

    async fn close(&self, _: i64, _: Option<&str>, _: Option<f64>) -> Result<()> {
        absent()
    }

    async fn command(&self, _: i64, _: &str, command: &Command) -> Result<bool> {
        self.tell(command.name());
        Ok(true)
    }

    async fn set(&self, _: i64, _: &str, name: &str, value: &str) -> Result<bool> {
        self.tell(&format!("{name}={value}"));
        Ok(true)
    }

    async fn settings(&self, _: i64) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    async fn keep(&self, _: i64, _: &str) -> Result<()> {
        absent()
    }

    async fn reports(&self) -> Result<Vec<(i64, String)>> {
        Ok(Vec::new())
    }

    async fn status(&self, _: Option<&TableName>) -> Result<Vec<Status>> {
        Ok(self.statuses.clone().unwrap_or_default())
    }
}

fn absent<T>() -> Result<T> {
    Err(Error::corrupt("the fake engine cannot do this"))
}

/// There is none: the fake never opens a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::str::FromStr for Never {
    type Err = String;

    fn from_str(_: &str) -> Result<Never, String> {
        Err("there is none".into())
    }
}

impl bincode::Encode for Never {
    fn encode<W: bincode::enc::Encoder>(&self, _: &mut W) -> Result<(), bincode::error::EncodeError> {
        match *self {}
    }
}

impl bincode::Decode<()> for Never {
    fn decode<D: bincode::de::Decoder<Context = ()>>(
        _: &mut D,
    ) -> Result<Never, bincode::error::DecodeError> {
        Err(bincode::error::DecodeError::Other("there is none"))
    }
}

impl Position for Never {}
impl TxId for Never {}

impl Floor<Never> for Never {
    fn includes(&self, _: &Never) -> bool {
        match *self {}
    }
}

impl Stream<Fake> for Never {
    async fn next(&mut self) -> Result<Event<Fake>> {
        match *self {}
    }

    async fn confirm(&mut self, _: &Never) -> Result<()> {
        match *self {}
    }
}

impl Apply<Fake> for Never {
    async fn floor(&mut self) -> Result<Never> {
        match *self {}
    }

    async fn apply(&mut self, _: &Batch, _: Option<&Never>) -> Result<u64> {
        match *self {}
    }

    async fn mark(&mut self, _: u64) -> Result<()> {
        match *self {}
    }
}

impl Session<Fake> for Never {
    async fn next_bound(&mut self, _: Option<&Bound>, _: &Bound, _: u64) -> Result<Option<Bound>> {
        match *self {}
    }

    async fn last_key(&mut self) -> Result<Option<Bound>> {
        match *self {}
    }

    async fn copy_chunk(&mut self, _: &Chunk, _: impl FnOnce(Never) + Send) -> Result<Copied> {
        match *self {}
    }

    async fn fate(&mut self, _: &Chunk) -> Result<Fate> {
        match *self {}
    }

    async fn compare(&mut self, _: &Chunk, _: usize) -> Result<Compared> {
        match *self {}
    }

    async fn recheck(&mut self, _: &[Suspect]) -> Result<Vec<Suspect>> {
        match *self {}
    }
}

impl Locked<Fake> for Never {
    fn since(&self) -> Instant {
        match *self {}
    }

    async fn swap(&mut self, _: Duration) -> Result<()> {
        match *self {}
    }

    async fn release(self) {
        match self {}
    }
}
