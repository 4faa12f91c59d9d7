-- Indexes over arrays are MySQL's.
create table orders (id int primary key, tags json);
insert into orders values (1, '[1, 2]'), (2, '[]'), (3, null);
