create table t (k mediumint not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select i - 8388608, concat('v', i) from s;
