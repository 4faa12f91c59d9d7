create table orders (id int primary key, email varchar(30) not null, code varchar(20) not null, unique key by_email (email));
insert into orders with recursive s (i) as (select 1 union all select i + 1 from s where i < 100) select i, concat('e', i), concat('c', i) from s;
