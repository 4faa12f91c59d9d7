create table `or``de``rs` (`i``d` int primary key, `am``ount` varchar(50) default 'x', n int default 0, key `by am``ount` (`am``ount`));
insert into `or``de``rs` (`i``d`, `am``ount`) with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('v', i) from s;
