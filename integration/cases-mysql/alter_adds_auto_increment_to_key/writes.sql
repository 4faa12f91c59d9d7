update orders set n = n + 1 where id = 7
insert into orders values (100 + {n}, 1)
delete from orders where id = 100 + {n} - 3
