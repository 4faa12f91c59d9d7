create table t (k timestamptz primary key, v text, n integer default 0);
insert into t (k, v) select '2026-10-25 00:00+00'::timestamptz + ((i)) * interval '17 seconds', 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values ('infinity', 'most'), ('-infinity', 'least');
