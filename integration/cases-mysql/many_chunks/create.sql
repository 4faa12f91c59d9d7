create table t (id int primary key, n int, v varchar(200));
insert into t with recursive s (i) as (select 1 union all select i + 1 from s where i < 1000) select i, i, repeat('x', 100) from s;
insert into t select id + 1000, n, v from t;
insert into t select id + 2000, n, v from t;
insert into t select id + 4000, n, v from t;
insert into t select id + 8000, n, v from t;
