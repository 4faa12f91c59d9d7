create table t (a tinyint unsigned not null, b varbinary(8) not null, c decimal(8,3) not null, d enum('x','y') not null, n int default 0, primary key (a, b, c, d));
insert into t (a, b, c, d) with recursive s (i) as (select 1 union all select i + 1 from s where i < 250) select i % 3, unhex(hex(i % 11)), i / 8, if(i % 2, 'x', 'y') from s;
