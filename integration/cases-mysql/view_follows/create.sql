create table orders (id int primary key, n int);
insert into orders values (1, 1), (2, 2);
create view v as select id, n from orders;
