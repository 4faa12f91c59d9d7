create table orders (id int primary key, status enum('new','paid','sent') not null);
insert into orders values (1, 'new'), (2, 'sent'), (3, 'paid');
