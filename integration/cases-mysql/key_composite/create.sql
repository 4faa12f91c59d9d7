create table t (a int not null, b varchar(20) not null, c datetime(3) not null, v text, n int default 0, primary key (b, c, a));
insert into t (a, b, c, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 250) select i % 7 - 3, concat('B', i % 5), date_add('2026-01-01', interval i * 1500 microsecond), concat('v', i) from s;
