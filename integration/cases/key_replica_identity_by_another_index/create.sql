create table t (k bigint primary key, v text, n integer default 0, other bigint generated always as (k * 2) stored not null);
create unique index t_other on t (other);
alter table t replica identity using index t_other;
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
