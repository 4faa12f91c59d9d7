create table orders (id int primary key, note text);
insert into orders values (1, '[]'), (2, '{'), (3, '{}'), (4, 'x');
