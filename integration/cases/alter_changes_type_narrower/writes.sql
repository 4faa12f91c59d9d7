update orders set amount = amount + 1 where id = {n} % 400 + 1
insert into orders (customer, email) values ({n} % 1000, 'new{n}@example.org')
