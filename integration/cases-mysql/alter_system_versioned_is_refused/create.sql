-- System versioning is MariaDB's.
create table orders (id int primary key, n int) with system versioning;
insert into orders values (1, 1);
