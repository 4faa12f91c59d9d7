update orders set note = 'n{n}' where id = {n} % 70 + 1
insert into orders (customer, email) values ({n}, 'new{n}@example.org')
