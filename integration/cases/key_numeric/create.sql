create table t (k numeric primary key, v text, n integer default 0);
insert into t (k, v) select (((i)) / 7.0)::numeric, 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values ('NaN', 'none'), ('Infinity', 'most'), ('-Infinity', 'least'), (1e100, 'big');
