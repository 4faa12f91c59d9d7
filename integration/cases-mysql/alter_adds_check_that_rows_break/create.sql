create table orders (id int primary key, n int);
insert into orders values (1, 5), (2, -6), (3, 5), (4, 0);
