update orders set note = '[1, "é", {n}]' where id = {n} % 50 + 1
insert into orders values (1000 + {n}, '{"a": {n}}')
delete from orders where id = 1000 + {n} - 3
