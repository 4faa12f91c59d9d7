-- Compressed columns are MariaDB's.
create table orders (id int primary key, note text compressed, n int);
insert into orders values (1, 'a', 1);
