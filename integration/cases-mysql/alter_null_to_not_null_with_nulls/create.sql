create table orders (id int primary key, note text);
insert into orders values (1, 'a'), (2, null), (3, 'b'), (4, null);
