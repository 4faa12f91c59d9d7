create table t (k bigint primary key deferrable initially deferred, v text, n integer default 0);
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
