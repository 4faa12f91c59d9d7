create table t (k date primary key, v text, n integer default 0);
insert into t (k, v) select '2000-01-01'::date + ((i)), 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values ('infinity', 'most'), ('-infinity', 'least'), ('4713-01-01 BC', 'long ago');
