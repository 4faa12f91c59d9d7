update orders set amount = amount + 1 where id = {n} % 400 + 1
insert into orders (customer, email) values ({n}, 'new{n}@example.org')
delete from orders where email = 'new' || ({n} - 5) || '@example.org'
begin; update orders set email = 'between' where id = {n} % 50 * 2 + 1; update orders set email = 'x' || email where id = {n} % 50 * 2 + 2; update orders set email = 'user{n}x@example.org' where id = {n} % 50 * 2 + 1; commit
