create table t (k bit(40) not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select (i << 8) + 1, concat('v', i) from s;
