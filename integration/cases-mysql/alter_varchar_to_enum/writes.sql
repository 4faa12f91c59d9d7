update orders set code = '8' where id = {n} % 3 + 1
update orders set code = '7' where id = {n} % 3 + 1
insert into orders values (10 + {n}, '8')
delete from orders where id = 8 + {n}
