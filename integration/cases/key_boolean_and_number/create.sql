create table t (flag boolean default false, k bigint, v text, n integer default 0, primary key (flag, k));
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
update t set flag = true where k % 2 = 0;
