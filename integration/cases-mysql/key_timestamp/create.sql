create table t (k timestamp not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select date_add('2026-03-29 00:30:00', interval i minute), concat('v', i) from s;
