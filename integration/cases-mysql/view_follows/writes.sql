update orders set n = n + 1 where id = {n} % 2 + 1
insert into orders values (10 + {n}, 1)
