create table t (k char(8) primary key, v text, n integer default 0);
insert into t (k, v) select 'c' || (i), 'v' || i from generate_series(1, 300) i;
