//! A swapped table must be told from one that was altered in place by nothing: on both servers, the same statements are run in place in
//! one database, and through plan, shadow and swap in another; then catalogs, privileges, sequences and rows are compared.

use super::{before_swap_statements, drop_old_statements, is_about_identity, swap_statements};
use crate::{
    catalog::{self, Table},
    plan::{self, Detail},
    shadow,
    sql::table,
};
use shadowswap_core::{
    error::{Kind, Result},
    plan::{Indexes, Plan, Request, Severity, Strategy},
};
use shadowswap_testkit::{Version, shared};
use tokio_postgres::Client;

fn request(name: &str, alters: &[&str], sets: &[(&str, &str)], strategy: Strategy) -> Request {
    Request {
        table: name.to_string(),
        alters: alters.iter().map(ToString::to_string).collect(),
        sets: sets.iter().map(|(c, e)| (c.to_string(), e.to_string())).collect(),
        set_backs: Vec::new(),
        guard_s: None,
        strategy,
        indexes: Indexes::Auto,
        control_schema: "shadowswap".to_string(),
    }
}

async fn build(client: &Client, plan: &Plan, detail: &Detail) -> Result<()> {
    for step in shadow::missing_steps(client, plan, detail).await? {
        if let Err(e) = client.batch_execute(&step.statement).await {
            return Err(shadow::violation::explain(client, plan, e, Some(&step)).await);
        }
    }
    Ok(())
}

