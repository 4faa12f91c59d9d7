update orders set amount = amount + 1, note = concat('é ', {n}) where id = {n} % 300 + 1
insert into orders (customer, email, code) values ({n}, 'new{n}@example.org', '{n}')
delete from orders where email = concat('new', {n} - 5, '@example.org')
begin; update orders set email = 'between' where id = {n} % 50 * 2 + 1; update orders set email = concat('x', left(email, 90)) where id = {n} % 50 * 2 + 2; update orders set email = 'user{n}x@example.org' where id = {n} % 50 * 2 + 1; commit
update orders set status = 'paid', flags = 'b,c', code = '7' where id = {n} % 100 + 100
update orders set id = 1000000 + {n} where email = 'new{n}@example.org' and {n} % 3 = 0
