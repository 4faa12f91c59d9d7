create table t (k int4range primary key, v text, n integer default 0);
insert into t (k, v) select int4range((i), (i) + 5), 'v' || i from generate_series(1, 300) i;
