create table t (k timestamp(3) not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select date_add('2026-10-25 00:30:00.5', interval i * 7000 microsecond), concat('v', i) from s;
