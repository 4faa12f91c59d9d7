create table `2026` (`2` int primary key, `1` varchar(50) default 'x', n int default 0, key `by 1` (`1`));
insert into `2026` (`2`, `1`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
