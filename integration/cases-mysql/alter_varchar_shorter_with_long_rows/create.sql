create table orders (id int primary key, email varchar(100) character set latin1 not null);
insert into orders with recursive s (i) as (select 1 union all select i + 1 from s where i < 20) select i, if(i in (7, 13), 'far too long to fit', concat('ok', i)) from s;
