create table t (v text, n integer default 0, k bigint, a text default 'a', primary key (k, a));
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
