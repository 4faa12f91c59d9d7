create table t (k varchar(30) character set latin1 not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select concat('é', i), concat('v', i) from s;
