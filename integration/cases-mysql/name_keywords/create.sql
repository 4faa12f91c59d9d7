create table `select` (`key` int primary key, `order` varchar(50) default 'x', n int default 0, key `by order` (`order`));
insert into `select` (`key`, `order`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
