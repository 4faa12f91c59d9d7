create table t (k inet primary key, v text, n integer default 0);
insert into t (k, v) select '10.0.0.0'::inet + ((i)), 'v' || i from generate_series(1, 300) i;
