create table `Orders` (`ID` int primary key, `Amount` varchar(50) default 'x', n int default 0, key `by Amount` (`Amount`));
insert into `Orders` (`ID`, `Amount`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
