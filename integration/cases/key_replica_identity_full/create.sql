create table t (k bigint primary key, v text, n integer default 0);
alter table t replica identity full;
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
