create table t (tenant integer default 3, k bigint, code text default 'Ünïcode, with "quotes"', v text, n integer default 0, primary key (tenant, code, k));
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
update t set tenant = k % 5, code = 'c' || k % 3;
