alter table {control}.migration
    add column turn bigint not null default 0,
    add column swap_position text,
    add column guard_until timestamptz;

alter table {control}.checkpoint
    add column turn bigint not null default 0;

drop index {control}.migration_unfinished;

create unique index migration_unfinished
    on {control}.migration (table_schema, table_name)
    where phase not in ('done', 'aborted', 'rolledback');

update {control}.version set version = 2;
