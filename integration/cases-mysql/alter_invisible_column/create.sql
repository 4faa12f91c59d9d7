create table orders (id int primary key, note text, hidden int invisible default 4, seen int);
insert into orders (id, note, hidden, seen) values (1, 'a', 1, 2), (2, 'b', null, 3);
