update orders set note = 'x{n}', changed = '2021-01-01 00:00:00.5' where id = {n} % 2 + 1
insert into orders values (10 + {n}, 'y', '2022-01-01', '2022-02-02')
update orders set note = null, changed = changed where id = 9 + {n}
delete from orders where id = 8 + {n}
