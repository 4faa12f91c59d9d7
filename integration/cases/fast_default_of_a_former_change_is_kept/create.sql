create table t (id bigint primary key, v text);
insert into t select i, 'v' || i from generate_series(1, 300) i;
-- These rows have no such value on disk: the server fills it in.
alter table t add column kind text default 'old';
alter table t alter column kind set default 'new';
