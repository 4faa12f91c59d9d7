create table t (k oid primary key, v text, n integer default 0);
insert into t (k, v) select ((i))::oid, 'v' || i from generate_series(1, 300) i;
