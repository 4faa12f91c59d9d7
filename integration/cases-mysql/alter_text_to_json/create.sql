create table orders (id int primary key, note text);
insert into orders with recursive s (i) as (select 1 union all select i + 1 from s where i < 50) select i, concat('{"n": ', i, '}') from s;
