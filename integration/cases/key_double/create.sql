create table t (k double precision primary key, v text, n integer default 0);
insert into t (k, v) select sqrt((i)), 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values ('NaN', 'none'), ('Infinity', 'most'), ('-Infinity', 'least'), ('-0', 'zero');
