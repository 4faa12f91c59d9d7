create table t (id int primary key, a int, b int, unique key by_a (a), unique key by_b (b));
insert into t with recursive s (i) as (select 1 union all select i + 1 from s where i < 50) select i, i, i from s;
