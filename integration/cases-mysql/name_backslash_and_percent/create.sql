create table `or\ders%s` (`i\d_` int primary key, `a\n%d` varchar(50) default 'x', n int default 0, key `by a\n%d` (`a\n%d`));
insert into `or\ders%s` (`i\d_`, `a\n%d`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
