create table orders (id int primary key, code varchar(20) character set utf8mb4);
insert into orders values (1, 'é'), (2, '日本'), (3, 'a');
