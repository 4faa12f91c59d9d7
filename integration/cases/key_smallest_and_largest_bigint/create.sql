create table t (k bigint primary key, v text, n integer default 0);
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values (-9223372036854775808, 'least'), (9223372036854775807, 'most'), (0, 'zero');
