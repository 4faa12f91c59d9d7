create table orders (k varchar(10) not null, n int, unique key by_k (k));
insert into orders values ('a', 1);
