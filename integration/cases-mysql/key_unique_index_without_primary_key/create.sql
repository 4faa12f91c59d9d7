create table t (a int, k varchar(20) not null, n int default 0, unique key by_k (k), key (a));
insert into t with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select i, concat('k', i), 0 from s;
