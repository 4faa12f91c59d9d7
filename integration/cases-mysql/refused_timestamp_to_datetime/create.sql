create table orders (id int primary key, c timestamp null);
insert into orders values (1, '2026-01-01');
