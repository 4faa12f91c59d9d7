create table parent (id int primary key);
insert into parent values (1);
create table orders (id int primary key, parent int, n int);
insert into orders values (1, 1, 1);
create trigger first_one before insert on orders for each row set new.n = 1;
create trigger second_one after update on orders for each row set @x = 1;
