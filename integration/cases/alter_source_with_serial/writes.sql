update orders set amount = amount + 1 where email = 'user{n}@example.org'
insert into orders (customer, email) values ({n}, 'new{n}@example.org')
delete from orders where email = 'new' || ({n} - 5) || '@example.org'
