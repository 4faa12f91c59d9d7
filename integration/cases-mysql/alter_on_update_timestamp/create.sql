create table orders (id int primary key, note text, changed timestamp(6) not null default '2001-01-01' on update current_timestamp(6), made datetime default current_timestamp);
insert into orders values (1, 'a', '2020-01-01', '2020-01-01'), (2, 'b', '2020-01-01', null);
