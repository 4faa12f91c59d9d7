update orders set customer = customer + 1, code = '{n}' where id = {n} % 300 + 1
insert into orders (customer, code) values ({n}, '{n}')
delete from orders where customer = {n} - 5
