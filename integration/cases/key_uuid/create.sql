create table t (k uuid primary key, v text, n integer default 0);
insert into t (k, v) select md5(((i))::text)::uuid, 'v' || i from generate_series(1, 300) i;
