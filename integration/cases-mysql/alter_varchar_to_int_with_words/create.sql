create table orders (id int primary key, code varchar(20));
insert into orders values (1, '1'), (2, 'two'), (3, '3'), (4, ' 4'), (5, '5x');
