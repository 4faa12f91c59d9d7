create table t (k timestamp primary key, v text, n integer default 0);
insert into t (k, v) select '2026-10-25 00:00'::timestamp + ((i)) * interval '17.123456 seconds', 'v' || i from generate_series(1, 300) i;
