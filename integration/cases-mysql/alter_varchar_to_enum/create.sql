create table orders (id int primary key, code varchar(20));
insert into orders values (1, '7'), (2, '8'), (3, null);
