create table t (k bigint, v text, n integer default 0, primary key (k) include (v));
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