async fn run(client: &Client, text: &str) {
    client.batch_execute(text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
}

/// Carries a plan through by hand: nobody writes meanwhile.
async fn migrate(client: &Client, plan: &Plan) {
    let refusals: Vec<_> = plan.refusals().collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
    assert_eq!(plan.strategy, Strategy::Shadow, "{}", plan.reason);
    let detail = Detail::of(plan).unwrap();
    if let Some(statement) = &detail.set_identity {
        run(client, statement).await;
    }
    shadow::create_shadow(client, plan, 7).await.unwrap();
    shadow::create_shadow(client, plan, 7).await.unwrap();
    let (columns, values) = super::columns_text(&plan.link);
    let from = format!("{} as {}", table(&plan.source), crate::sql::quote(&plan.source.name));
    let key: Vec<String> = plan.link.key.iter().map(|k| crate::sql::quote(&k.from)).collect();
    let key_to: Vec<&str> = plan.link.key.iter().map(|k| k.to.as_str()).collect();
    let (order, conflict) = (key.join(", "), crate::sql::quoted_list(key_to));
    let copy = format!(
        "insert into {} ({columns}) overriding system value select {values} from {from} order by {order} on conflict ({conflict}) do nothing",
        table(&plan.shadow)
    );
    run(client, &copy).await;
    build(client, plan, &detail).await.unwrap();
    assert!(shadow::missing_steps(client, plan, &detail).await.unwrap().is_empty());
    for _ in 0..2 {
        for statement in before_swap_statements(client, plan).await.unwrap() {
            run(client, &statement).await;
        }
    }
    let swap = swap_statements(client, plan, 1).await.unwrap();
    let (before, swap) = (swap.before.join(";\n"), swap.locked.join(";\n"));
    let (source, shadow) = (table(&plan.source), table(&plan.shadow));
    run(
        client,
        &format!("begin; {before}; lock table {source}, {shadow} in access exclusive mode; {swap}; commit"),
    )
    .await;
    if let Some(statement) = &detail.restore_identity_old {
        run(client, statement).await;
    }
    let old = catalog::table(client, detail.source_oid).await.unwrap();
    assert_eq!(old.name, plan.old.name);
    assert_eq!(old.identity, detail.source.identity, "the old table's replica identity is not what it was");
    for statement in drop_old_statements(plan) {
        run(client, &statement).await;
    }
}

/// A definition without what may differ: numbers, and where files lie.
fn bare(mut t: Table) -> Table {
    let numbers: Vec<i16> = t.columns.iter().map(|c| c.number).collect();
    let place = |n: i16| numbers.iter().position(|x| *x == n).map_or(0, |p| i16::try_from(p + 1).unwrap());
    (t.oid, t.filenode) = (0, None);
    for c in &mut t.columns {
        (c.number, c.type_oid, c.missing) = (place(c.number), 0, None);
    }
    for i in &mut t.indexes {
        i.filenode = None;
        i.keys.iter_mut().for_each(|k| k.number = place(k.number));
    }
    t.constraints.iter_mut().for_each(|c| c.columns.iter_mut().for_each(|n| *n = place(*n)));
    for s in &mut t.sequences {
        (s.oid, s.column) = (0, place(s.column));
    }
    t
}

/// What else `\d+` and `\dp` show, sequences, rows, and which relations there are.
async fn rest(client: &Client, t: &Table) -> Vec<String> {
    let mut all = Vec::new();
    let texts = [
        format!("select coalesce(array_agg(x order by x), '{{}}') from (select x::text from pg_class c cross join aclexplode(coalesce(relacl, acldefault('r', relowner))) x where c.oid = {}) y", t.oid),
        format!("select coalesce(array_agg(a.attname || x::text order by 1), '{{}}') from pg_attribute a cross join aclexplode(attacl) x where attrelid = {}", t.oid),
        format!("select array_agg(attname || attstorage::text || attalign::text order by attnum) from pg_attribute where attrelid = {} and attnum > 0 and not attisdropped", t.oid),
        "select array_agg(relname::text || relkind::text || coalesce(x::text, '')) from pg_class left join lateral aclexplode(relacl) x on relkind = 'S' where relnamespace = 'app'::regnamespace".to_string(),
        "select array_agg(schemaname || sequencename || data_type::text || increment_by || start_value || min_value || max_value || cycle || cache_size || coalesce(last_value::text, '-')) from pg_sequences".to_string(),
        "select array_agg(nspname::text) from pg_namespace where nspname !~ '^pg_'".to_string(),
        format!("select array_agg(whole_row::text) from {} whole_row", t.quoted()),
    ];
    for text in texts {
        let row = client.query_one(&text, &[]).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let mut found = row.get::<_, Option<Vec<String>>>(0).unwrap_or_default();
        found.sort();
        all.extend(found);
        all.push("--".to_string());
    }
    all
}

async fn oid(client: &Client, name: &str) -> u32 {
    client.query_one("select $1::text::regclass::oid", &[&name]).await.unwrap().get(0)
}

/// Both ways, on both servers.
async fn same_as_in_place(setup: &str, name: &str, alters: &[&str]) {
    for version in Version::ALL {
        let server = shared(version).await;
        let (place, swapped) = (server.database().await, server.database().await);
        let mut tables = Vec::new();
        for (database, is_place) in [(&place, true), (&swapped, false)] {
            let client = database.connect().await;
            run(&client, ROLES).await;
            run(&client, setup).await;
            let id = oid(&client, name).await;
            if is_place {
                for alter in alters {
                    run(&client, &format!("alter table {name} {alter}")).await;
                }
                tables.push((
                    bare(catalog::table(&client, id).await.unwrap()),
                    rest(&client, &catalog::table(&client, id).await.unwrap()).await,
                ));
            } else {
                let plan = plan::plan(&client, &request(name, alters, &[], Strategy::Shadow)).await.unwrap();
                let left = client.query_one("select count(*) from pg_class where relname ~ 'shadow' and relnamespace = 'app'::regnamespace", &[]).await.unwrap();
                assert_eq!(left.get::<_, i64>(0), 0, "planning left something behind");
                migrate(&client, &plan).await;
                let now = oid(&client, &table(&plan.source)).await;
                assert_ne!(now, id, "nothing was swapped");
                let t = catalog::table(&client, now).await.unwrap();
                tables.push((bare(t.clone()), rest(&client, &t).await));
            }
        }
        let (a, b) = (&tables[0], &tables[1]);
        assert_eq!(
            serde_json::to_value(&a.0).unwrap(),
            serde_json::to_value(&b.0).unwrap(),
            "{version}: {alters:?}"
        );
        assert_eq!(a.1, b.1, "{version}: {alters:?}");
    }
}

/// Roles belong to the server, which all tests share.
const ROLES: &str = "
    do $$ begin
        if not exists (select from pg_roles where rolname = 'app_reader') then create role app_reader; end if;
        if not exists (select from pg_roles where rolname = 'App writer') then create role \"App writer\"; end if;
        if not exists (select from pg_roles where rolname = 'app_owner') then create role app_owner; end if;
    exception when duplicate_object or unique_violation then null; end $$;
    create schema app; grant usage, create on schema app to app_owner;";

const ORDERS: &str = "
    create type app.mood as enum ('sad', 'glad');
    create domain app.positive as int check (value > 0);
    create type app.pair as (x int, y text);
    create table app.orders (
        gone int, id serial, name varchar(20) collate \"C\" not null default 'x', amount numeric(10,2) constraint positive check (amount > 0),
        number int generated by default as identity (increment 3), note text, mood app.mood default 'sad', p app.positive, pair app.pair,
        range int4range, doubled int generated always as (id * 2) stored, \"Quo \"\"ted é\" int, tags text[] default '{}',
        primary key (id) with (fillfactor = 70), unique (name) deferrable initially deferred,
        constraint no_overlap exclude using gist (range with &&) with (fillfactor = 60));
    alter table app.orders drop column gone;
    insert into app.orders (name, amount, mood, p, pair, range, \"Quo \"\"ted é\", note)
        select 'n' || i, i, 'glad', i, row(i, 'y' || i)::app.pair, int4range(i * 2, i * 2 + 1), i, case when i % 2 = 0 then 'note ' || i end
        from generate_series(1, 20) i;
    alter table app.orders add constraint small check (amount < 5) not valid;
    create index on app.orders (lower(name) desc, amount) include (note) with (fillfactor = 50) where amount > 5;
    create unique index orders_quoted on app.orders (\"Quo \"\"ted é\");
    create index \"Upper idx\" on app.orders using hash (note);
    create statistics app.related on amount, note from app.orders;
    alter statistics app.related set statistics 55;
    comment on table app.orders is 'all ''orders''';
    comment on column app.orders.amount is 'in euro';
    comment on index app.orders_lower_amount_note_idx is 'low';
    comment on constraint positive on app.orders is 'no gifts';
    comment on constraint small on app.orders is 'later';
    comment on constraint orders_pkey on app.orders is 'key';
    comment on index app.orders_pkey is 'key index';
    comment on statistics app.related is 'stats';
    alter table app.orders set (fillfactor = 80, autovacuum_vacuum_threshold = 77, toast.autovacuum_enabled = false);
    alter table app.orders alter note set statistics 99, alter note set (n_distinct = 5), alter note set storage external;
    alter index app.orders_lower_amount_note_idx alter column 1 set statistics 33;
    alter table app.orders cluster on orders_pkey;
    grant select, insert on app.orders to app_reader;
    grant update on app.orders to \"App writer\" with grant option;
    grant select on app.orders to public;
    grant update (amount, note) on app.orders to app_reader;
    grant usage on sequence app.orders_number_seq to app_reader;
    alter default privileges in schema app grant delete on tables to app_reader;
    alter default privileges grant truncate on tables to \"App writer\";
    alter table app.orders owner to app_owner;";

#[tokio::test]
async fn a_table_that_is_only_rebuilt_stays_as_it_is() {
    same_as_in_place(ORDERS, "app.orders", &[]).await;
}

#[tokio::test]
async fn columns_come_go_and_change() {
    let alters = [
        "drop column pair, add column added int default 5, add column plain text, alter column name type text",
        "rename column amount to \"Amount é\"",
        "add column told text default 'told', alter column told set default 'not told'",
        "add column late int",
        "alter column late set default 9",
        "alter column note set not null, alter column mood drop default, alter column doubled drop expression",
        "alter column id type bigint, alter column number type bigint",
        "drop constraint small, add constraint big check (id < 1000), set (fillfactor = 90)",
        "add constraint unchecked check (late > 5) not valid",
        "add unique (p), drop constraint no_overlap",
    ];
    let setup = ORDERS.replace("when i % 2 = 0 then", "when i > 0 then");
    same_as_in_place(&setup, "app.orders", &alters).await;
}

#[tokio::test]
async fn values_are_converted_by_the_text_of_using() {
    let alters = ["alter column note type int using coalesce(length(note), 0), alter column tags type text using array_to_string(tags, ','),
        alter column tags drop default, alter mood type text using (mood::text || ',' || orders.name)"];
    let setup = format!("{ORDERS}; alter table app.orders alter tags drop default, alter mood drop default");
    same_as_in_place(&setup, "app.orders", &alters).await;
}

#[tokio::test]
async fn a_primary_key_moves_to_other_columns() {
    let alters =
        ["drop constraint orders_pkey, add primary key (number, id)", "add constraint again unique (id)"];
    same_as_in_place(ORDERS, "app.orders", &alters).await;
    // No unique index over the key is left on the shadow: an extra one is there while copying.
    same_as_in_place(ORDERS, "app.orders", &["drop constraint orders_pkey, add primary key (number, id)"])
        .await;
}

#[tokio::test]
async fn a_deferrable_key_and_a_unique_index_serve_as_keys() {
    let deferrable = "create table app.t (id int primary key deferrable, v text); insert into app.t values (1, 'a'), (2, 'b');";
    same_as_in_place(deferrable, "app.t", &["alter v type varchar(7)"]).await;
    let unique = "create table app.t (v text, a int not null, b uuid not null); create unique index on app.t (b, a);
        alter table app.t replica identity nothing;
        insert into app.t values ('x', 1, '00000000-0000-0000-0000-000000000001'), ('y', 2, '00000000-0000-0000-0000-000000000001');";
    same_as_in_place(unique, "app.t", &["rename a to c", "add primary key (c)"]).await;
    let identity = "create table app.t (id int primary key, a int not null unique); alter table app.t replica identity using index t_a_key;
        insert into app.t values (1, 2), (2, 1);";
    same_as_in_place(identity, "app.t", &["add x int"]).await;
}

/// In between the table may have none, and could not be written if it is published.
#[tokio::test]
async fn replica_identity_by_index_is_given_in_one_statement() {
    let database = shared(Version::Pip).await.database().await;
    let client = database.connect().await;
    run(&client, ROLES).await;
    run(&client, "create table app.t (id int not null unique, n int); alter table app.t replica identity using index t_id_key").await;
    let plan = plan::plan(&client, &request("app.t", &["alter n type bigint"], &[], Strategy::Shadow))
        .await
        .unwrap();
    let all = before_swap_statements(&client, &plan).await.unwrap();
    let about: Vec<_> = all.iter().filter(|s| is_about_identity(s)).collect();
    assert!(about.len() == 1 && about[0].contains("using index"), "{about:?}");
}

#[tokio::test]
async fn identity_and_serial_go_on_where_they_were() {
    let setup = "create table app.t (id int generated always as identity (sequence name app.own_name start 10 increment 5 cache 3), s bigserial, v int,
            primary key (id));
        insert into app.t (v) select generate_series(1, 4);";
    same_as_in_place(setup, "app.t", &["alter v type bigint", "alter id set generated by default"]).await;
    let shared = format!("{setup} create table app.other (id bigint default nextval('app.t_s_seq'));");
    same_as_in_place(&shared, "app.t", &["alter v type bigint"]).await;
    same_as_in_place(setup, "app.t", &["alter id drop identity", "rename s to z", "alter z type int"]).await;
    same_as_in_place(setup, "app.t", &["add n serial", "add m int generated always as identity"]).await;
}

#[tokio::test]
async fn what_only_newer_servers_know_is_kept() {
    let database = shared(Version::Pip).await.database().await;
    let client = database.connect().await;
    run(&client, ROLES).await;
    let setup = "create extension btree_gist; create table app.t (id int, during tstzrange, v text constraint v_named not null,
            twice int generated always as (id * 2) virtual, once int generated always as (id) stored, m int[] default '{1}',
            primary key (id, during without overlaps), constraint distinct_v unique nulls not distinct (v),
            constraint idle check (id < 5) not enforced);
        create unique index id_only on app.t (id);
        insert into app.t (id, during, v) values (1, '[2020-01-01, 2021-01-01)', 'a'), (2, '[2020-01-01, 2021-01-01)', 'b');";
    run(&client, setup).await;
    let before = bare(catalog::table(&client, oid(&client, "app.t").await).await.unwrap());
    let plan = plan::plan(&client, &request("app.t", &[], &[], Strategy::Auto)).await.unwrap();
    migrate(&client, &plan).await;
    let after = bare(catalog::table(&client, oid(&client, "app.t").await).await.unwrap());
    assert_eq!(serde_json::to_value(&before).unwrap(), serde_json::to_value(&after).unwrap());
    run(&client, "alter table app.t alter m drop not null, add constraint m_there not null m not valid")
        .await;
    let plan = plan::plan(&client, &request("app.t", &[], &[], Strategy::Auto)).await.unwrap();
    assert!(plan.refusals().any(|f| f.check == "not-null"), "{:?}", plan.findings);
}

#[tokio::test]
async fn an_ordinary_role_that_is_a_member_of_the_owner_can_do_it_all() {
    for version in Version::ALL {
        let database = shared(version).await.database().await;
        let client = database.connect().await;
        run(&client, ROLES).await;
        run(&client, ORDERS).await;
        let role = format!("runner_{}", database.name());
        run(&client, &format!("create role {role} replication; grant usage on schema app to {role}; alter database {} set search_path = app, public", database.name())).await;
        let client = database.connect().await;
        run(&client, &format!("set role {role}")).await;
        let wanted = request(
            "Orders",
            &["alter mood type text using mood::mood::text"],
            &[("note", "upper(name)")],
            Strategy::Auto,
        );
        let plan = plan::plan(&client, &wanted).await.unwrap();
        let checks: Vec<&str> = plan.refusals().map(|f| f.check.as_str()).collect();
        assert_eq!(checks, ["ownership"], "{:?}", plan.findings);
        run(&client, &format!("reset role; grant app_owner to {role}; alter statistics app.related owner to app_owner; set role {role}")).await;
        let plan = plan::plan(&client, &wanted).await.unwrap();
        let checks: Vec<&str> = plan.refusals().map(|f| f.check.as_str()).collect();
        assert_eq!(checks, ["create-in-database"], "{:?}", plan.findings);
        run(
            &client,
            &format!("reset role; grant create on database {} to {role}; set role {role}", database.name()),
        )
        .await;
        let plan = plan::plan(&client, &wanted).await.unwrap();
        migrate(&client, &plan).await;
        let row = client
            .query_one("select count(*) from app.orders where note = upper(name) and mood = 'glad'", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 20);
        let row = client
            .query_one("select relowner::regrole::text from pg_class where oid = 'app.orders'::regclass", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), "app_owner");
    }
}

#[tokio::test]
async fn names_are_found_by_the_servers_own_rules() {
    let database = shared(Version::Apt).await.database().await;
    let client = database.connect().await;
    run(&client, ROLES).await;
    run(
        &client,
        "create table app.\"Mixed\" (id int primary key); create table public.mixed (id int primary key)",
    )
    .await;
    for (typed, expected) in
        [("Mixed", "public.mixed"), ("app.\"Mixed\"", "app.Mixed"), ("public.mixed", "public.mixed")]
    {
        let plan = plan::plan(&client, &request(typed, &["add x int"], &[], Strategy::Auto)).await.unwrap();
        assert_eq!(plan.source.to_string(), expected);
    }
    let error =
        plan::plan(&client, &request("app.Mixed", &["add x int"], &[], Strategy::Auto)).await.unwrap_err();
    assert!(error.next.unwrap_or_default().contains("app.\"Mixed\""));
    let error = plan::plan(&client, &request("a b", &["add x int"], &[], Strategy::Auto)).await.unwrap_err();
    // From 16 on the server does not tell a text that is no name from a name that nobody has.
    assert!(matches!(error.kind, Kind::Usage | Kind::Refused), "{error:?}");
}

#[tokio::test]
async fn the_longest_and_strangest_names_work() {
    let long = "é".repeat(31) + "x";
    let setup = format!(
        "create table app.\"{long}\" (\"{long}\" int primary key, \"select\" text, \"a\"\"b\" int unique);
         create index on app.\"{long}\" (\"select\"); insert into app.\"{long}\" values (1, 'x', 3)"
    );
    let name = format!("app.\"{long}\"");
    same_as_in_place(
        &setup,
        &name,
        &["alter \"select\" type varchar(9) using \"select\" || 'y'", "rename \"a\"\"b\" to \"c d\""],
    )
    .await;
}

async fn refused(setup: &str, alters: &[&str], sets: &[(&str, &str)]) -> Vec<String> {
    let mut all = Vec::new();
    for version in Version::ALL {
        let database = shared(version).await.database().await;
        let client = database.connect().await;
        run(&client, ROLES).await;
        run(&client, setup).await;
        match plan::plan(&client, &request("app.t", alters, sets, Strategy::Shadow)).await {
            Ok(plan) => all.push(plan.refusals().map(|f| f.message.clone()).collect::<Vec<_>>().join("\n")),
            Err(e) => all.push(e.message),
        }
        let row = client
            .query_one("select count(*) from pg_class where relnamespace = pg_my_temp_schema()", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "a refused plan left something behind");
    }
    all
}

#[tokio::test]
async fn what_a_swap_would_leave_behind_is_refused() {
    let t = "create table app.t (id int primary key, v text); insert into app.t values (1, 'a');";
    for (more, expected) in [
        ("create view app.v as select id from app.t", "view app.v"),
        ("create materialized view app.v as select * from app.t", "materialized view app.v"),
        ("create table app.c (t int references app.t)", "app.c"),
        ("alter table app.t add p int references app.t", "t_p_fkey"),
        (
            "create function app.f() returns trigger language plpgsql as 'begin return new; end'; create trigger g after insert on app.t execute function app.f()",
            "TRIGGER g",
        ),
        ("create rule r as on delete to app.t do also select 1", "RULE r"),
        ("alter table app.t enable row level security", "row security"),
        ("create policy p on app.t using (true)", "policies: p"),
        ("create publication p for table app.t", "publications with the table: p"),
        ("create publication p for all tables", "publications with the table: p"),
        ("create function app.f(app.t) returns int language sql as 'select 1'", "function app.f(app.t)"),
        ("create table app.u (x app.t[])", "table app.u"),
        ("create table app._t_shadow ()", "app._t_shadow is there already"),
        ("create table app._t_old ()", "app._t_old is there already"),
        ("alter table app.t drop constraint t_pkey", "no key"),
        ("create table app.u () inherits (app.t)", "inheritance"),
        ("alter table app.t set unlogged", "unlogged"),
    ] {
        for found in refused(&format!("{t}{more}"), &["alter v type varchar(5)"], &[]).await {
            assert!(found.contains(expected), "{more}: {found}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_carried_over_exactly_is_refused() {
    let t = "create table app.t (id int primary key, a int, v text, g int generated always as (a) stored, at timestamptz); insert into app.t values (1, 2, 'a');";
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 22] = [
        (&["rename to u"], &[], "renames the table"),
        (&["set schema public"], &[], "temporary schemas"),
        (&["owner to app_owner"], &[], "another owner"),
        (&["enable row level security"], &[], "row security"),
        (&["add x int references app.t"], &[], "foreign key"),
        (&["alter v type int using random()::int"], &[], "random"),
        (&["alter v type int using 1", "alter v type text using 'x'"], &[], "more than once"),
        (&["rename a to z", "rename v to a", "alter a type int using length(a)"], &[], "other values"),
        (&["add x int not null"], &[], "NOT NULL"),
        (&["alter id type int using id + 1"], &[], "column id is computed"),
        (&["alter id type numeric(4,1)", "add unique (v)"], &[], "apart and in order"),
        (&["drop id"], &[], "column id is dropped"),
        (&["add x int"], &[("y", "1")], "no such column"),
        (&["add x int"], &[("g", "1")], "generated"),
        (&["add x timestamptz"], &[("x", "now()")], "now()"),
        (&["add x date"], &[("x", "current_date")], "current time"),
        (&["add x int"], &[("x", "(select 1)")], "subquery"),
        (&["add x int"], &[("x", "max(a)")], "aggregate"),
        (&["add x int"], &[("x", "v")], "type"),
        (&["add x int"], &[("x", "nothing")], "nothing"),
        (&["add x int; drop table app.t"], &[], "more than one statement"),
        (&["add x int, nonsense"], &[], "syntax"),
    ];
    for (alters, sets, expected) in cases {
        for found in refused(t, alters, sets).await {
            assert!(found.contains(expected), "{alters:?} {sets:?}: {found}");
        }
    }
}

#[tokio::test]
async fn the_server_says_whether_a_shadow_is_needed() {
    let setup = "create table app.t (id int primary key, v varchar(9), n int not null, w text constraint has_w check (w is not null));
        alter table app.t add constraint small check (n < 9) not valid;";
    for version in Version::ALL {
        let database = shared(version).await.database().await;
        let client = database.connect().await;
        run(&client, ROLES).await;
        run(&client, setup).await;
        for (alter, strategy, reason) in [
            ("add x int default 5", Strategy::Direct, "only its catalog"),
            ("add x uuid default gen_random_uuid()", Strategy::Shadow, "rewrites"),
            ("alter v type varchar(20)", Strategy::Direct, "only its catalog"),
            ("alter v type varchar(5)", Strategy::Shadow, "rewrites"),
            ("alter v set not null", Strategy::Shadow, "reads every row"),
            ("alter w set not null", Strategy::Direct, "only its catalog"),
            ("add check (n > 0)", Strategy::Shadow, "reads every row"),
            ("add check (n > 0) not valid", Strategy::Direct, "only its catalog"),
            ("validate constraint small", Strategy::Direct, "lock in place: SHARE UPDATE EXCLUSIVE"),
            ("alter n set statistics 50", Strategy::Direct, "lock in place: SHARE UPDATE EXCLUSIVE"),
            ("alter n set statistics 50, add y int", Strategy::Direct, "lock in place: ACCESS EXCLUSIVE"),
            ("add unique (n)", Strategy::Shadow, "builds index t_n_key"),
            ("drop v, rename n to m", Strategy::Direct, ""),
            ("alter id type bigint", Strategy::Shadow, "rewrites"),
        ] {
            let alters: Vec<&str> = alter.split(", ").collect();
            let plan = plan::plan(&client, &request("app.t", &alters, &[], Strategy::Auto)).await.unwrap();
            assert_eq!(plan.strategy, strategy, "{version}: {alter}: {}", plan.reason);
            assert!(plan.reason.contains(reason), "{version}: {alter}: {}", plan.reason);
            assert!(
                plan.findings.iter().all(|f| f.severity != Severity::Refused),
                "{version}: {alter}: {:?}",
                plan.findings
            );
        }
        let plan = plan::plan(&client, &request("app.t", &["alter id type bigint"], &[], Strategy::Direct))
            .await
            .unwrap();
        assert!(plan.refusals().any(|f| f.check == "strategy"));
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_are_named() {
    let setup = "create table app.t (id int primary key, v text, n int); insert into app.t values (1, 'a', 1), (2, 'a', 2), (3, 'b', -1);";
    for version in Version::ALL {
        for (alter, expected) in [("add unique (v)", "id=1 and id=2"), ("add check (n > 0)", "id=3")] {
            let database = shared(version).await.database().await;
            let client = database.connect().await;
            run(&client, ROLES).await;
            run(&client, setup).await;
            let plan = plan::plan(&client, &request("app.t", &[alter], &[], Strategy::Shadow)).await.unwrap();
            shadow::create_shadow(&client, &plan, 1).await.unwrap();
            run(&client, "insert into app._t_shadow select * from app.t").await;
            let detail = Detail::of(&plan).unwrap();
            let error = build(&client, &plan, &detail).await.unwrap_err();
            assert!(error.message.contains(expected), "{version}: {}", error.message);
            let others = shadow::abort_statements(&client, &plan, 2).await.unwrap();
            assert!(others.is_empty(), "another migration's shadow would be dropped");
            for statement in shadow::abort_statements(&client, &plan, 1).await.unwrap() {
                run(&client, &statement).await;
            }
            let left = client.query_one("select count(*) from pg_class where relname ~ 'shadow' and relnamespace = 'app'::regnamespace", &[]).await.unwrap();
            assert_eq!(left.get::<_, i64>(0), 0);
        }
    }
}
