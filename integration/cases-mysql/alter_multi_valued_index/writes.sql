update orders set tags = '[{n}, 5]' where id = {n} % 3 + 1
insert into orders values (10 + {n}, '[{n}]')
delete from orders where id = 8 + {n}
