create table t (k interval primary key, v text, n integer default 0);
insert into t (k, v) select ((i)) * interval '1 hour', 'v' || i from generate_series(1, 300) i;
