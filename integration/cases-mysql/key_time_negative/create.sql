create table t (k time(2) not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 150) select sec_to_time((i - 100) * 0.25), concat('v', i) from s;
