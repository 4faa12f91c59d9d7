create table `or'd"ers` (`i'"d` int primary key, `am'ou"nt` varchar(50) default 'x', n int default 0, key `by am'ou"nt` (`am'ou"nt`));
insert into `or'd"ers` (`i'"d`, `am'ou"nt`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
