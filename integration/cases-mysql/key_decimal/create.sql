create table t (k decimal(20,6) not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select (i - 50) / 7 * 1.5, concat('v', i) from s;
