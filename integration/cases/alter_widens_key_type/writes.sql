update orders set amount = amount + 1 where id = {n} % 400 + 1
insert into orders (id, customer, email) values (1000 + {n}, {n}, 'new{n}@example.org')
delete from orders where id = 1000 + {n} - 5
update orders set id = 5000 + {n} where id = 1000 + {n} - 1
