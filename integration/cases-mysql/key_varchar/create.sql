create table t (k varchar(30) not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select concat('Straße ', i, '\\\''), concat('v', i) from s;
