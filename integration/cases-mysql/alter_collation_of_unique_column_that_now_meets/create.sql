create table orders (id int primary key, code varchar(20) collate utf8mb4_bin, unique key by_code (code));
insert into orders values (1, 'a'), (2, 'b'), (3, 'A'), (4, 'C');
