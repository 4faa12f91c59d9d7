create table t (k integer[] primary key, v text, n integer default 0);
insert into t (k, v) select array[((i)) % 7, (i)], 'v' || i from generate_series(1, 300) i;
