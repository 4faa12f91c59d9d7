create table t (a int, b int not null, c int not null, n int default 0, unique key with_nulls (a), unique key without (b, c));
insert into t with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select nullif(i % 50 = 0, 1) * i, i, i % 3, 0 from s where i % 50 = 0;
insert into t with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select 10000 + i, i, i % 3 + 5, 0 from s;
