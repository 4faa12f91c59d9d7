create table orders (id int primary key, n int) engine=myisam;
insert into orders values (1, 1);
