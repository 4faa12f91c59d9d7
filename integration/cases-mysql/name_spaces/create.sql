create table `my orders` (`the id` int primary key, `the amount` varchar(50) default 'x', n int default 0, key `by the amount` (`the amount`));
insert into `my orders` (`the id`, `the amount`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
