create table if not exists {control}.setting (
    migration bigint not null references {control}.migration,
    name text not null,
    value text not null,
    who text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (migration, name)
);

create table if not exists {control}.report (
    migration bigint primary key references {control}.migration,
    report text not null
);

create table if not exists {control}.probe (
    migration bigint primary key,
    at timestamptz not null
);

create or replace view {control}.state as
select m.id as migration,
    m.table_schema,
    m.table_name,
    m.phase,
    m.turn % 2 = 1 or (m.turn = 0 and m.phase in ('guard', 'done')) as is_swapped,
    m.phase in ('done', 'aborted', 'rolledback') as is_over,
    m.paused as is_paused,
    m.progress::json ->> 'throttled' as held_by,
    (m.progress::json ->> 'lag_ms')::double precision as lag_ms,
    (m.progress::json ->> 'rows_copied')::bigint as rows_copied,
    (m.progress::json ->> 'rows_total')::bigint as rows_total,
    m.runner,
    m.error,
    m.started_at,
    m.updated_at,
    m.ended_at,
    m.guard_until
from {control}.migration m;
