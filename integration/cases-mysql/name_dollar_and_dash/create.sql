create table `a-b$c` (`f.g` int primary key, `d-e` varchar(50) default 'x', n int default 0, key `by d-e` (`d-e`));
insert into `a-b$c` (`f.g`, `d-e`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
