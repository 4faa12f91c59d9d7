create table if not exists {control}.version (
    version int not null
);

create table if not exists {control}.migration (
    id bigint generated always as identity primary key,
    table_schema text not null,
    table_name text not null,
    phase text not null,
    epoch bigint not null,
    plan_id text not null,
    plan text not null,
    paused boolean not null default false,
    runner text,
    progress text,
    error text,
    stall_ms double precision,
    copy_begun boolean not null default false,
    copy_last text,
    settled_xid bigint,
    turn bigint not null default 0,
    swap_position text,
    guard_from timestamptz,
    guard_until timestamptz,
    started_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);

create unique index if not exists migration_unfinished
    on {control}.migration (table_schema, table_name)
    where phase not in ('done', 'aborted', 'rolledback');

create table if not exists {control}.checkpoint (
    migration bigint primary key references {control}.migration,
    epoch bigint not null,
    writer bigint not null default 0,
    position text,
    turn bigint not null default 0,
    changes bigint not null default 0,
    applied_at timestamptz
);

create table if not exists {control}.chunk (
    migration bigint not null references {control}.migration,
    id bigint not null,
    epoch bigint not null,
    attempt int not null,
    lower_key text,
    upper_key text,
    done boolean not null default false,
    rows bigint not null default 0,
    primary key (migration, id)
);

create table if not exists {control}.event (
    id bigint generated always as identity primary key,
    migration bigint not null references {control}.migration,
    at timestamptz not null default clock_timestamp(),
    who text not null,
    what text not null
);

create table if not exists {control}.command (
    id bigint generated always as identity primary key,
    migration bigint not null references {control}.migration,
    at timestamptz not null default clock_timestamp(),
    who text not null,
    command text not null,
    taken_at timestamptz
);
