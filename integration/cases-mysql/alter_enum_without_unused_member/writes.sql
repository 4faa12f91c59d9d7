update orders set status = 'sent' where id = {n} % 3 + 1
update orders set status = 'paid' where id = {n} % 3 + 1
insert into orders values (10 + {n}, 'sent')
delete from orders where id = 8 + {n}
