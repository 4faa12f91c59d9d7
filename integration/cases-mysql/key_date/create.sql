create table t (k date not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select date_add('1000-01-01', interval i day), concat('v', i) from s;
