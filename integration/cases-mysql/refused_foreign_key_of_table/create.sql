create table parent (id int primary key);
insert into parent values (1);
create table orders (id int primary key, parent int, n int, constraint to_parent foreign key (parent) references parent (id));
insert into orders values (1, 1, 1);
