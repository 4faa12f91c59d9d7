update orders set amount = amount + 1 where id = {n} % 400 + 1
insert into orders (id, customer, email) values (1000 + {n}, {n}, 'new{n}@example.org')
