create table t (k bigint primary key, v text, n integer default 0);
insert into t (k, v) select (i)::bigint * 1000000007, 'v' || i from generate_series(1, 300) i;
