create table `注文ü` (`キー` int primary key, `größe` varchar(50) default 'x', n int default 0, key `by größe` (`größe`));
insert into `注文ü` (`キー`, `größe`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
