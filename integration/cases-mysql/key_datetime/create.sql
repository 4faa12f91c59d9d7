create table t (k datetime not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select date_add('1999-12-31 23:59:00', interval i second), concat('v', i) from s;
