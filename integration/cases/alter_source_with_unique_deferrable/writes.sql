-- One statement that swaps unique values: legal because the check is deferrable.
update orders set email = case id when {n} % 200 * 2 + 1 then (select email from orders where id = {n} % 200 * 2 + 2) else (select email from orders where id = {n} % 200 * 2 + 1) end where id in ({n} % 200 * 2 + 1, {n} % 200 * 2 + 2)
insert into orders (customer, email) values ({n}, 'new{n}@example.org')
delete from orders where email = 'new' || ({n} - 5) || '@example.org'
