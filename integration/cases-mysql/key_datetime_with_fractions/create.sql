create table t (k datetime(6) not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select date_add('2026-01-01 00:00:00.000001', interval i * 333 microsecond), concat('v', i) from s;
