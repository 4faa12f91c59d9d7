create table t (id int primary key, v longtext, n int);
insert into t with recursive s (i) as (select 1 union all select i + 1 from s where i < 30) select i, repeat('wide é ', 20000), i from s;
