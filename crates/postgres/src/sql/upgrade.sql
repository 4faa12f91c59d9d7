alter table {control}.migration
    add column if not exists turn bigint not null default 0,
    add column if not exists swap_position text,
    add column if not exists guard_from timestamptz,
    add column if not exists guard_until timestamptz;

-- Before version 3 a guard did not know when it had begun, only when it ends.
update {control}.migration
set guard_from = guard_until - (plan::json -> 'request' ->> 'guard_s')::bigint * interval '1 second'
where guard_until > clock_timestamp() and guard_from is null;

alter table {control}.checkpoint
    add column if not exists turn bigint not null default 0;

drop index {control}.migration_unfinished;

create unique index migration_unfinished
    on {control}.migration (table_schema, table_name)
    where phase not in ('done', 'aborted', 'rolledback');

update {control}.version set version = 3;
