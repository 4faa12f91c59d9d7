update orders set code = concat('d', {n}) where id = {n} % 100 + 1
insert into orders values (1000 + {n}, 'x{n}', 'y{n}')
delete from orders where id = 1000 + {n} - 3
update orders set email = 'z{n}' where email = 'x{n}'
