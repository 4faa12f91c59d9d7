update orders set amount = amount + 1 where id = {n} % 400 + 1
delete from orders where id = 401 - {n} % 100
