create table t (v int, b int not null, a int not null, primary key (a, b));
insert into t with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select i, i % 17, i from s;
