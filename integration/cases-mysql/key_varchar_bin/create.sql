create table t (k varchar(30) collate utf8mb4_bin not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select concat(case when i % 2 = 0 then 'a' else 'A' end, i div 2), concat('v', i) from s;
